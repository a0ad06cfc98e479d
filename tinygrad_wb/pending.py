"""Pending Values: the operation is noted, the number is computed when somebody asks for it, or at the end of the call.

A compiled function that is *followed* runs as it always does, but its operations are only compared with those that it
did before. What it gets for each of them is a `Pending` Value, which knows its shape and dtype. All else that one can
ask of a Value, its number first of all, makes the noted operations compute; from then on it is an ordinary Value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tinygrad_wb.recording import Noter

__all__ = ["BYSTANDER", "DATA", "OP", "Aside", "Awaited", "Pending", "pending"]


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


DATA: Any = Value._data  # type: ignore[misc]  # the slot, which `Pending._data` hides


def _set_data(v: Value, new: Any) -> None:
    v._entry.noter.settle(v)
    DATA.__set__(v, new)


OP: Any = Value.op  # type: ignore[misc]
NAME: Any = Value.name  # type: ignore[misc]


def _set_name(v: Value, name: str | None) -> None:
    v._entry.noter.named(v)
    NAME.__set__(v, name)


_hiding = {
    name: _settled_first(getattr(Value, name)) for name in Value.__slots__ if name not in ("__weakref__", "_entry")
}
_hiding |= {
    "_data": property(lambda v: v._entry.noter.data_of(v), _set_data),
    "name": property(NAME.__get__, _set_name),
    "grad": property(lambda _: None, _hiding["grad"].fset),  # backward() settles what it comes to
    "op": property(lambda v: v._entry.noter.op_of(v), _hiding["op"].fset),
}
for _name, _property in _hiding.items():
    setattr(Pending, _name, _property)


Pending.__name__ = Pending.__qualname__ = "Value"  # which it is, to users


def pending(entry: Any) -> Pending:
    """A new Value that stands for the result of ``entry``."""
    v: Pending = object.__new__(Pending)
    v._entry = entry
    NAME.__set__(v, None)
    return v


class Awaited:
    """In the place of an entry, for a Value that a layer changes when it is told what it observes: ``tell`` does so."""

    __slots__ = ("_tell", "dtype", "noter", "shape", "size")

    def __init__(self, value: Value, tell: Callable[[], None]) -> None:
        self.shape, self.dtype, self.size = value.shape, value.dtype, value.size
        self.noter, self._tell = self, tell

    def settle(self, value: Value) -> None:  # noqa: ARG002 - the signature of `Noter`
        self._tell()

    def data_of(self, value: Value) -> Any:
        self._tell()
        return DATA.__get__(value)

    def op_of(self, value: Value) -> None:
        """None: it is a leaf."""

    def named(self, value: Value) -> None:
        """Its name is its own, now as ever."""


class Aside:
    """Notes nothing: it has pending operands computed, and leaves the operation to the engine.

    It stands for a ``noter`` in a block under ``no_grad``, and for none in threads that follow nothing.
    """

    active = False

    def __init__(self, noter: Noter | None = None) -> None:
        self._noter = noter

    def one(self, op: Any, a: Any) -> None:  # noqa: ARG002 - the signature of `Noter`
        self._compute(a)

    def two(self, op: Any, a: Any, b: Any) -> None:  # noqa: ARG002 - the signature of `Noter`
        self._compute(a, b)

    def three(self, op: Any, a: Any, b: Any, c: Any) -> None:  # noqa: ARG002 - the signature of `Noter`
        self._compute(a, b, c)

    def many(self, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:  # noqa: ARG002 - the signature of `Noter`
        self._compute(*inputs)

    def call(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return module.forward(*args, **kwargs)

    def _compute(self, *inputs: Any) -> None:
        for x in inputs:
            if isinstance(x, Pending):
                x._entry.noter.settle(x)

    def observe(self, tell: Callable[..., None], values: tuple[Any, ...]) -> bool:  # noqa: ARG002 - the signature of `Noter`
        self._compute(*values)
        return False

    def data_of(self, value: Pending) -> Any:
        return value._entry.noter.data_of(value)

    def op_of(self, value: Pending) -> Any:
        return value._entry.noter.op_of(value)

    def hand_out(self, value: Value) -> bool:
        return self._noter is not None and self._noter.hand_out(value)

    def stand_aside(self) -> Aside:
        return self

    def settle(self) -> None:
        if self._noter is not None:
            self._noter.settle()

    def stop(self, reason: str) -> None:
        if self._noter is not None:
            self._noter.stop(reason)


BYSTANDER = Aside()  # in all threads that have no noter
