"""Programs, explanations and pictures of twice as many operations take twice the work, not four times.

No clock is asked: what is counted are the lines of this package that run.
"""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb

PACKAGE = str(Path(wb.__file__).parent)


def lines_run(work):
    """How many lines of the package ``work()`` runs; each turn of a comprehension is one, too."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


# -- graphs of about n operations: a loss, and a Value behind it -------------------------------------------------------


def chain(n):
    y = x = wb.Value(1.0, name="x")
    for _ in range(n):
        y = y * 1.0001
    return y, x


def one_weight(n):
    """A weight that every step reads."""
    w, y = wb.Value(1.0, name="w"), wb.Value(1.0, name="x")
    for _ in range(n // 2):
        y = y * w + 0.5
    return y, w


def wide_sum(n):
    ws = [wb.Value(float(i), name=f"w{i}") for i in range(n // 2)]
    y = wb.Value(0.0)
    for w in ws:
        y = y + w * 2.0
    return y, ws[0]


def neurons(n):
    """Neurons of scalars, as in a network that is written number by number."""
    weights = [[wb.Value(0.1 * i - 0.2 * j) for i in range(5)] for j in range(5)]
    total = wb.Value(0.0)
    for sample in range(n // 65):
        x = [0.1 * sample] * 5
        for row in weights:
            total = total + wb.tanh(sum((w * a for w, a in zip(row, x, strict=True)), 0.0))
    return total, weights[0][0]


def ways(n):
    """Twice as many ways with every second operation."""
    y = x = wb.Value(1.0, name="x")
    for i in range(n):
        y = y + y if i % 2 else y * 0.5
    return y, x


def arrays(n):
    y = w = wb.Value(np.ones((2, 3)), name="w")
    for i in range(n):
        y = y * 1.0001 if i % 2 else wb.tanh(y)
    return wb.sum(y), w


def recurrent(n):
    """A layer that is called again and again."""
    cell = wb.Dense(2, 2, "tanh", seed=0)
    cells.append(cell)  # Values know the modules that made them only as long as there are those
    y = np.ones((1, 2))
    for _ in range(n // 3):
        y = cell(y)
    return wb.sum(y), cell.weight


class Adder(wb.Module):
    def __init__(self):
        self.w = wb.Value(1.0)

    def forward(self, xs):
        total = self.w
        for x in xs:
            total = total + x * self.w
        return total


def given_a_list(n):
    adder = Adder()
    cells.append(adder)
    return adder([wb.Value(1.0) * 2.0 for _ in range(n // 3)]) * 1.0, adder.w


cells = []
GRAPHS = [chain, one_weight, wide_sum, neurons, ways, arrays, recurrent, given_a_list]
WORK = {
    "explain": lambda loss, w: str(wb.explain(loss, w)),
    "program": lambda loss, w: loss.program(),
    "text": lambda loss, w: str(wb.draw(loss)),
    "DOT": lambda loss, w: wb.draw(loss).dot,
    "with layers open": lambda loss, w: str(wb.draw(loss, depth=2)),
    "the ways between two": lambda loss, w: str(wb.draw(loss, path=(loss, w))),
    "backward": lambda loss, w: loss.backward(),
    "backward that records": lambda loss, w: loss.backward(record=True),
}


def ratio(work, make, n):
    """How much more twice the operations take."""
    # Each graph is worked on right after it was made, when arrays are looked at.
    once, twice = (lines_run(functools.partial(work, *make(operations))) for operations in (n, 2 * n))
    return twice / once


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", WORK)
def test_twice_the_operations_are_twice_the_work(name, make):
    make(10)[0].program()  # what is loaded and cached once
    assert ratio(WORK[name], make, 700) < 2.2


@pytest.mark.parametrize("make", [recurrent, wide_sum, given_a_list], ids=lambda make: make.__name__)
@pytest.mark.parametrize("form", ["text", "dot", "mermaid"])
def test_all_of_it_drawn(form, make):
    assert ratio(lambda loss, w: getattr(wb.draw(loss, depth=2, max_nodes=10_000), form), make, 300) < 2.2


def test_many_are_asked_for():
    def work(loss, w):
        wb.draw(loss, highlight=[x for x in loss_leaves(loss) if x.name], max_nodes=10_000)

    assert ratio(work, wide_sum, 300) < 2.2


def loss_leaves(loss):
    """The leaves behind a sum, the last one first."""
    while loss.inputs:
        loss, term = loss.inputs
        yield term.inputs[0]


def test_the_count_is_of_lines():
    """A loop of n turns in n turns is seen: these tests could fail."""

    code = compile(
        "def f(items):\n    return [a for a in items for b in items if a is b]", f"{PACKAGE}/no_file.py", "exec"
    )
    namespace = {}
    exec(code, namespace)
    assert lines_run(lambda: namespace["f"](range(200))) > 3.5 * lines_run(lambda: namespace["f"](range(100)))


# -- counts beyond counting ------------------------------------------------------------------------------------------------


def test_more_ways_than_digits_that_python_prints():
    loss, x = ways(40_000)
    found = wb.explain(loss, x, paths=2)
    assert found.count == 2**20_000
    assert str(found).startswith("∂L/∂x = 1, by about 10^6021 paths from L = loss\n")
    assert str(found).endswith("; about 10^6021 more are left out")
    assert "about 10^6021 ways from the end to the start" in str(wb.draw(loss, path=(loss, x)))


def test_a_path_of_many_edges_is_cut_in_the_middle():
    loss, x = chain(100)
    text = str(wb.explain(loss, x))
    assert text.splitlines()[2].startswith("1. loss ← multiply_99 ← ")
    assert text.splitlines()[2].endswith(" ← multiply_1 ← x")
    assert text.splitlines()[2].count("←") == 24
    assert text.splitlines()[3 + 12] == "   …"
    assert len(text.splitlines()) == 3 + 12 + 1 + 12 + 1


def test_paths_share_what_they_have_in_common():
    """What comes through each is right also where the search has come along the same edges before."""
    x = wb.Value(0.5, name="x")
    y = x
    for _ in range(5):
        y = y * 2.0 + wb.sin(y)
    found = wb.explain(y, x, paths=1000)
    assert found.count == len(found.paths) == 2**5
    assert sum(path.contribution for path in found.paths) == pytest.approx(found.gradient)
    for path in found.paths:
        assert path.contribution == pytest.approx(np.prod([step.local for step in path.steps]))
