"""Elementwise work on large arrays, tile by tile: each tile goes through all of it while it is in the cache."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.lowering.elementwise import ELEMENTWISE
from tinygrad_wb.compiling.plan import Step, data_of
from tinygrad_wb.program.trace import is_scalar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tinygrad_wb.compiling.buffers import Liveness

__all__ = ["Tiles", "cut_into_tiles", "fits_tiles"]

TILE = 1 << 16  # elements: what is computed from so many is still in the processor's cache when it is used


@dataclass(frozen=True)
class Tiles:
    """How a group of steps is cut: ``size`` of its ``rows`` at a time.

    ``memory`` holds a tile of what the group alone needs. Results that die make room for later ones.
    """

    rows: int
    size: int
    memory: Mapping[Step, Any]

    @property
    def even(self) -> bool:
        """Whether the last tile is as large as the others."""
        return self.rows % self.size == 0


def fits_tiles(step: Step) -> bool:
    """Whether a step can be done tile by tile, and is worth it."""
    if step.number or step.op.name not in ELEMENTWISE or step.data.size < 8 * TILE or len(step.data) < 8:
        return False
    return all(
        type(x) is float or is_scalar(data := data_of(x)) or data.shape == step.data.shape or data.ndim < step.data.ndim
        for x in step.inputs
    )


def cut_into_tiles(group: Sequence[Step], live: Liveness) -> Tiles:
    """The tiles of a group of elementwise steps of one shape."""
    shape = group[0].data.shape
    rows = shape[0]
    size = _rows_of_a_tile(rows, max(1, TILE // (group[0].data.size // rows)))
    uses = Counter(x for step in group for x in step.inputs if type(x) is Step)
    last = {x: step for step in group for x in step.inputs if type(x) is Step}
    outputs = live.outputs
    memory: dict[Step, Any] = {}
    spare: dict[Any, list[Any]] = defaultdict(list)
    for step in group:
        dtype = step.data.dtype
        place = None
        if uses[step] == live.uses[step] and step not in outputs:
            dying = [x for x in step.inputs if x in memory and last[x] is step and x.data.dtype == dtype]
            if dying:
                place = memory[dying[0]]
            else:
                place = spare[dtype].pop() if spare[dtype] else np.empty((size, *shape[1:]), dtype)
            memory[step] = place
        for x in dict.fromkeys(x for x in step.inputs if type(x) is Step):
            if x in memory and last[x] is step and memory[x] is not place:
                spare[x.data.dtype].append(memory[x])
    return Tiles(rows, size, memory)


def _rows_of_a_tile(rows: int, most: int) -> int:
    """How many rows a tile has: if possible, so many that the last tile is as large as the others."""
    return next((n for n in range(min(most, rows), most // 2, -1) if rows % n == 0), most)
