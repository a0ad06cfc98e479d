"""`diagnose`: right on networks that are broken, one for each ailment, and silent on those that learn."""

import itertools
import math

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


def diagnosed(model, loss, **more):
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
    assert diagnosed([w, b], wb.cross_entropy(wb.tanh(X @ w + b), Y))


def test_a_last_layer_that_starts_at_zero_learns():
    model = wb.Sequential(wb.Dense(64, 16, "tanh", seed=0), wb.Dense(16, 10, weight_init="zeros"))
    loss = wb.cross_entropy(model(DIGITS), LABELS)
    found = diagnosed(model, loss)
    assert "symmetric units" not in [f.kind for f in found]


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
