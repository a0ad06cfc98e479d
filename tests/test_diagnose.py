"""`diagnose`: right on networks that are broken, one for each ailment, and silent on those that learn."""

import itertools
import math
import warnings
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.debug.diagnose import REMEDIES

X, Y = wb.datasets.moons(128, seed=0)
DIGITS, LABELS = (data[:64] for data in wb.datasets.digits()[:2])


def cross_entropy(model, x=X, y=Y):
    return wb.cross_entropy(model(x), y)


def squared(model, x=X, y=Y):
    return wb.mean_squared_error(model(x), np.eye(2)[y])


# -- one broken network for each ailment: the model, its loss, and where the finding is to point ----------------------------

BROKEN = {}


def broken(kind, layer):
    def enter(build):
        BROKEN.setdefault(kind, []).append(pytest.param(build, layer, id=f"{kind}: {build.__name__}"))
        return build

    return enter


def everywhere(number):
    return lambda shape, rng: np.full(shape, number)


def normal(size):
    return lambda shape, rng: rng.normal(0.0, size, shape)


@broken("loss not finite", "")
def a_loss_that_is_nan():
    model = wb.MLP(2, [8], 2, seed=0)
    return model, wb.sqrt(cross_entropy(model) - 100.0)


@broken("loss not finite", "")
def a_weight_that_is_inf():
    model = wb.MLP(2, [8], 2, seed=0)
    model[0].weight.data = np.full((2, 8), np.inf)
    return model, squared(model)


@broken("constant loss", "")
def a_loss_of_plain_numbers():
    model = wb.MLP(2, [8], 2, seed=0)
    return model, wb.mean_squared_error(wb.Value(model(X).data), np.eye(2)[Y])


@broken("constant loss", "")
def a_loss_that_counts():
    model = wb.MLP(2, [8], 2, seed=0)
    return model, wb.mean(wb.sign(model(X)[:, 0]))


class Spare(wb.Module):
    def __init__(self):
        self.hidden, self.out, self.spare = (
            wb.Dense(2, 8, "tanh", seed=0),
            wb.Dense(8, 2, seed=1),
            wb.Dense(8, 2, seed=2),
        )

    def forward(self, x):
        return self.out(self.hidden(x))


@broken("unused parameter", "spare")
def a_layer_that_forward_forgets():
    model = Spare()
    return model, cross_entropy(model)


class CutOff(Spare):
    def forward(self, x):
        return self.out(self.hidden(x).data) + self.spare(np.ones((len(x), 8)))


@broken("unused parameter", "hidden")
def a_layer_that_data_cuts_off():
    model = CutOff()
    return model, cross_entropy(model)


@broken("symmetric units", "0")
def weights_that_are_all_zero():
    model = wb.MLP(2, [8], 2, activation="tanh", weight_init="zeros")
    return model, cross_entropy(model)


@broken("symmetric units", "0")
def weights_that_are_all_alike():
    model = wb.Sequential(
        wb.Dense(2, 8, "sigmoid", weight_init=everywhere(0.3)), wb.Dense(8, 2, weight_init=everywhere(0.1))
    )
    return model, squared(model)


@broken("dead units", "0")
def biases_far_below_zero():
    model = wb.Sequential(wb.Dense(2, 8, "relu", bias_init=everywhere(-10.0), seed=0), wb.Dense(8, 2, seed=1))
    return model, cross_entropy(model)


@broken("dead units", "3")
def a_dead_layer_in_the_middle():
    model = wb.Sequential(
        wb.Dense(2, 8, seed=0),
        "relu",
        wb.Dense(8, 8, bias_init=everywhere(-20.0), seed=1),
        "relu",
        wb.Dense(8, 2, seed=2),
    )
    return model, cross_entropy(model)


@broken("dead units", "0")
def a_learning_rate_that_is_too_large():
    model = wb.MLP(2, [32], 2, seed=0)
    optimizer = wb.SGD(model.parameters(), learning_rate=2.0)
    for _ in range(30):
        optimizer.zero_grad()
        squared(model).backward()
        optimizer.step()
    model.zero_grad()
    return model, squared(model)


@broken("saturated units", "0")
def tanh_with_weights_far_too_large():
    model = wb.Sequential(wb.Dense(2, 16, "tanh", weight_init=normal(200.0), seed=0), wb.Dense(16, 2, seed=1))
    return model, cross_entropy(model)


@broken("saturated units", "0")
def sigmoid_of_inputs_that_nobody_scaled():
    model = wb.MLP(2, [16], 2, activation="sigmoid", seed=0)
    return model, cross_entropy(model, x=X * 1000.0)


@broken("saturated units", "0")
def softmax_that_is_certain_and_wrong():
    model = wb.Sequential(wb.Dense(2, 2, weight_init=normal(1000.0), seed=0))
    return model, -wb.log(wb.softmax(model(X))[np.arange(len(Y)), Y] + 1e-9).mean()


@broken("saturated units", "0")
def scores_that_are_certain_and_wrong():
    model = wb.Sequential(wb.Dense(2, 2, weight_init=normal(1000.0), seed=0))
    return model, cross_entropy(model)


@broken("exploding gradients", "0")
def many_layers_of_large_weights():
    model = wb.MLP(2, [16] * 8, 2, weight_init=normal(1.5), seed=0)
    return model, squared(model)


@broken("exploding gradients", "0")
def many_layers_of_large_weights_and_a_loss_that_is_scaled_down():
    model, loss = many_layers_of_large_weights()
    return model, loss * 1e-12


@broken("exploding gradients", "0")
def targets_that_nobody_scaled():
    model = wb.MLP(2, [16], 2, seed=0)
    return model, wb.mean_squared_error(model(X), np.eye(2)[Y] * 1e6)


@broken("vanishing gradients", "0")
def many_layers_of_sigmoid():
    model = wb.MLP(2, [16] * 10, 2, activation="sigmoid", seed=0)
    return model, cross_entropy(model)


@broken("vanishing gradients", "0")
def many_layers_of_small_weights():
    model = wb.MLP(2, [16] * 5, 2, activation="tanh", weight_init=normal(0.02), seed=0)
    return model, cross_entropy(model)


class Blocked(wb.Module):
    def __init__(self, block):
        self.hidden, self.aside, self.out = (
            wb.Dense(2, 8, "tanh", seed=0),
            wb.Dense(2, 8, "tanh", seed=1),
            wb.Dense(8, 2, seed=2),
        )
        self.block = block

    def forward(self, x):
        return self.out(self.hidden(x) + self.block(self.aside(x)))


@broken("no gradient", "aside")
def a_product_with_zero():
    model = Blocked(lambda h: h * 0.0)
    return model, cross_entropy(model)


@broken("no gradient", "aside")
def a_step_function():
    model = Blocked(wb.sign)
    return model, cross_entropy(model)


@broken("no gradient", "aside")
def a_clip_that_clips_everything():
    model = Blocked(lambda h: wb.clip(h, 5.0, 6.0))
    return model, cross_entropy(model)


class Normalized(wb.Module):
    def __init__(self):
        self.hidden, self.out = wb.Dense(2, 8, seed=0), wb.Dense(8, 2, seed=1)

    def forward(self, x):
        h = self.hidden(x)
        return self.out(wb.tanh((h - h.mean(0)) / wb.sqrt(h.var(0) + 1e-5)))


@broken("stuck bias", "hidden")
def a_bias_before_a_normalization():
    model = Normalized()
    return model, cross_entropy(model)


@broken("gradient not finite", "w")
def a_root_of_0():
    w = wb.Value([0.0, 1.0], name="w")
    return [w], wb.sqrt(w * w).sum()


@broken("weights not finite", "0")
def a_step_that_threw_a_weight_away():
    model = wb.MLP(2, [8], 2, seed=0)
    loss = cross_entropy(model)
    loss.backward()
    model[0].weight.data = np.full((2, 8), np.nan)
    return model, Computed(loss)


class Computed(NamedTuple):
    """A loss on which backward() was called already, as after a step of the optimizer."""

    loss: wb.Value


class ComputedWeight(wb.Module):
    """A weight that was computed when the model was made."""

    def __init__(self):
        self.hidden = wb.Dense(2, 8, "tanh", seed=0)
        self.scale = wb.exp(wb.Value(0.5))
        self.out = wb.Dense(8, 2, seed=1)

    def forward(self, x):
        self.last = self.out(self.hidden(x) * self.scale)  # a result that is kept to look at is not a parameter
        return self.last


def quietly(function, *inputs):
    """What is called here warns, too, of what is looked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.GradientWarning)
        return function(*inputs)


@broken("computed parameter", "scale")
def a_weight_that_was_computed():
    model = ComputedWeight()
    return model, quietly(cross_entropy, model)


@broken("computed parameter", "parameter 0")
def a_step_that_makes_a_new_value():
    w = wb.Value([[0.5, -0.25], [0.1, 0.3]])
    w = w - 0.1
    return [w], wb.cross_entropy(X @ w, Y)


@broken("old operations", "")
def a_state_that_is_carried_from_step_to_step():
    model, mix = wb.Dense(4, 2, seed=0), np.random.default_rng(0).normal(0.0, 0.4, (4, 4))
    optimizer = wb.SGD(model.parameters(), 0.1)
    state = wb.Value(np.zeros((1, 4)))
    for i in range(30):
        state = wb.tanh(state @ mix + np.resize(X[i], (1, 4)))
        loss = wb.cross_entropy(model(state), Y[i : i + 1])
        if i < 29:
            quietly(loss.backward)
            optimizer.step()
            optimizer.zero_grad()
    quietly(loss.backward)
    return model, Computed(loss)


@broken("wrong loss input", "1")
def softmax_and_then_cross_entropy():
    model = wb.Sequential(wb.Dense(2, 8, "tanh", seed=0), wb.Dense(8, 2, "softmax", seed=1))
    return model, quietly(wb.cross_entropy, model(X), Y)


@broken("wrong loss input", "1")
def sigmoid_and_then_binary_cross_entropy():
    model = wb.Sequential(wb.Dense(2, 1, seed=0), "sigmoid")
    return model, quietly(wb.binary_cross_entropy, model(X), Y[:, None].astype(float))


@broken("wrong loss input", "1")
def scores_as_log_probabilities():
    model = wb.MLP(2, [8], 2, seed=0)
    return model, quietly(wb.negative_log_likelihood, model(X), Y)


@broken("wrong targets", "")
def targets_far_from_probabilities():
    model = wb.MLP(2, [8], 1, seed=0)
    return model, quietly(wb.binary_cross_entropy, model(X), wb.Value(2.0 * Y[:, None]))


@broken("wrong targets", "")
def zero_for_no_under_hinge_loss():
    model = wb.MLP(2, [8], 1, seed=0)
    return model, quietly(wb.hinge_loss, model(X), wb.Value(Y[:, None]))


@broken("all pairs", "")
def a_column_less_a_row():
    model = wb.MLP(2, [8], 1, seed=0)
    return model, wb.mean((model(X) - Y) ** 2)


@broken("exploding gradients", "weight")
def one_layer_of_inputs_that_nobody_scaled():
    model = wb.Dense(2, 1, seed=0)
    x = 10_000.0 * (X + 2.0)
    return model, wb.mean_squared_error(model(x), x.sum(axis=1, keepdims=True))


@broken("exploding gradients", "weight")
def one_layer_whose_steps_are_too_long():
    model = wb.Dense(2, 1, seed=0)
    x = 30.0 * X
    optimizer = wb.SGD(model.parameters(), 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        wb.mean_squared_error(model(x), X.sum(axis=1, keepdims=True)).backward()
        optimizer.step()
    model.zero_grad()
    return model, wb.mean_squared_error(model(x), X.sum(axis=1, keepdims=True))


@broken("exploding gradients", "weight")
def weights_thrown_away_under_a_loss_by_hand():
    model = wb.Dense(2, 1, seed=0, weight_init=everywhere(1e12))
    return model, wb.mean((model(X) - X.sum(axis=1, keepdims=True)) ** 2)


@broken("saturated units", "0")
def one_score_that_is_certain_and_wrong():
    model = wb.Sequential(wb.Dense(2, 1, weight_init=normal(1000.0), seed=0))
    return model, wb.binary_cross_entropy(model(X), Y[:, None].astype(float))


def diagnosed(model, loss, **more):
    if type(loss) is Computed:
        return wb.diagnose(model, loss.loss, **more)
    if loss.inputs and math.isfinite(loss.data):
        loss.backward()
    return wb.diagnose(model, loss, **more)


@pytest.mark.parametrize(("build", "layer"), list(itertools.chain.from_iterable(BROKEN.values())))
def test_a_broken_network_has_its_ailment_and_no_other(build, layer, request):
    kind = request.node.callspec.id.split(":")[0]
    found = diagnosed(*build())
    assert not found
    assert {(finding.kind, finding.layer) for finding in found} == {(kind, layer)}
    for finding in found:
        assert finding.remedy == REMEDIES[kind]
        assert finding.words in str(found)
        assert finding.remedy in str(found)


def test_every_ailment_has_a_broken_network():
    assert {*BROKEN, "not updated"} == set(REMEDIES)


def test_what_the_optimizer_does_not_have():
    model = Spare.__new__(Spare)
    model.hidden, model.out = wb.Dense(2, 8, "tanh", seed=0), wb.Dense(8, 2, seed=1)
    some = wb.SGD(model.out.parameters())
    found = diagnosed(model, cross_entropy(model), optimizer=some)
    assert [(f.kind, f.layer) for f in found] == [("not updated", "hidden")]
    assert "hidden.weight, hidden.bias" in found[0].words
    assert wb.diagnose(model, diagnosed_loss(model), wb.SGD(model.parameters()))


def diagnosed_loss(model):
    model.zero_grad()
    loss = cross_entropy(model)
    loss.backward()
    return loss


def test_a_learning_rate_of_zero_updates_nothing():
    model = wb.MLP(2, [8], 2, seed=0)
    optimizer = wb.SGD(model.parameters(), learning_rate=wb.StepDecay(0.0, 1))
    found = diagnosed(model, cross_entropy(model), optimizer=optimizer)
    assert [f.kind for f in found] == ["not updated"]
    assert "rate is 0" in str(found)


# -- silent on healthy networks ------------------------------------------------------------------------------------------------

ACTIVATIONS = ["relu", "tanh", "sigmoid", "gelu", "leaky_relu", "softplus"]
DATA = {"moons": (X, Y, 2), "digits": (DIGITS, LABELS, 10)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hidden", [[16], [32, 32], [24, 24, 24]], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("data", DATA)
def test_a_healthy_network_has_no_ailment_from_start_to_end(data, activation, hidden, seed):
    x, y, classes = DATA[data]
    init = ["glorot_uniform", "he_normal", "lecun_uniform"][seed]
    model = wb.MLP(x.shape[1], hidden, classes, activation=activation, weight_init=init, seed=seed)
    optimizer = wb.Adam(model.parameters(), learning_rate=0.02)
    for step in range(81):
        loss = wb.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if step in (0, 10, 80):
            found = wb.diagnose(model, loss, optimizer)
            assert found, f"step {step}, loss {loss.data}: {found}"
        optimizer.step()
    assert wb.diagnose(model, loss, optimizer), "… also after the step, when the weights are newer than the loss"
    if activation != "sigmoid":  # slow on three layers
        assert loss.data < 0.5, "it learns"


def test_certain_answers_that_are_right_are_no_ailment():
    model = wb.Sequential(wb.Dense(2, 1, seed=0), "sigmoid")
    x, y = np.array([[1.0, 1.0], [-1.0, -1.0]] * 8), np.array([[1.0], [0.0]] * 8)
    model[0].weight.data = [[20.0], [20.0]]
    assert diagnosed(model, wb.mean_squared_error(model(x), y))
    assert [f.kind for f in diagnosed(model, wb.mean_squared_error(model(x), 1.0 - y))] == ["saturated units"]


def test_other_forms_of_healthy_networks():
    class Twice(wb.Module):
        """A layer that is used again and again, a shared weight, a number as a parameter."""

        def __init__(self):
            self.into, self.again, self.scale = wb.Dense(2, 8, seed=0), wb.Dense(8, 8, "relu", seed=1), wb.Value(1.0)

        def forward(self, x):
            h = wb.tanh(self.into(x))
            for _ in range(3):
                h = h + self.again(h)
            return h @ self.into.weight.T * self.scale

    model = Twice()
    assert diagnosed(model, cross_entropy(model))
    dropped = wb.Sequential(wb.Dense(2, 32, "relu", seed=0), wb.Dropout(0.5, seed=1), wb.Dense(32, 2, seed=2))
    assert diagnosed(dropped, cross_entropy(dropped))
    w, b = wb.Value([[0.5, -0.25], [0.1, 0.3]], name="w"), wb.Value([0.0, 0.1], name="b")
    assert diagnosed([w, b], wb.cross_entropy(3.0 * wb.tanh(X @ w + b), Y))


def test_a_last_layer_that_starts_at_zero_learns():
    model = wb.Sequential(wb.Dense(64, 16, "tanh", seed=0), wb.Dense(16, 10, weight_init="zeros"))
    loss = wb.cross_entropy(model(DIGITS), LABELS)
    found = diagnosed(model, loss)
    assert "symmetric units" not in [f.kind for f in found]


# -- networks of every kind, as they learn --------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0)
SEQUENCES, PARITY = ROWS.normal(size=(32, 6, 4)), np.arange(32) % 2
SEQUENCES[:, 2, 1] += 2.0 * PARITY
PICTURES = DIGITS.reshape(-1, 1, 8, 8) / 16.0
WORDS = ROWS.integers(0, 12, size=(32, 5))
HEIGHTS = X.sum(axis=1, keepdims=True)
ONE_OR_ZERO, ONE_OR_MINUS = Y[:, None].astype(float), 2.0 * Y[:, None] - 1.0


class SecondHalf(wb.Module):
    """A recurrent layer's last state, and a layer on it."""

    def __init__(self, recurrent):
        self.recurrent, self.out = recurrent, wb.Dense(8, 2, seed=1)

    def forward(self, x):
        return self.out(self.recurrent(x)[:, -1])


class Autoencoder(wb.Module):
    def __init__(self):
        self.small, self.large = wb.Dense(64, 8, "tanh", seed=0), wb.Dense(8, 64, seed=1)

    def forward(self, x):
        self.code = self.small(x)  # kept to look at
        return self.large(self.code)


class Mixture(wb.Module):
    """Experts, weighted by a softmax."""

    def __init__(self):
        self.gate, self.experts = wb.Dense(2, 3, "softmax", seed=0), [wb.Dense(2, 2, "tanh", seed=i) for i in range(3)]
        self.out = wb.Dense(2, 2, seed=4)

    def forward(self, x):
        shares = self.gate(x)
        return self.out(sum(shares[:, i : i + 1] * expert(x) for i, expert in enumerate(self.experts)))


def chain(*layers):
    return wb.Sequential(*layers)


def mlp(inputs=2, outputs=2, hidden=(16,), **options):
    return wb.MLP(inputs, list(hidden), outputs, seed=0, **options)


def log_likelihood(p, y):
    return wb.negative_log_likelihood(wb.log_softmax(p), y)


def by_hand(p, y):
    return wb.mean((p - y) ** 2)


def brier(p, y):
    return wb.mean_squared_error(p, np.eye(p.shape[-1])[y])


def smoothed(p, y):
    return wb.cross_entropy(p, y, label_smoothing=0.1)


def decayed(model):
    return lambda p, y: wb.cross_entropy(p, y) + 1e-3 * sum(wb.sum(w * w) for w in model.parameters())


HEALTHY = {
    "relu, cross_entropy": lambda: (mlp(), X, Y, wb.cross_entropy),
    "tanh, cross_entropy": lambda: (mlp(activation="tanh"), X, Y, wb.cross_entropy),
    "float32": lambda: (mlp(dtype="float32"), X.astype("f4"), Y, wb.cross_entropy),
    "float32 and float64 data": lambda: (mlp(dtype="float32"), X, Y, wb.cross_entropy),
    "float16 weights": lambda: (mlp(dtype="float16"), X, Y, wb.cross_entropy),
    "one layer": lambda: (wb.Dense(2, 2, seed=0), X, Y, wb.cross_entropy),
    "one score, binary_cross_entropy": lambda: (mlp(outputs=1), X, ONE_OR_ZERO, wb.binary_cross_entropy),
    "one score, hinge_loss": lambda: (mlp(outputs=1), X, ONE_OR_MINUS, wb.hinge_loss),
    "tanh at the end, hinge_loss": lambda: (chain(mlp(outputs=1), "tanh"), X, ONE_OR_MINUS, wb.hinge_loss),
    "numbers": lambda: (mlp(outputs=1), X, HEIGHTS, wb.mean_squared_error),
    "numbers, by hand": lambda: (mlp(outputs=1), X, HEIGHTS, by_hand),
    "numbers, mean_absolute_error": lambda: (mlp(outputs=1, activation="gelu"), X, HEIGHTS, wb.mean_absolute_error),
    "numbers, huber": lambda: (mlp(outputs=1, activation="silu"), X, HEIGHTS, wb.huber),
    "a line": lambda: (wb.Dense(2, 1, seed=0), X, HEIGHTS, wb.mean_squared_error),
    "sigmoid at the end, squared": lambda: (
        chain(mlp(outputs=1), "sigmoid"), X, ONE_OR_ZERO, wb.mean_squared_error,
    ),
    "softmax at the end, squared": lambda: (chain(mlp(), "softmax"), X, Y, brier),
    "log_softmax at the end": lambda: (chain(mlp(), "log_softmax"), X, Y, wb.negative_log_likelihood),
    "log_softmax in the loss": lambda: (mlp(activation="elu"), X, Y, log_likelihood),
    "distributions": lambda: (
        chain(mlp(), "log_softmax"), X, np.eye(2)[Y] * 0.8 + 0.1, wb.kl_divergence,
    ),
    "label smoothing": lambda: (mlp(activation="mish"), X, Y, smoothed),
    "weight decay in the loss": lambda: ((model := mlp()), X, Y, decayed(model)),
    "layer norm": lambda: (chain(wb.Dense(2, 16, seed=0), wb.LayerNorm(16), "relu", wb.Dense(16, 2, seed=1)), X, Y, wb.cross_entropy),
    "batch norm": lambda: (
        chain(wb.Dense(2, 16, bias=False, seed=0), wb.BatchNorm(16), "relu", wb.Dense(16, 2, seed=1)), X, Y, wb.cross_entropy,
    ),
    "dropout": lambda: (chain(wb.Dense(2, 32, "relu", seed=0), wb.Dropout(0.3, seed=1), wb.Dense(32, 2, seed=2)), X, Y, wb.cross_entropy),
    "residual": lambda: (
        chain(wb.Dense(2, 8, seed=0), wb.Residual(wb.Dense(8, 8, "relu", seed=1)), wb.Residual(wb.Dense(8, 8, "tanh", seed=2)), wb.Dense(8, 2, seed=3)),
        X, Y, wb.cross_entropy,
    ),
    "digits": lambda: (mlp(64, 10, (32, 32)), DIGITS / 16.0, LABELS, wb.cross_entropy),
    "digits that were not scaled": lambda: (mlp(64, 10, (32,)), DIGITS, LABELS, wb.cross_entropy),
    "convolution": lambda: (
        chain(wb.Conv2d(1, 4, 3, seed=0), "relu", wb.MaxPool(2), wb.Flatten(), wb.Dense(36, 10, seed=1)), PICTURES, LABELS, wb.cross_entropy,
    ),
    "an rnn": lambda: (SecondHalf(wb.RNN(4, 8, seed=0)), SEQUENCES, PARITY, wb.cross_entropy),
    "a gru": lambda: (SecondHalf(wb.GRU(4, 8, seed=0)), SEQUENCES, PARITY, wb.cross_entropy),
    "an lstm": lambda: (SecondHalf(wb.LSTM(4, 8, seed=0)), SEQUENCES, PARITY, wb.cross_entropy),
    "attention": lambda: (
        chain(wb.TransformerBlock(4, heads=2, seed=0), wb.Flatten(), wb.Dense(24, 2, seed=1)), SEQUENCES, PARITY, wb.cross_entropy,
    ),
    "an embedding": lambda: (
        chain(wb.Embedding(12, 4, seed=0), wb.Flatten(), wb.Dense(20, 2, seed=1)), WORDS, WORDS[:, 0] % 2, wb.cross_entropy,
    ),
    "an autoencoder": lambda: (Autoencoder(), DIGITS / 16.0, DIGITS / 16.0, wb.binary_cross_entropy),
    "a mixture": lambda: (Mixture(), X, Y, wb.cross_entropy),
    "a classes' weights": lambda: (mlp(activation="softplus"), X, Y, lambda p, y: wb.cross_entropy(p, y, class_weights=[1.0, 3.0])),
}  # fmt: skip
OPTIMIZERS = {
    "SGD": lambda p: wb.SGD(p, 0.05), "momentum": lambda p: wb.SGD(p, 0.02, momentum=0.9), "Adam": lambda p: wb.Adam(p, 0.01),
    "AdamW": lambda p: wb.AdamW(p, 0.01), "RMSprop": lambda p: wb.RMSprop(p, 0.003), "Adagrad": lambda p: wb.Adagrad(p, 0.05),
    "clipped": lambda p: wb.SGD(p, 0.05, clip_norm=1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_every_kind_of_healthy_network_has_no_ailment_before_and_after_its_steps(name):
    model, x, y, loss_of = HEALTHY[name]()
    each = list(OPTIMIZERS.values())
    # The epsilon of the others is 0 in float16.
    make = OPTIMIZERS["SGD"] if "float16" in name else each[list(HEALTHY).index(name) % len(each)]
    optimizer = make(model.parameters())
    for step in range(41):
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        before = wb.diagnose(model, loss, optimizer) if step in (0, 3, 40) else True
        optimizer.step()
        after = wb.diagnose(model, loss, optimizer) if step in (0, 3, 40) else True
        assert before, f"step {step}, loss {loss.data}: {before}"
        assert after, f"after step {step}, loss {loss.data}: {after}"


EXPLODING = {
    "one layer": (lambda: wb.Dense(2, 1, seed=0), 0.01),
    "a network": (lambda: mlp(outputs=1, activation="leaky_relu"), 0.01),
    "a tanh network": (lambda: mlp(outputs=1, activation="tanh"), 100.0),
}


@pytest.mark.parametrize("loss_of", [wb.mean_squared_error, by_hand])
@pytest.mark.parametrize("name", EXPLODING)
def test_a_network_that_explodes_is_found_at_any_moment(name, loss_of):
    """Also after the step: the weights that the gradient belongs to are gone then."""
    build, rate = EXPLODING[name]
    model, x = build(), ROWS.integers(1, 10_000, size=(100, 2)).astype(float)
    y = x.sum(axis=1, keepdims=True)
    optimizer = wb.SGD(model.parameters(), rate)
    for _ in range(4):
        loss = loss_of(model(x), y)
        if not math.isfinite(loss.data):
            break
        optimizer.zero_grad()
        loss.backward()
        for _ in range(2):
            kinds = {f.kind for f in wb.diagnose(model, loss, optimizer)}
            assert kinds & {"exploding gradients", "gradient not finite", "weights not finite", "saturated units"}
            assert "stuck bias" not in kinds
            optimizer.step()


def test_a_bias_beside_large_inputs_is_not_stuck():
    model = mlp(outputs=1, activation="leaky_relu")
    found = diagnosed(model, wb.mean_squared_error(model(X * 1e12), HEIGHTS))
    assert {f.kind for f in found} == {"exploding gradients"}


def test_an_optimizer_that_was_made_before_a_layer_was_replaced():
    model = Spare.__new__(Spare)
    model.hidden, model.out = wb.Dense(2, 8, "tanh", seed=0), wb.Dense(8, 2, seed=1)
    optimizer = wb.SGD(model.parameters())
    model.out = wb.Dense(8, 2, seed=2)
    (found,) = diagnosed(model, cross_entropy(model), optimizer=optimizer)
    assert (found.kind, found.layer) == ("not updated", "out")
    assert found.words == "the optimizer does not have out.weight, out.bias; the loss does not use 2 that it has"


def test_what_it_says_of_the_loss_input():
    found = diagnosed(*softmax_and_then_cross_entropy())
    assert found[0].words == (
        "cross_entropy takes scores and applies softmax itself, but its logits come from softmax and lie between 0 and 1"
    )


# -- the result, and bad input -------------------------------------------------------------------------------------------------


def test_the_result_is_a_sequence_that_prints():
    model, loss = biases_far_below_zero()
    found = diagnosed(model, loss)
    assert (len(found), bool(found)) == (1, False)
    assert found[0].numbers["dead"] == found[0].numbers["units"] == 8
    assert repr(found) == str(found)
    assert str(found).startswith("dead units: 8 of the 8 units of Dense '0' give 0 for each of 128 rows")
    model = wb.MLP(2, [8], 2, seed=0)
    well = diagnosed(model, cross_entropy(model))
    assert (len(well), bool(well), list(well), str(well)) == (0, True, [], "healthy: nothing found")


def test_it_changes_nothing():
    model = wb.MLP(2, [8], 2, seed=0)
    loss = cross_entropy(model)
    loss.backward()
    before = [(p.tick, p.data.copy(), p.grad.copy()) for p in model.parameters()]
    wb.diagnose(model, loss)
    for (tick, data, grad), p in zip(before, model.parameters(), strict=True):
        assert tick == p.tick
        np.testing.assert_array_equal(data, p.data)
        np.testing.assert_array_equal(grad, p.grad)


def test_bad_input_is_told():
    model = wb.MLP(2, [8], 2, seed=0)
    loss = cross_entropy(model)
    with pytest.raises(ValueError, match=r"call loss\.backward\(\) first"):
        wb.diagnose(model, loss)
    loss.backward()
    model.zero_grad()
    with pytest.raises(ValueError, match="and diagnose before zero_grad"):
        wb.diagnose(model, loss)
    with pytest.raises(ValueError, match="the loss is one number, got shape \\(128, 2\\)"):
        wb.diagnose(model, model(X))
    with pytest.raises(TypeError, match="a Module or a list of Values is wanted"):
        wb.diagnose(len, loss)
    compiled = wb.compile(lambda x: cross_entropy(model, x))
    for _ in range(4):
        loss = compiled(X)
    loss.backward()
    with pytest.raises(TypeError, match="comes from a compiled function"):
        wb.diagnose(model, loss)
