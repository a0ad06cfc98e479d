"""Losses warn of an input that was squashed before, and know it by the record; right code is quiet."""

import inspect
import math
import warnings

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.operations import losses
from tinygrad_wb.operations.ranges import LOOKS, RANGES, TAKES

X, Y = wb.datasets.moons(64, seed=0)
HOT = np.eye(2)[Y]
TARGETS = {
    "cross_entropy": Y, "negative_log_likelihood": Y, "kl_divergence": HOT, "binary_cross_entropy": HOT,
    "hinge_loss": 2.0 * HOT - 1.0, "mean_squared_error": HOT, "mean_absolute_error": HOT, "huber": HOT,
}  # fmt: skip

ENDS = {
    "softmax": wb.softmax,
    "softmax by hand": lambda z: wb.exp(z) / wb.exp(z).sum(axis=1, keepdims=True),
    "sigmoid": wb.sigmoid,
    "sigmoid by hand": lambda z: 1.0 / (1.0 + wb.exp(-z)),
    "clipped": lambda z: wb.clip(wb.softmax(z), 1e-7, 1.0),
    "kept above 0": lambda z: wb.maximum(wb.softmax(z), 1e-7),
    "kept below 1": lambda z: wb.minimum(1.0 - 1e-7, wb.sigmoid(z)),
    "relu by hand": lambda z: wb.maximum(0.0, z),
    "reshaped": lambda z: wb.softmax(z).reshape(2, -1).reshape(-1, 2).astype(np.float64),
    "tanh": wb.tanh,
    "relu": wb.relu,
    "log_softmax": wb.log_softmax,
    "log of softmax": lambda z: wb.log(wb.softmax(z)),
    "scores": lambda z: z,
    "scores less their logsumexp": lambda z: z - wb.logsumexp(z, axis=1, keepdims=True),
    "a mixture times scores": lambda z: wb.softmax(z) * z,
    "scaled tanh": lambda z: 10.0 * wb.tanh(z),
    "residual": lambda z: z + wb.tanh(z),
    "distances": lambda z: -wb.square(z),
}  # fmt: skip
PROBABILITIES = {
    "softmax",
    "softmax by hand",
    "sigmoid",
    "sigmoid by hand",
    "clipped",
    "kept above 0",
    "kept below 1",
    "reshaped",
}
RELU = {"relu", "relu by hand"}
LOGARITHMS = {"log_softmax", "log of softmax"}
SCORES = {"scores", "a mixture times scores", "residual"}
WRONG = {
    "cross_entropy": PROBABILITIES | {"tanh"},
    "binary_cross_entropy": PROBABILITIES | LOGARITHMS | RELU | {"tanh"},
    "hinge_loss": PROBABILITIES | LOGARITHMS | RELU,
    "negative_log_likelihood": PROBABILITIES | SCORES | RELU | {"tanh"},
    "kl_divergence": PROBABILITIES | SCORES | RELU | {"tanh"},
}


def said(f):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f()
    return [(w.category, str(w.message), w.filename) for w in caught]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("loss", TARGETS)
def test_a_loss_knows_what_it_can_not_take(loss, end):
    z = wb.Value(X) @ wb.Value([[2.0, -1.0], [0.5, 1.5]])
    p = ENDS[end](z)
    found = said(lambda: getattr(wb, loss)(p, TARGETS[loss]))
    assert len(found) == (end in WRONG.get(loss, ()))
    for category, words, file in found:
        assert category is wb.GradientWarning
        assert file == __file__
        assert words.startswith(f"{loss} takes ")
        assert f"but its {REGISTRY[loss].inputs[0]} come from " in words
    assert not said(lambda: getattr(wb, loss)(p.data, TARGETS[loss])), "plain numbers have no record"


def test_every_loss_is_known():
    assert set(TARGETS) == set(losses.__all__)
    assert set(TAKES) == set(WRONG)


def test_what_it_says():
    ((_, words, _),) = said(lambda: wb.cross_entropy(labels=Y, logits=wb.softmax(wb.Value(X))))
    assert words == (
        "cross_entropy takes scores and applies softmax itself, but its logits come from softmax and lie between 0 and "
        "1: the loss can't fall to 0. Leave softmax out at the end of the model; for probabilities take "
        "wb.softmax(model(x))"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "tanh", "softsign", "hard_tanh", "relu", "log_softmax"])
def test_ranges_are_those_of_the_numbers(name):
    z = np.random.default_rng(0).normal(0.0, 100.0, (1000, 2))
    y, (low, high, middle) = REGISTRY[name].function(z), RANGES[name]
    assert low <= y.min()
    assert y.max() <= high
    assert (y.min() - low if low > -math.inf else 0.0) < 1e-2
    assert (high - y.max() if high < math.inf else 0.0) < 1e-2
    np.testing.assert_allclose(REGISTRY[name].function(np.zeros((1, 2))), middle)


def test_names_are_operations():
    assert set(RANGES) | set(LOOKS) <= set(REGISTRY)


@pytest.mark.parametrize(
    ("loss", "best", "floor"),
    [
        (wb.cross_entropy, wb.Value([[1.0, 0.0]]), math.log(1.0 + math.exp(-1.0))),
        (wb.binary_cross_entropy, wb.Value([[1.0, 0.0]]), (math.log(1.0 + math.exp(-1.0)) + math.log(2.0)) / 2.0),
    ],
)
def test_squashed_twice_a_loss_can_not_fall_to_0(loss, best, floor):
    """Why it matters: the loss of the best probabilities that there are."""
    assert loss(best, [0] if loss is wb.cross_entropy else [[1.0, 0.0]]).data == pytest.approx(floor)


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
def test_fit_says_it_at_the_users_line(compile):
    model = wb.Sequential(wb.Dense(2, 8, "relu", seed=0), wb.Dense(8, 2, "softmax", seed=1))
    how = {"loss": "cross_entropy", "optimizer": wb.Adam(model.parameters()), "epochs": 3, "progress": False}
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(wb.GradientWarning, match="its logits come from softmax") as caught:
        wb.fit(model, X, Y, compile=compile, **how)
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, line)}
    with pytest.raises(wb.GradientWarning):  # the suite makes errors of warnings
        wb.fit(model, X, Y, compile=compile, **how)


def test_once_for_each_line():
    model = wb.Dense(2, 2, "softmax", seed=0)

    def train():
        for _ in range(20):
            wb.cross_entropy(model(X), Y).backward()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        train()
    assert len(caught) == 1


def test_a_compiled_models_record_is_seen():
    model = wb.compile(wb.Dense(2, 2, "softmax", seed=0))
    for _ in range(4):
        with pytest.warns(wb.GradientWarning, match="its logits come from softmax"):
            wb.cross_entropy(model(X), Y)
    assert model.replaying
    good = wb.compile(wb.Dense(2, 2, seed=0))
    for _ in range(4):
        wb.cross_entropy(good(X), Y)


def test_right_networks_are_quiet():
    sequence = np.random.default_rng(0).normal(size=(6, 5, 8))
    labels = np.arange(6) % 2
    attention = wb.Sequential(wb.TransformerBlock(8, heads=2, seed=0), wb.Flatten(), wb.Dense(40, 2, seed=1))
    wb.cross_entropy(attention(sequence), labels).backward()
    recurrent, head = wb.GRU(8, 4, seed=0), wb.Dense(4, 2, seed=1)
    wb.cross_entropy(head(recurrent(sequence)[:, -1]), labels).backward()
    gate, experts = wb.Dense(2, 3, "softmax", seed=0), [wb.Dense(2, 2, seed=i) for i in range(3)]
    mixed = wb.stack([expert(X) for expert in experts], axis=2) @ gate(X).reshape(64, 3, 1)
    wb.cross_entropy(mixed[:, :, 0], Y).backward()
    scalars = wb.stack([sum(wb.tanh(wb.Value(a) * b) for b in (0.1, 0.2, 0.3)) for a in X[:, 0]])
    wb.binary_cross_entropy(scalars, Y.astype(float)).backward()
    brier = wb.mean_squared_error(wb.softmax(wb.Value(X)), HOT)
    brier.backward()
