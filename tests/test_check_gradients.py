"""check_gradients must reject a wrong partial of every kind, and accept right ones. A checker that nods is worse than none."""

import re

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.operation import operation
from tinygrad_wb.operations import REGISTRY
from tinygrad_wb.value import raw


@pytest.fixture
def enter():
    """Enter operations of a test's own, and take them out of the registry again."""
    before = dict(REGISTRY)

    def make(forward, **partials):
        assert forward.__name__ not in before
        return operation(**partials)(forward)

    yield make
    REGISTRY.clear()
    REGISTRY.update(before)


def squared(a):
    return a * a


def product(a, b):
    return a * b


def total(a):
    return float(np.sum(a))


def matrix_product(a, b):
    return a @ b


def cubed(a):
    return a * a * a


def spoiled(d, index=0, by=1.5):
    """An array with one element wrong."""
    mask = np.ones(np.shape(raw(d)))
    mask.flat[index] = by
    return d * mask


SCALAR, VECTOR, MATRIX = 0.7, [0.7, -1.2, 0.4], [[0.7, -1.2, 0.4], [1.1, 0.5, -0.8]]
POINTS = [pytest.param(p, id=n) for p, n in [(SCALAR, "scalar"), (VECTOR, "vector"), (MATRIX, "matrix")]]

# What is wrong with ∂(a²)/∂a = g · 2a: the first order finds all of these.
WRONG_UNARY = {
    "sign": lambda g, y, a: -g * (a + a),
    "factor": lambda g, y, a: g * a,
    "factor of one in a thousand": lambda g, y, a: g * (a + a) * 1.001,
    "zero": lambda g, y, a: g * 0.0,
    "nan": lambda g, y, a: g * float("nan"),
    "inf": lambda g, y, a: g * float("inf"),
    "g forgotten": lambda g, y, a: a + a,
    "of the result": lambda g, y, a: g * (y + y),
    "constant added": lambda g, y, a: g * (a + a) + 1e-3,
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", WRONG_UNARY)
@pytest.mark.parametrize("order", [1, 2])
def test_rejects_a_wrong_partial(enter, kind, point, order):
    wrong = enter(squared, da=WRONG_UNARY[kind])
    with pytest.raises(wb.GradientError, match="order 1, argument 0"):
        wb.check_gradients(wrong, point, order=order)


@pytest.mark.parametrize("kind", WRONG_UNARY)
def test_rejects_it_deep_inside_a_composition(enter, kind):
    wrong = enter(squared, da=WRONG_UNARY[kind])
    with pytest.raises(wb.GradientError):
        wb.check_gradients(lambda x, w: wb.tanh(wrong(x @ w)).sum(), MATRIX, [0.3, 0.9, -0.5])


@pytest.mark.parametrize("index", range(6))
def test_rejects_one_wrong_element(enter, index):
    wrong = enter(squared, da=lambda g, y, a: spoiled(g * (a + a), index))
    with pytest.raises(wb.GradientError) as found:
        wb.check_gradients(wrong, MATRIX)
    assert f"argument 0[{index // 3}, {index % 3}]" in str(found.value)


@pytest.mark.parametrize("by", [float("nan"), float("inf"), 0.0])
def test_rejects_one_bad_element(enter, by):
    wrong = enter(squared, da=lambda g, y, a: spoiled(g * (a + a), 1, by))
    with pytest.raises(wb.GradientError, match=r"argument 0\[1\]"):
        wb.check_gradients(wrong, VECTOR)


@pytest.mark.parametrize(
    ("da", "db", "argument"),
    [
        pytest.param(lambda g, y, a, b: g * a, lambda g, y, a, b: g * a, 0, id="of the wrong input"),
        pytest.param(lambda g, y, a, b: g * a, lambda g, y, a, b: g * b, 0, id="swapped"),
        pytest.param(lambda g, y, a, b: g * b, lambda g, y, a, b: -g * a, 1, id="sign of the second"),
        pytest.param(lambda g, y, a, b: g * b, lambda g, y, a, b: g * 0.0, 1, id="second is zero"),
        pytest.param(lambda g, y, a, b: g * b * 2.0, lambda g, y, a, b: g * a * 0.0, 0, id="cancelling in the sum"),
    ],
)
@pytest.mark.parametrize(("x", "y"), [(0.7, 1.3), (VECTOR, [1.3, 0.6, 2.0]), (MATRIX, VECTOR), (VECTOR, 1.3)])
def test_rejects_partials_of_two_inputs_and_names_which(enter, da, db, argument, x, y):
    wrong = enter(product, da=da, db=db)
    with pytest.raises(wb.GradientError, match=f"order 1, argument {argument}"):
        wb.check_gradients(wrong, x, y)


def one_row(d, like):
    """What a rule returns that forgets to sum over the axis its input was stretched along."""
    return d[0] if len(np.shape(raw(d))) > len(np.shape(raw(like))) else d


@pytest.mark.parametrize("keep", [lambda d: d[0], lambda d: d.mean(axis=0), lambda d: d[-1] * 2.0])
def test_rejects_a_missing_sum_over_a_broadcast_axis(enter, keep):
    wrong = enter(product, da=lambda g, y, a, b: g * b, db=lambda g, y, a, b: keep(g * a))
    with pytest.raises(wb.GradientError, match="argument 1 of shape"):
        wb.check_gradients(wrong, MATRIX, VECTOR)


def test_rejects_a_gradient_that_is_not_spread_over_what_was_summed(enter):
    wrong = enter(total, da=lambda g, y, a: spoiled(g * np.ones(np.shape(raw(a))), 0, 0.0))
    with pytest.raises(wb.GradientError):
        wb.check_gradients(wrong, MATRIX)
    del REGISTRY["total"]
    mean_instead = enter(total, da=lambda g, y, a: g / np.size(raw(a)))
    with pytest.raises(wb.GradientError):
        wb.check_gradients(mean_instead, MATRIX)


SQUARE, OTHER = [[0.7, -1.2], [0.4, 1.1]], [[0.2, 0.9], [-0.6, 0.3]]


@pytest.mark.parametrize(
    ("da", "db", "argument"),
    [
        pytest.param(lambda g, y, a, b: (g @ b.T).T, lambda g, y, a, b: a.T @ g, 0, id="result transposed"),
        pytest.param(lambda g, y, a, b: g @ b, lambda g, y, a, b: a.T @ g, 0, id="b not transposed"),
        pytest.param(lambda g, y, a, b: g @ b.T, lambda g, y, a, b: a @ g, 1, id="a not transposed"),
        pytest.param(lambda g, y, a, b: g @ b.T, lambda g, y, a, b: g.T @ a, 1, id="product turned round"),
        pytest.param(lambda g, y, a, b: g.T @ b.T, lambda g, y, a, b: a.T @ g, 0, id="g transposed"),
    ],
)
def test_rejects_transposed_matrices(enter, da, db, argument):
    wrong = enter(matrix_product, da=da, db=db)
    with pytest.raises(wb.GradientError, match=f"order 1, argument {argument}"):
        wb.check_gradients(wrong, SQUARE, OTHER)


# First derivative right, second wrong: the partial treats something that moves as if it stood still.
WRONG_SECOND = {
    "a held fixed": lambda g, y, a: g * (3.0 * raw(a) * raw(a)),
    "half held fixed": lambda g, y, a: g * (3.0 * a * raw(a)),
    "g held fixed": lambda g, y, a: raw(g) * (3.0 * a * a),
    "second derivative of the wrong sign": lambda g, y, a: g * (6.0 * raw(a) * raw(a) - 3.0 * a * a),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", WRONG_SECOND)
def test_rejects_a_wrong_second_derivative_behind_a_right_first(enter, kind, point):
    wrong = enter(cubed, da=WRONG_SECOND[kind])

    def f(x):
        return wb.sin(wrong(x))  # so that g, too, depends on x

    wb.check_gradients(f, point, order=1)
    with pytest.raises(wb.GradientError, match="order 2, argument 0"):
        wb.check_gradients(f, point, order=2)


@pytest.mark.parametrize("point", [0.0, [0.0, 0.0]])
def test_the_second_order_has_directions_of_its_own_where_the_point_is_0(enter, point):
    wrong = enter(squared, da=lambda g, y, a: g * (raw(a) + raw(a)))  # at 0 it is right; its slope there should be 2
    wb.check_gradients(wrong, point, order=1)
    with pytest.raises(wb.GradientError, match="order 2, argument 0"):
        wb.check_gradients(wrong, point, order=2)


@pytest.mark.parametrize("point", POINTS)
def test_order_three_sees_what_order_two_does_not(enter, point):
    wrong = enter(cubed, da=lambda g, y, a: g * (6.0 * a * raw(a) - 3.0 * raw(a) * raw(a)))
    wb.check_gradients(wrong, point, order=2)
    with pytest.raises(wb.GradientError, match="order 3"):
        wb.check_gradients(wrong, point, order=3)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_accepts_right_partials(enter, point, order):
    right = enter(cubed, da=lambda g, y, a: g * (3.0 * a * a))
    wb.check_gradients(right, point, order=order)
    both = enter(product, da=lambda g, y, a, b: g * b, db=lambda g, y, a, b: g * a)
    wb.check_gradients(both, point, point, order=order)
    wb.check_gradients(both, point, 0.3, order=order)
    right_matrices = enter(matrix_product, da=lambda g, y, a, b: g @ b.T, db=lambda g, y, a, b: a.T @ g)
    wb.check_gradients(right_matrices, SQUARE, OTHER, order=order)


def test_accepts_what_does_not_depend_on_its_argument():
    wb.check_gradients(lambda x: wb.Value(3.0), 1.0)
    wb.check_gradients(lambda x: x * 0.0, VECTOR)
    wb.check_gradients(lambda a, b: wb.square(a), 2.0, VECTOR)
    wb.check_gradients(lambda x: 3.0 * x, VECTOR, order=3)


def test_rejects_a_result_cut_off_from_its_argument():
    with pytest.raises(wb.GradientError, match="argument 0"):
        wb.check_gradients(lambda x: wb.Value(x.data * 2.0), VECTOR)
    with pytest.raises(wb.GradientError, match="argument 1"):
        wb.check_gradients(lambda a, b: a * b.data, 2.0, 3.0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_judges_at_every_scale(enter, scale):
    wrong = enter(squared, da=lambda g, y, a: g * (a + a) * 1.01)
    with pytest.raises(wb.GradientError):
        wb.check_gradients(lambda x: wrong(x) * scale, VECTOR)
    wb.check_gradients(lambda x: wb.square(x) * scale, VECTOR)


def test_the_error_names_argument_order_worst_element_and_both_numbers(enter):
    wrong = enter(product, da=lambda g, y, a, b: g * b, db=lambda g, y, a, b: spoiled(g * a, 1, 3.0))
    with pytest.raises(wb.GradientError) as found:
        wb.check_gradients(lambda a, b: wrong(a, b).sum(), [1.0, 2.0, 4.0], [5.0, 6.0, 7.0])
    text = str(found.value)
    assert text.startswith("order 1, argument 1 of shape (3,): ")
    slope, near = (float(x) for x in re.search(r"a slope of (\S+) along .* give (\S+)\. Worst", text).groups())
    assert abs(slope - near) > 0.1
    worst, got, want = re.search(r"Worst at (argument 1\[1\]): (\S+), should be (\S+)$", text).groups()
    assert worst
    assert abs(float(got) / float(want) - 3.0) < 1e-6


def test_a_scalar_argument_is_named_without_an_index(enter):
    wrong = enter(squared, da=lambda g, y, a: g * a)
    with pytest.raises(wb.GradientError, match=r"Worst at argument 0: \S+, should be \S+$"):
        wb.check_gradients(wrong, 0.7)


def test_is_an_assertion_error_and_returns_none():
    assert issubclass(wb.GradientError, AssertionError)
    assert wb.check_gradients(wb.tanh, 0.3) is None


@pytest.mark.parametrize("seed", range(5))
def test_every_seed_finds_it(enter, seed):
    wrong = enter(squared, da=lambda g, y, a: spoiled(g * (a + a), 2))
    with pytest.raises(wb.GradientError):
        wb.check_gradients(wrong, VECTOR, seed=seed)
    wb.check_gradients(squared, VECTOR, seed=seed)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="order"):
        wb.check_gradients(wb.tanh, 1.0, order=0)
    with pytest.raises(ValueError, match="argument"):
        wb.check_gradients(lambda: wb.Value(1.0))
    for bad in (float("nan"), [1.0, float("inf")]):
        with pytest.raises(ValueError, match="argument 1 is not finite"):
            wb.check_gradients(lambda a, b: a * b, 1.0, bad)


def test_arguments_are_not_changed_and_no_grad_is_lifted():
    x, v = np.array(VECTOR), wb.Value(VECTOR)
    with wb.no_grad():
        wb.check_gradients(lambda a, b: a * b, x, v)
        with pytest.raises(wb.GradientError):
            wb.check_gradients(lambda a: wb.Value(a.data), x)
        assert (v * 2.0).op is None
    np.testing.assert_array_equal(x, VECTOR)
    np.testing.assert_array_equal(v.data, VECTOR)
    assert v.grad is None


def test_a_large_argument_is_judged_without_looking_at_each_element(enter):
    wrong = enter(squared, da=lambda g, y, a: -g * (a + a))
    with pytest.raises(wb.GradientError, match=r"argument 0 of shape \(101, 100\)") as found:
        wb.check_gradients(wrong, np.ones((101, 100)))
    assert "Worst" not in str(found.value)


# -- the history of g ------------------------------------------------------------------------------------------------

LOST_HISTORY_OF_G = {
    "all of it": lambda g, y, a: raw(g) * (a + a),
    "half of it": lambda g, y, a: g * a + raw(g) * a,
    "that of one element": lambda g, y, a: without_history_at(g, 0) * (a + a),
}


def without_history_at(g, index):
    """g, with one element that is plain data."""
    plain = np.zeros(np.shape(raw(g)))
    plain.flat[index] = 1.0
    return g * (1.0 - plain) + raw(g) * plain


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", LOST_HISTORY_OF_G)
def test_rejects_a_partial_that_loses_the_history_of_g(enter, kind, point):
    wrong = enter(squared, da=LOST_HISTORY_OF_G[kind])
    wb.check_gradients(wrong, point, order=1)
    with pytest.raises(wb.GradientError, match=r"order 2, the weighting g .* loses the history of g"):
        wb.check_gradients(wrong, point)


def test_the_second_derivative_that_it_protects(enter):
    right = enter(squared, da=lambda g, y, a: g * (a + a))
    del REGISTRY["squared"]
    wrong = enter(squared, da=lambda g, y, a: raw(g) * (a + a))
    assert wb.grad(wb.grad(lambda x: right(x) ** 2))(1.0) == 12.0  # of x⁴
    assert wb.grad(wb.grad(lambda x: wrong(x) ** 2))(1.0) == 4.0
    wb.check_gradients(right, 1.0)


# -- kinks ---------------------------------------------------------------------------------------------------------------

BESIDE_A_KINK = {
    "relu": (wb.relu, [1e-4, -1e-4, 2.0, 1e-5, -1e-6]),
    "relu of many": (lambda x: wb.relu(x) ** 2 + wb.relu(x), np.linspace(-1.0, 1.0, 20_000)),
    "abs": (wb.absolute, [1e-4, -1e-5, 1e-6]),
    "max": (wb.max, [1.0, 1.0 + 1e-5, 0.3]),
    "min": (wb.min, [1.0, 1.0 + 1e-5, 3.0]),
    "maximum": (lambda a: wb.maximum(a, 1.0) * a, [1.0 + 1e-5, 1.0 - 1e-4]),
    "sort": (wb.sort, [1.0, 1.0 + 1e-5, 0.3]),
    "median": (wb.median, [1.0, 1.0 + 1e-5, 1.0 - 1e-5]),
    "clip": (lambda x: wb.clip(x, -1e-5, 1e-5), [0.0, 1e-4, 0.9e-5]),  # the slopes on both sides are equally wrong
    "where": (lambda x: wb.where(x > 1.0, x**3, x), [1.0 + 1e-5, 1.0 - 1e-5]),
    "floor": (lambda x: wb.floor(x) * x, [1.0 + 1e-5, 1.0 - 1e-5]),
    "leaky_relu": (wb.leaky_relu, [1e-5, -1e-5]),
    "where it bends quickly": (lambda x: wb.log(x) + 1.0 / x, [1e-3, 2e-3]),
}


@pytest.mark.parametrize("case", BESIDE_A_KINK)
def test_accepts_a_right_gradient_beside_a_kink(case):
    f, point = BESIDE_A_KINK[case]
    wb.check_gradients(f, point)


def rectified(a):
    return np.maximum(a, 0.0)


WRONG_BESIDE_A_KINK = {
    "sign": lambda g, y, a: -g * (a > 0.0),
    "factor": lambda g, y, a: g * 0.999 * (a > 0.0),
    "the other side": lambda g, y, a: g * (a < 0.0),
    "the mean of both sides": lambda g, y, a: g * 0.5,
    "zero": lambda g, y, a: g * 0.0,
    "history of g": lambda g, y, a: raw(g) * (raw(a) > 0.0),
}


@pytest.mark.parametrize("kind", WRONG_BESIDE_A_KINK)
@pytest.mark.parametrize("near", [1e-1, 1e-4, 1e-5, 1e-6])
def test_rejects_a_wrong_gradient_beside_a_kink(enter, kind, near):
    wrong = enter(rectified, da=WRONG_BESIDE_A_KINK[kind])
    with pytest.raises(wb.GradientError, match="finite differences give") as found:
        wb.check_gradients(wrong, [near, -0.7, 0.4])
    assert "kink" not in str(found.value)


AT_A_KINK = {
    "relu": (wb.relu, [1.0, 0.0, -1.0], "order 1, argument 0 .* the function has a kink there.* at argument 0\\[1\\] "),
    "relu of one number": (wb.relu, 0.0, "order 1, argument 0 .* kink .* at argument 0 "),
    "relu of many": (wb.relu, np.linspace(-1.0, 1.0, 20_001), "order 1, argument 0 .* kink .* random direction"),
    "sort": (wb.sort, [1.0, 1.0], "order 1, argument 0 .* kink"),
    "by the second": (lambda a, b: a * wb.relu(b), (2.0, 0.0), "order 1, argument 1 .* kink .* at argument 1 "),
    # The engine shares the gradient of equals, which is the mean of both sides: the second order sees the kink.
    "abs": (wb.absolute, 0.0, "order 2, argument 0 .* at a kink of the function: its derivative of order 1 jumps"),
    "max": (wb.max, [1.0, 1.0], "order 2, argument 0 .* at a kink of the function: its derivative of order 1 jumps"),
    "a kink of the slope": (lambda x: wb.relu(x) ** 2, 0.0, "order 2, argument 0 .* its derivative of order 1 has a kink"),
    "a jump": (wb.floor, 1.0, "order 1, argument 0 .* the function jumps there"),
    "another jump": (wb.sign, [2.0, 0.0], "order 1, argument 0 .* the function jumps there"),
}  # fmt: skip


@pytest.mark.parametrize("case", AT_A_KINK)
def test_exactly_at_a_kink_it_says_so(case):
    f, point, told = AT_A_KINK[case]
    with pytest.raises(wb.GradientError, match=told) as found:
        wb.check_gradients(f, *point if isinstance(point, tuple) else [point])
    assert "should be" not in str(found.value)


def test_at_a_kink_both_slopes_are_told():
    with pytest.raises(wb.GradientError) as found:
        wb.check_gradients(lambda x: wb.sum(wb.relu(x) * 3.0), [0.0, 5.0])
    sides = re.search(r"is (\S+) on the left and (\S+) on the right, and the gradient, (\S+), is", str(found.value))
    left, right, got = map(float, sides.groups())
    assert (left, got) == (0.0, 0.0)
    assert 1.5 <= abs(right) <= 4.5, "3, weighted at random by 0.5 to 1.5"


@pytest.mark.parametrize(("at_zero", "one"), [(-0.5, 1.0), (1.5, 1.0), (0.0, -1.0), (0.0, 1.01)])
def test_a_gradient_that_is_wrong_at_a_kink_or_elsewhere_is_called_wrong(enter, at_zero, one):
    wrong = enter(rectified, da=lambda g, y, a: g * (at_zero * (a == 0.0) + one * (a > 0.0)))
    with pytest.raises(wb.GradientError, match=r"Worst at argument 0\[[01]\]: \S+, should be") as found:
        wb.check_gradients(wrong, [0.0, 1.0])
    assert f"argument 0[{int(one != 1.0)}]" in str(found.value)


# -- random functions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [wb.log, wb.sqrt, lambda x: 1.0 / x, lambda x: x**-2.5])
@pytest.mark.parametrize("near", [1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.filterwarnings("ignore:invalid value")  # the first steps lead across the pole
def test_accepts_a_right_gradient_beside_a_pole(f, near):
    wb.check_gradients(f, near, order=1)


def test_what_has_no_derivative_is_refused():
    for f in (lambda x: x > 0.0, lambda x: None, lambda x: [1.0], lambda x: "a"):
        with pytest.raises(TypeError, match="which has no derivative"):
            wb.check_gradients(f, 3.0)
    wb.check_gradients(lambda x: 1.0, 3.0)


def test_a_random_function_is_called_random():
    rng = np.random.default_rng(0)
    model = wb.Sequential(wb.Dense(3, 4, seed=0), wb.Dropout(0.5), wb.Dense(4, 1, seed=1))
    for f, at in [
        (lambda a: wb.dropout(a, 0.5), np.ones(8)), (lambda a: a * rng.normal(), 1.0), (model, np.ones((4, 3))),
        (lambda a: wb.dropout(wb.relu(a), 0.5), np.full(8, 1e-5)),
    ]:  # fmt: skip
        with pytest.raises(wb.GradientError, match=r"random.* gave \S+ and then .*seed.*model\.eval\(\)") as found:
            wb.check_gradients(f, at)
        assert "should be" not in str(found.value)


def test_what_its_message_says_helps():
    model = wb.Sequential(wb.Dense(3, 4, seed=0), wb.Dropout(0.5), wb.Dense(4, 1, seed=1))
    wb.check_gradients(lambda a: wb.dropout(a, 0.5, seed=0), np.ones(8))
    wb.check_gradients(model.eval(), np.ones((4, 3)))


def test_rounding_and_a_count_of_calls_are_not_random(enter):
    calls = []
    wrong = enter(squared, da=lambda g, y, a: g * a)

    def f(x):
        calls.append(x)
        return wrong(x) * (1.0 + 1e-15 * (len(calls) % 2))

    with pytest.raises(wb.GradientError, match="should be"):
        wb.check_gradients(f, VECTOR)


LARGE_OFFSETS = [1e3, 1e6, 1e9]


@pytest.mark.parametrize("offset", LARGE_OFFSETS)
def test_smaller_steps_do_not_take_rounding_for_a_gradient_of_zero(offset):
    """Over a small step nothing moves in the digits of a large number, as if the slope were 0."""
    with pytest.raises(wb.GradientError):
        wb.check_gradients(lambda x: wb.Value(x.data * 0.1) + offset, 1.0)
    with pytest.raises(wb.GradientError):
        wb.check_gradients(lambda x: wb.Value((x.data + offset) - offset), 1.0)
