"""A graph as plain text: a tree that grows from the result, with the numbers in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tinygrad_wb.draw.graph import Edge, Graph, Node

__all__ = ["tree_text"]

DEEPEST = 24  # levels that are indented; what lies deeper is a tree of its own, below
COLUMNS = ("shape", "value", "gradient")


def tree_text(graph: Graph) -> str:
    """Each node below what reads it: ``├─ w   value -3   gradient -4   ∂ = x = 2``. A node read twice is shown once."""
    nodes = {node.id: node for node in graph.nodes}
    inputs: dict[str, list[Edge]] = {name: [] for name in nodes}
    for edge in graph.edges:
        if not edge.again and not _is_number(nodes[edge.source]):
            inputs[edge.target].append(edge)
    read = {edge.source for edges in inputs.values() for edge in edges}
    rows: list[tuple[str, ...]] = []
    shown: set[str] = set()
    ahead = [node.id for node in reversed(graph.nodes) if node.id not in read and not _is_number(node)]
    while ahead:
        later: list[str] = []
        for root in ahead:
            rows += _rows(root, nodes, inputs, shown, later)
        ahead = [name for name in later if name not in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    lines = ["   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True) if w).rstrip() for row in rows]
    failures = [text for node in graph.nodes if node.kind == "failed" for _, text in node.facts]
    return "\n".join([*lines, *failures, *graph.caption])


def _rows(
    root: str, nodes: Mapping[str, Node], inputs: Mapping[str, list[Edge]], shown: set[str], later: list[str]
) -> Iterator[tuple[str, ...]]:
    """A line for each node of a tree, without recursion: (edge, what stands before it, how deep it is)."""
    ahead: list[tuple[str, Edge | None, str, str, int]] = [(root, None, "", "", 0)]
    while ahead:
        name, edge, lead, below, depth = ahead.pop()
        node = nodes[name]
        again = name in shown and bool(inputs[name])
        first = name not in shown
        shown.add(name)
        statement = "✗ " * (node.kind == "failed") + f"{node.statement} {node.repeated}".rstrip() + " …" * again
        derivative = " = ".join(filter(None, ("∂", edge.formula, edge.number))) if edge and edge.formula else ""
        facts = dict(node.facts) if first or not again else {}
        if "parameters" in facts:
            statement += f" ({facts['parameters']} parameter{'s' * (facts['parameters'] != '1')})"
        remark = "" if node.kind == "failed" else facts.get("", "")
        cells = [*[f"{word} {facts[word]}" if word in facts else "" for word in COLUMNS], remark]
        yield lead + statement, *cells, derivative
        if again:
            continue
        if depth >= DEEPEST and inputs[name]:
            later += [e.source for e in inputs[name]]
            continue
        edges = inputs[name]
        for i, e in reversed(list(enumerate(edges))):
            last = i == len(edges) - 1
            ahead.append(
                (e.source, e, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), depth + 1)
            )


def _is_number(node: Node) -> bool:
    """Whether it is a plain number, which the statement has already."""
    return node.kind == "constant" and not node.facts
