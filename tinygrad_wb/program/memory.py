"""How arrays lie in memory, and how much of a product BLAS does at once."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["axes_in_memory", "in_order", "lying_as", "pieces"]

ALONE = 1 << 19  # multiplications of a product below which OpenBLAS computes it in one thread
DENSE = 32  # multiplications for each number that a product reads or writes, from which on two threads are worth it
LEAST = 16  # rows of a piece


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


def pieces(m: int, k: int, n: int) -> tuple[int, int]:
    """In how many pieces to cut the rows of (m, k) @ (k, n), and in how many its inner axis, for one thread each.

    Where a product does little for each number that it reads, as in a convolution, a second thread costs more than it
    gives: what it has read stands in its processor's cache, from where the next step has to get it back.
    """
    if m * k * n < ALONE or m * k * n >= DENSE * (m * k + k * n + m * n):
        return 1, 1
    longest = max(m, k)
    most = (ALONE - 1) // (m * k * n // longest)
    size = next((p for p in range(most, LEAST - 1, -1) if longest % p == 0), longest)
    return (m // size, 1) if m >= k else (1, k // size)
