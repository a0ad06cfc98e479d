"""Pending Values: the operation is noted, the number is computed when somebody asks for it, or at the end of the call.

A compiled function that is *followed* runs as it always does, but its operations are only compared with those that it
did before. What it gets for each of them is a `Pending` Value, which knows its shape and dtype. All else that one can
ask of a Value, its number first of all, makes the noted operations compute; from then on it is an ordinary Value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_wb.recording import Noter
from tinygrad_wb.value import Value

__all__ = ["BYSTANDER", "Aside", "Pending", "pending"]


class Pending(Value):
    """A Value whose number is not computed yet. It becomes a plain `Value`, the same object, when it is."""

    __slots__ = ()

    shape = property(lambda v: v._entry.shape)
    ndim = property(lambda v: len(v._entry.shape))
    size = property(lambda v: v._entry.size)
    dtype: property = property(lambda v: v._entry.dtype)


def _settled_first(slot: Any) -> property:
    """A slot of Value, read and written after the Value has been computed."""

    def get(v: Value) -> Any:
        v._entry.noter.settle(v)
        return slot.__get__(v)

    def put(v: Value, new: Any) -> None:
        v._entry.noter.settle(v)
        slot.__set__(v, new)

    return property(get, put)


for _name in Value.__slots__:
    if _name not in ("__weakref__", "_entry"):
        setattr(Pending, _name, _settled_first(getattr(Value, _name)))


Pending.__name__ = Pending.__qualname__ = "Value"  # which it is, to users

def pending(entry: Any) -> Pending:
    """A new Value that stands for the result of ``entry``."""
    v: Pending = object.__new__(Pending)
    v._entry = entry
    return v


class Aside:
    """Notes nothing: it has pending operands computed, and leaves the operation to the engine.

    It stands for a ``noter`` in a block under ``no_grad``, and for none in threads that follow nothing.
    """

    active = False

    def __init__(self, noter: Noter | None = None) -> None:
        self._noter = noter

    def one(self, op: Any, a: Any) -> None:
        self._compute(a)

    def two(self, op: Any, a: Any, b: Any) -> None:
        self._compute(a, b)

    def three(self, op: Any, a: Any, b: Any, c: Any) -> None:
        self._compute(a, b, c)

    def many(self, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        self._compute(*inputs)

    def call(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return module.forward(*args, **kwargs)

    def _compute(self, *inputs: Any) -> None:
        for x in inputs:
            if isinstance(x, Pending):
                x._data  # noqa: B018 - which computes it

    def observe(self, tell: Callable[..., None], values: tuple[Any, ...]) -> bool:
        self._compute(*values)
        return False

    def stand_aside(self) -> Aside:
        return self

    def settle(self) -> None:
        if self._noter is not None:
            self._noter.settle()


BYSTANDER = Aside()  # in all threads that have no noter
