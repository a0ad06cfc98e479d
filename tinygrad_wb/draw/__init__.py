"""Drawing: one neutral description of a graph (`graph`), shown as DOT, SVG, PNG, PDF, Mermaid, text or a page."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from tinygrad_wb.draw.compose import Wishes, composed
from tinygrad_wb.draw.drawing import Drawing
from tinygrad_wb.draw.graph import Edge, Graph, Group, Node, backward, forward
from tinygrad_wb.draw.model import structure
from tinygrad_wb.draw.render import LayoutTimeoutError, RendererNotFoundError
from tinygrad_wb.draw.target import target_of
from tinygrad_wb.draw.theme import THEMES
from tinygrad_wb.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Drawing", "Edge", "Graph", "Group", "LayoutTimeoutError", "Node", "RendererNotFoundError", "draw"]

VIEWS: dict[str, Callable[[Graph], Graph]] = {"both": lambda graph: graph, "forward": forward, "backward": backward}
CHOICES = {
    "show": tuple(VIEWS),
    "direction": ("LR", "RL", "TB", "BT"),
    "theme": tuple(THEMES),
    "color": (None, "gradient"),
}


def draw(
    target: Any,
    *example: Any,
    depth: int | None = None,
    show: Literal["both", "forward", "backward"] = "both",
    around: Any = None,
    hops: int = 2,
    path: tuple[Any, Any] | None = None,
    highlight: Sequence[Any] = (),
    color: Literal["gradient"] | None = None,
    direction: Literal["LR", "RL", "TB", "BT"] = "LR",
    theme: Literal["light", "dark"] = "light",
    max_nodes: int = 200,
) -> Drawing:
    """A drawing of how ``target`` was computed: every value, every gradient, and on each edge the local derivative.

    ``target`` is a Value (or a list of them), a model or function, compiled or not, with an ``example`` of what it is
    called with, or an error that an operation raised: then what led to it is drawn. A model alone is drawn as its layers.

    Each layer is one node, unless ``depth`` says how many levels of layers stand open; ``show`` picks the forward or the
    backward pass. ``around`` keeps what is within ``hops`` edges of a Value, a name or a layer; ``path=(loss, w)`` only the
    ways between two. ``highlight`` makes some stand out, ``color="gradient"`` shades all by the size of their gradients
    (root mean square). Beyond ``max_nodes``, layers are closed, then repeats folded (×N, "+N more"), then the farthest left
    out, and the caption says so.

    >>> import tinygrad_wb as wb
    >>> x, w = wb.Value(2.0, name="x"), wb.Value(-3.0, name="w")
    >>> loss = (x * w + 5.0) ** 2
    >>> loss.backward()
    >>> print(draw(loss))
    loss = add_1 ** 2          value 1    gradient 1
    └─ add_1 = multiply_1 + 5  value -1   gradient -2   ∂ = 2·add_1 = -2
       └─ multiply_1 = x * w   value -6   gradient -2   ∂ = 1
          ├─ x                 value 2    gradient 6    ∂ = w = -3
          └─ w                 value -3   gradient -4   ∂ = x = 2
    """
    told = {"show": show, "direction": direction, "theme": theme, "color": color}
    for name, choices in CHOICES.items():
        if told[name] not in choices:
            raise ValueError(f"draw({name}={told[name]!r:.60}): one of {', '.join(map(repr, choices))}")
    for name, least, count in (("max_nodes", 1, max_nodes), ("hops", 0, hops), ("depth", 0, 0 if depth is None else depth)):
        if not isinstance(count, int) or count < least:
            raise ValueError(f"draw({name}={count!r:.60}): a whole number, at least {least}")
    if isinstance(target, Module) and not example:
        graph = structure(target)
        return Drawing(graph, graph, direction, theme)
    asked = target_of(target, example, sys._getframe(1))
    view = VIEWS[show]
    graphs = composed(asked, Wishes(depth, around, hops, path, highlight, color == "gradient", max_nodes))
    return Drawing(*map(view, graphs), direction, theme)


class _CallablePackage(ModuleType):
    """`wb.draw` is a function to its users; once anything imports this package, Python makes that name the package."""

    __call__ = staticmethod(draw)


sys.modules[__name__].__class__ = _CallablePackage
