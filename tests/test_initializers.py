"""Initial weights: the right distribution, of the right size, repeatable by seed."""

import math

import numpy as np
import pytest

import tinygrad_wb as wb

FAN_IN, FAN_OUT = 400, 200
VARIANCES = {"glorot": 2.0 / (FAN_IN + FAN_OUT), "he": 2.0 / FAN_IN, "lecun": 1.0 / FAN_IN}
WITHIN_ONE_SIGMA = {"uniform": 1.0 / math.sqrt(3.0), "normal": math.erf(1.0 / math.sqrt(2.0))}


def weights(init, seed=0, **options):
    return wb.Dense(FAN_IN, FAN_OUT, weight_init=init, seed=seed, **options).weight.data


@pytest.mark.parametrize("kind", WITHIN_ONE_SIGMA)
@pytest.mark.parametrize("name", VARIANCES)
def test_variance_mean_and_kind_of_the_distribution(name, kind):
    w = weights(f"{name}_{kind}")
    sigma = math.sqrt(VARIANCES[name])
    assert w.shape == (FAN_IN, FAN_OUT)
    assert w.std() == pytest.approx(sigma, rel=0.01)
    assert abs(w.mean()) < 4.0 * sigma / math.sqrt(w.size)
    assert np.mean(np.abs(w) < sigma) == pytest.approx(WITHIN_ONE_SIGMA[kind], abs=0.01)


@pytest.mark.parametrize("name", VARIANCES)
def test_uniform_reaches_its_limit_and_never_passes_it(name):
    limit = math.sqrt(3.0 * VARIANCES[name])
    assert 0.999 * limit < np.abs(weights(f"{name}_uniform")).max() <= limit


@pytest.mark.parametrize("name", VARIANCES)
def test_normal_has_tails_on_both_sides(name):
    w = weights(f"{name}_normal") / math.sqrt(VARIANCES[name])
    assert w.min() < -3.5
    assert w.max() > 3.5


@pytest.mark.parametrize(("init", "number"), [("zeros", 0.0), ("ones", 1.0)])
def test_constants(init, number):
    layer = wb.Dense(3, 2, weight_init=init, bias_init=init)
    np.testing.assert_array_equal(layer.weight.data, np.full((3, 2), number))
    np.testing.assert_array_equal(layer.bias.data, np.full(2, number))


def test_by_default_weights_are_glorot_uniform_and_biases_zero():
    layer = wb.Dense(FAN_IN, FAN_OUT, seed=3)
    np.testing.assert_array_equal(layer.weight.data, weights("glorot_uniform", seed=3))
    assert np.unique(layer.weight.data).size > 0.99 * layer.weight.size
    np.testing.assert_array_equal(layer.bias.data, np.zeros(FAN_OUT))


def test_biases_may_be_random_too():
    bias = wb.Dense(2, 10_000, bias_init="he_normal", seed=0).bias.data
    assert bias.std() == pytest.approx(math.sqrt(2.0 / 10_000), rel=0.05)


def test_a_function_of_shape_and_rng_initializes():
    def steps(shape, rng):
        return np.arange(np.prod(shape)).reshape(shape)

    layer = wb.Dense(3, 2, weight_init=steps, bias_init=lambda shape, rng: rng.normal(5.0, 0.0, shape))
    np.testing.assert_array_equal(layer.weight.data, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    np.testing.assert_array_equal(layer.bias.data, [5.0, 5.0])


def test_a_function_that_gives_another_shape_is_told_so():
    with pytest.raises(wb.ShapeError, match=r"weight_init must give an array of shape \(3, 2\), it gave \(2, 3\)"):
        wb.Dense(3, 2, weight_init=lambda shape, rng: np.ones(shape[::-1]))


@pytest.mark.parametrize("init", [f"{name}_{kind}" for name in VARIANCES for kind in WITHIN_ONE_SIGMA])
def test_a_seed_repeats_and_another_differs(init):
    np.testing.assert_array_equal(weights(init, seed=7), weights(init, seed=7))
    assert not np.array_equal(weights(init, seed=7), weights(init, seed=8))
    assert not np.array_equal(weights(init, seed=None), weights(init, seed=None)), "no seed: every layer its own"


def test_a_generator_is_drawn_from_in_turn():
    rng = np.random.default_rng(0)
    first, second = weights("he_normal", seed=rng), weights("he_normal", seed=rng)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, weights("he_normal", seed=0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_changes_the_precision_and_not_the_draw(dtype):
    w = weights("glorot_uniform", dtype=dtype)
    assert w.dtype == dtype
    np.testing.assert_array_equal(w, weights("glorot_uniform").astype(dtype))


@pytest.mark.parametrize("dtype", [int, np.int32, bool, complex, str])
def test_a_dtype_that_would_cut_the_weights_is_refused(dtype):
    with pytest.raises((TypeError, ValueError)):
        wb.Dense(3, 2, seed=0, dtype=dtype)


UNKNOWN = [
    ({"weight_init": "glorot"}, "unknown weight_init 'glorot': did you mean 'glorot_"),
    ({"weight_init": "He_Normal"}, "did you mean 'he_normal'"),
    ({"weight_init": "xavier_uniform"}, "glorot_uniform"),
    ({"bias_init": "zero"}, "unknown bias_init 'zero': did you mean 'zeros'"),
]


@pytest.mark.parametrize(("options", "message"), UNKNOWN)
def test_an_unknown_name_suggests_the_nearest(options, message):
    with pytest.raises(ValueError, match=message):
        wb.Dense(3, 2, **options)


def test_what_is_neither_name_nor_function_is_refused():
    with pytest.raises(TypeError, match=r"weight_init must be a name or a function, got 0\.5"):
        wb.Dense(3, 2, weight_init=0.5)
