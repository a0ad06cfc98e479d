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
    >>> y = wb.tanh(x * w)
    >>> y.backward()
    >>> print(draw(y))
    x                     value 2    gradient -7.373e-05
    w                     value -3   gradient 4.915e-05
    multiply = x * w      value -6   gradient 2.458e-05
    tanh = tanh(multiply)   value -1   gradient 1
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
        return f"draw shows a computation, and a {kind} has none until it is called: draw(model(x)), or draw(loss)"
    return f"draw takes a Value, such as a loss, got {kind}; a plain number or array has no history to draw"


class _CallablePackage(ModuleType):
    """`wb.draw` is a function to its users; once anything imports this package, Python makes that name the package."""

    __call__ = staticmethod(draw)


sys.modules[__name__].__class__ = _CallablePackage
