"""Graphs die by reference counting alone, training holds constant memory, and threads do not disturb one another."""

import contextlib
import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_wb as wb

V = wb.Value


def network(seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(4, 8), (8,), (8, 3), (3,)]
    parameters = [V(rng.normal(size=s) * 0.5) for s in shapes]
    x, labels = rng.normal(size=(16, 4)), rng.integers(0, 3, 16)
    return parameters, x, labels


def step(parameters, x, labels, rate=0.05):
    w1, b1, w2, b2 = parameters
    hidden = wb.tanh(wb.affine(x, w1, b1))
    loss = wb.cross_entropy(hidden @ w2 + b2, labels) + 1e-3 * (w1 * w1).sum()
    loss.backward()
    for p in parameters:
        p.data -= rate * p.grad
        p.grad = None
    return loss.data


def scalar_step(parameters):
    a, b, c = parameters
    total = 0.0
    for x in (-1.0, 0.5, 2.0):
        guess = wb.relu(a * x + b) * c - x / 3.0
        total = total + (guess - 1.0) ** 2 + wb.sigmoid(guess)
    total.backward()
    for p in parameters:
        p.data = p.data - 0.001 * p.grad
        p.grad = None
    return total.data


def recorded_step(parameters, x, labels):
    w1 = parameters[0]
    loss = wb.tanh(x @ w1).sum()
    loss.backward(record=True)
    norm = wb.square(w1.grad).sum()
    w1.grad = None
    norm.backward()
    w1.data -= 1e-4 * w1.grad
    w1.grad = None


def functional_step(parameters, x, labels):
    w1 = parameters[0].data
    wb.grad(lambda w: wb.tanh(x @ w).sum())(w1)
    wb.hvp(lambda w: wb.tanh(x @ w).sum())(w1, w1)


GRAPHS = {
    "scalars": lambda: (V(2.0), lambda v: wb.tanh(v * 3.0) / (v + 1.0)),
    "arrays": lambda: (V([1.0, 2.0]), lambda v: wb.softmax(wb.affine(v, np.eye(2), v)).sum() + wb.stack([v, v]).mean()),
    "options": lambda: (
        V([[1.0, 2.0]]),
        lambda v: wb.cross_entropy(v, [1]) + v[0, ::-1].sum() + wb.concatenate([v, v]).var(),
    ),
}


@pytest.mark.parametrize("after", ["nothing", "backward", "backward twice", "record", "stale", "error"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_is_freed_by_reference_counting(no_collector, graph, after):
    leaf, build = GRAPHS[graph]()
    middle = leaf * 2.0
    gone = [weakref.ref(middle)]
    loss = build(middle)
    gone.append(weakref.ref(loss))
    if after.startswith("backward"):
        loss.backward()
    if after == "backward twice":
        loss.backward()
    if after == "record":
        loss.backward(record=True)
        gone.append(weakref.ref(leaf.grad))
        leaf.grad = None
        middle.grad = loss.grad = None
    if after == "stale":
        leaf.data = leaf.data
        with pytest.raises(wb.StaleGraphError):
            loss.backward()
    if after == "error":
        with pytest.raises(wb.ShapeError):
            loss.backward(seed=[1.0, 2.0])
    gc.collect()  # what the test machinery itself made
    del middle, loss
    assert all(ref() is None for ref in gone)
    assert gc.collect() == 0


@pytest.mark.parametrize(
    "work",
    [step, recorded_step, functional_step, lambda p, x, y: scalar_step(SCALARS)],
    ids=["net", "record", "grad", "scalars"],
)
def test_two_thousand_steps_hold_memory_constant(no_collector, work):
    parameters, x, labels = network()
    tracemalloc.start()
    try:
        for _ in range(2500):  # CPython keeps up to 2,000 freed tuples of each size (a collection would drop them)
            work(parameters, x, labels)
        objects, (before, _) = len(gc.get_objects()), tracemalloc.get_traced_memory()
        for _ in range(2000):
            work(parameters, x, labels)
        after, _ = tracemalloc.get_traced_memory()
        assert len(gc.get_objects()) - objects < 20
    finally:
        tracemalloc.stop()
    assert after - before < 4096
    assert gc.collect() == 0


SCALARS = [V(0.3), V(0.2), V(0.9)]


def train(seed, steps=150):
    parameters, x, labels = network(seed)
    losses = [step(parameters, x, labels) for _ in range(steps)]
    scalars = [V(0.3 + seed), V(0.2), V(0.9)]
    losses += [scalar_step(scalars) for _ in range(steps)]
    return losses, [p.data for p in parameters] + [p.data for p in scalars]


def test_threads_training_at_once_give_the_bits_of_one_at_a_time():
    seeds = range(6)
    alone = [train(seed) for seed in seeds]
    together, errors = {}, []
    start = threading.Barrier(len(seeds))

    def run(seed):
        try:
            start.wait()
            together[seed] = train(seed)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for seed in seeds:
        losses, data = alone[seed]
        assert together[seed][0] == losses
        for a, b in zip(together[seed][1], data, strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_in_one_thread_while_another_evaluates_without_recording():
    expected, stop, wrong = train(1), threading.Event(), []

    def evaluate():
        v = V([1.0, 2.0])
        while not stop.is_set():
            with wb.no_grad():
                if (v * 2.0).op is not None:
                    wrong.append("recorded inside no_grad")
            if (v * 2.0).op is None:
                wrong.append("not recorded outside no_grad")

    threads = [threading.Thread(target=evaluate) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        losses, data = train(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert losses == expected[0]
    for a, b in zip(data, expected[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_thread_that_dies_inside_no_grad_leaves_nothing_behind():
    def die():
        with contextlib.suppress(SystemExit), wb.no_grad():
            raise SystemExit

    for _ in range(20):
        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
    seen = []
    thread = threading.Thread(target=lambda: seen.append((V(1.0) * 2.0).op is not None))
    thread.start()
    thread.join()
    assert seen == [True]
    assert not wb.recording.paused


def test_building_an_optimizer_keeps_freed_memory_for_the_next_step():
    wb.memory.keep_freed_memory.cache_clear()
    wb.SGD([wb.Value(1.0)])
    assert wb.memory.keep_freed_memory.cache_info().currsize == 1
