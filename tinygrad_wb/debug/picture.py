"""The graph of a backward pass as a picture to be stepped through: what stands where in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from tinygrad_wb.draw.compose import Wishes, with_items
from tinygrad_wb.draw.dot import dot_text
from tinygrad_wb.draw.frame import picture
from tinygrad_wb.draw.graph import with_remarks
from tinygrad_wb.draw.outline import Layer
from tinygrad_wb.draw.render import PATIENCE, render
from tinygrad_wb.draw.target import Target
from tinygrad_wb.draw.wording import NOT_COMPUTED, cropped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tinygrad_wb.debug.stepper import Stepper
    from tinygrad_wb.draw.graph import Node
    from tinygrad_wb.draw.outline import Item
    from tinygrad_wb.value import Value

__all__ = ["NOT_YET", "Picture", "pictured"]

NOT_YET = "not yet"
DEEPEST = 99  # levels of layers that stand open
TITLE_LENGTH = 80
INSET = 9.6  # from the outline of a box to the text in it, in points


@dataclass(frozen=True)
class Picture:
    """The ``svg``, as it is before the first step, and what is where in it.

    ``boxes`` has the id of the box that a Value is in, ``places`` that of the text of its gradient, where it has a box
    of its own; ``edges`` has for each step the id of its edge, "" where that is not drawn. ``remarks`` say what was
    left out.
    """

    svg: str
    boxes: dict[Value, str]
    places: dict[Value, str]
    edges: list[str]
    remarks: tuple[str, ...]


def pictured(
    stepper: Stepper,
    told: Mapping[Value, Sequence[str]],
    max_nodes: int,
    timeout: float = PATIENCE,
    direction: str = "LR",
) -> Picture:
    """The picture of a stepper's graph. ``told`` is all that its boxes will say of gradients, the first text first."""
    with stepper.from_the_start().lent():
        target = Target([stepper.loss], stepper.trace.variables)
        graph, items = with_items(target, Wishes(DEEPEST, None, 0, None, (), False, max_nodes))
    groups = tuple(replace(group, title=cropped(group.title, TITLE_LENGTH)) for group in graph.groups)
    node_of = dict(zip(items, graph.nodes, strict=True))
    nodes = tuple(_with_room(node, told.get(item.result, ())) for item, node in node_of.items())
    dot = dot_text(with_remarks(replace(graph, nodes=nodes, groups=groups)), direction)
    svg = picture(render(dot, "svg", timeout).decode())
    places = {}
    for item, node in node_of.items():
        if item.result in told:
            places[item.result] = f"g{node.id}"
            svg = _with_place(svg, node.id, told[item.result][0])
    return Picture(svg, _boxes(node_of), places, _edges(stepper, items), graph.caption)


def _with_room(node: Node, texts: Sequence[str]) -> Node:
    """The node with the widest of ``texts`` as its gradient; of a closed layer, without those of its parameters."""
    if not texts:
        return node
    facts = [
        (word, max(texts, key=len) if word == "gradient" else text.removesuffix(f", gradient {NOT_COMPUTED}"))
        for word, text in node.facts
    ]
    return replace(node, facts=tuple(facts))


def _with_place(svg: str, box: str, text: str) -> str:
    """The picture with ``text`` as the gradient in a box, with an id of its own, and aligned at the right."""
    start = svg.index(f'<g id="{box}"')
    end = svg.index("</a>", start)
    inside = svg[start:end]
    path = re.search(r'<path [^>]*\bd="([^"]*)"', inside)
    right = max(float(x) for x in re.findall(r"(-?[\d.]+),", path[1])) if path else 0.0
    found = list(re.finditer(r'(>gradient (?:&#160;| )</text>\s*<text )[^>]*?( y="[-\d.]+"[^>]*>)[^<]*', inside))[-1]
    kind = "gradient pending" if text == NOT_YET else "gradient"
    words = f'{found[1]}id="g{box}" class="{kind}" text-anchor="end" x="{right - INSET:.2f}"{found[2]}{escape(text)}'
    return svg[:start] + inside[: found.start()] + words + inside[found.end() :] + svg[end:]


def _boxes(node_of: Mapping[Item, Node]) -> dict[Value, str]:
    boxes: dict[Value, str] = {}
    for item, node in node_of.items():
        if type(item.thing) is Layer:
            module = item.thing.call.module()
            inside = [*item.thing.made, *(module.parameters() if module is not None else ())]
        else:
            inside = [item.result] if item.result is not None else []
        boxes |= {value: boxes.get(value, node.id) for value in inside}
    return boxes


def _edges(stepper: Stepper, items: Sequence[Item]) -> list[str]:
    """For each step its edge, by the order in which the edges of items are drawn."""
    found: dict[tuple[Item, Item, int], str] = {}
    of: dict[Value, Item] = {}
    for item in items:
        of |= dict.fromkeys(item.thing.made if type(item.thing) is Layer else [item.result], item)
        for position, source in enumerate(item.inputs):
            if source is not None:
                found[item, source, -1 if type(item.thing) is Layer else position] = f"e{len(found) + 1}"
    edges = []
    for node, position in stepper.trace.steps:
        target, source = of.get(node), of.get(node.inputs[position])
        at = -1 if target is not None and type(target.thing) is Layer else position
        edges.append(found.get((target, source, at), "") if target and source else "")
    return edges
