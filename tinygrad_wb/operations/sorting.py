"""The table of sorting. Equals keep their order (the sort is stable), and nan comes last, as in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.operation import operation

__all__ = ["argsort", "sort"]

_ORDER = "np.argsort({a}, axis={axis}, kind='stable')"


@operation(numpy=_ORDER, da=None)
def argsort(a: Any, axis: int | None = -1) -> Any:
    """Where in a each number of its sorted order stands, as plain whole numbers; equals keep their order."""
    return np.argsort(a, axis, kind="stable")


@operation(numpy="np.sort({a}, axis={axis})", da=lambda g, y, a, axis: unsort(g, a, axis))
def sort(a: Any, axis: int | None = -1) -> Any:
    """a in rising order along ``axis``, flat if it is None; each number's gradient goes back to where it stood.

    Equals keep their order, also in that; nan comes last.
    """
    return np.sort(a, axis)


# Sorting is a permutation, and so is its derivative. Which one, does not change smoothly: by that there is none.


@operation(
    numpy=f"np.take_along_axis({{x}}, {_ORDER}, axis={{axis}})",
    dx=lambda g, y, x, a, axis: unsort(g, a, axis),
    da=None,
)
def sort_by(x: Any, a: Any, axis: int | None) -> Any:
    """x in the order that sorts a."""
    return np.take_along_axis(x, argsort(a, axis), axis)


@operation(
    numpy=f"np.take_along_axis({{x}}, np.argsort({_ORDER}, axis={{axis}}), axis={{axis}})",
    dx=lambda g, y, x, a, axis: sort_by(g, a, axis),
    da=None,
)
def unsort(x: Any, a: Any, axis: int | None) -> Any:
    """x, which is in the order that sorts a, back in the order of a itself."""
    return np.take_along_axis(x, np.argsort(argsort(a, axis), axis), axis)
