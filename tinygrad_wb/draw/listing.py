"""A graph as plain text: one line for each operation, in order of execution, and for each leaf that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygrad_wb.draw.graph import Graph, Node

__all__ = ["listing"]

COLUMNS = ("shape", "value", "gradient", "")


def listing(graph: Graph) -> str:
    """``z = x * w   value 6   gradient 1``, and so on, in columns."""
    rows = [[node.statement, *_cells(node)] for node in graph.nodes if node.kind != "constant"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip() for row in rows
    )


def _cells(node: Node) -> list[str]:
    told = dict(node.lines)
    return [f"{word} {told[word]}".strip() if word in told else "" for word in COLUMNS]
