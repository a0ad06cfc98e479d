"""`Slot`: one place where something keeps numbers that are saved with it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from tinygrad_wb.value import Value

__all__ = ["Slot"]


class Slot(NamedTuple):
    """The attribute ``name`` of ``owner``: a number or an array."""

    owner: Any
    name: str

    @classmethod
    def of(cls, owner: Any, path: str) -> Slot:
        """What ``path`` leads to from ``owner``, as in ``running.mean``; of a Value, its data."""
        *way, name = path.split(".")
        holder = attrgetter(".".join(way))(owner) if way else owner
        found = getattr(holder, name)
        return cls(found, "data") if isinstance(found, Value) else cls(holder, name)

    def read(self) -> Any:
        """The number or array itself."""
        return getattr(self.owner, self.name)

    def write(self, new: Any) -> None:
        """Take over the numbers of ``new``, an array of the same shape, or the number.

        An array stays where it is, so that parameters that stand side by side go on doing so. Assigning it tells a
        Value or a Module that it has changed.
        """
        now, new = self.read(), np.asarray(new)
        if type(now) is np.ndarray and now.flags.writeable:
            now[...] = new
        else:
            now = new.astype(now.dtype) if type(now) is np.ndarray else type(now)(new.item())
        setattr(self.owner, self.name, now)
