"""Sphinx: `python -m sphinx -W docs docs/_build`."""

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

import tinygrad_wb

lexers["mermaid"] = TextLexer()  # GitHub draws such blocks; here they stand as text

project = "tinygrad_wb"
author = "the tinygrad_wb founders"
copyright = "2026, the tinygrad_wb founders"
version = release = tinygrad_wb.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["operations.css"]
html_title = f"tinygrad_wb {version}"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"
exclude_patterns = ["_build"]
nitpicky = False
