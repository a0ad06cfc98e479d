"""Drawing: one neutral description of a graph (`graph`), shown as DOT, SVG, PNG, PDF or text."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Literal

from tinygrad_wb.draw.drawing import Drawing
from tinygrad_wb.draw.graph import Edge, Graph, Node, describe
from tinygrad_wb.draw.render import RendererNotFoundError
from tinygrad_wb.value import Value

__all__ = ["Drawing", "Edge", "Graph", "Node", "RendererNotFoundError", "describe", "draw"]

DIRECTIONS = ("LR", "RL", "TB", "BT")


def draw(target: Value, *, direction: Literal["LR", "RL", "TB", "BT"] = "LR", max_nodes: int = 200) -> Drawing:
    """A drawing of how ``target`` was computed, with every value and gradient as they are now.

    Of a larger computation, the ``max_nodes`` nodes nearest to the target are drawn, and one that says what was left
    out. Raises ``TypeError`` for anything but a Value.

    >>> import tinygrad_wb as wb
    >>> x, w = wb.Value(2.0, name="x"), wb.Value(-3.0, name="w")
    >>> loss = (x * w + 5.0) ** 2
    >>> loss.backward()
    >>> print(draw(loss))
    x                    value 2    gradient 6
    w                    value -3   gradient -4
    multiply = x * w     value -6   gradient -2
    add = multiply + 5   value -1   gradient -2
    power = add ** 2     value 1    gradient 1
    """
    if not isinstance(target, Value):
        raise TypeError(_remedy(target))
    if direction not in DIRECTIONS:
        raise ValueError(f"draw(direction={direction!r}): one of {', '.join(DIRECTIONS)}")
    if max_nodes < 1:
        raise ValueError(f"draw(max_nodes={max_nodes}): at least 1, the target itself")
    return Drawing(describe(target, max_nodes), direction)


def _remedy(target: Any) -> str:
    kind = type(target).__name__
    if hasattr(target, "named_parameters"):
        return f"draw shows a computation, and {kind} has none before it is called: draw(model(x)), or draw(loss)"
    return f"draw takes a Value, such as a loss, got {kind}; a plain number or array has no history to draw"


class _CallablePackage(ModuleType):
    """`wb.draw` is a function to its users; once anything imports this package, Python makes that name the package."""

    __call__ = staticmethod(draw)


sys.modules[__name__].__class__ = _CallablePackage
