"""The leaves of a course, whose arrays its program reads at the end of a call, and not when an operation is noted.

In between nobody may write to them unseen. An array that ``w.data`` has handed out is held by others, which its
reference count shows. Such an array is *watched*: it is compared with a copy at each operation.
"""

from __future__ import annotations

from contextlib import contextmanager
from operator import is_
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.entries import LARGE, same
from tinygrad_wb.flat import handed_out, remembering, together
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tinygrad_wb.compiling.entries import Like

__all__ = ["CHANGED", "EXPOSED", "Leaves"]

CHANGED = "a parameter has another shape or dtype"
EXPOSED = "the array of a parameter is held elsewhere (w.data), and may be written to at any time"
UNSETTLED = 4  # calls in which to try to put the arrays together: until then a record may hold them


class Leaves:
    """The leaves that a course reads, and whether others can write to their arrays."""

    def __init__(self) -> None:
        self.values: list[Value] = []  # those that have arrays
        self._likes: list[Like] = []
        self.arrays: list[Any] = []
        self._numbers: list[Value] = []
        self.unsettled = UNSETTLED  # tries that are left
        self.blocks: list[Any] = []  # the buffers that they are views of
        self._counts: list[int] = []  # how often each array is held, and each buffer
        self._counts_of_buffers: list[int] = []
        # Values whose arrays others may write to: the array, and a copy of what was in it.
        self.watched: dict[Value, tuple[Any, Any]] = {}
        remembering.add(self)

    def take(self, likes: Mapping[Value, Like]) -> None:
        """Look at these leaves from now on, which the course knows to have these shapes and dtypes."""
        self.values = [leaf for leaf, like in likes.items() if like.dtype is not float]
        self._likes = [like for like in likes.values() if like.dtype is not float]
        self._numbers = [leaf for leaf, like in likes.items() if like.dtype is float]
        self.arrays, self._counts = [None] * len(self.values), []  # they are looked at before the next call

    def settle(self) -> bool:
        """Try to let the arrays stand side by side; whether they do so since now."""
        if not self.unsettled:
            return False
        self.unsettled -= 1
        self.arrays = [leaf._data for leaf in self.values]
        if not together(self.values, known=1):
            return False
        self.unsettled = 0
        return True

    def looked_at(self) -> str:
        """Look at all leaves before a call: "" if the course can be followed, or why not, `CHANGED` or `EXPOSED`."""
        if self.watched:
            self.watched = {}
        now = [leaf._data for leaf in self.values]
        if self._numbers and not all([type(leaf._data) is float for leaf in self._numbers]):
            return CHANGED
        if not all(map(is_, now, self.arrays)):
            if not all(map(_is_like, now, self._likes)):
                return CHANGED
            self.arrays, self.blocks = list(now), []
        counts = list(map(getrefcount, now))
        if counts == self._counts and list(map(getrefcount, self.blocks)) == self._counts_of_buffers:
            return ""
        del now
        exposed = list(filter(handed_out, self.values))
        if sum(leaf._data.nbytes for leaf in exposed) > LARGE:
            return EXPOSED
        for leaf in exposed:
            self.watch(leaf, leaf._data)
        if not exposed:
            self._count()
        return ""

    def _count(self) -> None:
        """Count how often each array is held, while nobody else holds one."""
        now = list(self.arrays)
        self.blocks = list({id(x.base): x.base for x in now if x.base is not None}.values())
        self._counts = list(map(getrefcount, now))
        self._counts_of_buffers = list(map(getrefcount, self.blocks))

    # -- arrays that others hold --------------------------------------------------------------------------------------

    def watch(self, value: Value, array: Any) -> None:
        """Look from now on whether somebody writes to the array of a Value."""
        if value not in self.watched:
            self.watched[value] = array, array.copy()

    def written(self) -> bool:
        """Whether somebody has."""
        return bool(self.watched) and not all(same(now, then) for now, then in self.watched.values())

    @contextmanager
    def as_they_were(self) -> Iterator[None]:
        """In the block, leaves have the numbers that they had when operations on them were noted."""
        watched, self.watched = self.watched, {}
        for value, (_, then) in watched.items():
            if type(value) is Value:
                value._data = then
        try:
            yield
        finally:
            for value, (now, _) in watched.items():
                value._data = now


def _is_like(data: Any, like: Like) -> bool:
    """Whether it is an array of this shape and dtype."""
    return type(data) is np.ndarray and data.shape == like.shape and bool(data.dtype == like.dtype)
