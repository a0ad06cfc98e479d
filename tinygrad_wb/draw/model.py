"""A model that was not called yet, as its layers: their settings, shapes and parameters, as `summary` has them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from tinygrad_wb.draw.describe import layer_text, parameter_text
from tinygrad_wb.draw.graph import Edge, Graph, Group, Node
from tinygrad_wb.draw.wording import printable
from tinygrad_wb.nn.layers import Sequential

if TYPE_CHECKING:
    from tinygrad_wb.nn.module import Module

__all__ = ["structure"]

CAPTION = "How data flows through it is seen with an example of what it is called with: draw(model, x)."


def structure(model: Module) -> Graph:
    """Layers as nodes, layers of layers as boxes; arrows where a `Sequential` says what follows what."""
    return _Structure(model).graph


class _Structure:
    def __init__(self, model: Module) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.groups: list[Group] = []
        self.counted: set[int] = set()
        self.flows = True  # whether the arrows say it all
        self._add(model, "", "")
        total = sum(p.size for p in model.parameters())
        caption = [f"{total:,} parameters."] if len(self.nodes) > 1 else []
        self.graph = Graph(
            tuple(self.nodes), tuple(self.edges), tuple(self.groups), (*caption, *([] if self.flows else [CAPTION]))
        )

    def _add(self, module: Module, path: str, group: str) -> list[str]:
        """Add a module; returns its first and its last node."""
        inner = [(name, part) for name, part in module.named_modules() if part is not module]
        if not inner:
            return [self._layer(module, path, group)] * 2
        own = f"g{len(self.groups) + 1}"
        heading = ": ".join(filter(None, (printable(path), layer_text(module))))
        self.groups.append(Group(own, "layer", heading, group))
        ends: list[list[str]] = []
        if any(True for _ in module.own_parameters()):
            self._layer(module, path, own)
            self.flows = False
        done: list[str] = []
        for name, part in inner:
            if not any(name.startswith(f"{before}.") for before in done):  # it has been added as a part of that
                done.append(name)
                ends.append(self._add(part, f"{path}.{name}" if path else name, own))
        if isinstance(module, Sequential):
            self.edges += [Edge(a[1], b[0]) for a, b in pairwise(ends)]
        elif len(ends) > 1:
            self.flows = False
        return [ends[0][0], ends[-1][1]]

    def _layer(self, module: Module, path: str, group: str) -> str:
        parameters = [(name, p) for name, p in module.own_parameters()]
        count = sum(p.size for _, p in parameters if id(p) not in self.counted)
        self.counted.update(id(p) for _, p in parameters)
        own = [(name, parameter_text(p)) for name, p in parameters]
        facts = (("parameters", f"{count:,}"), *own) if own else ()
        name = f"n{len(self.nodes) + 1}"
        title = printable(path) or type(module).__name__
        what = layer_text(module)
        self.nodes.append(Node(name, "layer", title, bool(path), what, f"{title} = {what}", tuple(facts), group=group))
        return name
