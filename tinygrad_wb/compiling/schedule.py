"""A plan in the order in which it is computed, and in the memory that its results stand in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinygrad_wb.compiling.buffers import assign_buffers, liveness
from tinygrad_wb.compiling.fusion import fusion_groups, with_products
from tinygrad_wb.compiling.tiling import cut_into_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tinygrad_wb.compiling.buffers import Demand, Liveness, Memory
    from tinygrad_wb.compiling.plan import Plan, Step
    from tinygrad_wb.compiling.tiling import Tiles
    from tinygrad_wb.value import Value

__all__ = ["Schedule", "make_schedule"]


@dataclass(frozen=True)
class Schedule:
    """What an emitter writes: the ``groups`` of steps, in order, and where their results stand.

    A group of more than one step is computed tile by tile; its ``tiles`` are known by its first step.
    """

    plan: Plan
    groups: list[list[Step]]
    tiles: Mapping[Step, Tiles]
    live: Liveness
    memory: Memory


def make_schedule(
    plan: Plan,
    arguments: Sequence[Value],
    results: Sequence[Any],
    targets: Sequence[Any],
    conditions: Sequence[Any],
    demand: Callable[[Step, Memory], Demand | None],
) -> Schedule:
    """All passes between a plan and its text.

    Args:
        plan: What to compute.
        arguments: Leaves whose numbers are given anew in each call.
        results: Steps, leaves or numbers that are returned, as arrays that the caller may keep.
        targets: Those that are written into arrays of the caller's.
        conditions: Those that are looked at.
        demand: What an emitter asks of the memory for a step's result, see `assign_buffers`.
    """
    steps = with_products(plan.steps)
    groups = fusion_groups(steps)
    live = liveness(steps, results, targets, conditions)
    tiles = {group[0]: cut_into_tiles(group, live) for group in groups if len(group) > 1}
    memory = assign_buffers(groups, tiles, live, arguments, demand)
    return Schedule(plan, groups, tiles, live, memory)
