"""What every page is built of: one file that needs no network and no server, in which nothing runs but its own script.

A page is the text and pictures of its body, data for its script, and the files ``page.css`` and ``page.js`` of the
package that makes it, after ``frame.css`` and ``frame.js``, which are common to all: how things look, and a picture
that can be moved and enlarged.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from typing import Any

from tinygrad_wb.draw.svg import embeddable

__all__ = ["TOOLS", "document", "picture"]

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{schemes}">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""

# The buttons of frame.js, and those of the page before them.
TOOLS = """<div id="tools" role="toolbar" aria-label="View" hidden>
{before}<button id="out" title="Smaller (−)" aria-label="Smaller">−</button>
<button id="in" title="Larger (+)" aria-label="Larger">+</button>
<button id="fit" title="The whole picture (0)">Fit</button>
</div>"""


def document(title: str, body: str, data: Any, colors: str, package: str, schemes: str = "light") -> str:
    """The HTML of a page; ``body`` is HTML, ``title`` text, ``data`` what ``json`` takes, ``colors`` a style sheet."""
    script = _asset("tinygrad_wb.draw", "frame.js") + _asset(package, "page.js")
    style = "\n".join([colors, _asset("tinygrad_wb.draw", "frame.css"), _asset(package, "page.css")])
    # Nothing runs but this script, whatever a name may try.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_hash(script)}'"
    return TEMPLATE.format(
        schemes=schemes, policy=policy, title=escape(title), style=style, body=body, data=_json(data), script=script
    )


def picture(svg: str) -> str:
    """Graphviz's SVG as it stands in a page: what goes without saying there, or is in the style sheet, is not said."""
    return (
        embeddable(svg, "").replace(' font-family="Helvetica,Arial,sans-serif"', "").replace(' text-anchor="start"', "")
    )


def _json(data: Any) -> str:
    """JSON that can stand in HTML."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", text)


def _asset(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
