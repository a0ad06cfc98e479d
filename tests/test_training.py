"""`fit`, `evaluate`, `History` and callbacks: what they do, what they refuse, and what Ctrl-C leaves behind."""

import contextlib
import copy
import importlib.metadata
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.training.checks import all_pairs, results_of

MOONS = wb.datasets.moons(120, seed=0)
UNSEEN = wb.datasets.moons(60, seed=1)
LINE_X = np.random.default_rng(0).normal(size=(64, 3))
LINE_Y = LINE_X @ [1.0, 2.0, 3.0]


def moons_model(seed=0, **options):
    model = wb.MLP(2, [16], 2, seed=seed, **options)
    return model, wb.Adam(model.parameters(), learning_rate=0.05)


def fit_moons(model, optimizer, data=MOONS, **options):
    options = {"loss": "cross_entropy", "optimizer": optimizer, "progress": False, "seed": 0} | options
    return wb.fit(model, *data, **options)


def weights(model):
    return [np.copy(p.data) for p in model.parameters()]


def same(before, after):
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


class Recorder(wb.Module):
    """A line that remembers every batch it was given, and in which mode."""

    def __init__(self):
        self.w = wb.Value(1.0)
        self.seen = []
        self.modes = []

    def forward(self, x):
        self.seen.append(x[:, 0].tolist())
        self.modes.append(self.training)
        return x[:, 0] * self.w


def fit_recorder(rows=10, **options):
    model = Recorder()
    x = np.arange(float(rows)).reshape(-1, 1)
    options = {"loss": "mean_squared_error", "optimizer": wb.SGD([model.w], 1e-4), "progress": False} | options
    options = {"compile": False} | options  # a replay would not go through `forward`
    return model, wb.fit(model, x, x[:, 0] * 2.0, **options)


def child_environment():
    """For a Python of its own, which must find the same package as this one."""
    env = dict(os.environ)
    try:
        importlib.metadata.distribution("tinygrad_wb")
    except importlib.metadata.PackageNotFoundError:
        env["PYTHONPATH"] = str(Path(wb.__file__).parents[1])
    return env


# -- learning -------------------------------------------------------------------------------------------------------


def test_fit_learns_moons():
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, epochs=40, metrics=["accuracy"], validation=UNSEEN)
    assert history["accuracy"][-1] > 0.97
    assert history["val_accuracy"][-1] > 0.95
    assert history["loss"][-1] < history["loss"][0] / 4.0
    assert np.mean(model(UNSEEN[0]).argmax(axis=1) == UNSEEN[1]) == history["val_accuracy"][-1]


@pytest.mark.parametrize("loss", ["negative_log_likelihood", "kl_divergence"])
def test_fit_learns_by_log_probabilities(loss):
    x, y = wb.datasets.moons(200, seed=0)
    model = wb.Sequential(wb.MLP(2, [16], 2, seed=0), wb.log_softmax)
    targets = np.eye(2)[y] if loss == "kl_divergence" else y
    optimizer = wb.Adam(model.parameters(), 0.05)
    history = wb.fit(
        model, x, targets, loss=loss, optimizer=optimizer, epochs=20, seed=0, metrics=["accuracy"], progress=False
    )
    assert history["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    "loss", ["hinge_loss", "binary_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber"]
)
def test_fit_learns_by_every_loss_with_one_score(loss):
    x, y = MOONS
    y = (2.0 * y - 1.0 if loss == "hinge_loss" else y)[:, None]
    model = wb.MLP(2, [16], 1, seed=0)
    optimizer = wb.Adam(model.parameters(), learning_rate=0.05)
    history = wb.fit(
        model, x, y, loss=loss, optimizer=optimizer, epochs=40, metrics=["accuracy"], seed=0, progress=False
    )
    assert history["loss"][-1] < history["loss"][0] / 3.0
    assert history["accuracy"][-1] >= 0.95


def test_one_batch_is_one_step_of_the_optimizer_by_hand():
    x, y = MOONS
    model, optimizer = moons_model()
    by_hand, its_optimizer = moons_model()
    history = fit_moons(model, optimizer, batch_size=len(x))
    loss = wb.cross_entropy(by_hand(x), y)
    loss.backward()
    its_optimizer.step()
    assert history["loss"] == pytest.approx([loss.data])
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9)


def test_gradients_do_not_add_up_from_batch_to_batch_or_from_before():
    model = Recorder()
    model.w.grad = 1e9
    x = np.ones((4, 1))
    wb.fit(
        model, x, x[:, 0] * 2.0, loss="mean_squared_error", optimizer=wb.SGD([model.w], 0.25), epochs=2, progress=False,
        compile=False,
    )  # fmt: skip
    # ∂(w - 2)²/∂w = 2(w - 2): from 1 to 1.5 to 1.75
    assert model.w.data == 1.75
    assert model.w.grad == -1.0


@pytest.mark.parametrize("loss", [wb.cross_entropy, lambda scores, labels: wb.cross_entropy(scores, labels) * 1.0])
def test_a_loss_may_be_a_function(loss):
    histories = []
    for given in ("cross_entropy", loss):
        model, optimizer = moons_model()
        histories.append(fit_moons(model, optimizer, loss=given, epochs=2)["loss"])
    assert histories[0] == pytest.approx(histories[1])


def test_a_model_may_be_a_plain_function_and_data_plain_lists():
    w = wb.Value([0.0])
    history = wb.fit(
        lambda x: x @ w,
        [[1.0], [2.0], [3.0]],
        [2, 4, 6],
        loss="mean_squared_error",
        optimizer=wb.SGD([w], 0.1),
        epochs=30,
        progress=False,
    )
    assert w.data[0] == pytest.approx(2.0, abs=1e-3)
    assert len(history) == 30


def test_whole_numbers_are_data_too():
    model, optimizer = moons_model()
    pixels = (MOONS[0] * 50.0).astype(np.int16)
    assert len(fit_moons(model, optimizer, (pixels, MOONS[1]))) == 1


def test_float32_data_keep_a_float32_model_float32():
    model, optimizer = moons_model(dtype=np.float32)
    fit_moons(model, optimizer, (MOONS[0].astype(np.float32), MOONS[1]))
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}


# -- batches --------------------------------------------------------------------------------------------------------


def test_every_row_is_used_once_in_each_epoch_and_the_last_batch_may_be_smaller():
    model, history = fit_recorder(rows=10, batch_size=4, epochs=3, seed=0)
    assert [len(batch) for batch in model.seen] == [4, 4, 2] * 3
    epochs = [[row for batch in model.seen[i : i + 3] for row in batch] for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3, "each epoch in another order"
    assert list(range(10)) not in epochs
    assert len(history.batch_losses) == 9


@pytest.mark.parametrize(
    ("rows", "batch_size", "batches"), [(3, 100, [3]), (1, 1, [1]), (64, 32, [32, 32]), (33, 32, [32, 1])]
)
def test_batch_sizes(rows, batch_size, batches):
    model, _ = fit_recorder(rows=rows, batch_size=batch_size)
    assert [len(batch) for batch in model.seen] == batches


def test_by_default_one_epoch_of_batches_of_32():
    model, history = fit_recorder(rows=70)
    assert [len(batch) for batch in model.seen] == [32, 32, 6]
    assert len(history) == 1


def test_fit_compiles_unless_told_otherwise():
    losses = {}
    for compile in (True, False):
        model, optimizer = moons_model()
        seen = []
        history = fit_moons(
            model,
            optimizer,
            epochs=3,
            compile=compile,
            callbacks=[lambda t, seen=seen: seen.append((t.compiled, t.way))],
        )
        losses[compile] = history["loss"]
        assert seen == [(True, "known") if compile else (False, "")] * 3
    assert losses[True] == pytest.approx(losses[False], rel=1e-9)


def test_python_of_the_users_runs_once_in_each_batch():
    """A spy, a counter and a number read for a log: what they see is what they see without compiling."""
    runs = {}
    for compile in (True, False):
        model, optimizer = moons_model()
        seen, logged = [], []

        def spied(x, model=model, seen=seen):
            seen.append(float(x.sum()))
            return model(x)

        def loss(prediction, y, logged=logged):
            error = wb.cross_entropy(prediction, y) * (1.0 + 0.1 * (len(logged) % 3))
            logged.append(float(error))
            return error

        history = fit_moons(spied, optimizer, epochs=2, loss=loss, compile=compile)
        assert history["loss"][1] < history["loss"][0]
        assert logged == pytest.approx(history.batch_losses, rel=1e-12)
        runs[compile] = seen, logged
    assert runs[True][0] == runs[False][0]
    assert runs[True][1] == pytest.approx(runs[False][1], rel=1e-9)


def test_rows_and_labels_stay_together():
    rows = np.arange(50.0).reshape(-1, 1)
    pairs = []
    w = wb.Value(1.0)

    def loss(prediction, y):
        pairs.extend(zip(prediction.data.tolist(), y.tolist(), strict=True))
        return wb.mean_squared_error(prediction, y)

    wb.fit(
        lambda x: x[:, 0] * w,
        rows,
        rows[:, 0] * 10.0,
        loss=loss,
        optimizer=wb.SGD([w], 0.0),
        batch_size=7,
        progress=False,
        compile=False,
    )
    assert sorted(pairs) == [(i, 10.0 * i) for i in np.arange(50.0)]


def test_a_seed_repeats_the_training_bit_for_bit():
    def run(seed):
        model, optimizer = moons_model()
        history = fit_moons(model, optimizer, epochs=3, seed=seed, batch_size=16)
        return weights(model), history.batch_losses

    (one, losses), (again, losses_again), (other, _) = run(5), run(5), run(6)
    assert same(one, again)
    assert losses == losses_again
    assert not same(one, other)


def test_fit_leaves_the_data_and_numpys_global_generator_alone():
    x, y = (np.copy(a) for a in MOONS)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    model, optimizer = moons_model()
    fit_moons(model, optimizer, (x, y))
    np.testing.assert_array_equal(x, MOONS[0])
    np.testing.assert_array_equal(y, MOONS[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# -- history --------------------------------------------------------------------------------------------------------


def test_history_has_one_number_for_each_epoch_and_thing_measured():
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, epochs=3, metrics=["accuracy"], validation=UNSEEN, batch_size=50)
    assert isinstance(history, wb.History)
    assert list(history.epochs) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert len(history) == 3
    for name in history.epochs:
        assert name in history
        assert len(history[name]) == 3
        assert all(type(number) is float for number in history[name])
    assert len(history.batch_losses) == 9
    assert all(type(number) is float for number in history.batch_losses)
    assert history.interrupted is False
    assert "accuracies" not in history
    with pytest.raises(
        KeyError, match="'accuracies' was not measured; there are: loss, accuracy, val_loss, val_accuracy"
    ):
        history["accuracies"]


def test_the_mean_of_an_epoch_counts_every_row_once():
    """With a rate of 0 the loss of the epoch is the loss on all the data, though the last batch is smaller."""
    model, optimizer = moons_model()
    optimizer.learning_rate = 0.0
    history = fit_moons(model, optimizer, batch_size=50, metrics=["accuracy"])
    expected = wb.evaluate(model, *MOONS, loss="cross_entropy", metrics=["accuracy"])
    assert history["loss"][0] == pytest.approx(expected["loss"])
    assert history["accuracy"][0] == pytest.approx(expected["accuracy"])
    assert history["loss"][0] != pytest.approx(np.mean(history.batch_losses))


def test_history_repr():
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, epochs=2, metrics=["accuracy"])
    loss, accuracy = history["loss"][-1], history["accuracy"][-1]
    assert repr(history) == f"<History of 2 epochs, loss {loss:.4g}, accuracy {accuracy:.4g}>"
    assert repr(wb.History()) == "<History of 0 epochs>"
    with pytest.raises(KeyError, match="no finished epochs"):
        wb.History()["loss"]


# -- validation and metrics -----------------------------------------------------------------------------------------


def test_validation_is_evaluate_after_each_epoch():
    model, optimizer = moons_model()
    after_each = []

    def look(training):
        after_each.append(wb.evaluate(training.model, *UNSEEN, loss="cross_entropy", metrics=["accuracy"]))

    history = fit_moons(model, optimizer, epochs=3, validation=UNSEEN, metrics=["accuracy"], callbacks=[look])
    assert history["val_loss"] == [found["loss"] for found in after_each]
    assert history["val_accuracy"] == [found["accuracy"] for found in after_each]


def test_validation_changes_nothing_of_the_training():
    runs = []
    for validation in (None, UNSEEN, list(UNSEEN)):
        model, optimizer = moons_model()
        fit_moons(model, optimizer, epochs=3, validation=validation)
        runs.append(weights(model))
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_training_is_in_training_mode_and_validation_in_use():
    x = np.arange(4.0).reshape(-1, 1)
    model, _ = fit_recorder(rows=4, batch_size=2, epochs=2, validation=(x, x[:, 0]))
    assert model.modes == [True, True, False] * 2


def spread(prediction, y):
    return float(np.ptp(prediction))


METRICS = {
    "mean_absolute_error": ("mean_absolute_error", lambda p, y: np.mean(np.abs(p - y))),
    "mean_squared_error": ("mean_squared_error", lambda p, y: np.mean((p - y) ** 2)),
    "spread": (spread, lambda p, y: np.ptp(p)),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_by_name_and_by_function(name):
    metric, expected = METRICS[name]
    model, x, y = Recorder(), np.arange(5.0).reshape(-1, 1), np.ones(5)
    found = wb.evaluate(model, x, y, loss="mean_squared_error", metrics=[metric])
    assert list(found) == ["loss", name]
    assert found[name] == pytest.approx(expected(x[:, 0], y))


ACCURACIES = {
    "classes": ([[0.1, 0.9], [2.0, -1.0], [0.0, 5.0], [1.0, 0.0]], [1, 0, 0, 1], 0.5),
    "scores of 0 and 1": ([[0.5], [-0.5], [2.0], [-3.0]], [[1.0], [0.0], [0.0], [0.0]], 0.75),
    "scores of -1 and 1": ([0.5, -0.5, -2.0, -3.0], [1.0, -1.0, 1.0, -1.0], 0.75),
    "sequences": ([[[1.0, 0.0], [0.0, 1.0]]], [[0, 1]], 1.0),
}


@pytest.mark.parametrize(("scores", "y", "expected"), ACCURACIES.values(), ids=ACCURACIES)
def test_accuracy(scores, y, expected):
    found = wb.evaluate(
        lambda x: x, np.array(scores), np.array(y), loss=lambda p, y: 0.0, metrics=["accuracy"], batch_size=len(scores)
    )
    assert found["accuracy"] == expected


def test_a_metric_may_stand_alone_and_is_given_plain_arrays():
    kinds = set()

    def look(prediction, y):
        kinds.add((type(prediction), type(y)))
        return 1.0

    for metrics in (look, [look], "accuracy"):
        model, optimizer = moons_model()
        fit_moons(model, optimizer, metrics=metrics, validation=UNSEEN)
    assert kinds == {(np.ndarray, np.ndarray)}


def test_a_metric_may_be_any_callable():
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, metrics=[partial(spread)])
    assert len(history.epochs) == 2


# -- callbacks ------------------------------------------------------------------------------------------------------


class Log(wb.Callback):
    """Every moment, with what could be seen at it."""

    def __init__(self):
        self.moments = []

    def on_start(self, training):
        self.moments.append(("start", training.epoch, len(training.history)))

    def on_batch(self, training):
        self.moments.append(("batch", training.epoch, len(training.history.batch_losses)))

    def on_epoch(self, training):
        self.moments.append(("epoch", training.epoch, len(training.history)))

    def on_end(self, training):
        self.moments.append(("end", training.epoch, len(training.history)))


def test_the_moments_of_a_callback_come_in_order():
    log = Log()
    fit_recorder(rows=4, batch_size=2, epochs=2, callbacks=[log])
    assert log.moments == [
        ("start", 0, 0),
        ("batch", 1, 1),
        ("batch", 1, 2),
        ("epoch", 1, 1),
        ("batch", 2, 3),
        ("batch", 2, 4),
        ("epoch", 2, 2),
        ("end", 2, 2),
    ]


def test_a_callback_sees_the_training():
    seen = []
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, epochs=2, callbacks=[seen.append, wb.Callback()])
    assert len(seen) == 2
    training = seen[0]
    assert training.model is model
    assert training.optimizer is optimizer
    assert training.history is history
    assert training.epochs == 2


def test_callbacks_take_turns_in_the_order_given():
    order = []
    fit_recorder(callbacks=[lambda t: order.append("a"), lambda t: order.append("b")], epochs=2)
    assert order == ["a", "b", "a", "b"]


def test_stop_after_an_epoch():
    log = Log()

    def stop(training):
        training.stop = training.epoch == 3

    _, history = fit_recorder(rows=4, batch_size=2, epochs=100, callbacks=[stop, log])
    assert len(history) == 3
    assert history.interrupted is False
    assert log.moments[-2:] == [("epoch", 3, 3), ("end", 3, 3)]


class StopAt(wb.Callback):
    def __init__(self, batch):
        self.batch = batch

    def on_batch(self, training):
        training.stop = len(training.history.batch_losses) == self.batch


@pytest.mark.parametrize(("batch", "epochs"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_stop_after_a_batch_records_only_whole_epochs(batch, epochs):
    log = Log()
    model, history = fit_recorder(rows=4, batch_size=2, epochs=100, callbacks=[StopAt(batch), log])
    assert len(history.batch_losses) == len(model.seen) == batch
    assert len(history) == epochs
    assert log.moments[-1][0] == "end"


class Curve(wb.Module):
    """Its measure in each epoch is written beforehand."""

    def __init__(self, numbers):
        self.w = wb.Value(0.0)
        self.numbers = numbers

    def forward(self, x):
        return self.w + 0.0 * x[:, 0]

    def number(self, prediction, y):
        return self.numbers[round(float(prediction[0])) - 1]


def fit_curve(numbers, stopping, metric="number"):
    """Each epoch adds 1 to the only weight, so that the weight says after which epoch it is."""
    model = Curve(numbers)
    number = model.number

    def measure(prediction, y):
        return number(prediction, y)

    measure.__name__ = metric
    x = np.ones((2, 1))
    history = wb.fit(
        model,
        x,
        x[:, 0],
        loss=lambda prediction, y: -prediction.mean(),
        optimizer=wb.SGD([model.w], 1.0),
        epochs=len(numbers),
        validation=(x, x[:, 0]),
        metrics=[measure],
        callbacks=[stopping],
        progress=False,
    )
    return model.w.data, len(history)


# numbers by epoch, options, the metric's name, after which epoch it ends, and whose weights remain
STOPPING = {
    "falls, then rises": ([5, 3, 1, 2, 2, 2, 2], {"patience": 2}, "error", 5, 3),
    "patience 1": ([5, 3, 4, 1], {"patience": 1}, "error", 3, 2),
    "always better": ([5, 4, 3, 2], {"patience": 1}, "error", 4, 4),
    "never better": ([1, 2, 3, 4, 5], {"patience": 3}, "error", 4, 1),
    "the best of a run that is not stopped": ([5, 1, 2, 2], {"patience": 5}, "error", 4, 2),
    "upwards": ([0.1, 0.5, 0.9, 0.8, 0.7, 0.6], {"patience": 2}, "accuracy", 5, 3),
    "too little counts as nothing": ([5.0, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, "error", 3, 1),
    "equal is not better": ([1, 1, 1, 1], {"patience": 2}, "error", 3, 1),
    "nan is not better": ([3, 2, np.nan, np.nan, 1], {"patience": 2}, "error", 4, 2),
    "nan from the start": ([np.nan, np.nan, np.nan], {"patience": 2}, "error", 2, 2),
    "without restoring": ([5, 3, 1, 2, 2, 2], {"patience": 2, "restore_best": False}, "error", 5, 5),
}


@pytest.mark.parametrize(("numbers", "options", "metric", "ends", "remains"), STOPPING.values(), ids=STOPPING)
def test_early_stopping(numbers, options, metric, ends, remains):
    stopping = wb.EarlyStopping(f"val_{metric}", **options)
    for _ in range(2):  # the same object serves again
        weight, epochs = fit_curve(numbers, stopping, metric)
        assert epochs == ends
        assert weight == remains


class BeforeTheLastStep(wb.Callback):
    """The weights before the last step of each epoch; after the first epoch it only gets worse."""

    def __init__(self):
        self.weights = []

    def on_batch_start(self, training):
        if training.last_batch:
            self.weights.append(weights(training.model))

    def on_epoch(self, training):
        training.optimizer.learning_rate = 50.0


def test_early_stopping_keeps_arrays_that_go_on_changing():
    """The best weights are a copy: later steps are made in place."""
    model, optimizer = moons_model()
    before = BeforeTheLastStep()
    history = fit_moons(model, optimizer, epochs=20, callbacks=[before, wb.EarlyStopping("loss", patience=3)])
    assert len(history) == len(before.weights) == 4
    assert same(before.weights[0], weights(model))
    assert all(type(p.data) is np.ndarray and p.dtype == np.float64 for p in model.parameters())


def fit_too_fast(monitor, batch_size, epochs=30, **options):
    """Steps that are so large that the loss falls, and then explodes."""
    model = wb.Sequential(wb.Dense(3, 4, "relu", seed=0), wb.BatchNorm(4), wb.Dense(4, 1, seed=1))
    history = wb.fit(
        model, LINE_X, LINE_Y[:, None], loss="mean_squared_error", optimizer=wb.SGD(model.parameters(), 0.3), seed=0,
        epochs=epochs, batch_size=batch_size, callbacks=[wb.EarlyStopping(monitor, patience=3)], progress=False, **options,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("epochs", [30, 1, 2, 5])
@pytest.mark.parametrize("compile", [True, False])
def test_the_weights_that_early_stopping_gives_back_have_the_best_loss(epochs, compile):
    model, history = fit_too_fast("loss", 64, epochs, compile=compile)
    assert wb.mean_squared_error(model(LINE_X), LINE_Y[:, None]).data == pytest.approx(min(history["loss"]), rel=1e-9)
    unseen = LINE_X[:20] + 0.1, LINE_Y[:20, None]
    model, history = fit_too_fast("val_loss", 16, epochs, compile=compile, validation=unseen)
    found = wb.evaluate(model, *unseen, loss="mean_squared_error")["loss"]
    assert found == pytest.approx(min(history["val_loss"]), rel=1e-9), (
        "so what BatchNorm has kept is of that epoch, too"
    )


def test_early_stopping_on_something_that_is_not_measured_says_what_there_is():
    model, optimizer = moons_model()
    before = weights(model)
    with pytest.raises(
        ValueError, match=r"'val_loss' is not measured, there are loss, accuracy; .*validation=\(x, y\)"
    ):
        fit_moons(model, optimizer, metrics=["accuracy"], callbacks=wb.EarlyStopping())
    assert same(weights(model), before), "said before training, not after an epoch of it"
    with pytest.raises(ValueError, match="does 'val_rmse' improve downwards or upwards"):
        wb.EarlyStopping("val_rmse")
    assert wb.EarlyStopping("val_rmse", mode="min").sign == 1.0
    with pytest.raises(ValueError, match="patience must be at least 1 epoch, got 0"):
        wb.EarlyStopping(patience=0)


# -- modes ----------------------------------------------------------------------------------------------------------


def mixed_model():
    model = wb.Sequential(wb.Dense(2, 8, "relu", seed=0), wb.Dropout(0.3, seed=0), wb.Dense(8, 2, seed=1))
    model.eval()
    model[1].training = True
    return model


def modes(model):
    return [m.training for _, m in model.named_modules()]


def boom(training):
    raise ZeroDivisionError


@pytest.mark.parametrize("callbacks", [[], [boom]], ids=["to the end", "after an exception"])
def test_each_part_is_back_in_its_mode_afterwards(callbacks):
    model = mixed_model()
    before = modes(model)
    assert before == [False, False, True, False]
    during = []
    with pytest.raises(ZeroDivisionError) if callbacks else contextlib.nullcontext():
        fit_moons(
            model,
            wb.SGD(model.parameters()),
            validation=UNSEEN,
            callbacks=[lambda t: during.append(modes(model)), *callbacks],
        )
    assert during == [[True] * 4]
    assert modes(model) == before
    assert type(wb.Dense(2, 2)(np.ones(2)).op).__name__ == "Operation", "… and recording goes on"


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def handler():
    """Python's own handler of Ctrl-C, whatever the tests were started from."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


class AtBatch(wb.Callback):
    """Do something after a certain batch."""

    def __init__(self, batch, act):
        self.batch, self.act = batch, act

    def on_batch(self, training):
        if len(training.history.batch_losses) == self.batch:
            self.act()


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def key_press():
    raise KeyboardInterrupt


def interrupted(*args, **options):
    """The history of a `fit` in a script, which Ctrl-C ends."""
    with pytest.raises(KeyboardInterrupt) as caught:
        fit_moons(*args, **options)
    return caught.value.history


def returned(*args, **options):
    """The history of a `fit` at a prompt, where sys.ps1 is the text of the prompt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "ps1", ">>> ", raising=False)
        return fit_moons(*args, **options)


needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="Windows can't send SIGINT to one process")


@needs_kill
@pytest.mark.parametrize(("batch", "epochs"), [(1, 0), (3, 0), (4, 1), (6, 1)])
@pytest.mark.parametrize("act", [ctrl_c, key_press])
@pytest.mark.parametrize("ended", [interrupted, returned])
def test_ctrl_c_ends_training_and_keeps_history_and_weights(handler, ended, act, batch, epochs):
    if act is key_press and batch == 4:
        epochs = 0  # raised inside the epoch, which is then not whole
    log = Log()
    model, optimizer = moons_model()
    start = weights(model)
    history = ended(
        model, optimizer, batch_size=30, epochs=1000, callbacks=[AtBatch(batch, act), log], metrics=["accuracy"]
    )
    assert history.interrupted is True
    assert len(history.batch_losses) == batch
    assert len(history) == epochs
    assert repr(history).endswith(", interrupted>")
    assert log.moments[-1][0] == "end", "callbacks see the end"
    assert signal.getsignal(signal.SIGINT) is handler
    assert not same(start, weights(model)), "what was learnt is kept"
    before = weights(model)
    assert not fit_moons(model, optimizer, epochs=1).interrupted, "and the model can be trained on"
    assert not same(before, weights(model))


@needs_kill
def test_ctrl_c_in_validation_or_between_epochs(handler):
    model, optimizer = moons_model()
    history = interrupted(model, optimizer, epochs=1000, callbacks=[lambda training: ctrl_c()], validation=UNSEEN)
    assert history.interrupted
    assert len(history) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    with wb.no_grad():
        pass
    assert model(MOONS[0]).op is not None


@needs_kill
def test_ctrl_c_in_the_last_epoch_ends_the_script_too(handler):
    model, optimizer = moons_model()
    history = interrupted(model, optimizer, batch_size=60, epochs=1, callbacks=[AtBatch(2, ctrl_c)])
    assert len(history) == 1, "the epoch was whole"


@needs_kill
def test_what_ctrl_c_raises_says_where_training_stopped(handler):
    model, optimizer = moons_model()
    with pytest.raises(KeyboardInterrupt, match=r"stopped after a batch of epoch 2; this error has the \.history"):
        fit_moons(model, optimizer, batch_size=60, epochs=9, callbacks=[AtBatch(3, ctrl_c)])


def test_an_interruption_of_others_comes_out_as_it_is():
    """As of a cluster, which cancels a task."""
    cancelled = KeyboardInterrupt("cancelled")

    def cancel():
        raise cancelled

    model, optimizer = moons_model()
    with pytest.raises(KeyboardInterrupt) as caught:
        fit_moons(model, optimizer, epochs=9, callbacks=[AtBatch(1, cancel)])
    assert caught.value is cancelled
    assert cancelled.history.interrupted


@needs_kill
def test_a_second_ctrl_c_ends_at_once(handler):
    def twice():
        ctrl_c()
        ctrl_c()

    model, optimizer = moons_model()
    history = interrupted(model, optimizer, batch_size=30, epochs=1000, callbacks=[AtBatch(2, twice)])
    assert history.interrupted
    assert len(history.batch_losses) == 2
    assert signal.getsignal(signal.SIGINT) is handler


@needs_kill
def test_a_handler_of_the_users_own_stays_in_charge():
    caught = []
    before = signal.signal(signal.SIGINT, lambda signum, frame: caught.append(signum))
    own = signal.getsignal(signal.SIGINT)
    try:
        model, optimizer = moons_model()
        history = fit_moons(model, optimizer, batch_size=30, epochs=3, callbacks=[AtBatch(2, ctrl_c)])
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [signal.SIGINT]
    assert len(history) == 3
    assert not history.interrupted


@needs_kill
def test_the_handler_is_restored_after_an_exception(handler):
    model, optimizer = moons_model()
    with pytest.raises(ZeroDivisionError):
        fit_moons(model, optimizer, callbacks=[boom])
    assert signal.getsignal(signal.SIGINT) is handler


CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import tinygrad_wb as wb

x, y = wb.datasets.moons(100, seed=0)
model = wb.MLP(2, [8], 2, seed=0)
optimizer = wb.SGD(model.parameters(), learning_rate=0.1)

def tell(training):
    if training.epoch == 3:
        print("training", flush=True)

try:
    wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=10**9, callbacks=[tell], progress=True)
except KeyboardInterrupt as error:
    history, interruption = error.history, error
assert history.interrupted and len(history) >= 3, history
assert all(np.isfinite(p.data).all() for p in model.parameters())
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
more = wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=2, progress=False)
assert len(more) == 2 and not more.interrupted
print("kept", repr(history), flush=True)
raise interruption
"""


@needs_kill
def test_ctrl_c_at_a_real_program(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=child_environment(),
    ) as child:
        assert child.stdout.readline() == "training\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=300)
    assert child.returncode == -signal.SIGINT, "which a shell shows as 130"
    assert out.startswith("kept <History of ")
    assert out.endswith(", interrupted>\n")
    assert "KeyboardInterrupt: training stopped after a batch of epoch" in err


def test_fit_works_in_a_thread_of_its_own():
    found = {}

    def run():
        model, optimizer = moons_model()
        found["history"] = fit_moons(model, optimizer, epochs=2)
        found["weights"] = weights(model)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    model, optimizer = moons_model()
    fit_moons(model, optimizer, epochs=2)
    assert len(found["history"]) == 2
    assert same(found["weights"], weights(model))
    assert signal.getsignal(signal.SIGINT) is before


# -- refusals -------------------------------------------------------------------------------------------------------

X, Y = MOONS
NAN = X.copy()
NAN[[7, 9], 1] = np.nan
REFUSED = {
    "no rows": ({"data": (X[:0], Y[:0])}, ValueError, r"x and y are empty, shapes \(0, 2\) and \(0,\)"),
    "no lists": ({"data": ([], [])}, ValueError, "x and y are empty"),
    "unequal lengths": ({"data": (X, Y[:5])}, ValueError, r"as many in both; got shapes \(120, 2\) and \(5,\)"),
    "a number": ({"data": (X, 1.0)}, ValueError, r"one row for each example.*\(\)"),
    "nan in x": ({"data": (NAN, Y)}, ValueError, "x of x and y has nan or inf, first in row 7; .* allow_nan=True"),
    "nan in y": ({"data": (X, np.where(Y == 1, np.nan, 0.0))}, ValueError, "y of x and y has nan"),
    "text": ({"data": (X.astype(str), Y)}, TypeError, "x of x and y must hold numbers, got <U"),
    "complex": ({"data": (X * 1j, Y)}, TypeError, "must hold numbers, got complex128"),
    "objects": ({"data": (X.astype(object), Y)}, TypeError, "must hold numbers, got object"),
    "validation x alone": ({"validation": X}, TypeError, r"validation is a pair \(x, y\)"),
    "validation of three": ({"validation": (X, Y, Y)}, TypeError, r"validation is a pair \(x, y\)"),
    "validation as a fraction": ({"validation": 0.2}, TypeError, r"validation is a pair \(x, y\)"),
    "validation unequal": ({"validation": (X, Y[:5])}, ValueError, "validation x and y need one row for each"),
    "validation empty": ({"validation": (X[:0], Y[:0])}, ValueError, "validation x and y are empty"),
    "validation nan": ({"validation": (NAN, Y)}, ValueError, "x of validation x and y has nan or inf, first in row 7"),
    "optimizer by name": ({"optimizer": "adam"}, TypeError, "optimizer must be an optimizer such as wb.SGD.*'adam'"),
    "optimizer class": ({"optimizer": wb.SGD}, TypeError, "optimizer must be an optimizer such as wb.SGD"),
    "epochs 0": ({"epochs": 0}, ValueError, "epochs must be a positive whole number, got 0"),
    "epochs 2.5": ({"epochs": 2.5}, ValueError, r"epochs must be a positive whole number, got 2\.5"),
    "batch size 0": ({"batch_size": 0}, ValueError, "batch_size must be a positive whole number, got 0"),
    "batch size -1": ({"batch_size": -1}, ValueError, "batch_size must be a positive whole number, got -1"),
    "batch size None": ({"batch_size": None}, ValueError, "batch_size must be a positive whole number, got None"),
    "unknown loss": ({"loss": "crossentropy"}, ValueError, "unknown loss 'crossentropy': did you mean 'cross_entropy'"),
    "no loss": ({"loss": None}, TypeError, "loss must be a name or a function, got None"),
    "unknown metric": ({"metrics": ["acuracy"]}, ValueError, "unknown metric 'acuracy': did you mean 'accuracy'"),
    "metric of its own": ({"metrics": "acc"}, ValueError, "unknown metric 'acc': did you mean 'accuracy'"),
    "metric a number": ({"metrics": [3]}, TypeError, "metric must be a name or a function, got 3"),
    "callback a number": ({"callbacks": [3]}, TypeError, "callback"),
    "callback a class": ({"callbacks": [wb.EarlyStopping]}, TypeError, "callback"),
    "labels out of range": ({"data": (X, Y + 7)}, ValueError, "labels must be from 0 to 1"),
    "labels not whole": ({"data": (X, Y + 0.5)}, TypeError, "labels must be integers"),
    "too wide": ({"data": (np.ones((4, 3)), [0, 1, 0, 1])}, wb.ShapeError, r"Dense '0' takes 2 inputs, got x of shape"),
    "loss that is a number": ({"loss": lambda p, y: 1.0}, (TypeError, ValueError), "loss"),
    "loss of each row": ({"loss": lambda p, y: p.sum(axis=1)}, wb.ShapeError, "one number, this Value has shape"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_call_says_why_and_changes_nothing(options, error, message):
    model, optimizer = moons_model()
    model.eval()
    before, mode = weights(model), modes(model)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(error, match=message):
        fit_moons(model, **({"optimizer": optimizer} | options))
    assert same(before, weights(model))
    assert modes(model) == mode
    assert optimizer.steps == 0
    assert signal.getsignal(signal.SIGINT) is handler


def rebuilt(model):
    return wb.MLP(2, [16], 2, seed=1)


def with_a_new_head(model):
    return wb.Sequential(model[0], wb.Dense(16, 2, seed=1))


STRANGERS = {
    "made anew": (rebuilt, "none of the model's parameters, .* no gradient for 0.weight, 0.bias, 1.weight, 1.bias:"),
    "a copy": (copy.deepcopy, "none of the model's parameters"),
    "a pickled one": (lambda model: pickle.loads(pickle.dumps(model)), "none of the model's parameters"),
    "with a new head": (
        with_a_new_head,
        "some weights that are not in the model, .* no gradient for 1.weight, 1.bias:",
    ),
}


@pytest.mark.parametrize(("change", "message"), STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("compile", [True, False])
def test_a_model_that_the_optimizer_does_not_belong_to_is_noticed(change, message, compile):
    model, optimizer = moons_model()
    fit_moons(model, optimizer)  # so that the old weights have gradients
    other = change(model)
    before = weights(model)
    with pytest.raises(ValueError, match=message + r".*wb\.Adam\(model\.parameters\(\), …\)"):
        fit_moons(other, optimizer, compile=compile)
    assert same(before, weights(model))
    with pytest.raises(ValueError, match=message):
        wb.find_learning_rate(other, *MOONS, loss="cross_entropy", optimizer=optimizer)
    optimizer = wb.Adam(other.parameters(), 0.05)
    fit_moons(other, optimizer, compile=compile)


def test_an_optimizer_of_some_of_the_parameters_leaves_the_others_alone_without_a_word():
    model, _ = moons_model()
    before = weights(model)
    fit_moons(model, wb.SGD(model[1].parameters(), 0.1))
    assert same(before[:2], weights(model)[:2])
    assert not same(before[2:], weights(model)[2:])


def test_a_loss_and_a_function_may_have_parameters_of_their_own():
    model, _ = moons_model()
    shift = wb.Value([0.5, -0.5])
    for parameters in ([shift], [*model.parameters(), shift]):
        fit_moons(model, wb.SGD(parameters, 0.1), loss=lambda p, y: wb.cross_entropy(p + shift, y))
        fit_moons(lambda x: model(x) + shift, wb.SGD(parameters, 0.1))
    assert shift.data[0] != 0.5
    with pytest.raises(ValueError, match=r"SGD\.step\(\): no gradient for number 0.*make it anew"):
        fit_moons(model.forward, wb.SGD([shift], 0.1))


class LateHead(wb.Module):
    """Its second layer is made in the first call."""

    def __init__(self):
        self.body = wb.Dense(2, 8, "tanh", seed=0)

    def forward(self, x):
        h = self.body(x)
        if not hasattr(self, "head"):
            self.head = wb.Dense(h.shape[-1], 2, seed=1)
        return self.head(h)


@pytest.mark.parametrize("compile", [True, False])
def test_parameters_that_are_made_after_the_optimizer_are_said_not_to_be_trained(compile):
    model = LateHead()
    optimizer = wb.SGD(model.parameters(), 0.1)
    with pytest.warns(
        wb.GradientWarning, match=r"made head\.weight, head\.bias in its first call.*model\(x\[:1\]\)"
    ) as said:
        fit_moons(model, optimizer, compile=compile)
    assert said[0].filename == __file__
    fit_moons(model, optimizer, compile=compile)  # from now on it may be on purpose
    fit_moons(model, wb.SGD(model.parameters(), 0.1), compile=compile)


# -- a loss of all pairs ----------------------------------------------------------------------------------------------


def fit_line(loss, y, **options):
    model = wb.Dense(3, 1, seed=0)
    wb.fit(
        model, LINE_X, y, loss=loss, optimizer=wb.SGD(model.parameters(), 0.1), epochs=20, progress=False, seed=0, **options
    )  # fmt: skip
    return model


ALL_PAIRS = {
    "a difference": (lambda p, y: wb.mean((p - y) ** 2), LINE_Y, r"subtract of the prediction's \(32, 1\) and \(32,\)"),
    "turned around": (lambda p, y: wb.mean(wb.abs(y - p)), LINE_Y, "y.reshape\\(-1, 1\\)"),
    "a column of targets": (lambda p, y: wb.mean((p[:, 0] - y) ** 2), LINE_Y[:, None], r"\(32,\) and \(32, 1\)"),
    "a product": (lambda p, y: wb.mean(wb.softplus(p) - p * y), LINE_Y, "multiply of the prediction's"),
    "of what was computed from both": (lambda p, y: wb.mean(wb.square(wb.tanh(p) - 2.0 * y)), LINE_Y, "subtract"),
    "weights of the rows": (
        lambda p, y: wb.mean((p[:, 0] - y[:, 0]) ** 2 * np.ones((32, 1))), LINE_Y[:, None], "multiply",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "y", "message"), ALL_PAIRS.values(), ids=ALL_PAIRS)
@pytest.mark.parametrize("compile", [True, False])
def test_a_loss_of_all_pairs_is_said_once(loss, y, message, compile):
    with pytest.warns(wb.GradientWarning, match=f"compares all pairs: .*{message}") as said:
        fit_line(loss, y, compile=compile)
    assert len(said) == 1


@pytest.mark.parametrize("compile", [True, False])
def test_a_warning_that_is_to_be_an_error_is_one(compile):
    with warnings.catch_warnings():
        warnings.simplefilter("error", wb.GradientWarning)
        warnings.simplefilter("always", RuntimeWarning)
        with pytest.raises(wb.GradientWarning, match="compares all pairs"):
            fit_line(lambda p, y: wb.mean((p - y) ** 2), LINE_Y, compile=compile)


ROWS = {
    "both (n,)": (lambda p, y: wb.mean((p[:, 0] - y) ** 2), LINE_Y),
    "both (n, 1)": (lambda p, y: wb.mean((p - y) ** 2), LINE_Y[:, None]),
    "pairs on purpose": (lambda p, y: wb.mean((p - y[None, :]) ** 2), LINE_Y),
    "pairs of predictions": (lambda p, y: wb.mean((p[:, 0] - y) ** 2) + wb.mean((p - p[:, 0]) ** 2), LINE_Y),
    "pairs of targets": (lambda p, y: wb.mean((p[:, 0] - y) ** 2) + wb.mean((y[:, None] - y) ** 2), LINE_Y),
    "a number": (lambda p, y: wb.mean((p - 0.5) ** 2) + wb.mean(p - np.ones(1)), LINE_Y),
    "each row by its mean": (lambda p, y: wb.mean((p - wb.mean(y)) ** 2), LINE_Y),
    "an inner product": (lambda p, y: wb.mean(p.T @ p) + 0.0 * wb.sum(p), LINE_Y),
}


@pytest.mark.parametrize(("loss", "y"), ROWS.values(), ids=ROWS)
def test_a_loss_of_rows_or_of_pairs_on_purpose_is_quiet(loss, y):
    fit_line(loss, y, compile=False)


def test_the_right_shape_learns_what_all_pairs_do_not():
    model = fit_line(lambda p, y: wb.mean((p - y.reshape(p.shape)) ** 2), LINE_Y)
    np.testing.assert_allclose(model.weight.data.ravel(), [1.0, 2.0, 3.0], atol=0.01)


def test_all_pairs_are_found_in_a_recorded_loss():
    model = wb.MLP(3, [4], 1, seed=0)
    loss = wb.mean((model(LINE_X) - LINE_Y) ** 2)
    assert results_of(model, loss) == [loss.inputs[0].inputs[0].inputs[0]]
    assert "(64, 1) and (64,) broadcasts to (64, 64)" in all_pairs(loss, results_of(model, loss))
    loss = wb.mean_squared_error(model(LINE_X), LINE_Y[:, None])
    assert all_pairs(loss, results_of(model, loss)) == ""


@pytest.mark.parametrize("metric", ["mean_squared_error", "mean_absolute_error"])
def test_a_metric_of_numbers_compares_row_by_row(metric):
    with pytest.raises(wb.ShapeError, match=r"prediction has shape \(64, 1\) but y \(64,\)"):
        wb.evaluate(lambda x: x[:, :1], LINE_X, LINE_Y, loss=lambda p, y: 0.0, metrics=[metric])


def test_nan_may_be_allowed():
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, (NAN, Y), allow_nan=True, batch_size=10)
    assert np.isnan(history["loss"][0])
    assert len(history) == 1


def test_options_are_given_by_name():
    model, optimizer = moons_model()
    with pytest.raises(TypeError, match="positional"):
        wb.fit(model, X, Y, "cross_entropy", optimizer)


# -- evaluate -------------------------------------------------------------------------------------------------------


def test_evaluate_records_nothing_ignores_dropout_and_restores_the_mode():
    model = mixed_model()
    before, mode = weights(model), modes(model)
    results = []

    def loss(prediction, y):
        results.append(prediction)
        return wb.cross_entropy(prediction, y)

    first = wb.evaluate(model, *MOONS, loss=loss, metrics=["accuracy"])
    again = wb.evaluate(model, *MOONS, loss="cross_entropy", metrics=["accuracy"], batch_size=7)
    assert list(first) == ["loss", "accuracy"]
    assert first == pytest.approx(again), "twice the same, in whatever batches"
    assert [r.op for r in results] == [None]
    assert all(p.grad is None for p in model.parameters())
    assert same(before, weights(model))
    assert modes(model) == mode
    expected = wb.cross_entropy(model[2](model[0](X)), Y).data
    assert first["loss"] == pytest.approx(expected)
    assert model(X).op is not None


def test_evaluate_is_right_at_every_batch_size():
    model, _ = moons_model()
    expected = wb.cross_entropy(model(X), Y).data
    for batch_size in (1, 7, 119, 120, 5000):
        assert wb.evaluate(model, X, Y, loss="cross_entropy", batch_size=batch_size)["loss"] == pytest.approx(expected)


EVALUATE_REFUSED = {
    "empty": ((X[:0], Y[:0]), {}, ValueError, "at least one"),
    "unequal": ((X, Y[:3]), {}, ValueError, r"as many rows.*\(120, 2\) and \(3,\)"),
    "a number": ((1.0, 2.0), {}, ValueError, "rows"),
    "unknown loss": ((X, Y), {"loss": "hinge"}, ValueError, "did you mean 'hinge_loss'"),
    "unknown metric": ((X, Y), {"metrics": ["mae"]}, ValueError, "unknown metric 'mae'"),
    "batch size 0": ((X, Y), {"batch_size": 0}, ValueError, "batch_size"),
}


@pytest.mark.parametrize(("data", "options", "error", "message"), EVALUATE_REFUSED.values(), ids=EVALUATE_REFUSED)
def test_evaluate_refuses(data, options, error, message):
    model, _ = moons_model()
    with pytest.raises(error, match=message):
        wb.evaluate(model, *data, **({"loss": "cross_entropy"} | options))


# -- plotting -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pyplot():
    mpl = pytest.importorskip("matplotlib", reason="matplotlib is not installed; [plot] has it")
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    yield plt
    plt.close("all")


def trained(epochs=3, **options):
    model, optimizer = moons_model()
    return fit_moons(model, optimizer, epochs=epochs, **options)


def test_plot_draws_each_thing_measured_and_returns_the_axes(pyplot, tmp_path):
    history = trained(metrics=["accuracy"], validation=UNSEEN)
    ax = history.plot()
    drawn = {line.get_label(): line for axes in ax.figure.axes for line in axes.get_lines()}
    assert set(drawn) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, line in drawn.items():
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), history[name])
    assert drawn["loss"].axes is drawn["val_loss"].axes is ax
    assert drawn["accuracy"].axes is not ax, "accuracy has an axis of its own"
    assert drawn["loss"].get_linestyle() != drawn["val_loss"].get_linestyle()
    assert ax.get_xlabel() == "epoch"
    assert ax.get_ylabel() == "loss"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(history.epochs)
    ax.figure.savefig(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_plot_draws_on_the_axes_that_it_is_given(pyplot):
    figure, (left, right) = pyplot.subplots(1, 2)
    history = trained()
    assert history.plot(ax=right) is right
    assert len(right.get_lines()) == 1
    assert not left.get_lines()
    assert len(figure.axes) == 2
    assert pyplot.get_fignums() == [figure.number]


def test_lines_can_be_told_apart(pyplot):
    history = trained(metrics=["accuracy", spread], validation=UNSEEN)
    ax = history.plot()
    looks = [
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for axes in ax.figure.axes
        for line in axes.get_lines()
    ]
    assert len(looks) == len(set(looks)) == 6


@pytest.mark.parametrize("epochs", [0, 1])
def test_plot_of_a_short_history(pyplot, epochs):
    history = trained(epochs=1) if epochs else wb.History()
    ax = history.plot()
    assert len(ax.get_lines()) == epochs
    if epochs:
        assert ax.get_lines()[0].get_marker() == "o", "a single point is no line"


def test_plot_without_matplotlib_says_how_to_get_it(monkeypatch):
    history = trained(epochs=1)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"wb\.plot needs matplotlib: .*tinygrad_wb\[plot\]"):
        history.plot()


# -- what fit refuses or warns of, so that nothing is silently nonsense -----------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "y", "expected"),
    [
        ([[3.0], [2.0], [-1.0]], [1, 1, 0], 1.0),
        ([3.0, 2.0, -1.0], [1, -1, -1], 2 / 3),
        ([[0.1, 0.9], [0.8, 0.2]], [1, 1], 0.5),
        ([[-0.1, -0.9], [-0.8, -0.2]], [[1, 0], [1, 0]], 0.5),
    ],
)
def test_accuracy_of_every_form_of_scores(prediction, y, expected):
    found = wb.evaluate(lambda x: np.asarray(prediction), y, y, loss=lambda p, y: 0.0, metrics=["accuracy"])
    assert found["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "y", "message"),
    [
        ([[1.0, 2.0]], [[1]], "don't go with"),
        ([1.0, 2.0], [0.25, 0.5], "mean_absolute_error"),
    ],
)
def test_accuracy_refuses_what_it_cannot_count(prediction, y, message):
    with pytest.raises(ValueError, match=message):
        wb.evaluate(lambda x: np.asarray(prediction), y, y, loss=lambda p, y: 0.0, metrics=["accuracy"])


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("hinge_loss", [[0.0], [1.0]], "fit: hinge_loss takes targets -1 and 1, these have"),
        (
            "binary_cross_entropy",
            [[0.0], [2.0]],
            "fit: binary_cross_entropy takes targets from 0 to 1, these go from 0.0 to 2.0",
        ),
    ],
)
def test_targets_that_a_loss_would_make_nonsense_of(loss, y, message):
    model = wb.Dense(1, 1, seed=0)
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        wb.fit(model, [[1.0], [2.0]], y, loss=loss, optimizer=wb.SGD(model.parameters()), progress=False)
    assert same(weights(model), before)


def test_a_loss_that_is_lost_is_said_once():
    model = wb.Dense(1, 1, seed=0)
    with pytest.warns(RuntimeWarning, match="lower the learning rate") as said:
        wb.fit(
            model, [[1.0]] * 40, [[2.0]] * 40, loss="mean_squared_error", epochs=300, batch_size=40,
            optimizer=wb.SGD(model.parameters(), 1e3), progress=False,
        )  # fmt: skip
    assert sum("lower the learning rate" in str(w.message) for w in said) == 1


def test_two_metrics_of_one_name_are_refused():
    for metrics in ([lambda p, y: 1.0, lambda p, y: 2.0], ["accuracy", "accuracy"]):
        with pytest.raises(ValueError, match="two things measured would be called"):
            wb.evaluate(lambda x: x, [1.0], [1.0], loss="mean_squared_error", metrics=metrics)


def test_a_callback_with_a_method_that_is_never_called_is_refused():
    with pytest.raises(
        TypeError, match="on_epoch_end would never be called: there are on_start, on_batch_start, on_batch, on_epoch"
    ):

        class Keras(wb.Callback):
            def on_epoch_end(self, training):
                pass


def test_a_history_is_a_dictionary_of_lists():
    history = wb.History()
    assert not history
    history.add({"loss": 1.0, "accuracy": 0.5})
    history.add({"loss": 0.5, "accuracy": 0.75})
    lists = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.75]}
    assert dict(history) == history.epochs == history == lists
    assert list(history) == list(history.keys()) == ["loss", "accuracy"]
    assert list(history.items()) == list(lists.items())
    assert isinstance(history, Mapping)
    assert history.get("val_loss") is None
    assert json.loads(json.dumps(history)) == lists
    assert len(history) == 2, "epochs"
    history.interrupted = True
    for twin in (copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert type(twin) is wb.History
        assert repr(twin) == repr(history) == "<History of 2 epochs, loss 0.5, accuracy 0.75, interrupted>"
        assert twin.batch_losses == []


def test_a_history_is_a_table_in_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    model, optimizer = moons_model()
    history = fit_moons(model, optimizer, epochs=3, metrics=["accuracy", "confusion_matrix"], validation=UNSEEN)
    table = pandas.DataFrame(history)
    assert list(table.columns) == list(history) == [
        "loss", "accuracy", "confusion_matrix", "val_loss", "val_accuracy", "val_confusion_matrix",
    ]  # fmt: skip
    assert table.shape == (3, 6)
    assert table["loss"].dtype == float
    assert table["val_accuracy"].tolist() == history["val_accuracy"]
    np.testing.assert_array_equal(table["confusion_matrix"][2], history["confusion_matrix"][2])
    assert pandas.DataFrame(history.curves(), index=range(1, 4)).loc[3, "loss"] == history["loss"][-1]
    assert pandas.DataFrame(wb.History()).empty
