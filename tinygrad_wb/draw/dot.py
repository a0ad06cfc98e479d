"""A graph in DOT, the language of Graphviz."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import graphviz

from tinygrad_wb.draw.wording import NOT_COMPUTED

if TYPE_CHECKING:
    from tinygrad_wb.draw.graph import Graph, Node

__all__ = ["dot_text"]

GROUND = "#fcfcfd"
FONT = "Helvetica,Arial,sans-serif"
INK, FAINT, GRADIENT = "#1f2933", "#66727f", "#0b4f8a"

# Told apart by lightness and outline as well as by hue (the hues are Okabe and Ito's, for the colour-blind).
BOXES = {
    "leaf": {"fillcolor": "#d6ebf8", "color": "#56a3d0", "penwidth": "1.2"},
    "constant": {"fillcolor": "#f1f2f4", "color": "#c3c9d0", "penwidth": "0.8"},
    "operation": {"fillcolor": "#ffffff", "color": "#7b8794", "penwidth": "1.2"},
    "result": {"fillcolor": "#fde3b4", "color": "#c77700", "penwidth": "2.4"},
    "left out": {"fillcolor": "#ffffff", "color": "#7b8794", "penwidth": "1", "style": "rounded,dashed"},
}
# Constants stand aside, so that what depends on one another lies on a straight line.
LINES = {"constant": {"weight": "1"}, "left out": {"style": "dashed"}}
OPERATORS = str.maketrans({"*": "×", "/": "÷", "-": "−"})


def dot_text(graph: Graph, direction: str = "LR", dpi: int | None = None) -> str:
    """The graph as DOT text, flowing in ``direction`` (LR, RL, TB or BT)."""
    dot = graphviz.Digraph(
        graph_attr={
            "rankdir": direction, "ordering": "in",  # the first input on top
            "bgcolor": GROUND, "pad": "0.3", "nodesep": "0.3", "ranksep": "0.6", "fontname": FONT,
            **({"dpi": str(dpi)} if dpi else {}),
        },
        node_attr={
            "shape": "box", "style": "rounded,filled", "margin": "0.12,0.08", "height": "0.3", "width": "0.3",
            "fontname": FONT, "fontsize": "11", "fontcolor": INK,
        },
        edge_attr={
            "weight": "8",
            "color": "#8a95a1", "arrowsize": "0.7", "fontname": FONT, "fontsize": "9", "fontcolor": FAINT,
        },
    )  # fmt: skip
    for node in graph.nodes:
        tooltip = escape(node.statement).replace("\\", 4 * "\\")  # which Graphviz halves, twice
        dot.node(node.id, _label(node), tooltip=tooltip, **BOXES[node.kind])
    kinds = {node.id: node.kind for node in graph.nodes}
    for edge in graph.edges:
        dot.edge(edge.source, edge.target, _over_the_line(edge.label), **LINES.get(kinds[edge.source], {}))
    text: str = dot.source
    return text


def _label(node: Node) -> str:
    rows = [_heading(node)] + [_row(word, text) for word, text in node.lines]
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{"".join(rows)}</table>>'


def _over_the_line(label: str) -> str:
    """An edge's label that no line runs through: opaque, on a transparent strip that keeps it off its own."""
    rows = f'<tr><td bgcolor="{GROUND}"> {label} </td></tr><tr><td height="2"></td></tr>'
    return label and f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="0">{rows}</table>>'


def _heading(node: Node) -> str:
    sign = node.symbol if node.symbol in ("**", "//") else node.symbol.translate(OPERATORS)
    sign = f'<font point-size="{12 if node.symbol.isidentifier() else 15}">{_text(sign)}</font>'
    if node.symbol and node.title:
        return f'<tr><td align="left"><b>{_text(node.title)}</b>  </td><td align="right">{sign}</td></tr>'
    if node.symbol:
        words = sign
    else:
        words = f"<b>{_text(node.title)}</b>" if node.kind == "leaf" else _text(_typeset(node.title))
    return f'<tr><td colspan="2">{words}</td></tr>'


def _row(word: str, text: str) -> str:
    shown = f'<font color="{GRADIENT if word == "gradient" else INK}">{_text(_typeset(text))}</font>'
    if text == NOT_COMPUTED:
        shown = f'<font color="{FAINT}"><i>{text}</i></font>'
    return f'<tr><td align="left"><font color="{FAINT}">{word}  </font></td><td align="right">{shown}</td></tr>'


def _text(text: str) -> str:
    # In a label Graphviz reads backslashes as well as HTML (\N is the node's id); older versions trip over a lone "]".
    return escape(text).replace("\\", "\\\\").replace("]", "&#93;")


def _typeset(number: str) -> str:
    return number.replace("-", "−")
