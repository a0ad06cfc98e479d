"""Where results stand: how long each is needed (liveness), and which memory it gets (buffer assignment).

Arrays live in buffers that are handed on as soon as nothing needs their contents any more. An elementwise operation may
write over its own input, or over the memory that its input is a view of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.compiling.plan import Step
from tinygrad_wb.compiling.strides import VIEWS, axes_in_memory, lying_as
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tinygrad_wb.compiling.tiling import Tiles

__all__ = ["Demand", "Liveness", "Memory", "assign_buffers", "liveness"]


@dataclass(frozen=True)
class Liveness:
    """How often each step is read, by other steps and by the caller; and whose memory its result stands in.

    ``owner`` of a view is the step whose memory it shows, of any other step the step itself. ``results`` are returned,
    as arrays that the caller may keep; ``targets`` are written into arrays of the caller's.
    """

    uses: Counter[Step]
    owner: Mapping[Step, Step]
    results: frozenset[Step]
    targets: frozenset[Step]

    @property
    def outputs(self) -> frozenset[Step]:
        """What the caller gets."""
        return self.results | self.targets


def liveness(
    steps: Iterable[Step], results: Sequence[Any], targets: Sequence[Any], conditions: Sequence[Any]
) -> Liveness:
    """How long the results of ``steps`` are needed, where the caller gets some, and conditions are looked at."""
    uses = Counter(x for step in steps for x in step.inputs if type(x) is Step)
    uses.update(x for x in (*results, *targets, *conditions) if type(x) is Step)
    owner: dict[Step, Step] = {}
    for step in steps:
        base = step.inputs[0] if step.op.name in VIEWS else None
        owner[step] = owner[base] if type(base) is Step and not base.number else step
    returned, filled = (frozenset(x for x in ends if type(x) is Step) for ends in (results, targets))
    return Liveness(uses, owner, returned, filled)


class Demand(NamedTuple):
    """What an operation asks of the memory for its result.

    Its axes lie in order ("C"), or as NumPy itself would lay them ("K"). With ``in_place`` it may be an input's memory.
    """

    order: str = "C"
    in_place: bool = False


@dataclass(frozen=True)
class Memory:
    """The memory of each result that has some which never moves, views included.

    ``direct`` are the steps that write into the caller's array. All others make new arrays. ``varying`` are the leaves
    whose arrays the caller gives.
    """

    varying: frozenset[Value]
    arrays: dict[Step, Any] = field(default_factory=dict)
    direct: set[Step] = field(default_factory=set)

    def has(self, step: Step) -> bool:
        """Whether a step's result is written into memory that is there already."""
        return step in self.arrays or step in self.direct

    def of(self, x: Any) -> Any:
        """The array that ``x``, a step or a leaf, always stands in; None if it stands in another each time."""
        if type(x) is Step:
            return self.arrays.get(x)
        return x._data if type(x) is Value and x not in self.varying else None


def assign_buffers(
    groups: Iterable[Sequence[Step]],
    tiles: Mapping[Step, Tiles],
    live: Liveness,
    varying: Iterable[Value],
    demand: Callable[[Step, Memory], Demand | None],
) -> Memory:
    """Memory for the results of all steps.

    ``tiles`` are known by the first step of a group. ``demand`` says what a step asks for, given the memory of its
    inputs; None if its result is a new array.
    """
    buffers = _Buffers(live, frozenset(varying))
    for group in groups:
        cut = tiles.get(group[0])
        local = cut.memory if cut else ()
        for step in group:
            if step.number or step in local:
                continue
            if step.op.name in VIEWS:
                buffers.look(step)
            elif step not in live.results and (asked := demand(step, buffers.memory)) is not None:
                buffers.place(step, asked)
        # A group as a whole: all its steps run again for the next tile, and may read an array in other places.
        for step in group:
            for x in step.inputs:
                if type(x) is Step and not x.number:
                    buffers.release(x)
    return buffers.memory


class _Buffers:
    """The state of the assignment: what is in use, what is free."""

    def __init__(self, live: Liveness, varying: frozenset[Value]) -> None:
        self.memory = Memory(varying)
        self.live = live
        self.pending: Counter[Step] = Counter()  # uses to come of what stands in a step's memory
        for step, uses in live.uses.items():
            if not step.number:
                self.pending[live.owner[step]] += uses
        self.base: dict[Step, Any] = {}  # the row of memory that a step's buffer is
        self.seen: dict[int, list[Any]] = {}  # how each row has been seen so far
        self.free: dict[Any, list[Any]] = defaultdict(list)
        self.given_away: set[Step] = set()  # steps whose buffer another step writes over

    def place(self, step: Step, asked: Demand) -> None:
        """The caller's array, an input that nothing needs afterwards, or a buffer."""
        if step in self.live.targets:
            self.memory.direct.add(step)
            return
        axes = axes_in_memory(step.data) if asked.order == "K" else tuple(range(step.data.ndim))
        for x in step.inputs if asked.in_place else ():
            if self._dies_in(step, x) and axes_in_memory(self.memory.arrays[x]) == axes:
                owner = self.live.owner[x]
                self.given_away.add(owner)
                self._stand(step, self.memory.arrays[x], self.base[owner])
                return
        free = self.free[step.data.dtype, step.data.size]
        base: Any = free.pop() if free else np.empty(step.data.size, step.data.dtype)
        view = lying_as(base, step.data.shape, axes)
        alike = [a for a in self.seen.get(id(base), ()) if (a.shape, a.strides) == (view.shape, view.strides)]
        self._stand(step, alike[-1] if alike else view, base)

    def _stand(self, step: Step, array: Any, base: Any) -> None:
        self.memory.arrays[step], self.base[step] = array, base
        seen = self.seen.setdefault(id(base), [])
        if not any(a is array for a in seen):
            seen.append(array)

    def look(self, step: Step) -> None:
        """A view of memory that never moves never moves either."""
        memory = self.memory.arrays.get(step.inputs[0])
        if memory is not None:
            view = VIEWS[step.op.name](memory, **step.options)
            if np.shares_memory(view, memory):
                self.memory.arrays[step] = view

    def _dies_in(self, step: Step, x: Any) -> bool:
        """Whether an input is as large as the result, in a buffer, and nothing needs it afterwards."""
        if type(x) is not Step or x not in self.memory.arrays:
            return False
        owner = self.live.owner[x]
        return (
            self.pending[owner] == sum(i is x for i in step.inputs)
            and x.data.shape == step.data.shape
            and owner.data.size == step.data.size
            and x.data.dtype == owner.data.dtype == step.data.dtype
        )

    def release(self, x: Step) -> None:
        """One use of ``x`` is done; after the last, its buffer is free."""
        owner = self.live.owner[x]
        self.pending[owner] -= 1
        if not self.pending[owner] and owner in self.base and owner not in self.given_away:
            base = self.base[owner]
            self.free[base.dtype, base.size].append(base)
