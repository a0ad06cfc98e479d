"""Learning-rate schedules: from the number of steps taken to η."""

import copy
import math
import pickle

import pytest

import tinygrad_wb as wb

VALUES = {
    "step decay": (wb.StepDecay(0.8, every=3, factor=0.5), [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2]),
    "step decay each step": (wb.StepDecay(1.0, every=1), [1.0, 0.1, 0.01]),
    "cosine": (
        wb.CosineDecay(2.0, steps=4),
        [2.0, 1.0 + math.sqrt(0.5), 1.0, 1.0 - math.sqrt(0.5), 0.0, 0.0, 0.0],
    ),
    "cosine to a floor": (wb.CosineDecay(1.0, steps=2, final=0.2), [1.0, 0.6, 0.2, 0.2]),
    "cosine in one step": (wb.CosineDecay(1.0, steps=1), [1.0, 0.0, 0.0]),
    "warm-up to a number": (wb.WarmUp(4, then=0.8), [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]),
    "warm-up to a schedule": (
        wb.WarmUp(2, then=wb.StepDecay(1.0, every=2, factor=0.5)),
        [0.5, 1.0, 1.0, 1.0, 0.5, 0.5],
    ),
    "warm-up to a function": (wb.WarmUp(1, then=lambda step: 1.0 / (step + 1)), [1.0, 1.0, 0.5]),
    "warm-ups in a row": (wb.WarmUp(2, then=wb.WarmUp(2, then=1.0)), [0.25, 0.5, 0.5, 1.0, 1.0]),
}


@pytest.mark.parametrize(("schedule", "expected"), VALUES.values(), ids=VALUES)
def test_the_rate_of_each_step(schedule, expected):
    assert [schedule(step) for step in range(len(expected))] == pytest.approx(expected, abs=1e-12)


def test_cosine_only_falls_and_stays_within_its_ends():
    rates = [wb.CosineDecay(0.3, steps=50, final=0.01)(step) for step in range(80)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.3
    assert rates[50:] == pytest.approx([0.01] * 30)


@pytest.mark.parametrize(
    "schedule", [wb.StepDecay(0.1, 2), wb.CosineDecay(0.1, 5), wb.WarmUp(2, wb.CosineDecay(0.1, 5))]
)
def test_a_schedule_is_data_it_compares_shows_and_copies(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)
    assert repr(schedule).startswith(f"{type(schedule).__name__}(")
    with pytest.raises(AttributeError):
        schedule.steps = 3


REFUSED = {
    "StepDecay: every must be at least one step, got 0": lambda: wb.StepDecay(0.1, every=0),
    "CosineDecay: steps must be at least 1, got 0": lambda: wb.CosineDecay(0.1, steps=0),
    "CosineDecay: steps must be at least 1, got -5": lambda: wb.CosineDecay(0.1, steps=-5),
    "WarmUp: steps must be at least 1, got 0": lambda: wb.WarmUp(0, then=0.1),
}


@pytest.mark.parametrize(("message", "make"), REFUSED.items())
def test_refused(message, make):
    with pytest.raises(ValueError, match=message):
        make()


def test_fit_takes_a_schedule_by_the_step():
    """A step is a batch: 10 rows in batches of 4 are 3 steps an epoch."""
    seen = []

    def rate(step):
        seen.append(step)
        return 0.1

    model = wb.Dense(1, 1, seed=0)
    x = [[float(i)] for i in range(10)]
    optimizer = wb.SGD(model.parameters(), learning_rate=rate)
    wb.fit(model, x, x, loss="mean_squared_error", optimizer=optimizer, epochs=2, batch_size=4, progress=False)
    assert sorted(set(seen)) == [0, 1, 2, 3, 4, 5]
