"""Layers: what they compute, and what they say when something does not fit."""

import math

import numpy as np
import pytest

import tinygrad_wb as wb

RNG = np.random.default_rng(0)


class Net(wb.Module):
    def __init__(self, **layers):
        for name, layer in layers.items():
            setattr(self, name, layer)


# -- Dense ----------------------------------------------------------------------------------------------------------

INPUTS = {
    "one example": RNG.normal(size=4),
    "a batch": RNG.normal(size=(3, 4)),
    "a batch of sequences": RNG.normal(size=(2, 3, 4)),
    "deeper": RNG.normal(size=(2, 1, 3, 4)),
    "a list": [1.0, 2.0, 3.0, 4.0],
    "a list of lists": [[1, 2, 3, 4], [0, 0, 0, 1]],
    "integers": np.arange(8).reshape(2, 4),
    "booleans": np.array([[True, False, True, True]]),
    "no rows": np.ones((0, 4)),
}


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("activation", [None, "tanh"])
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
def test_dense_is_activation_of_x_times_weight_plus_bias(x, activation, bias):
    layer = wb.Dense(4, 2, activation, bias=bias, bias_init="he_normal", seed=1)
    expected = np.asarray(x) @ layer.weight.data + (layer.bias.data if bias else 0.0)
    y = layer(x)
    np.testing.assert_allclose(y.data, np.tanh(expected) if activation else expected, rtol=1e-13)
    assert y.shape == (*np.shape(x)[:-1], 2)
    assert (layer.bias is not None) == bias


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_dense_gradients_reach_input_weight_and_bias(shape, bias):
    layer = wb.Dense(4, 2, bias=bias, seed=1)
    x = wb.Value(np.random.default_rng(2).normal(size=shape))
    g = np.random.default_rng(3).normal(size=(*shape[:-1], 2))
    layer(x).backward(seed=g)
    rows, g_rows = x.data.reshape(-1, 4), g.reshape(-1, 2)
    np.testing.assert_allclose(layer.weight.grad, rows.T @ g_rows, rtol=1e-12)
    np.testing.assert_allclose(x.grad, (g_rows @ layer.weight.data.T).reshape(shape), rtol=1e-12)
    if bias:
        np.testing.assert_allclose(layer.bias.grad, g_rows.sum(0), rtol=1e-12)


def gelu(x):
    return np.vectorize(lambda v: 0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))))(x)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "gelu": gelu,
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1.0),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1.0)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "hard_tanh": lambda x: np.minimum(np.maximum(x, -1.0), 1.0),
    "sin": np.sin,
    "softmax": softmax,
    "log_softmax": lambda x: np.log(softmax(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_by_name_and_by_function(name):
    x = np.random.default_rng(0).normal(size=(3, 4))
    layer = wb.Dense(4, 5, name, seed=0)
    expected = ACTIVATIONS[name](x @ layer.weight.data)
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(wb.Dense(4, 5, getattr(wb, name), seed=0)(x).data, layer(x).data)
    np.testing.assert_array_equal(wb.Sequential(wb.Dense(4, 5, seed=0), name)(x).data, layer(x).data)


def test_leaky_relu_and_functions_of_the_users_own():
    x = np.array([[-1.0, 2.0]])
    leaky = wb.Dense(2, 2, "leaky_relu", weight_init=lambda shape, rng: np.eye(2))(x).data
    assert -1.0 < leaky[0, 0] < 0.0
    assert leaky[0, 1] == 2.0
    layer = wb.Dense(2, 2, lambda v: v * v + 1.0, weight_init=lambda shape, rng: np.eye(2))
    np.testing.assert_array_equal(layer(x).data, [[2.0, 5.0]])


DENSE_MISFITS = {
    "another width: build it so": ((8, 3), (32, 10), "the last length must be 8, or build the layer as Dense(10, 3)"),
    "turned round": ((8, 3), (8, 32), "the last length must be 8; transpose x?"),
    "the axis is elsewhere": ((8, 3), (2, 8, 5), "the last length must be 8; move that axis to the end"),
    "pictures": ((64, 3), (32, 8, 8), "the last length must be 64; x.reshape(32, 64)?"),
    "a column is wanted": ((1, 3), (5,), "the last length must be 1; x.reshape(5, 1)?"),
    "one example": ((8, 3), (10,), "the last length must be 8, or build the layer as Dense(10, 3)"),
    "a number": ((8, 3), (), "the last length must be 8"),
    "a number for one input": ((1, 3), (), "the last length must be 1"),
    "no columns": ((8, 3), (4, 0), "the last length must be 8"),
}


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(("sizes", "shape", "remedy"), DENSE_MISFITS.values(), ids=DENSE_MISFITS)
def test_dense_says_what_it_takes_what_it_got_and_what_to_do(sizes, shape, remedy, bias):
    model = Net(hidden=wb.Dense(*sizes, bias=bias))
    with pytest.raises(wb.ShapeError) as error:
        model.hidden(np.ones(shape))
    assert str(error.value).startswith(f"Dense 'hidden' takes {sizes[0]} inputs, got x of shape {shape}; {remedy}")


def test_dense_names_itself_by_where_it_stands():
    lone = wb.Dense(8, 3)
    for make, label in (
        (lambda: lone, "Dense"),
        (lambda: wb.Sequential("relu", lone), "Dense '1'"),
        (lambda: Net(blocks=[wb.Sequential(lone)]), "Dense 'blocks.0.0'"),
    ):
        make()
        with pytest.raises(wb.ShapeError) as error:
            lone(np.ones((2, 5)))
        assert str(error.value).startswith(f"{label} takes 8 inputs")


def test_a_misfit_inside_a_model_is_told_by_the_layer_that_it_is_in():
    model = Net(hidden=wb.Dense(4, 6), out=wb.Dense(5, 1))
    with pytest.raises(wb.ShapeError, match=r"Dense 'out' takes 5 inputs, got x of shape \(2, 6\)"):
        model.out(model.hidden(np.ones((2, 4))))


@pytest.mark.parametrize("x", [["a", "b"], np.array([1j, 2.0]), [object(), 1.0]], ids=["text", "complex", "objects"])
def test_dense_refuses_what_holds_no_real_numbers(x):
    with pytest.raises(TypeError, match="numbers are wanted"):
        wb.Dense(2, 1)(x)


@pytest.mark.parametrize("size", [0, -1, 2.0, "3", None, [4]])
@pytest.mark.parametrize("which", ["inputs", "outputs"])
def test_dense_sizes_are_positive_whole_numbers(which, size):
    sizes = {"inputs": 2, "outputs": 2, which: size}
    with pytest.raises(ValueError, match=f"Dense: {which} must be a positive whole number, got "):
        wb.Dense(**sizes)


def test_dense_takes_numpy_integers_as_sizes():
    assert wb.Dense(np.int64(3), np.int32(2)).weight.shape == (3, 2)


UNKNOWN = {
    "rellu": "did you mean 'relu'",
    "ReLU": "did you mean 'relu'",
    "soft_max": "did you mean 'softmax'",
    "sigmoyd": "did you mean 'sigmoid'",
    "zzzz": "unknown activation 'zzzz': There are: elu, gelu, ",
}


@pytest.mark.parametrize(("name", "message"), UNKNOWN.items())
@pytest.mark.parametrize(
    "build",
    [lambda name: wb.Dense(2, 2, name), wb.Sequential, lambda name: wb.MLP(2, [3], 1, name), wb.Activation],
    ids=["Dense", "Sequential", "MLP", "Activation"],
)
def test_an_unknown_activation_suggests_the_nearest(build, name, message):
    with pytest.raises(ValueError, match=message) as error:
        build(name)
    assert str(error.value).startswith(f"unknown activation {name!r}")


def test_an_activation_that_is_neither_name_nor_function_is_refused():
    with pytest.raises(TypeError, match="activation must be a name or a function, got 3"):
        wb.Dense(2, 2, 3)


# -- Sequential and MLP ---------------------------------------------------------------------------------------------


def test_sequential_runs_its_layers_in_order():
    model = wb.Sequential(wb.Dense(3, 4, seed=0), "tanh", wb.Dense(4, 2, seed=1), lambda v: v * 2.0)
    x = np.random.default_rng(0).normal(size=(5, 3))
    hidden = np.tanh(x @ model[0].weight.data + model[0].bias.data)
    np.testing.assert_allclose(model(x).data, 2.0 * (hidden @ model[2].weight.data + model[2].bias.data), rtol=1e-12)


def test_sequential_is_a_sequence():
    layers = [wb.Dense(3, 4), wb.Dropout(0.5), wb.Dense(4, 2)]
    model = wb.Sequential(*layers)
    assert len(model) == 3
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    assert list(model) == layers
    assert list(model[1:]) == layers[1:]
    with pytest.raises(IndexError):
        model[3]


def test_an_empty_sequential_passes_everything_on():
    model = wb.Sequential()
    assert model(5.0) == 5.0
    assert len(model) == 0
    assert model.parameters() == []


def test_mlp_is_dense_layers_with_the_activation_between():
    model = wb.MLP(3, [5, 4], 2, activation="tanh", seed=0)
    assert [layer.weight.shape for layer in model] == [(3, 5), (5, 4), (4, 2)]
    x = np.random.default_rng(0).normal(size=(6, 3))
    y = x
    for layer in list(model)[:-1]:
        y = np.tanh(y @ layer.weight.data + layer.bias.data)
    np.testing.assert_allclose(model(x).data, y @ model[2].weight.data + model[2].bias.data, rtol=1e-12)


def test_mlp_has_relu_by_default_and_no_activation_at_the_end():
    model = wb.MLP(3, [50], 50, seed=0)
    x = np.random.default_rng(0).normal(size=(6, 3))
    assert np.all(model[0](x).data >= 0.0)
    assert np.any(model(x).data < 0.0)


def test_mlp_without_hidden_layers_and_with_denses_options():
    model = wb.MLP(3, [], 2, bias=False, weight_init="ones", dtype=np.float32)
    assert len(model) == 1
    assert model[0].bias is None
    np.testing.assert_array_equal(model(np.ones(3, np.float32)).data, [3.0, 3.0])
    assert model[0].weight.dtype == np.float32


@pytest.mark.parametrize("hidden", [16, np.int64(16)])
def test_mlp_hidden_as_a_number_is_an_error_that_shows_the_call(hidden):
    with pytest.raises(TypeError, match=r"the hidden sizes are one list, .*: MLP\(2, \[16, …\], outputs\)"):
        wb.MLP(2, hidden, 1)


def test_mlp_layers_start_different_and_a_seed_repeats_them():
    model, again, other = wb.MLP(4, [4], 4, seed=0), wb.MLP(4, [4], 4, seed=0), wb.MLP(4, [4], 4, seed=1)
    assert not np.array_equal(model[0].weight.data, model[1].weight.data)
    for i in range(2):
        np.testing.assert_array_equal(model[i].weight.data, again[i].weight.data)
        assert not np.array_equal(model[i].weight.data, other[i].weight.data)


# -- Dropout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_zeroes_that_part_and_scales_the_rest(rate):
    x = np.full((200, 500), 3.0)
    y = wb.Dropout(rate, seed=0)(wb.Value(x)).data
    assert np.mean(y == 0.0) == pytest.approx(rate, abs=0.01)
    np.testing.assert_allclose(np.unique(y), [0.0, 3.0 / (1.0 - rate)])
    assert y.mean() == pytest.approx(3.0, rel=0.02)


def test_dropout_gives_the_gradient_only_to_what_it_kept():
    x = wb.Value(np.ones(1000))
    y = wb.Dropout(0.25, seed=0)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)
    assert 0 < np.sum(x.grad == 0.0) < 1000


def test_dropout_in_use_passes_everything_on():
    x = np.random.default_rng(0).normal(size=50)
    layer = wb.Dropout(0.9, seed=0).eval()
    np.testing.assert_array_equal(layer(x), x)
    assert np.sum(layer.train()(x) == 0.0) > 25
    np.testing.assert_array_equal(wb.Dropout(0.0)(x), x)


def test_dropout_at_rate_0_hands_on_the_very_value_and_draws_nothing():
    v = wb.Value([1.0, 2.0])
    layer = wb.Dropout(0.0, seed=0)
    assert layer.training
    assert layer(v) is v
    rng = np.random.default_rng(0)
    assert wb.dropout(v, 0.0, rng) is v
    assert wb.dropout(v, 0, rng) is v
    assert rng.random() == np.random.default_rng(0).random()


def test_dropout_repeats_by_seed_and_drops_others_each_time():
    x = np.ones(200)
    a, b, other = wb.Dropout(0.5, seed=1), wb.Dropout(0.5, seed=1), wb.Dropout(0.5, seed=2)
    first = a(x)
    np.testing.assert_array_equal(first, b(x))
    assert not np.array_equal(first, other(x))
    assert not np.array_equal(first, a(x)), "each call drops others"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dropout_keeps_the_dtype(dtype):
    x = np.ones((4, 5), dtype)
    assert wb.Dropout(0.3, seed=0)(x).dtype == dtype
    y = wb.Dropout(0.3, seed=0)(wb.Value(x))
    assert y.dtype == dtype
    y.sum().backward()


@pytest.mark.parametrize(
    "x",
    [np.ones(1000, int), np.ones(1000, np.uint8), np.ones(1000, bool), [1] * 1000],
    ids=["int", "uint8", "bool", "list"],
)
def test_dropout_scales_whole_numbers_too(x):
    y = np.asarray(wb.Dropout(0.4, seed=0)(x))
    np.testing.assert_allclose(np.unique(y), [0.0, 1.0 / 0.6])


@pytest.mark.parametrize("x", [2.0, wb.Value(2.0)], ids=["a number", "a scalar Value"])
def test_dropout_of_a_single_number(x):
    layer = wb.Dropout(0.5, seed=0)
    seen = {float(layer(x)) for _ in range(50)}
    assert seen == {0.0, 4.0}


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, math.nan])
def test_dropout_rate_is_a_probability_below_one(rate):
    with pytest.raises(ValueError, match="Dropout: rate is a probability from 0 to below 1"):
        wb.Dropout(rate)


# -- the whole way in float32 -----------------------------------------------------------------------------------------

LOSSES = {
    "mean_squared_error": np.ones((6, 3), np.float32),
    "binary_cross_entropy": np.ones((6, 3), np.float32),
    "hinge_loss": np.ones((6, 3), np.float32),
    "cross_entropy": np.array([0, 1, 2, 0, 1, 2]),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_stays_float32_through_layers_losses_gradients_and_steps(loss):
    model = wb.Sequential(
        wb.Dense(4, 8, "gelu", dtype=np.float32, seed=0),
        wb.Dropout(0.2, seed=0),
        wb.Dense(8, 8, "tanh", bias=False, dtype=np.float32, seed=1),
        wb.Dense(8, 3, dtype="float32", seed=2),
    )
    x = wb.Value(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    y = x
    for layer in model:
        y = layer(y)
        assert y.dtype == np.float32
    error = getattr(wb, loss)(y, LOSSES[loss])
    assert type(error.data) is float
    error.backward()
    assert x.grad.dtype == np.float32
    assert y.grad.dtype == np.float32
    for p in model.parameters():
        assert p.grad.dtype == np.float32
    for optimizer in (wb.SGD(model.parameters(), momentum=0.9), wb.Adam(model.parameters(), clip_norm=0.1)):
        optimizer.step()
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}


def test_one_hot_refuses_what_is_no_class():
    np.testing.assert_array_equal(wb.one_hot([[0], [2]], 3), [[[1, 0, 0]], [[0, 0, 1]]])
    for labels in ([0, -1], [0, 3]):
        with pytest.raises(ValueError, match="labels must be from 0 to 2"):
            wb.one_hot(labels, 3)
    with pytest.raises(TypeError, match=r"one_hot\(labels.*\): labels must be integers"):
        wb.one_hot([1.0], 3)


def test_layers_in_a_list_and_classes_of_layers_are_refused():
    with pytest.raises(TypeError, match=r"Sequential\(\*layers\)"):
        wb.Sequential([wb.Dense(2, 3), wb.Dense(3, 1)])
    with pytest.raises(TypeError, match="the class Dropout: make one of it"):
        wb.Sequential(wb.Dense(2, 3), wb.Dropout)


def test_a_bias_that_does_not_fit_is_not_blamed_on_x():
    layer = wb.Dense(2, 1)
    layer.bias.data = np.zeros(3)
    with pytest.raises(wb.ShapeError, match=r"b='bias': shape \(3,\)"):
        layer(np.ones((4, 2)))
