"""The progress bar: what it says, where, and when it keeps silent."""

import re

import numpy as np
import pytest

import tinygrad_wb as wb

X, Y = wb.datasets.moons(40, seed=0)


def run(**options):
    model = wb.MLP(2, [8], 2, seed=0)
    options = {"loss": "cross_entropy", "optimizer": wb.SGD(model.parameters(), 0.1), "epochs": 3, "seed": 0} | options
    return wb.fit(model, X, Y, **options)


def frames(text):
    """What the bar showed, one line after another."""
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_it_says_epoch_loss_metrics_and_speed_on_stderr(capsys):
    history = run(metrics=["accuracy"], validation=(X, Y))
    out, err = capsys.readouterr()
    assert out == ""
    last = frames(err)[-1]
    assert "epoch 3/3" in last
    assert f"loss {history['loss'][-1]:.3g}" in last
    assert f"accuracy {history['accuracy'][-1]:.1%}" in last
    assert re.search(rf"\bval\w* {history['val_loss'][-1]:.3g}\b", last)
    assert re.search(rf"\bval\w* {history['val_accuracy'][-1]:.1%}", last)
    assert "known" in last, "where there is room for one of the two, this is said rather than the speed"


def own_loss(prediction, y):
    return wb.cross_entropy(prediction, y)


@pytest.mark.parametrize(
    ("options", "way"),
    [
        ({}, " known"),
        ({"loss": own_loss}, " followed"),
        ({"loss": own_loss, "pure": True}, " promised"),
        ({"compile": False}, ""),
    ],
)
def test_it_says_the_speed_and_how_batches_are_computed(capsys, options, way):
    run(**options)
    last = frames(capsys.readouterr().err)[-1]
    assert re.search(r"[1-9][\d.,]*k? rows/s", last)
    assert last.split("|")[0].rstrip().endswith(f"rows/s{way}")


def test_it_says_why_batches_are_computed_as_without_compiling(capsys):
    held = []

    def reads_its_own_gradient(prediction, y):
        loss = wb.cross_entropy(prediction, y)
        loss.backward()
        held.append(prediction.grad.sum())
        return wb.cross_entropy(prediction, y)

    run(loss=reads_its_own_gradient, epochs=30)
    last = frames(capsys.readouterr().err)[-1]
    assert re.search(r"(eager: \w|followed)", last)
    assert len(re.sub(r"\|.*\|", "", last)) <= 80


def test_its_words_fit_into_80_columns(capsys):
    run(metrics=["accuracy"], validation=(X, Y), epochs=10)
    for frame in frames(capsys.readouterr().err):
        assert len(re.sub(r"\|.*\|", "", frame)) <= 80, frame


def test_it_goes_through_every_epoch_and_ends_its_line(capsys):
    run()
    err = capsys.readouterr().err
    shown = [int(n) for n in re.findall(r"epoch (\d+)/3", err)]
    assert shown == sorted(shown)
    assert set(shown) >= {1, 2, 3}
    assert err.endswith("\n")


def test_a_metric_of_ones_own_is_shown_by_its_name(capsys):
    def spread(prediction, y):
        return float(np.ptp(prediction))

    history = run(metrics=[spread])
    assert f"spread {history['spread'][-1]:.3g}" in frames(capsys.readouterr().err)[-1]


def test_it_is_shown_unless_told_otherwise_and_changes_nothing(capsys):
    shown = run().batch_losses
    assert capsys.readouterr().err
    assert run(progress=False).batch_losses == shown


def test_progress_false_writes_nothing(capsys):
    run(progress=False, metrics=["accuracy"], validation=(X, Y))
    assert capsys.readouterr() == ("", "")


def stop(training):
    training.stop = True


def fail(training):
    raise ZeroDivisionError


def interrupt(training):
    raise KeyboardInterrupt


@pytest.mark.parametrize("callback", [stop, fail, interrupt])
def test_it_stays_where_training_stopped(capsys, callback):
    try:
        run(epochs=4, callbacks=[callback])
    except (ZeroDivisionError, KeyboardInterrupt):
        assert callback is not stop
    err = capsys.readouterr().err
    last = frames(err)[-1]
    assert "epoch 1/4" in last
    assert err.endswith("\n"), "what is printed next has a line of its own"


def test_evaluate_shows_no_bar(capsys):
    model = wb.MLP(2, [8], 2, seed=0)
    wb.evaluate(model, X, Y, loss="cross_entropy")
    assert capsys.readouterr() == ("", "")
