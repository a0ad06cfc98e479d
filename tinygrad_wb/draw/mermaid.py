"""A graph in Mermaid, which GitHub and many editors draw from the text of a README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_wb.draw.graph import contents
from tinygrad_wb.draw.theme import THEMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tinygrad_wb.draw.graph import Graph, Group, Node

__all__ = ["mermaid_text"]

ROUNDED = {"leaf", "constant"}
PLAIN = {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,=+_−·…×÷∂→"}


def mermaid_text(graph: Graph, direction: str = "LR", theme: str = "light") -> str:
    """A Mermaid flowchart of the graph."""
    colors = THEMES[theme]
    lines = [f"flowchart {direction}"]
    lines += _inside(contents(graph), "", "    ")
    for edge in graph.edges:
        words = " = ".join(filter(None, (edge.formula or edge.label, edge.number)))
        arrow = "-.->" if edge.again else "-->"
        lines.append(f"    {edge.source} {arrow}{f'|{_quoted(words)}|' if words else ''} {edge.target}")
    for kind, (fill, line, width) in colors.boxes.items():
        ids = [node.id for node in graph.nodes if node.kind == kind]
        if ids:
            name = kind.replace(" ", "_")
            lines.append(f"    classDef {name} fill:{fill},stroke:{line},stroke-width:{width}px,color:{colors.ink}")
            lines.append(f"    class {','.join(ids)} {name}")
    for group in graph.groups:
        dashes = ",stroke-dasharray:4" if group.kind == "repeat" else ""
        lines.append(
            f"    style {group.id} fill:{colors.layer_ground},stroke:{colors.layer_line},color:{colors.faint}{dashes}"
        )
    marked = [node.id for node in graph.nodes if node.marked]
    if marked:
        lines.append(f"    classDef marked stroke:{colors.accent},stroke-width:3px")
        lines.append(f"    class {','.join(marked)} marked")
    lines += [f"    %% {remark}" for remark in graph.caption]
    return "\n".join(lines) + "\n"


def _inside(inside: Mapping[str, tuple[list[Node], list[Group]]], group: str, indent: str) -> list[str]:
    nodes, boxes = inside[group]
    lines = [indent + _node(node) for node in nodes]
    for inner in boxes:
        lines += [f"{indent}subgraph {inner.id} [{_quoted(inner.title)}]"]
        lines += [*_inside(inside, inner.id, indent + "    "), f"{indent}end"]
    return lines


def _node(node: Node) -> str:
    title = node.symbol if node.kind == "layer" else node.statement
    facts = [f"{word} {text}".strip() for word, text in node.facts]
    opening, closing = ("(", ")") if node.kind in ROUNDED else ("[", "]")
    text = "<br>".join(_escaped(line) for line in (title, *facts, node.repeated) if line)
    return f'{node.id}{opening}"{text}"{closing}'


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Every sign that could mean something to Mermaid, or to the HTML that it makes, by its number."""
    return "".join(c if c in PLAIN else f"#{ord(c)};" for c in text)
