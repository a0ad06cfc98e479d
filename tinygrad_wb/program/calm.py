"""A line of a program where Python's own numbers raise (1/0, overflow): as the engine has it, with inf and nan."""

from __future__ import annotations

import ast
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["evaluated"]


def _calm(name: str, array: Callable[..., Any]) -> Callable[..., Any]:
    scalar = getattr(math, name)

    def function(*numbers: float) -> Any:
        try:
            return np.float64(scalar(*numbers))
        except (ArithmeticError, ValueError):
            return array(*numbers)

    return function


MATH = SimpleNamespace(
    **vars(math)
    | {name: _calm(name, getattr(np, name)) for name in ("exp", "log", "log1p", "sqrt", "sin", "cos", "tanh")}
    | {"pow": _calm("pow", np.power)}
)


class _NumPysNumbers(ast.NodeTransformer):
    """Floats that stand in a text as NumPy's, on which a division by zero is inf or nan."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Call(ast.Name("float", ast.Load()), [node], []) if type(node.value) is float else node


def evaluated(text: str, namespace: dict[str, Any]) -> Any:
    """What ``text`` computes."""
    try:
        return eval(text, namespace)  # noqa: S307 - a program's own text
    except (ArithmeticError, ValueError):
        tree = ast.parse(text, mode="eval")
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        calm = {name: np.float64(x) if type(x := namespace[name]) is float else x for name in used & namespace.keys()}
        code = compile(ast.fix_missing_locations(_NumPysNumbers().visit(tree)), "<calm>", "eval")
        found = eval(code, calm | {"float": np.float64, "math": MATH})  # noqa: S307
        return float(found) if isinstance(found, np.float64) else found
