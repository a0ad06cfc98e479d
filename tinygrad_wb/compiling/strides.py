"""How arrays lie in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VIEWS", "axes_in_memory", "in_order", "lying_as"]

# Operations whose result is their input's memory, seen with other strides (unless NumPy has to copy).
VIEWS: dict[str, Callable[..., Any]] = {
    "broadcast_to": np.broadcast_to,
    "getitem": lambda a, index: a[index],
    "reshape": lambda a, shape: np.reshape(a, shape),  # noqa: PLW0108 - NumPy 2.0 has another name for the shape
    "transpose": np.transpose,
}


def axes_in_memory(a: Any) -> tuple[int, ...]:
    """The axes of an array, from the longest steps in memory to the shortest."""
    if a.flags.c_contiguous:
        return tuple(range(a.ndim))
    return tuple(sorted(range(a.ndim), key=lambda i: (a.shape[i] > 1, -abs(a.strides[i]))))


def in_order(a: Any) -> Any:
    """An array with its axes turned as they lie in memory."""
    return a.transpose(axes_in_memory(a))


def lying_as(flat: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A row of memory, seen in a shape whose axes lie in the order ``axes``."""
    return flat.reshape([shape[i] for i in axes]).transpose(np.argsort(axes))
