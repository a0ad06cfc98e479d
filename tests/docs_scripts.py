"""The scripts in docs/ that make the pages: the tests run them anew and compare."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def docs_script(name):
    """The script ``name``.py of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
