"""One neutral description of a graph, as plain data: every picture, text and page is made from this and nothing else.

Ids, names and order follow from the order of execution, so the same computation is described in the same words in
every run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

__all__ = [
    "OLD", "Edge", "Graph", "Group", "Kind", "Node", "backward", "closed", "contents", "forward", "with_remarks",
]  # fmt: skip

Kind = Literal["leaf", "constant", "operation", "result", "layer", "failed", "left out"]
Facts = tuple[tuple[str, str], ...]  # (word, text), such as ("gradient", "0.5")

GRADIENT = ("gradient", "from ", "other passes", "∇ ")  # words of facts that tell of gradients


@dataclass(frozen=True, slots=True)
class Node:
    """One box: what it is and what is told about it."""

    id: str
    kind: Kind
    title: str  # its name
    given: bool  # whether the user gave that name
    symbol: str  # of an operation: its operator or its name; of a layer: what it is
    statement: str  # as a line of code: "z = x * w"; only a name where nothing is computed
    facts: Facts  # what stands in the box
    details: Facts = ()  # what there is to say besides: numbers in full, where it was computed
    group: str = ""  # the box that it stands in
    repeated: str = ""  # "×50", or "+9 more" like it
    heat: float | None = None  # how large its gradient is, from 0 to 1 among those drawn
    marked: bool = False  # asked to stand out


@dataclass(frozen=True, slots=True)
class Edge:
    """Data that goes from the node ``source`` into the node ``target``, and the gradient that comes back."""

    source: str
    target: str
    label: str = ""  # as which input
    formula: str = ""  # the local derivative: ∂target/∂source, or what becomes of the gradient g
    number: str = ""  # the local derivative, of numbers
    local: bool = True  # whether the formula is the derivative alone, without g
    again: bool = False  # from the end of a turn to its beginning
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A box around nodes: an open layer, or what is repeated."""

    id: str
    kind: Literal["layer", "repeat"]
    title: str
    parent: str = ""
    closed: Node | None = None  # the node that stands for an open layer when it is closed


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in order of execution, every one after the nodes that it reads.

    ``caption`` has what must be said of the whole: what was left out, what was folded. ``scale`` are the least and the
    largest gradient, where nodes are coloured by it.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...] = ()
    caption: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None
    reverse: bool = field(default=False)  # the edges go from a result's gradient to its inputs'


def contents(graph: Graph) -> dict[str, tuple[list[Node], list[Group]]]:
    """The nodes and the boxes that stand in each box, by its id; under "", those that stand in none."""
    found: dict[str, tuple[list[Node], list[Group]]] = {id: ([], []) for id in ("", *(g.id for g in graph.groups))}
    for node in graph.nodes:
        found[node.group][0].append(node)
    for group in graph.groups:
        found[group.parent][1].append(group)
    return found


OLD = " (old)"  # after a gradient that is older than the last update

REMARKS: dict[str, Callable[[Graph], bool]] = {
    f"{OLD.strip()} of a gradient: it is from before the last update of the parameters.": lambda graph: any(
        text.endswith(OLD) for node in graph.nodes for _, text in node.facts
    ),
    "g is the gradient of an operation's own result.": lambda graph: any(
        edge.formula and not edge.local for edge in graph.edges
    ),
}


def with_remarks(graph: Graph) -> Graph:
    """The graph with what must be said of the signs in it."""
    return replace(graph, caption=(*graph.caption, *(text for text, applies in REMARKS.items() if applies(graph))))


def forward(graph: Graph) -> Graph:
    """The forward pass alone: no gradients, no derivatives."""
    nodes = tuple(
        replace(node, facts=tuple(fact for fact in node.facts if not _of_gradient(fact[0]))) for node in graph.nodes
    )
    edges = tuple(replace(edge, formula="", number="") for edge in graph.edges)
    return replace(graph, nodes=nodes, edges=edges)


def backward(graph: Graph) -> Graph:
    """The backward pass alone: a node for each gradient, and edges from ∂result/∂y to ∂result/∂x, for an input x."""
    results = [node.title for node in graph.nodes if node.kind == "result"]
    result = results[0] if len(results) == 1 else "Loss"
    nodes = []
    for node in graph.nodes:
        if node.kind == "constant":
            continue
        facts = tuple(fact for fact in node.facts if _of_gradient(fact[0]))
        title = node.title if node.kind in ("layer", "left out") else f"∂{result}/∂{node.title}"
        statement = node.statement if node.kind == "left out" else f"∂{result}/∂{node.title}"
        nodes.append(
            replace(
                node,
                title=title,
                given=True,
                symbol=node.symbol if node.kind == "layer" else "",
                facts=facts,
                statement=statement,
            )
        )
    kept = {node.id for node in nodes}
    edges = tuple(
        replace(edge, source=edge.target, target=edge.source, label="")
        for edge in graph.edges
        if edge.source in kept and edge.target in kept
    )
    return replace(graph, nodes=tuple(nodes), edges=edges, reverse=True)


def closed(graph: Graph, open_: Collection[str]) -> Graph:
    """The graph with only the layers ``open_`` standing open, each of them in layers that are open too."""
    stands_for: dict[str, str] = {}  # for each node in a closed layer, the id of that
    parents = {group.id: group for group in graph.groups}
    hidden: dict[str, Node] = {}
    for node in graph.nodes:
        group, outermost = parents.get(node.group), None
        while group is not None:
            if group.closed is not None and group.id not in open_:
                outermost = group
            group = parents.get(group.parent)
        if outermost is not None and outermost.closed is not None:
            stands_for[node.id] = outermost.id
            hidden[outermost.id] = replace(outermost.closed, id=outermost.id, group=outermost.parent)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        name = stands_for.get(node.id)
        nodes.pop(name or "", None)  # it comes where its last node was, after all that it reads
        nodes[name or node.id] = hidden[name] if name else node
    edges: dict[tuple[str, ...], Edge] = {}
    for edge in graph.edges:
        source, target = stands_for.get(edge.source, edge.source), stands_for.get(edge.target, edge.target)
        if source == target and source in hidden:
            continue
        if edge.target in stands_for:
            edges[source, target] = Edge(source, target)
        else:
            edges[edge.source, target, edge.label, edge.formula, str(len(edges))] = replace(edge, source=source)
    within = {name for node in nodes.values() for name in _above(node.group, parents)}
    groups = tuple(group for group in graph.groups if group.id in within)
    return replace(graph, nodes=tuple(nodes.values()), edges=tuple(edges.values()), groups=groups)


def _above(group: str, parents: Mapping[str, Group]) -> Iterator[str]:
    while group:
        yield group
        group = parents[group].parent


def _of_gradient(word: str) -> bool:
    return word.startswith(GRADIENT)
