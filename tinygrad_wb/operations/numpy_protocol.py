"""NumPy's own functions on Values: `np.exp(v)`, `np.linalg.inv(v)`, `array @ v` find the function of their name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.foreign import gives_way
from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.pending import Pending
from tinygrad_wb.recording import recorder, replayable
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# Functions whose results are booleans, integers, shapes or dtypes: there is nothing to differentiate.
SHAPES = {  # the same in every run
    np.ndim, np.shape, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.result_type,
    np.iscomplexobj, np.isrealobj,
}  # fmt: skip
PLAIN = SHAPES | {
    np.all, np.allclose, np.any, np.argmax, np.argmin, np.argsort, np.array_equal, np.array_equiv, np.count_nonzero,
    np.equal, np.greater, np.greater_equal, np.isclose, np.isfinite, np.isinf, np.isnan, np.less, np.less_equal,
    np.logical_and, np.logical_not, np.logical_or, np.nonzero, np.not_equal, np.signbit, np.array_repr, np.array_str,
}  # fmt: skip

OURS = frozenset(
    {Value, Pending, np.ndarray, float, int}
)  # classes that leave a ufunc to us, as most do: see `gives_way`

HINTS = {"kind", "stable"}  # how to sort, which changes nothing: ours is stable anyway

METHODS: dict[str, dict[Any, str]] = {  # np.add.reduce is sum, …
    "reduce": {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min"},
    "accumulate": {np.add: "cumsum", np.multiply: "cumprod"},
}


def _raw_deep(x: Any) -> Any:
    return type(x)(map(_raw_deep, x)) if type(x) in (list, tuple) else raw(x)


def _call(function: Any, name: str, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    if keywords.get("out") is not None:
        raise TypeError(
            f"np.{name}(…, out=…) would overwrite an array behind the graph's back: leave out= away; "
            "and if it was array += value, write array = array + value"
        )
    program = recorder() is not None
    if function is np.full_like and type(keywords.get("fill_value", inputs[-1])) is Value:
        raise TypeError("np.full_like(a, v) would lose v's history: write wb.broadcast_to(v, a.shape)")
    if function in PLAIN and not (program and name in REGISTRY):
        if function not in SHAPES:
            replayable(f"np.{name}(…)", "use it outside the function")
        return function(*map(_raw_deep, inputs), **{k: _raw_deep(x) for k, x in keywords.items()})
    ours = REACHED.get(function)
    if ours is None and name in REGISTRY and getattr(np, name, None) is function:
        ours = REGISTRY[name].function  # a comparison, or a row of the user's
    where = getattr(function, "__module__", "numpy").replace("numpy", "np", 1)
    if ours is None:
        raise TypeError(
            f"{where}.{name} has no derivative here: take v.data for plain numbers, "
            "or write it with the functions of tinygrad_wb (they are listed by dir(tinygrad_wb))"
        )
    # NumPy passes on what was left at its default: None, or a marker of its own
    given = {k: v for k, v in keywords.items() if v is not np._NoValue and (v is not None or _takes(ours, k))}
    given = {k: v for k, v in given.items() if k not in HINTS}
    try:
        return ours(*inputs, **given)
    except TypeError as error:
        signature = inspect.signature(ours)
        try:
            signature.bind(*inputs, **given)
        except TypeError:
            bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
            signature = inspect.Signature(bare)
            raise TypeError(
                f"{where}.{name}: {error}. Of Values it takes {signature} at most: leave the rest away, "
                "or take v.data for plain numbers"
            ) from None
        raise


def _takes(function: Callable[..., Any], keyword: str) -> bool:
    return keyword in inspect.signature(function).parameters


# NumPy's functions, and ours for each.
REACHED: dict[Any, Callable[..., Any]] = {}


def reach(table: ModuleType) -> None:
    """Let NumPy's functions, those of `np.linalg` too, reach what ``table`` has under the same names."""
    for name in table.__all__:
        theirs = getattr(np, name, None) or getattr(np.linalg, name, None)
        if callable(theirs):
            REACHED[theirs] = getattr(table, name)


def array_ufunc(self: Value, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
    """NumPy's hook for ufuncs (NEP 13)."""
    for x in inputs:
        if type(x) not in OURS and gives_way(type(x)):
            return NotImplemented
    if name := METHODS.get(method, {}).get(ufunc):
        return _call(getattr(np, name), name, inputs, {"axis": 0, **keywords})
    if method != "__call__":
        raise TypeError(f"np.{ufunc.__name__}.{method} has no derivative here: take v.data for plain numbers")
    return _call(ufunc, ufunc.__name__, inputs, keywords)


def array_function(self: Value, function: Any, types: Any, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """NumPy's hook for all other functions (NEP 18)."""
    if any(kind not in OURS and gives_way(kind) for kind in types):
        return NotImplemented
    return _call(function, function.__name__, inputs, keywords)
