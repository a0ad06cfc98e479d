"""Hearing gradients as they pass: `Value.on_gradient`.

Listening is no operation of the graph: a Value can be listened to after others have read it, a parameter stays a leaf,
and the loop of `backward` is as it was. A table knows which Values are listened to at all, and is looked at once for
each call of ``backward()``. If it has some, the history is cut where their gradients are complete; between the pieces,
the listeners are called.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operations.shaping import astype, shape_of
from tinygrad_wb.recording import recorders, replayable
from tinygrad_wb.value import Value, own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Listener", "Stops", "listened", "on_gradient", "straight_on", "with_stops"]


class Listener:
    """A function that hears a Value's gradient, until `remove` is called or the Value is gone.

    ``function`` takes the result that the pass goes back from, the seed that it began with, the Value and its gradient.
    """

    def __init__(self, value: Value, function: Callable[[Value, Any, Value, Any], Any]) -> None:
        if recorders:
            replayable("a listener to a gradient", "listen to parameters, outside the function, or don't compile it")
        self.function = function
        self._key = id(value)
        if self._key not in listened:
            # Values compare by their data, so identity is the key; it is free again when the Value is gone.
            listened[self._key] = weakref.ref(value, functools.partial(listened.pop, self._key))
            value.listeners = []
        self._among = value.listeners
        self._among.append(self)

    def remove(self) -> None:
        """Listen no longer; a second time it does nothing."""
        if self in self._among:
            self._among.remove(self)
            if not self._among:
                listened.pop(self._key, None)


# The Values that somebody listens to. Their listeners are theirs: a function that knows its Value keeps nothing alive.
listened: dict[int, weakref.ref[Value]] = {}


def on_gradient(self: Value, f: Callable[[Any], Any]) -> Listener:
    """Call ``f(gradient)`` whenever ``backward()`` has found this Value's gradient, before it is handed on.

    ``f`` gets all that this pass brings, once: a float, or an array that is not to be written to (under
    ``record=True``, a Value). What it returns takes the gradient's place, and must have its shape; None leaves it.
    Several are called in the order in which they came, each with what the one before made of it. The derivatives of
    functions (`grad`, …) call it too. Returns a `Listener`, whose ``remove()`` ends it.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(3.0)
    >>> h = w * w
    >>> listener = h.on_gradient(lambda g: 10.0 * g)
    >>> (h * 2.0).backward()
    >>> h.grad, w.grad
    (20.0, 120.0)
    """
    if not callable(f):
        raise TypeError(f"on_gradient(f): a function of the gradient is wanted, got {f!r:.80}")
    return Listener(self, lambda result, seed, value, gradient: f(gradient))


class Stops:
    """Where the walk of a history stops for listeners; ``leaves`` are those that are listened to."""

    def __init__(self, result: Value, nodes: Sequence[Value]) -> None:
        self.result = result
        self.nodes = nodes
        # How many nodes have been walked when a Value's gradient is complete: those before it, or all that read it.
        complete: dict[Value, int] = {result: 0} if id(result) in listened else {}
        for i, node in enumerate(nodes):
            if id(node) in listened:
                complete[node] = i
            for x in node.inputs:
                if type(x) is Value and not x.inputs and id(x) in listened:
                    complete[x] = i + 1
        self.leaves = [x for x in complete if not x.inputs]
        self._complete = sorted(complete.items(), key=lambda stop: (stop[1], -stop[0].tick))

    def stretches(
        self, gradient: Callable[[Value], Any], replace: Callable[[Value, Any], None]
    ) -> Iterator[Sequence[Value]]:
        """The nodes in pieces; when a piece has been walked, those are called who listen to what it completed."""
        begin, seed = 0, gradient(self.result)
        for value, end in self._complete:
            if end > begin:
                yield self.nodes[begin:end]
                begin = end
            if (g := gradient(value)) is not None and (new := self._heard(seed, value, g)) is not g:
                replace(value, new)
        yield self.nodes[begin:]

    def _heard(self, seed: Any, value: Value, g: Any) -> Any:
        for listener in tuple(value.listeners):
            answer = listener.function(self.result, seed, value, _shown(g))
            if answer is not None:
                g = _fitted(answer, value, type(g) is Value)
        return g


def straight_on(result: Value, nodes: Sequence[Value], gradients: dict[Value, Any]) -> Iterable[Value]:
    """A walk without stops."""
    return nodes


def with_stops(result: Value, nodes: Sequence[Value], gradients: dict[Value, Any]) -> Iterable[Value]:
    """A walk with stops for those who listen."""
    if not listened:
        return nodes
    return itertools.chain.from_iterable(Stops(result, nodes).stretches(gradients.get, gradients.__setitem__))


def _shown(g: Any) -> Any:
    """A gradient that can't be written to: other Values may have the same array."""
    if type(g) is np.ndarray:
        g = g.view()
        g.flags.writeable = False
    return g


def _fitted(answer: Any, value: Value, recorded: bool) -> Any:
    if shape_of(answer) != value.shape:
        raise ShapeError(
            f"on_gradient(f) of {value.name or 'a Value'}: f returned shape {shape_of(answer)}, but the gradient has "
            f"shape {value.shape}; return one of that shape, or None to leave it as it is"
        )
    new = answer if recorded and type(answer) is Value else own(answer)
    return new if not value.shape or new.dtype == value.dtype else astype(new, value.dtype)


Value.on_gradient = on_gradient  # type: ignore[method-assign]
