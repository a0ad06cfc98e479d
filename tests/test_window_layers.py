"""Convolution, pooling, normalisation and embedding layers: settings, errors, modes, and what is kept between batches."""

import copy
import math
import pickle

import numpy as np
import pytest

import tinygrad_wb as wb

RNG = np.random.default_rng(0)


# -- how they are built -----------------------------------------------------------------------------------------------


def test_they_say_what_they_are():
    model = wb.Sequential(
        wb.Conv2d(1, 8, (3, 5), "relu", stride=2, padding="same", bias=False), wb.Conv1d(4, 6, 3, groups=2, dilation=2), wb.MaxPool(2),
        wb.AveragePool((2, 3), 1, padding=1), wb.Flatten(), wb.LayerNorm((3, 4)), wb.BatchNorm(8), wb.Embedding(27, 10),
    )  # fmt: skip
    assert repr(model).splitlines()[1:] == [
        "  0: Conv2d(1 → 8, 3×5, stride 2, padding same, relu, no bias)", "  1: Conv1d(4 → 6, 3, dilation 2, groups 2)", "  2: MaxPool(2)",
        "  3: AveragePool((2, 3), stride 1, padding 1)", "  4: Flatten()", "  5: LayerNorm(3×4)", "  6: BatchNorm(8)", "  7: Embedding(27 → 10)",
    ]  # fmt: skip


def test_shapes_and_first_numbers_of_the_parameters():
    layer = wb.Conv2d(4, 6, (3, 5), groups=2, seed=0)
    assert {path: v.shape for path, v in layer.named_parameters()} == {"weight": (6, 2, 3, 5), "bias": (6,)}
    assert np.ptp(layer.weight.data) > 0
    assert not layer.bias.data.any()
    for layer in (wb.LayerNorm((2, 3)), wb.BatchNorm(4)):
        assert (layer.weight.data == 1.0).all()
        assert (layer.bias.data == 0.0).all()
        assert len(layer.parameters()) == 2
    weight = wb.Embedding(500, 40, seed=0).weight
    assert weight.shape == (500, 40)
    assert abs(weight.data.mean()) < 0.03
    assert weight.data.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("init", "variance"),
    [("glorot_uniform", 2 / (9 * 40 + 9 * 60)), ("he_normal", 2 / (9 * 40)), ("lecun_normal", 1 / (9 * 40))],
)
def test_a_convolution_counts_the_window_in_its_fans(init, variance):
    weight = wb.Conv2d(40, 60, 3, weight_init=init, seed=0).weight.data
    assert weight.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype):
    x = RNG.normal(size=(2, 2, 4, 4)).astype(dtype)
    for layer in (
        wb.Conv2d(2, 3, 3, dtype=dtype),
        wb.MaxPool(2),
        wb.AveragePool(2),
        wb.LayerNorm(4, dtype=dtype),
        wb.BatchNorm(2, dtype=dtype),
    ):
        assert layer(wb.Value(x)).dtype == dtype
        assert layer.eval()(wb.Value(x)).dtype == dtype
        assert all(v.dtype == dtype for v in layer.parameters())


def test_the_same_seed_gives_the_same_layer():
    for make in (lambda s: wb.Conv1d(2, 3, 2, seed=s), lambda s: wb.Embedding(5, 2, seed=s)):
        np.testing.assert_array_equal(make(1).weight.data, make(1).weight.data)
        assert (make(1).weight.data != make(2).weight.data).any()


MISBUILT = {
    "outputs": (lambda: wb.Conv2d(1, 0, 3), ValueError, "Conv2d: outputs must be a positive whole number, got 0"),
    "groups": (lambda: wb.Conv2d(3, 4, 3, groups=2), ValueError, "Conv2d: 2 groups must divide 3 inputs and 4 outputs"),
    "window": (lambda: wb.Conv1d(1, 1, (3, 3)), ValueError, "Conv1d: window must be a whole number from 1, or 1 of them"),
    "activation": (lambda: wb.Conv1d(1, 1, 3, "rleu"), ValueError, "did you mean 'relu'"),
    "weights": (lambda: wb.Conv1d(1, 1, 3, weight_init=lambda shape, rng: np.zeros(2)), wb.ShapeError, "weight_init must give an array of shape \\(1, 1, 3\\)"),
    "features": (lambda: wb.LayerNorm((3, -1)), ValueError, "LayerNorm: features\\[1\\] must be a positive whole number"),
    "channels": (lambda: wb.BatchNorm(2.5), ValueError, "BatchNorm: channels must be"),
    "momentum": (lambda: wb.BatchNorm(2, momentum=1.5), ValueError, "BatchNorm: momentum .* from 0 to 1, got 1.5"),
    "dtype": (lambda: wb.Embedding(2, 2, dtype=int), TypeError, "Embedding: dtype must be float16"),
    "labels": (lambda: wb.Embedding("ab", 2), ValueError, "Embedding: labels must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISBUILT)
def test_what_can_t_be_built(name):
    make, error, text = MISBUILT[name]
    with pytest.raises(error, match=text):
        make()


def ones(*shape):
    return wb.Value(np.ones(shape))


MISUSED = {
    "Conv2d": (wb.Conv2d(3, 4, 3), ones(1, 2, 8, 8), "Conv2d '0': conv2d.*w takes 3 channels.*it has 2"),
    "Conv1d": (wb.Conv1d(3, 4, 3), ones(1, 3, 2), "Conv1d '0': conv1d.*doesn't fit into \\(2,\\)"),
    "MaxPool": (wb.MaxPool(3), ones(1, 3, 2), "MaxPool '0': max_pool.*doesn't fit"),
    "AveragePool": (wb.AveragePool(3), ones(2, 2), "AveragePool '0': average_pool.*\\(batch, channels, length\\)"),
    "Flatten": (wb.Flatten(), wb.Value(1.0), "Flatten '0' takes \\(batch, …\\), got a number"),
    "LayerNorm": (wb.LayerNorm((2, 3)), ones(4, 3, 2), "LayerNorm '0' takes \\(…, 2, 3\\), got x of shape \\(4, 3, 2\\)"),
    "BatchNorm": (wb.BatchNorm(4), ones(4, 3, 2), "BatchNorm '0' takes \\(batch, 4, …\\), got x of shape \\(4, 3, 2\\)"),
    "BatchNorm of one": (wb.BatchNorm(4), ones(1, 4), "BatchNorm '0': x of shape \\(1, 4\\) has 1 numbers in each channel"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSED)
def test_errors_name_the_layer(name):
    layer, x, text = MISUSED[name]
    with pytest.raises(wb.ShapeError, match=text):
        wb.Sequential(layer)(x)


# -- BatchNorm ----------------------------------------------------------------------------------------------------------


def test_in_use_one_item_does_not_depend_on_the_others():
    layer = wb.BatchNorm(3)
    for _ in range(5):
        layer(RNG.normal(2.0, 3.0, (8, 3)))
    layer.eval()
    x = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(layer(x).data[:1], layer(x[:1]).data, rtol=1e-12)
    expected = (x - layer.running_mean) / np.sqrt(layer.running_var + 1e-5)
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-12)


def test_running_statistics_approach_those_of_the_data():
    layer = wb.BatchNorm(2, momentum=0.05)
    rng = np.random.default_rng(1)
    for _ in range(300):
        layer(rng.normal([1.0, -2.0], [0.5, 3.0], (64, 2)))
    np.testing.assert_allclose(layer.running_mean, [1.0, -2.0], atol=0.15)
    np.testing.assert_allclose(layer.running_var, [0.25, 9.0], rtol=0.1)


def test_running_statistics_stay_in_use_and_are_copied_with_the_layer():
    layer = wb.BatchNorm(2)
    layer(RNG.normal(size=(8, 2)))
    kept = layer.running_mean.copy()
    layer.eval()
    layer(RNG.normal(size=(8, 2)))
    np.testing.assert_array_equal(layer.running_mean, kept)
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        np.testing.assert_array_equal(other.running_mean, kept)
        other.train()(RNG.normal(size=(8, 2)))
        np.testing.assert_array_equal(layer.running_mean, kept)


def small_network():
    return wb.Sequential(
        wb.Conv2d(1, 3, 3, padding="same", seed=0),
        wb.BatchNorm(3),
        wb.relu,
        wb.MaxPool(2),
        wb.Flatten(),
        wb.Dropout(0.2, seed=1),
        wb.Dense(48, 10, seed=2),
    )


def test_fit_keeps_statistics_compiled_or_not():
    """A replay computes nothing of the model's own Python, so it has to tell the layer what it has seen."""
    x, y, *_ = wb.datasets.digits()
    x, y = x[:200].reshape(-1, 1, 8, 8), y[:200]
    found = []
    for compiled in (True, False):
        model = small_network()
        wb.fit(
            model,
            x,
            y,
            loss="cross_entropy",
            optimizer=wb.SGD(model.parameters(), 0.1),
            epochs=2,
            seed=0,
            progress=False,
            compile=compiled,
        )
        model.eval()
        found.append([model[1].running_mean, model[1].running_var, model(x[:10]).data])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_each_call_of_a_compiled_function_counts_once():
    layer, eager = wb.BatchNorm(2), wb.BatchNorm(2)
    loss_of = wb.compile(lambda x: wb.sum(wb.tanh(layer(x))))
    rng = np.random.default_rng(2)
    for _ in range(6):
        x = rng.normal(size=(5, 2))
        loss = loss_of(x)
        eager(x)
        np.testing.assert_allclose(layer.running_var, eager.running_var, rtol=1e-12)
        loss.backward()
        loss.backward()  # computes it again
        np.testing.assert_allclose(layer.running_mean, eager.running_mean, rtol=1e-12)
    assert loss_of.replaying
    kept = layer.running_mean.copy()
    loss_of.program(x).run()
    np.testing.assert_array_equal(layer.running_mean, kept)
    direction = rng.normal(size=x.shape)
    second = [wb.value.raw(wb.hvp(f)(x, direction)) for f in (loss_of.function, loss_of)]
    np.testing.assert_allclose(*second, rtol=1e-9, atol=1e-12)
    layer.running.mean.data = eager.running.mean.data = kept
    wb.hvp(loss_of)(x, direction)  # one call of it, though the function itself is run for its second derivative
    eager(x)
    np.testing.assert_allclose(layer.running_mean, eager.running_mean, rtol=1e-12)


def test_a_compiled_layer_in_use_reads_the_statistics_of_now():
    layer = wb.BatchNorm(2).eval()
    in_use = wb.compile(layer)
    x = RNG.normal(size=(4, 2))
    for i in range(6):
        layer.running.mean.data = np.full(2, float(i))
        np.testing.assert_allclose(in_use(x).data, layer(x).data, rtol=1e-12)
    assert in_use.replaying


# -- Embedding, dropout -----------------------------------------------------------------------------------------------


def test_rows_that_are_looked_up_twice_have_twice_the_gradient():
    layer = wb.Embedding(4, 2, seed=0)
    layer([[1, 1], [3, 0]]).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad, [[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize("label", [2, np.int64(2), np.array(2), np.uint8(2)])
def test_one_label_gives_one_row(label):
    layer = wb.Embedding(4, 3, seed=0)
    y = layer(label)
    np.testing.assert_array_equal(y.data, layer.weight.data[2])
    (y * [1.0, 2.0, 3.0]).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad, [[0.0] * 3, [0.0] * 3, [1.0, 2.0, 3.0], [0.0] * 3])
    y.sum().program().check()
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=f"labels must be from 0 to 3 for an embedding of 4 rows, got {wrong}"):
            layer(wrong)


def test_a_compiled_embedding_is_asked_other_labels_and_refuses_wrong_ones():
    layer = wb.Embedding(4, 2, seed=0)
    rows = wb.compile(layer)
    for labels in ([0, 1], [3, 3], [1, 2], [2, 0]):
        np.testing.assert_array_equal(rows(np.array(labels)).data, layer.weight.data[labels])
    assert rows.replaying
    for wrong in ([0, -1], [4, 0]):
        with pytest.raises(ValueError, match="labels must be from 0 to 3"):
            rows(np.array(wrong))


def test_dropout_as_a_function():
    x = np.ones(1000)
    y = wb.dropout(wb.Value(x), 0.25, seed=0).data
    assert set(np.round(y, 12)) == {0.0, round(4 / 3, 12)}
    assert np.mean(y == 0.0) == pytest.approx(0.25, abs=0.05)
    np.testing.assert_array_equal(y, wb.dropout(x, 0.25, seed=0))
    rng = np.random.default_rng(0)
    assert (wb.dropout(x, 0.25, rng) != wb.dropout(x, 0.25, rng)).any()
    assert wb.dropout(x, 0.0) is x
    rng = np.random.default_rng(0)
    w = wb.Value(x)
    drop = wb.compile(lambda: wb.sum(wb.dropout(w, 0.5, rng)))
    assert len({drop().data for _ in range(6)}) > 3
    assert drop.replaying


def test_a_small_network_of_convolutions_reads_digits():
    x, y, x_test, y_test = wb.datasets.digits()
    x, x_test = (a.reshape(-1, 1, 8, 8).astype("float32") for a in (x, x_test))
    model = wb.Sequential(
        wb.Conv2d(1, 8, 3, "relu", padding="same", seed=0, dtype="float32"),
        wb.MaxPool(2),
        wb.Flatten(),
        wb.Dense(128, 10, seed=1, dtype="float32"),
    )
    optimizer = wb.Adam(model.parameters(), 0.01)
    history = wb.fit(
        model,
        x,
        y,
        loss="cross_entropy",
        optimizer=optimizer,
        epochs=6,
        seed=0,
        validation=(x_test, y_test),
        metrics=["accuracy"],
        progress=False,
    )
    assert history["val_accuracy"][-1] > 0.96
    assert math.isfinite(history["loss"][-1])
