"""Several arrays as one: parameters side by side in one buffer, so that all change in one NumPy call."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import sys
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Together", "address", "handed_out", "joined", "remembering", "side_by_side", "together"]


def address(a: Any) -> int:
    """Where an array's numbers begin in memory."""
    return a.__array_interface__["data"][0]  # type: ignore[no-any-return]


def side_by_side(shapes: Sequence[tuple[int, ...]], dtype: Any) -> tuple[Any, list[Any]]:
    """A new buffer, and in it an array of each shape, one after another."""
    sizes = [math.prod(shape) for shape in shapes]
    buffer = np.zeros(sum(sizes), dtype)
    ends = np.cumsum(sizes)
    return buffer, [buffer[e - n : e].reshape(s) for e, n, s in zip(ends, sizes, shapes, strict=True)]


def together(parameters: Sequence[Value], known: int) -> bool:
    """Put the arrays of ``parameters`` side by side, those of each dtype in a buffer; whether they stand so now.

    An array that is held by others than its parameter and ``known`` ones stays where it is, and those of its dtype with
    it: whoever holds it may mean to change it.
    """
    groups: dict[Any, list[Value]] = defaultdict(list)
    for p in parameters:
        if type(p._data) is np.ndarray:
            groups[p._data.dtype].append(p)
    done = True
    for dtype, group in groups.items():
        if len(group) > 1 and joined([p._data for p in group]) is None:
            if any(sys.getrefcount(p._data) > ALONE + known for p in group):
                done = False
                continue
            buffer, views = side_by_side([p._data.shape for p in group], dtype)
            _views[id(buffer)] = len(views), weakref.ref(buffer, functools.partial(_forget, id(buffer)))
            for p, view in zip(group, views, strict=True):
                view[...] = p._data
                p._data = view  # the same numbers: no new tick
    return done


# How often an array is counted that nothing but a Value holds.
_nobody_elses = Value(np.zeros(1))
ALONE = sys.getrefcount(_nobody_elses._data)


# -- who else holds a parameter's array ------------------------------------------------------------------------------

# Objects of the package that remember arrays of parameters, in ``arrays``, and buffers or parts of them, in ``blocks``.
remembering: weakref.WeakSet[Any] = weakref.WeakSet()
_views: dict[int, tuple[int, Any]] = {}  # how many views of a buffer were made, by the buffer's identity


def _forget(key: int, _: Any) -> None:
    _views.pop(key, None)


def handed_out(parameter: Value) -> bool:
    """Whether others than the package hold the array of a parameter, or a part of it: they may write to it.

    ``parameter.data`` hands it out.
    """
    array = parameter._data
    if type(array) is not np.ndarray:
        return False
    known = sum(x is array for one in remembering for x in one.arrays)
    count, count_of_base = _counts(parameter)
    if count > _ALONE[0] + known:
        return True
    base = array.base
    if base is None:
        return False
    views, _ = _views.get(id(base), (None, None))
    blocks = sum(x is base or x.base is base for one in remembering for x in one.blocks)
    return views is None or count_of_base > _ALONE[1] + views + blocks


def _counts(parameter: Value) -> tuple[int, int]:
    """How often its array is held, and the buffer that this is a view of."""
    array = parameter._data
    base = array.base
    return sys.getrefcount(array), sys.getrefcount(base)


_sample = Value(np.zeros(2))
_buffer, (_sample._data,) = side_by_side([(2,)], np.float64)
del _buffer
# Of a parameter that nobody else knows: of the base, without the view.
_ALONE = _counts(_sample)[0] + 1, _counts(_sample)[1] - 1


def joined(arrays: Sequence[Any]) -> tuple[Any, list[slice]] | None:
    """The stretch of a buffer that ``arrays`` fill without gaps, in whatever order, and where each stands in it.

    None if they don't.
    """
    first = arrays[0]
    base = first.base if type(first) is np.ndarray else None
    if type(base) is not np.ndarray or base.ndim != 1 or base.dtype != first.dtype:
        return None
    start = address(base)
    spans = []
    for a in arrays:
        if type(a) is not np.ndarray or a.base is not base or not a.flags.c_contiguous:
            return None
        begin = (address(a) - start) // a.itemsize
        spans.append(slice(begin, begin + a.size))
    ordered = sorted(spans, key=lambda span: span.start)
    if any(before.stop != after.start for before, after in itertools.pairwise(ordered)):
        return None
    begin = ordered[0].start
    return base[begin : ordered[-1].stop], [slice(span.start - begin, span.stop - begin) for span in spans]


BLOCK = 1 << 16  # elements: what is computed from so many is still in the processor's cache when it is used


class Together:
    """An optimizer's view of its parameters as one array, while they and their gradients stand side by side.

    ``apart`` is the optimizer's memory of each parameter; while they are together, it is kept for blocks instead.
    """

    def __init__(self, parameters: Sequence[Value], apart: Sequence[dict[str, Any]]) -> None:
        remembering.add(self)
        self.parameters = parameters
        self.apart = apart
        self._blocks: list[tuple[Any, slice, dict[str, Any]]] = []  # weights, where they stand, and the memory of them
        self._arrays: list[Any] = []  # the parameters' arrays that the blocks are of
        self._spans: list[slice] = []
        # Gradients that were seen to stand side by side. Not held: who holds none of them any more may reuse them.
        self._known: list[tuple[list[weakref.ref[Any]], slice | None]] = []

    @property
    def arrays(self) -> Sequence[Any]:
        """The parameters' arrays that it remembers."""
        return self._arrays

    @property
    def blocks(self) -> Sequence[Any]:
        """The parts of a buffer that it holds."""
        return [weights for weights, _, _ in self._blocks]

    def gradients(self, each: list[Any]) -> Any:
        """All gradients as one array, in the order of the weights; None if they have to be taken one by one."""
        if (
            len(each) > 1
            and type(each[0]) is np.ndarray
            and (base := each[0].base) is not None
            and self._stand_together()
        ):
            for known, span in self._known:
                if all(map(operator.is_, map(operator.call, known), each)):
                    return base if span is None else base[span]
            found = joined(each)
            if found is not None and found[1] == self._spans:
                whole = found[0]
                begin = (address(whole) - address(base)) // whole.itemsize
                span = None if whole.size == base.size else slice(begin, begin + whole.size)
                self._known = [*self._known[-2:], ([weakref.ref(g) for g in each], span)]
                return whole
        self.separate()
        return None

    def memories(self) -> Sequence[dict[str, Any]]:
        """What is remembered, wherever it is kept now."""
        return [memory for _, _, memory in self._blocks] or self.apart

    def step(self, gradients: Any, change: Callable[..., Any], rate: float) -> None:
        """Let all weights fall by what ``change`` says, block by block."""
        if len(self._blocks) == 1:
            ((weights, _, memory),) = self._blocks
            weights -= change(weights, gradients, memory, rate)
            return
        for weights, span, memory in self._blocks:
            np.subtract(weights, change(weights, gradients[span], memory, rate), out=weights)

    def _stand_together(self) -> bool:
        arrays = [p._data for p in self.parameters]
        if self._arrays and all(map(operator.is_, arrays, self._arrays)):
            return True
        self.separate()
        found = joined(arrays)
        if found is None:
            return False
        whole, self._spans = found
        self._arrays = arrays
        cuts = [slice(i, i + BLOCK) for i in range(0, whole.size, BLOCK)]
        self._blocks = [(whole[cut], cut, defaultdict(float)) for cut in cuts]
        for name in {name for memory in self.apart for name in memory}:
            remembered = np.zeros_like(whole)
            for span, memory in zip(self._spans, self.apart, strict=True):
                remembered[span] = np.ravel(memory[name])
            for _, cut, block in self._blocks:
                block[name] = remembered[cut]
        return True

    def separate(self) -> None:
        """Give each parameter its part of the memory back."""
        for name in self._blocks[0][2] if self._blocks else ():
            remembered = np.concatenate([block[name] for _, _, block in self._blocks])
            for span, array, memory in zip(self._spans, self._arrays, self.apart, strict=True):
                memory[name] = remembered[span].reshape(array.shape)
        self._blocks, self._arrays, self._known = [], [], []
