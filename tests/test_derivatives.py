"""grad, value_and_grad, jacobian, hessian, hvp: against results worked out by hand."""

import copy
import math

import numpy as np
import pytest

import tinygrad_wb as wb

V = wb.Value
A = np.array([[2.0, -1.0, 0.5], [0.3, 1.5, -2.0]])
X = np.array([0.4, -0.7, 1.1])


def close(a, b, rtol=1e-12):
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


def plain(x):
    return type(x) is float or type(x) is np.ndarray


def test_grad_of_one_number():
    close(wb.grad(lambda x: x**3)(2.0), 12.0)
    close(wb.grad(wb.sin)(0.3), np.cos(0.3))
    close(wb.grad(lambda x: wb.exp(x) / x)(2.0), np.exp(2.0) / 4)
    close(wb.grad(lambda x: x)(5.0), 1.0)
    assert type(wb.grad(lambda x: x * x)(3)) is float


def test_grad_of_arrays_has_their_shape_and_dtype():
    close(wb.grad(lambda x: (x * x).sum())(X), 2 * X)
    close(wb.grad(lambda x: (A @ x).sum())(X), A.sum(0))
    close(wb.grad(wb.sum)(np.zeros((2, 0))), np.zeros((2, 0)))
    for dtype in (np.float16, np.float32, np.float64):
        assert wb.grad(lambda x: (x * x).sum())(X.astype(dtype)).dtype == dtype
    assert wb.grad(lambda x: (x * x).sum())([1, 2]).dtype == np.float64


def test_value_and_grad():
    value, slope = wb.value_and_grad(lambda x: (x * x).sum())(X)
    close(value, float(np.sum(X * X)))
    close(slope, 2 * X)
    assert type(value) is float
    assert type(slope) is np.ndarray


def test_argnum_and_keywords():
    def f(a, b, *, power=2):
        return a * b**power

    close(wb.grad(f)(2.0, 3.0), 9.0)
    close(wb.grad(f, 1)(2.0, 3.0), 12.0)
    close(wb.grad(f, argnum=-1)(2.0, 3.0), 12.0)
    close(wb.grad(f, argnum=1)(2.0, 3.0, power=3), 54.0)
    close(wb.value_and_grad(f, argnum=1)(2.0, 3.0), (18.0, 12.0))
    close(wb.jacobian(lambda a, b: a * b, argnum=1)(X, 2.0), X)
    close(wb.hessian(f, argnum=1)(2.0, 3.0), 4.0)
    close(wb.hvp(f, argnum=1)(2.0, 3.0, 10.0), 40.0)


@pytest.mark.parametrize("argnum", [-2, -1, 0, 1])
def test_every_argument_has_a_number_from_either_end(argnum):
    """As in Python's own indexing: of two arguments, -2 is the first."""

    def f(a, b):
        return a * a * b**3

    first = argnum in (0, -2)
    slope, curvature = (36.0 * 3.0, 2 * 27.0) if first else (4.0 * 27.0, 4.0 * 6.0 * 3.0)
    close(wb.grad(f, argnum)(2.0, 3.0), slope)
    close(wb.value_and_grad(f, argnum)(2.0, 3.0), (108.0, slope))
    close(wb.jacobian(f, argnum)(2.0, 3.0), slope)
    close(wb.hessian(f, argnum)(2.0, 3.0), curvature)
    close(wb.hvp(f, argnum)(2.0, 3.0, 10.0), 10.0 * curvature)
    with pytest.raises(wb.ShapeError, match=rf"the direction has shape \(3,\), argument {argnum} \(\)"):
        wb.hvp(f, argnum)(2.0, 3.0, X)


def test_nesting_to_any_order():
    f = lambda x: x**5
    derivatives = [5 * 2.0**4, 20 * 2.0**3, 60 * 2.0**2, 120 * 2.0, 120.0, 0.0]
    for expected in derivatives:
        f = wb.grad(f)
        close(f(2.0), expected)
    third = wb.grad(wb.grad(wb.grad(wb.sin)))
    close(third(0.7), -np.cos(0.7))
    close(wb.grad(lambda x: wb.grad(lambda y: (y**4).sum())(x).sum())(X), 12 * X**2)
    close(wb.grad(wb.grad(wb.grad(wb.grad(wb.tanh))))(0.3), numeric_fourth_of_tanh(0.3), rtol=1e-12)


def numeric_fourth_of_tanh(x):
    t = np.tanh(x)
    return float((16 * t - 24 * t**3) * (1 - t * t))  # tanh'''' by hand


def test_mixed_partials():
    """∂²/∂a∂b of a²b³ is 6ab²: the inner derivative is by another argument than the outer."""
    f = lambda a, b: a * a * b**3
    close(wb.grad(wb.grad(f, 1), 0)(2.0, 3.0), 6 * 2.0 * 9.0)
    close(wb.grad(wb.grad(f, 0), 1)(2.0, 3.0), 6 * 2.0 * 9.0)
    close(wb.jacobian(wb.grad(lambda x, w: ((w * x) ** 2).sum(), 1), 0)(X, 2.0), 4 * 2.0 * X)


def test_an_inner_derivative_sees_what_it_closes_over():
    """d/dw of (∂/∂x w x²) at x = 3 is 2x = 6."""
    close(wb.grad(lambda w: wb.grad(lambda x: w * x * x)(3.0))(2.0), 6.0)
    close(wb.grad(lambda w: w * wb.grad(lambda x: w * x * x)(3.0))(2.0), 2 * 2.0 * 6.0)
    close(wb.grad(lambda w: wb.sum(wb.jacobian(lambda x: w * w * x)(X)))(2.0), 3 * 2 * 2.0)


def test_a_perturbation_is_not_confused_with_another():
    """d/dx of x · (d/dy (x + y)) is 1, whatever y: the classic that mixes up careless engines."""
    close(wb.grad(lambda x: x * wb.grad(lambda y: x + y)(x * 1.0))(1.0), 1.0)
    close(wb.grad(lambda x: x * wb.grad(lambda y: x * y)(x))(3.0), 6.0)


def test_given_a_value_they_return_a_value_that_records():
    w = V(2.0)
    slope = wb.grad(lambda x: x**3)(w)
    assert type(slope) is V
    slope.backward()
    close(w.grad, 12.0)
    v = V(X)
    wb.jacobian(lambda x: x * x * x)(v).sum().backward()
    close(v.grad, 6 * X)
    value, slope = wb.value_and_grad(lambda x: x * x)(V(3.0))
    assert type(value) is type(slope) is V
    close((value.data, slope.data), (9.0, 6.0))


def test_given_a_value_they_return_a_value_even_where_the_derivative_is_constant():
    for data in (2.0, X):
        for f in (lambda x: wb.sum(3.0 * x), wb.sum, lambda x: V(5.0), lambda x: 5.0):
            assert type(wb.grad(f)(V(data))) is V
            assert [type(r) for r in wb.value_and_grad(f)(V(data))] == [V, V]
            assert type(wb.jacobian(f)(V(data))) is V


def test_gradient_penalty():
    """The usual reason for it: a loss with a gradient in it, differentiated by the weights."""
    w, x = V(np.array([0.5, -1.0, 2.0])), V(X)
    penalty = (wb.grad(lambda x: wb.tanh(x @ w))(x) ** 2).sum()
    penalty.backward()
    wb.check_gradients(lambda w: (wb.grad(lambda x: wb.tanh(x @ w))(V(X)) ** 2).sum(), w.data, order=1)
    t = np.tanh(X @ w.data)
    by_hand = 2 * w.data * (1 - t * t) ** 2 + np.sum(w.data**2) * 2 * (1 - t * t) * (-2 * t) * (1 - t * t) * X
    close(w.grad, by_hand)


def test_closures_keep_their_gradients_and_inputs_theirs():
    w, x = V(2.0), V(3.0)
    w.grad, x.grad = 5.0, 7.0
    for result in (
        wb.grad(lambda a: w * a * a)(x), wb.value_and_grad(lambda a: w * a)(x)[1], wb.jacobian(lambda a: w * a)(x),
        wb.hessian(lambda a: w * a * a)(x), wb.hvp(lambda a: w * a * a)(x, 1.0),
    ):  # fmt: skip
        assert result is not None
        assert (w.grad, x.grad) == (5.0, 7.0)
    array = np.array(X)
    wb.grad(lambda a: (w * a).sum())(array)
    np.testing.assert_array_equal(array, X)


def test_inside_no_grad():
    with wb.no_grad():
        close(wb.grad(lambda x: x**3)(2.0), 12.0)
        close(wb.grad(wb.grad(lambda x: x**3))(2.0), 12.0)
        close(wb.jacobian(lambda x: x * x)(X), np.diag(2 * X))
        close(wb.hessian(lambda x: (x * x).sum())(X), 2 * np.eye(3))
        close(wb.hvp(lambda x: (x * x).sum())(X, X), 2 * X)
        assert (V(1.0) * 2.0).op is None


def test_results_that_do_not_depend_on_the_input_have_derivative_zero():
    close(wb.grad(lambda x: V(3.0))(2.0), 0.0)
    close(wb.grad(lambda x: 3.0)(2.0), 0.0)
    close(wb.grad(lambda x: V(3.0))(X), np.zeros(3))
    close(wb.grad(lambda a, b: a * a, 1)(2.0, X), np.zeros(3))
    close(wb.jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    close(wb.jacobian(lambda x: V([1.0, 2.0]))(X), np.zeros((2, 3)))
    close(wb.jacobian(lambda x: x[0:0])(X), np.zeros((0, 3)))
    close(wb.hessian(lambda x: x.sum())(X), np.zeros((3, 3)))
    close(wb.hessian(lambda x: 5.0)(X), np.zeros((3, 3)))
    close(wb.hvp(lambda x: x.sum())(X, X), np.zeros(3))
    close(wb.grad(wb.grad(lambda x: 2.0 * x))(1.0), 0.0)


def test_jacobian():
    close(wb.jacobian(lambda x: A @ x)(X), A)
    close(wb.jacobian(lambda x: x * x)(X), np.diag(2 * X))
    close(wb.jacobian(lambda x: (x * x).sum())(X), 2 * X)
    close(wb.jacobian(lambda t: wb.stack([wb.cos(t), wb.sin(t)]))(0.3), [-np.sin(0.3), np.cos(0.3)])
    full = wb.jacobian(lambda m: m.T * 2.0)(A)
    assert full.shape == (3, 2, 2, 3)
    close(full, 2 * np.einsum("jk,il->ijkl", np.eye(2), np.eye(3)))
    softmax = np.exp(X) / np.exp(X).sum()
    close(wb.jacobian(wb.softmax)(X), np.diag(softmax) - np.outer(softmax, softmax))
    assert wb.jacobian(lambda x: x * x)(X.astype(np.float32)).dtype == np.float32


def test_hessian():
    H = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 4.0]])
    close(wb.hessian(lambda x: 0.5 * (x @ (H @ x)))(X), H)
    close(wb.hessian(lambda x: x**4)(2.0), 48.0)
    close(wb.hessian(lambda m: (m**3).sum())(A), np.einsum("ij,ik,jl->ijkl", 6 * A, np.eye(2), np.eye(3)))
    close(wb.hessian(wb.logsumexp)(X), wb.jacobian(wb.softmax)(X))
    rosenbrock = lambda x: (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] * x[0]) ** 2
    x, y = 0.3, -0.2
    close(wb.hessian(rosenbrock)([x, y]), [[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200.0]])


def test_hvp_is_the_hessian_times_the_vector():
    f = lambda x: (wb.sin(x) * x[::-1]).sum() + wb.logsumexp(x)
    v = np.array([1.0, -2.0, 0.5])
    close(wb.hvp(f)(X, v), wb.hessian(f)(X) @ v)
    close(wb.hvp(lambda x: x**3)(2.0, 5.0), 60.0)
    close(wb.hvp(lambda a, b: (a * a * b).sum(), argnum=1)(X, X, v), np.zeros(3))
    close(wb.hvp(f)(X, list(v)), wb.hessian(f)(X) @ v)


def test_a_gradient_is_of_one_number():
    for derivative in (wb.grad, wb.value_and_grad, wb.hessian):
        with pytest.raises(wb.ShapeError, match=r"double\(\) returned shape \(3,\).*jacobian"):
            derivative(double)(X)
    with pytest.raises(wb.ShapeError, match=r"shape \(3,\)"):
        wb.grad(lambda x: np.ones(3))(X)


def double(x):
    return x * 2.0


@pytest.mark.parametrize("derivative", [wb.grad, wb.value_and_grad, wb.jacobian, wb.hessian])
@pytest.mark.parametrize("argnum", [1, 2, -2])
def test_a_wrong_argnum_is_named(derivative, argnum):
    with pytest.raises(
        TypeError, match=rf"double\(\) was called with 1 arguments: there is no argument number {argnum}"
    ):
        derivative(double, argnum)(1.0)


def test_hvp_refuses_a_wrong_argnum_or_direction():
    with pytest.raises(TypeError, match="no argument number 3"):
        wb.hvp(double, argnum=3)(1.0, 1.0)
    for args in [(X, 1.0), (X, X[:2]), (X,), (1.0, X)]:
        with pytest.raises(wb.ShapeError, match="direction"):
            wb.hvp(double)(*args)


def test_data_that_is_no_number_is_refused():
    for bad in ("a", 1j, None, object()):
        with pytest.raises(TypeError):
            wb.grad(double)(bad)


def test_names_and_documents_are_kept():
    for derivative in (wb.grad, wb.value_and_grad, wb.jacobian, wb.hessian, wb.hvp):
        assert derivative(double).__name__ == "double"


def test_python_control_flow_is_followed():
    def f(x):
        y = x
        for _ in range(3):
            y = y * x if y > 0.0 else -y
        return y

    close(wb.grad(f)(2.0), 4 * 2.0**3)
    close(wb.grad(f)(-2.0), 2 * -2.0)
    assert plain(wb.grad(f)(2.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: wb.grad(math.exp)(3.0),
        lambda: wb.hessian(lambda v: v[0] * math.exp(v[1]))([1.0, 2.0]),
        lambda: wb.jacobian(lambda v: v * float(v[0]))([1.0, 2.0]),
    ],
)
def test_a_history_lost_in_a_float_is_an_error_and_not_a_zero(call):
    with pytest.raises(TypeError, match=r"wb\.exp\(v\) or np\.exp\(v\)"):
        call()
    assert math.exp(V(0.0)) == 1.0, "outside, a Value may be read as a number"


def test_a_history_lost_in_a_copy_is_an_error_and_not_a_zero():
    for call in (lambda: wb.grad(lambda x: V(x) * 2.0)(3.0), lambda: wb.jacobian(lambda x: x * V(x * x))([1.0, 2.0])):
        with pytest.raises(TypeError, match=r"wb\.Value\(v\) would lose .*wb\.Value\(v\.data\)"):
            call()


def test_a_plain_number_may_be_asked_for_inside():
    assert wb.grad(lambda x: x * x.item())(3.0) == 3.0
    assert wb.grad(lambda x: x * V(x.data))(3.0) == 3.0


@pytest.mark.parametrize("make", [wb.grad, wb.value_and_grad, wb.jacobian, wb.hessian, wb.hvp])
def test_a_computed_loss_is_no_function(make):
    with pytest.raises(TypeError, match=r"a function is wanted.*backward\(\)"):
        make(V(3.0) * 2.0)


WITHOUT_A_DERIVATIVE = {
    "nothing": (lambda x: None, "returned None, which has no derivative; is a return missing"),
    "a truth": (lambda x: x > 3.0, "returned False"),
    "NumPy's truth": (lambda x: np.bool_(True), "returned np.True_"),
    "text": (lambda x: f"{x.item()}", "returned '2.0'"),
    "a dictionary": (lambda x: {"loss": x}, "return the Value that was computed"),
    "a list": (lambda x: [x, x], r"wb\.stack"),
    "a pair": (lambda x: (x * x, "more"), r"wb\.stack"),
    "complex numbers": (lambda x: np.zeros(2, complex), "return the Value"),
}


@pytest.mark.parametrize("what", WITHOUT_A_DERIVATIVE)
@pytest.mark.parametrize("derivative", [wb.grad, wb.value_and_grad, wb.jacobian, wb.hessian])
def test_a_function_must_return_what_has_a_derivative(derivative, what):
    f, words = WITHOUT_A_DERIVATIVE[what]
    with pytest.raises(TypeError, match=words):
        derivative(f)(2.0)
    with pytest.raises(TypeError, match=words):
        wb.hvp(f)(2.0, 1.0)


def test_a_constant_has_the_derivative_0():
    for constant in (3, 3.0, np.float32(3.0), np.array(3.0), wb.Value(3.0)):
        assert wb.grad(lambda x, constant=constant: constant)(2.0) == 0.0
    close(wb.jacobian(lambda x: np.arange(3))(2.0), np.zeros(3))
    close(wb.hessian(lambda x: 2.0 * x)(1.0), 0.0)


def test_a_result_without_its_history_is_refused():
    @wb.no_grad()
    def unrecorded(x):
        return x * x

    with pytest.raises(RuntimeError, match=r"the derivative of unrecorded\(\): .* computed under no_grad"):
        wb.grad(unrecorded)(2.0)
    with pytest.raises(RuntimeError, match="is a copy"):
        wb.grad(lambda x: copy.deepcopy(x * x))(2.0)

    def partly(x):
        with wb.no_grad():
            scale = x * 2.0  # a constant here, on purpose
        return x * scale

    assert wb.grad(partly)(3.0) == 6.0


@pytest.mark.parametrize("tree", [{"w": 1.0}, [(np.ones((2, 2)), np.ones(2))], ("a", "b"), None, "text"])
def test_parameters_in_a_tree_are_told_the_way_round(tree):
    def loss(p, x):
        return x

    with pytest.raises(TypeError, match=r"argument 0 of loss\(\) is a .* separate arguments .* make each a Value"):
        wb.grad(loss)(tree, 1.0)
