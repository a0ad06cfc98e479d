"""One run of a function on traced arguments, with everything that it did on record."""

from __future__ import annotations

import inspect
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import history
from tinygrad_wb.compiling.tree import HOLE, SIMPLE, filled_in, is_nested, others, pattern, taken_out
from tinygrad_wb.flat import remembering
from tinygrad_wb.recording import Recorder, ReplayError
from tinygrad_wb.value import Value, constant, next_tick, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Run", "Terms", "plain", "tell", "values_of"]

DTYPES = "?bhilqBHILQefd"
ARITHMETIC = {"add", "subtract", "multiply", "divide", "power", "maximum", "minimum"}


class Run:
    """A function's run: the ``arguments`` as leaves, the ``results``, the ``parameters`` that it read.

    ``wanted`` are the leaves that the results have gradients by: the parameters, and what stands for Values that were
    given as arguments. ``shape`` is the pattern that the results are put back into.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        holes: list[Any] = []
        self.asked = pattern((args, kwargs), holes)
        for x in holes:
            if isinstance(x, np.ndarray) and x.dtype.char not in DTYPES:
                raise ReplayError(
                    f"numbers are wanted (float, integer or boolean), and it is given an array of {x.dtype}"
                )
        names = _names(function, args, kwargs)
        self.arguments = [traced(_native(plain(x)), name) for x, name in zip(holes, names, strict=True)]
        self.values = [i for i, x in enumerate(holes) if type(x) is Value]  # the arguments that are Values
        self.recorder = Recorder()
        self.start = next_tick()
        with self.recorder.running():
            traced_args, traced_kwargs = filled_in(self.asked, self.arguments)
            result = function(*traced_args, **traced_kwargs)
        if self.recorder.refused:  # and the function caught the error
            raise ReplayError(self.recorder.refused)
        self.results: list[Any] = []
        self.shape = pattern(result, self.results)
        # What is observed counts among the results, of which the caller hears nothing.
        self.observers = [(tell, len(values)) for tell, values in self.recorder.observed]
        self.observed = [x if type(x) is Value else traced(x) for _, values in self.recorder.observed for x in values]
        decided = (condition for condition, _ in self.recorder.decisions)
        ends = [x for x in (*self.results, *self.observed, *decided) if type(x) is Value]
        self.nodes = sorted({node for end in ends for node in history(end)}, key=lambda node: node.tick)
        self._check()
        read = (*(x for node in self.nodes for x in node.inputs), *ends)
        leaves = dict.fromkeys(x for x in read if type(x) is Value and not x.inputs)
        draws = [leaf for leaf, _ in self.recorder.draws]
        self.parameters = [x for x in leaves if x.tick < self.start and x not in {*self.arguments, *draws}]
        self.wanted = self.parameters + [self.arguments[i] for i in self.values]

    def _check(self) -> None:
        """Raise `ReplayError` for what a replay would do otherwise."""
        for x in others(self.shape):
            if not isinstance(x, SIMPLE):
                raise ReplayError(f"it returns a {type(x).__name__}; return Values in tuples, lists or dictionaries")
        if not any(type(x) is Value and x.inputs for x in self.results):
            raise ReplayError("it returns nothing that was computed from its arguments or from parameters")
        for node in self.nodes:
            if node.tick < self.start:
                raise ReplayError(f"it uses {node!r:.80}, computed outside of it; pass that as an argument")
            name = node.op.name  # type: ignore[union-attr]
            if name in ARITHMETIC and any(map(_is_small_whole, node.inputs)) and float in map(type, node.inputs):
                raise ReplayError(
                    "NumPy computes with small whole numbers and a number otherwise than a Value does: "
                    "give it an array of floats, or x.astype(float) first"
                )

    def fixed(self) -> frozenset[Value]:
        """The leaves that nobody wants the gradients of."""
        every = {x for node in self.nodes for x in node.inputs if type(x) is Value and not x.inputs}
        return frozenset(every.difference(self.wanted))


def _names(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """What the function calls the arrays and numbers among its arguments."""
    try:
        known = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        known = []
    names = [*known[: len(args)], *(f"argument_{i}" for i in range(len(known), len(args))), *kwargs]
    out = []
    for name, x in zip(names, (*args, *kwargs.values()), strict=True):
        holes: list[Any] = []
        pattern(x, holes)
        out += [name] if len(holes) == 1 else [f"{name}_{i}" for i in range(len(holes))]
    return out


def tell(observers: Sequence[tuple[Callable[..., None], int]], found: Sequence[Any]) -> None:
    """Hand ``found``, the data of what is observed in one call, to those who observe it."""
    start = 0
    for observer, count in observers:
        observer(*found[start : start + count])
        start += count


class Terms:
    """What a replay of a run needs to know besides: whether it fits, and how its results are given back."""

    blocks = ()  # of parameters that stand side by side: it holds the parameters' own arrays alone

    def __init__(self, run: Run, values: set[Any]) -> None:
        self._parameters = run.parameters
        self.arrays = [p._data for p in run.parameters]  # what fits, as far as is known
        self._shape = run.shape
        self._nested = is_nested(run.shape)
        # A plain tuple, as most are, is laid out by its places.
        flat = type(run.shape) is tuple and not any(map(is_nested, run.shape))
        self._places = [i for i, x in enumerate(run.shape) if x is HOLE] if flat else None
        self._plain = [i for i, x in enumerate(run.results) if type(x) is np.ndarray or x not in values]
        remembering.add(self)

    def fitting(self) -> list[Any] | None:
        """The parameters' data, if they still have the shapes and dtypes that they had."""
        now = [p._data for p in self._parameters]
        if not all(map(operator.is_, now, self.arrays)):
            if not all(map(_alike, now, self.arrays)):
                return None
            self.arrays = now
        return now

    def as_returned(self, result: Any) -> Any:
        """A result of the function itself, called with floats as Values, as a program gives it back."""
        holes = taken_out(result, self._shape)
        if holes is None:  # another branch
            return result
        for i in self._plain:
            if type(holes[i]) is Value:
                holes[i] = holes[i]._data
        return filled_in(self._shape, holes)

    def returned(self, results: list[Any]) -> Any:
        """The results of a call, laid out as the function does; those that are no Values without compiling are none."""
        for i in self._plain:
            x = results[i]
            results[i] = x._data if type(x) is Value else x.copy() if type(x) is np.ndarray else x
        if self._places is not None:
            laid_out = list(self._shape)
            for place, x in zip(self._places, results):
                laid_out[place] = x
            return tuple(laid_out)
        return filled_in(self._shape, results) if self._nested else results[0]


def _alike(a: Any, b: Any) -> bool:
    """Whether two plain data are numbers both, or arrays of one shape and dtype."""
    if type(a) is not np.ndarray or type(b) is not np.ndarray:
        return type(a) is type(b)
    return a.shape == b.shape and bool(a.dtype == b.dtype)


def values_of(run: Run) -> set[Any]:
    """What would be Values without compiling: parameters, Values made inside, and what is computed from them."""
    leaves = {x for node in run.nodes for x in node.inputs if type(x) is Value and not x.inputs}
    given = {*run.arguments, *(leaf for leaf, _ in run.recorder.draws)}
    leaves.update(x for x in run.results if type(x) is Value and not x.inputs)
    values = leaves.difference(given).union(run.wanted)
    for node in run.nodes:
        op: Any = node.op
        partials = op.partials * len(node.inputs) if op.variadic else op.partials
        if any(type(x) is Value and x in values and d is not None for x, d in zip(node.inputs, partials)):
            values.add(node)
    return values


def _is_small_whole(x: Any) -> bool:
    data = x._data if type(x) is Value else x
    return type(data) is np.ndarray and data.dtype.kind in "iu" and data.dtype.itemsize < 8


def plain(x: Any) -> Any:
    """An argument as a program takes it: the data of a Value; whole numbers in arrays stay such."""
    if type(x) is Value:
        return x._data
    return x if type(x) is np.ndarray and x.ndim else constant(x)


def _native(data: Any) -> Any:
    """Data in this machine's byte order, as gradients are."""
    return data if type(data) is float or data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
