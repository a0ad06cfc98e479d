"""One neutral description of a graph, as plain data: every picture and text is made from this and nothing else.

Ids, names and order follow from the order of execution, so the same computation is described in the same words in
every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinygrad_wb.draw.notation import argument_names, statement, symbol, told_options
from tinygrad_wb.draw.selection import given_name, in_order, key, left_out, names, nearest
from tinygrad_wb.draw.wording import constant_facts, constant_text, cropped, facts
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Edge", "Graph", "Node", "describe"]

STATEMENT_LENGTH = 80

Kind = Literal["leaf", "constant", "operation", "result", "left out"]


@dataclass(frozen=True, slots=True)
class Node:
    """One box: what it is and what is told about it."""

    id: str
    kind: Kind
    title: str  # its name; "" for an operation whose result was given none
    symbol: str  # of an operation: its operator or its name
    statement: str  # as a line of code: "z = x * w"; only a name where nothing is computed
    lines: tuple[tuple[str, str], ...]  # (word, text), such as ("gradient", "0.5")


@dataclass(frozen=True, slots=True)
class Edge:
    """Data that goes from the node ``source`` into the node ``target``; the label says as which input."""

    source: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in order of execution, every one after the nodes that it reads."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def describe(target: Value, max_nodes: int) -> Graph:
    """The computation behind ``target``; of a larger one, the ``max_nodes`` nodes that are nearest to it."""
    history = in_order(target)
    kept = nearest(target, max_nodes)
    drawn = [value for value in history if id(value) in kept]
    called = names(history)
    stale = {x for value in drawn for x in value.inputs if type(x) is Value and x.tick > value.tick}

    nodes: list[Node] = []
    edges: list[Edge] = []
    ids: dict[Any, str] = {}
    more = left_out(history, kept)
    if more:
        nodes.append(Node("more", "left out", f"… {more} not drawn", "", f"… {more} not drawn", ()))
    for value in drawn:
        if value.op is None:
            ids[id(value)] = own = f"n{len(ids) + 1}"
            nodes.append(_leaf(own, value, called[value], value in stale))
            continue
        sources = [key(x, value, position) for position, x in enumerate(value.inputs)]
        for source, x in zip(sources, value.inputs, strict=True):
            if source in kept and source not in ids:
                ids[source] = f"n{len(ids) + 1}"
                nodes.append(_constant(ids[source], x))
        ids[id(value)] = own = f"n{len(ids) + 1}"
        nodes.append(_operation(own, value, called, "result" if value is target else "operation"))
        if not kept.issuperset(sources):
            edges.append(Edge("more", own, ""))
        labels = argument_names(value.op, nodes[-1].symbol, len(sources))
        edges += [Edge(ids[s], own, label) for s, label in zip(sources, labels, strict=True) if s in kept]
    return Graph(tuple(nodes), tuple(edges))


def _leaf(own: str, value: Value, name: str, stale: bool) -> Node:
    remark = (("", "assigned after it was read"),) if stale else ()
    return Node(own, "leaf", name, "", name, (*facts(value.data, value.grad), *remark))


def _constant(own: str, data: Any) -> Node:
    text = constant_text(data)
    is_array = np.ndim(data) > 0
    return Node(own, "constant", "array" if is_array else text, "", text, constant_facts(data) if is_array else ())


def _operation(own: str, value: Value, called: Mapping[Value, str], kind: Kind) -> Node:
    op: Any = value.op
    arguments = [called[x] if type(x) is Value else constant_text(x) for x in value.inputs]
    code = cropped(f"{called[value]} = {statement(op, arguments, value.options)}", STATEMENT_LENGTH)
    # reshape has an option `shape`, which says no more than the result's own
    lines = dict(told_options(op, value.options)) | dict(facts(value.data, value.grad))
    return Node(own, kind, given_name(value), symbol(op, value.options), code, tuple(lines.items()))
