"""Graphviz's SVG made fit to stand in a page: ids of its own, a size that gives way, no more than is needed."""

from __future__ import annotations

import re

__all__ = ["embeddable"]


def embeddable(svg: str, prefix: str) -> str:
    """The ``<svg>`` element of an SVG document; ``prefix`` before every id lets several stand in one page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<title>[^<]*</title>\n?", "", svg)  # Graphviz's own names of nodes, as tooltips
    svg = re.sub(r'\sid="', f' id="{prefix}', svg)
    return re.sub(
        r'<svg width="([\d.]+)pt"\s+height="[\d.]+pt"',
        r'<svg style="max-width:100%;height:auto" width="\1pt"',
        svg,
        count=1,
    )
