"""`find_learning_rate`: what it finds, when it stops, and that it leaves no trace."""

import math

import numpy as np
import pytest

import tinygrad_wb as wb

X, Y = wb.datasets.moons(100, seed=0)


class Net(wb.Module):
    """All that could be left changed: running means, random layers, kept numbers, a scalar, two dtypes."""

    kept = ("mean", "batches")

    def __init__(self):
        self.hidden = wb.Dense(2, 8, "tanh", seed=1, dtype="float32")
        self.norm = wb.BatchNorm(8)
        self.drops = [wb.Dropout(0.3, seed=2), wb.Dropout(0.2, seed=np.random.Generator(np.random.MT19937(3)))]
        self.out = wb.Dense(8, 2, seed=4)
        self.scale = wb.Value(1.5)
        self.mean, self.batches = np.zeros(2), 0

    def forward(self, x):
        for drop in self.drops:
            x = drop(x)
        return self.out(self.norm(self.hidden(x))) * self.scale


def told(model, optimizer):
    """All that there is to change, as bytes."""
    optimizer.separate()
    gradients = [None if p.grad is None else np.asarray(p.grad).tobytes() for p in model.parameters()]
    return {
        "state": [(name, type(slot.read()), np.asarray(slot.read()).tobytes()) for name, slot in model.state()],
        "gradients": gradients,
        "memory": [sorted((word, np.asarray(x).tobytes()) for word, x in m.items()) for m in optimizer.memory],
        "settings": {k: v for k, v in vars(optimizer).items() if k not in ("parameters", "memory", "_together")},
        "generators": [str(drop.rng.bit_generator.state) for drop in getattr(model, "drops", [])],
        "modes": [module.training for _, module in model.named_modules()],
    }


def find(model, optimizer, loss="cross_entropy", data=(X, Y), **options):
    return wb.find_learning_rate(model, *data, loss=loss, optimizer=optimizer, seed=0, **options)


def worked():
    """A model that has learnt a little, and its optimizer; the gradients of the last batch still there."""
    model = Net().eval()
    optimizer = wb.Adam(model.parameters(), wb.CosineDecay(0.01, 100), clip_norm=0.5)
    wb.fit(model, X, Y, loss="cross_entropy", optimizer=optimizer, epochs=2, seed=0, progress=False)
    return model, optimizer


# -- no trace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [True, False], ids=["learnt already", "fresh"])
def test_everything_is_as_it_was_bit_for_bit(ready):
    model = Net()
    model, optimizer = worked() if ready else (model, wb.SGD(model.parameters(), momentum=0.9))
    before, arrays = told(model, optimizer), [p.grad for p in model.parameters()]
    stood = np.random.get_state()[1].tolist()  # noqa: NPY002
    found = find(model, optimizer, steps=30)
    assert len(found.rates) > 10
    assert told(model, optimizer) == before
    assert all(p.grad is g for p, g in zip(model.parameters(), arrays, strict=True))
    assert np.random.get_state()[1].tolist() == stood  # noqa: NPY002


def test_training_goes_on_as_if_nothing_had_been():
    ends = []
    for search in (False, True):
        model, optimizer = worked()
        if search:
            find(model, optimizer)
        wb.fit(model, X, Y, loss="cross_entropy", optimizer=optimizer, epochs=2, seed=1, progress=False)
        ends.append(told(model, optimizer))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("step", [0, 1, 7])
def test_also_after_an_exception(step):
    model, optimizer = worked()
    before = told(model, optimizer)

    class Fails(type(optimizer)):
        calls = 0

        def change(self, w, g, memory, rate):
            Fails.calls += 1
            if Fails.calls > 12 * step + 3:
                raise ZeroDivisionError("in the midst of a step")
            return super().change(w, g, memory, rate)

    optimizer.__class__ = Fails
    with pytest.raises(ZeroDivisionError):
        find(model, optimizer)
    optimizer.__class__ = wb.Adam
    assert told(model, optimizer) == before


def test_weights_that_became_nan_come_back():
    model = wb.MLP(2, [8], 2, seed=0)
    optimizer = wb.SGD(model.parameters(), 0.1)
    before = told(model, optimizer)
    found = find(lambda x: model(x) * 1e3, optimizer, lowest=1e200, highest=1e300)
    assert all(map(math.isfinite, found.losses))
    assert told(model, optimizer) == before


def test_the_comparison_sees_a_change():
    """What the tests above are worth: each part changes, when nothing puts it back."""
    model, optimizer = worked()
    before = told(model, optimizer)
    wb.fit(model, X, Y, loss="cross_entropy", optimizer=optimizer, progress=False)
    after = told(model, optimizer)
    assert {name for name in before if after[name] != before[name]} >= {
        "state", "gradients", "memory", "settings", "generators"
    }  # fmt: skip


def test_a_model_that_is_a_function_and_draws_for_itself():
    w, rng = wb.Value(np.zeros((2, 2))), np.random.default_rng(0)

    def model(x):
        return (x + 0.01 * rng.normal(size=np.shape(x))) @ w

    optimizer = wb.SGD([w])
    stood = str(rng.bit_generator.state)
    find(model, optimizer)
    assert str(rng.bit_generator.state) == stood
    np.testing.assert_array_equal(w.data, 0.0)


# -- what it finds --------------------------------------------------------------------------------------------------------


def parabola(**options):
    """loss = (w - 1)² of one number: a step at rate η takes w - 1 times 1 - 2η."""
    w = wb.Value(0.0)
    found = wb.find_learning_rate(
        lambda x: x * w, np.ones(8), np.ones(8), loss="mean_squared_error", optimizer=wb.SGD([w]), seed=0, **options
    )
    return w, found


def test_losses_are_those_before_each_step_at_the_rates():
    w, found = parabola(lowest=1e-3, highest=10.0, steps=50)
    assert w.data == 0.0
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 10.0, 50)[: len(found.rates)])
    distance = np.cumprod([1.0, *(1.0 - 2.0 * rate for rate in found.rates[:-1])])
    np.testing.assert_allclose(found.losses, distance**2, rtol=1e-9, atol=1e-300)


def test_it_stops_early_when_the_loss_explodes():
    _, found = parabola(lowest=1e-3, highest=1e6, steps=100)
    assert len(found.rates) < 60
    assert found.rates[-1] < 100.0


def test_a_nan_ends_it_and_is_not_among_the_losses():
    calls = [0]

    def loss(prediction, y):
        calls[0] += 1
        return wb.mean_squared_error(prediction, y) * (math.nan if calls[0] > 20 else 1.0)

    model = wb.Dense(2, 1, seed=0)
    found = find(model, wb.SGD(model.parameters()), loss, (X, Y[:, None]), highest=1e-3)
    assert len(found.losses) == len(found.rates) == len(found.smoothed) == 20


def test_losses_below_0_do_not_end_it():
    """4 times a smallest loss of -2 would be lower than that."""
    w = wb.Value(0.0)
    optimizer = wb.SGD([w])
    found = wb.find_learning_rate(
        lambda x: x * w, np.ones(8), np.ones(8), loss=lambda p, y: wb.mean_squared_error(p, y) - 2.0,
        optimizer=optimizer, highest=0.1, seed=0,
    )  # fmt: skip
    assert len(found.rates) == 100


def test_the_suggestion_is_where_the_smoothed_loss_falls_most_steeply():
    rates = np.geomspace(1e-6, 10.0, 100).tolist()
    falls = [2.0 - 1.5 / (1.0 + (1e-2 / rate) ** 2) + 5.0 * min(rate, 1.0) ** 4 for rate in rates]
    assert wb.LearningRates(rates, falls).suggestion == pytest.approx(1e-2, rel=0.3)
    noise = np.random.default_rng(0).normal(0.0, 0.1, 100)
    assert 2e-3 < wb.LearningRates(rates, (np.array(falls) + noise).tolist()).suggestion < 5e-2
    assert wb.LearningRates(rates, [2.0 + rate for rate in rates]).suggestion is None
    assert wb.LearningRates([1.0], [2.0]).suggestion is None


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_smoothing_keeps_a_straight_line(noise):
    line = 3.0 - 0.02 * np.arange(100) + noise * np.random.default_rng(0).normal(size=100)
    found = wb.LearningRates(np.geomspace(1e-6, 10.0, 100).tolist(), line.tolist())
    np.testing.assert_allclose(found.smoothed, 3.0 - 0.02 * np.arange(100), atol=1e-9 + noise)


@pytest.mark.parametrize("optimizer", [wb.SGD, wb.Adam])
def test_training_at_the_suggestion_beats_a_tenth_and_ten_times_of_it(optimizer):
    x, y, _, _ = wb.datasets.digits()
    losses = []
    for factor in (0.1, 1.0, 10.0):
        model = wb.MLP(64, [32], 10, seed=0)
        steps = optimizer(model.parameters())
        steps.learning_rate = factor * find(model, steps, data=(x, y)).suggestion
        history = wb.fit(model, x, y, loss="cross_entropy", optimizer=steps, epochs=3, seed=0, progress=False)
        losses.append(history["loss"][-1])
    assert losses[1] == min(losses)


def test_it_repeats_itself_and_says_what_it_found():
    model = wb.MLP(2, [8], 2, seed=0)
    optimizer = wb.Adam(model.parameters())
    first, second = find(model, optimizer), find(model, optimizer)
    assert first.losses == second.losses
    assert repr(first) == (
        f"<LearningRates: {len(first.rates)} from 1e-06 to {first.rates[-1]:.3g}, suggestion {first.suggestion:.3g}>"
    )


def test_fewer_rows_than_a_batch():
    model = wb.MLP(2, [8], 2, seed=0)
    assert len(find(model, wb.SGD(model.parameters()), data=(X[:5], Y[:5]), steps=12, highest=0.1).losses) == 12


# -- the picture ----------------------------------------------------------------------------------------------------------


def test_the_picture_marks_the_suggestion():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; [plot] has it").use("Agg")
    from matplotlib import pyplot as plt

    model = wb.MLP(2, [8], 2, seed=0)
    found = find(model, wb.Adam(model.parameters()))
    ax = found.plot()
    raw, smooth, mark = ax.get_lines()
    np.testing.assert_array_equal(raw.get_xydata(), np.column_stack([found.rates, found.losses]))
    np.testing.assert_array_equal(smooth.get_ydata(), found.smoothed)
    assert mark.get_xdata() == [found.suggestion]
    assert ax.get_xscale() == "log"
    plt.close("all")


# -- what it refuses ------------------------------------------------------------------------------------------------------

REFUSED = {
    "no optimizer": ({"optimizer": 0.1}, TypeError, "find_learning_rate: optimizer must be an optimizer"),
    "rates": ({"lowest": 1.0, "highest": 0.1}, ValueError, "0 < lowest < highest, got 1.0, 0.1"),
    "a rate that is no number": ({"lowest": "small"}, ValueError, "0 < lowest < highest, got 'small', 10.0"),
    "a rate of 0": ({"lowest": 0.0}, ValueError, "0 < lowest < highest"),
    "an endless rate": ({"highest": math.inf}, ValueError, "0 < lowest < highest"),
    "steps": ({"steps": 0}, ValueError, "steps must be a positive whole number, got 0"),
    "batches": ({"batch_size": 2.5}, ValueError, "batch_size must be a positive whole number"),
    "rows": ({"y": Y[:5]}, ValueError, "find_learning_rate: x and y need one row for each example"),
    "a loss": ({"loss": "cross"}, ValueError, "unknown loss 'cross': did you mean 'cross_entropy'"),
    "targets": ({"loss": "hinge_loss"}, ValueError, "find_learning_rate: hinge_loss takes targets -1 and 1"),
    "nan": ({"loss": lambda p, y: wb.sum(p) * math.nan}, ValueError, "the loss is nan before any step"),
}


@pytest.mark.parametrize(("options", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_call_says_why_and_changes_nothing(options, error, message):
    model = wb.MLP(2, [8], 2, seed=0)
    optimizer = wb.SGD(model.parameters())
    before = told(model, optimizer)
    given = {"x": X, "y": Y, "loss": "cross_entropy", "optimizer": optimizer} | options
    with pytest.raises(error) as raised:
        wb.find_learning_rate(model, given.pop("x"), given.pop("y"), **given)
    assert message in str(raised.value)
    assert told(model, optimizer) == before
