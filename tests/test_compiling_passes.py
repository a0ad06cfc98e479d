"""The passes behind a compiled function, one by one: what is computed, in which groups, and in which memory."""

import contextlib
import math

import numpy as np
import pytest
from test_compiled_arithmetic import MOVES

import tinygrad_wb as wb
from tinygrad_wb.compiling import tiling
from tinygrad_wb.compiling.emit.numpy import emit
from tinygrad_wb.compiling.lowering.elementwise import ELEMENTWISE
from tinygrad_wb.compiling.lowering.rules import demand
from tinygrad_wb.compiling.plan import Step, make_plan
from tinygrad_wb.compiling.schedule import make_schedule
from tinygrad_wb.program.trace import Trace


def plan_of(loss, *leaves):
    """The plan for a loss and its gradients by ``leaves``."""
    trace = Trace(loss, 1.0 if leaves else None)
    return make_plan(trace, [loss, *(trace.gradients[x] for x in leaves)])


def schedule_of(plan, *leaves, demand=demand):
    """A program that returns the loss, and writes the gradients."""
    loss, *gradients = plan.found
    return make_schedule(plan, leaves, [loss], gradients, [], demand)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def names(steps):
    return [step.op.name for step in steps]


# -- plan -------------------------------------------------------------------------------------------------------------


def test_equal_work_is_one_step():
    x, w = wb.Value(normal(3)), wb.Value(normal(3))
    plan = plan_of(wb.sum(wb.tanh(w * x)) * wb.sum(wb.tanh(w * x) ** 2.0), w)
    assert names(plan.steps).count("tanh") == 1
    y = wb.sum(wb.sum(wb.reshape(wb.tanh(w), (1, 3)), 1) * wb.sum(wb.reshape(wb.tanh(w), (3, 1)), 1))
    assert names(plan_of(y).steps).count("reshape") == 2, "of other options"


def test_only_what_is_wanted_is_computed():
    w = wb.Value(normal(3))
    h = wb.tanh(w)
    trace = Trace(wb.sum(wb.exp(h) * h), 1.0)
    plan = make_plan(trace, [h])
    assert names(plan.steps) == ["tanh"]
    assert plan.found == plan.steps
    assert make_plan(trace, [w, 2.5]).found == [w, 2.5]


def test_a_product_with_one_is_no_step():
    x = wb.Value(normal(3))
    plan = plan_of(wb.sum(x * 1.0 + 2.0))
    assert names(plan.steps) == ["add", "sum"]


# -- fusion and tiles -------------------------------------------------------------------------------------------------


def test_the_sum_of_a_product_is_one_step_however_often_it_is_planned_for():
    x, w = wb.Value(normal(3)), wb.Value(normal(3))
    plan = plan_of(wb.sum(wb.exp(x) * wb.exp(w)))
    for _ in range(2):
        assert [names(group) for group in schedule_of(plan).groups] == [["exp"], ["exp"], ["vdot"]]
    assert emit(plan, [("x", x), ("w", w)], plan.found, [], []).function(x.data, w.data) == pytest.approx(
        [np.exp(x.data) @ np.exp(w.data)]
    )
    h = wb.exp(x) * wb.exp(w)
    for group in schedule_of(plan_of(wb.sum(h) + wb.max(h))).groups:
        assert "vdot" not in names(group), "the product is used otherwise, too"


def test_a_group_is_neighbours_of_one_large_shape(monkeypatch):
    monkeypatch.setattr(tiling, "TILE", 4)
    x = wb.Value(normal(10, 4))
    h = wb.tanh(wb.exp(x)) @ np.eye(4)
    groups = schedule_of(plan_of(wb.sum(wb.sin(wb.cos(h))))).groups
    assert [names(group) for group in groups] == [["exp", "tanh"], ["matmul"], ["cos", "sin"], ["sum"]]
    h, g = wb.exp(x), wb.tanh(wb.Value(normal(12, 4)))
    assert [names(group) for group in schedule_of(plan_of(wb.sum(h) + wb.sum(g))).groups][:2] == [["exp"], ["tanh"]]


def test_tiles_hold_what_lives_for_one_tile_only(monkeypatch):
    monkeypatch.setattr(tiling, "TILE", 4)
    x = wb.Value(normal(12, 4))
    for _ in range(10):
        x = wb.tanh(x * 2.0)
    schedule = schedule_of(plan_of(wb.sum(x)))
    (tiles,) = schedule.tiles.values()
    assert tiles.rows == 12
    assert tiles.size == 1
    assert len({id(array) for array in tiles.memory.values()}) == 1, "each result is written over the one before"
    assert len(tiles.memory) == 19
    assert len(schedule.memory.arrays) == 1, "the last one, which is added up"


# -- memory -----------------------------------------------------------------------------------------------------------


def overlaps(schedule):
    """Pairs of steps of which one is written into memory that is still needed for the other's result."""
    arrays, owner = schedule.memory.arrays, schedule.live.owner
    at = {step: i for i, group in enumerate(schedule.groups) for step in group}
    readers = {step: [] for step in at}
    for step in at:
        for x in step.inputs:
            if type(x) is Step:
                readers[owner[x]].append(step)
    kept = {owner[x] for x in schedule.live.outputs}
    buffers = [step for step in at if step in arrays and owner[step] is step]
    for first in buffers:
        last = math.inf if first in kept else max(at[reader] for reader in readers[first])
        for second in buffers:
            if at[first] <= at[second] <= last and first is not second and not late(schedule, first, second):
                shared = np.may_share_memory(arrays[first], arrays[second])
                over = any(arrays[second] is arrays.get(x) and owner[x] is first for x in second.inputs if x in at)
                alone = sum(at[reader] == at[second] for reader in set(readers[first])) == 1 and at[second] == last
                if shared and not (over and alone and second.op.name in ELEMENTWISE):
                    yield first, second


def late(schedule, first, second):
    """Whether ``second`` comes before ``first``, in the same group."""
    group = next(group for group in schedule.groups if first in group)
    return second in group and group.index(second) < group.index(first)


@pytest.mark.parametrize("seed", range(60))
def test_no_result_is_written_over_while_it_is_needed(seed, monkeypatch):
    if seed % 2:
        monkeypatch.setattr(tiling, "TILE", 1)  # all that has eight rows is done in tiles
    r = np.random.default_rng(seed)
    x = wb.Value(r.normal(size=[(2, 3, 4, 4), (3, 2, 3), (8, 8), (9, 2, 9)][seed % 4]))
    found = [x, wb.tanh(x)]
    for _ in range(10):
        with contextlib.suppress(ValueError, IndexError):
            y = MOVES[r.integers(len(MOVES))](r, found[r.integers(len(found))])
            if 0 < y.size < 2000 and 0 < y.ndim < 6:
                found.append(y)
    schedule = schedule_of(plan_of(sum(wb.sum(wb.sin(y)) for y in found[1:]), x), x)
    assert len(schedule.memory.arrays) > 3
    assert list(overlaps(schedule)) == []


def test_buffers_are_handed_on():
    x = wb.Value(normal(5, 5))
    h = x
    for _ in range(20):
        h = wb.tanh(h @ np.eye(5))
    memory = schedule_of(plan_of(wb.sum(h)), x).memory
    assert len(memory.arrays) == 40
    assert len({id(array) for array in memory.arrays.values()}) == 2


def test_a_view_stands_in_the_memory_that_it_shows():
    x = wb.Value(normal(4, 6))
    schedule = schedule_of(plan_of(wb.sum(wb.exp(x).T[1:] @ np.ones(4))), x)
    exp, *views, _, _ = [step for group in schedule.groups for step in group]
    assert names(views) == ["transpose", "getitem"]
    for view in views:
        assert schedule.live.owner[view] is exp
        assert np.shares_memory(schedule.memory.of(view), schedule.memory.of(exp))
    assert schedule.memory.of(x) is None, "an argument stands in another array each time"


def test_results_are_new_arrays_and_gradients_the_callers():
    x = wb.Value(normal(3))
    h = wb.exp(x)
    trace = Trace(wb.sum(h * h), 1.0)
    plan = make_plan(trace, [h, trace.gradients[x]])
    memory = make_schedule(plan, [x], plan.found[:1], plan.found[1:], [], demand).memory
    assert not memory.has(plan.found[0])
    assert plan.found[1] in memory.direct
    assert memory.of(plan.found[1]) is None


def test_an_emitter_brings_its_own_demands():
    x = wb.Value(normal(4, 6))
    plan = plan_of(wb.sum(wb.exp(wb.tanh(x) @ np.ones((6, 2)))))
    assert schedule_of(plan, x, demand=lambda step, memory: None).memory.arrays == {}
