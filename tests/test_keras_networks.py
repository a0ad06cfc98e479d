"""Dense layers, their initial weights, SGD and recurrent layers held against Keras: the same weights in, the same numbers out."""

import os
import sys

import numpy as np
import pytest

import tinygrad_wb as wb

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def keras():
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")  # a backend that is installed for other tests
    return pytest.importorskip("keras", reason="Keras is not installed; these tests compare with it")


def arrays(keras, parameters):
    return [keras.ops.convert_to_numpy(p) for p in parameters]


def dense_pair(keras, *sizes, activation="tanh"):
    """A network of ours and Keras's, with the weights that Keras began with. It computes some things in float32."""
    rest, last = sizes[1:-1], sizes[-1]
    layers = [keras.layers.Dense(n, activation, dtype="float64") for n in rest]
    network = keras.Sequential(
        [keras.Input((sizes[0],), dtype="float64"), *layers, keras.layers.Dense(last, dtype="float64")]
    )
    model = wb.MLP(sizes[0], list(rest), last, activation=activation)
    for ours, theirs in zip(model.parameters(), arrays(keras, network.weights), strict=True):
        ours.data = theirs
    return model, network


@pytest.mark.parametrize(
    "activation", ["relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "mish", "softplus", "softsign", "softmax"]
)
def test_dense(keras, activation):
    model, network = dense_pair(keras, 5, 8, 3, activation=activation)
    x = RNG.normal(size=(7, 5))
    np.testing.assert_allclose(model(x).data, keras.ops.convert_to_numpy(network(x)), rtol=1e-5, atol=1e-6)


OPTIMIZERS = {"plain": {}, "momentum": {"momentum": 0.9}, "Nesterov": {"momentum": 0.9, "nesterov": True}}


@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_ten_steps_of_sgd_go_the_same_way(keras, options):
    model, network = dense_pair(keras, 5, 8, 3)
    network.compile(optimizer=keras.optimizers.SGD(0.1, **options), loss="mse", jit_compile=False)
    optimizer = wb.SGD(model.parameters(), 0.1, **options)
    before = [p.data.copy() for p in model.parameters()]
    for _ in range(10):
        x, y = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 3))
        optimizer.zero_grad()
        loss = wb.mean_squared_error(model(x), y)
        loss.backward()
        optimizer.step()
        expected = network.train_on_batch(x, y)
        assert loss.data == pytest.approx(float(expected), rel=1e-5)
        for ours, theirs in zip(model.parameters(), arrays(keras, network.weights), strict=True):
            np.testing.assert_allclose(ours.data, theirs, rtol=1e-5, atol=1e-7)
    assert all(np.abs(p.data - was).max() > 0.01 for p, was in zip(model.parameters(), before, strict=True)), (
        "they moved"
    )


# How far apart the distributions of two samples of this size may be, at one in a million (Kolmogorov and Smirnov).
COUNT = 300 * 200
CRITICAL = np.sqrt(-np.log(1e-6 / 2) / COUNT)


def apart(a, b):
    """The statistic of Kolmogorov and Smirnov: the largest difference of the two cumulative distributions."""
    every = np.sort(np.concatenate([a, b]))
    return np.abs(
        np.searchsorted(np.sort(a), every, "right") - np.searchsorted(np.sort(b), every, "right")
    ).max() / len(a)


def keras_dense(keras, **options):
    layer = keras.layers.Dense(200, **options)
    layer.build((None, 300))
    return arrays(keras, layer.weights)


def test_dense_starts_as_in_keras(keras):
    weight, bias = keras_dense(keras)
    layer = wb.Dense(300, 200, seed=0)
    assert apart(layer.weight.data.ravel(), weight.ravel()) < CRITICAL
    assert not bias.any()
    assert not layer.bias.data.any()
    assert apart(wb.Dense(300, 200, weight_init="he_uniform", seed=0).weight.data.ravel(), weight.ravel()) > CRITICAL


@pytest.mark.parametrize("init", ["glorot_uniform", "he_uniform", "lecun_uniform"])
def test_initializers_have_kerass_distribution(keras, init):
    weight, _ = keras_dense(keras, kernel_initializer=init)
    assert apart(wb.Dense(300, 200, weight_init=init, seed=1).weight.data.ravel(), weight.ravel()) < CRITICAL


@pytest.mark.parametrize("init", ["glorot_normal", "he_normal", "lecun_normal"])
def test_normal_initializers_have_kerass_spread(keras, init):
    weight, _ = keras_dense(keras, kernel_initializer=init)  # Keras cuts the tails off, and widens what is left
    ours = wb.Dense(300, 200, weight_init=init, seed=1).weight.data
    assert ours.std() == pytest.approx(weight.std(), rel=0.02)


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_recurrent_layers(keras, kind):
    theirs = {"RNN": keras.layers.SimpleRNN, "LSTM": keras.layers.LSTM}[kind](4, return_sequences=True, dtype="float64")
    ours = getattr(wb, kind)(3, 4)
    x = RNG.normal(size=(2, 6, 3))
    theirs(x)
    weight, recurrent, bias = arrays(keras, theirs.weights)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(4), atol=1e-6, err_msg="orthogonal, as ours")
    np.testing.assert_array_equal(bias, ours.bias.data + ours.recurrent_bias.data)
    ours.weight.data, ours.recurrent_weight.data = weight, recurrent
    # Keras rounds what it is given to float32, which a recurrent layer may make more of.
    np.testing.assert_allclose(ours(x).data, keras.ops.convert_to_numpy(theirs(x)), rtol=1e-5, atol=2e-6)
