"""Array classes of other libraries as data and beside Values: nothing that they mean is dropped without a word."""

import operator

import numpy as np
import pytest

import tinygrad_wb as wb

V = wb.Value
X = np.array([1.0, 2.0, 4.0])
MASKED = np.ma.masked_array([1.0, 999.0, 1.0], mask=[False, True, False])
UNMASKED = np.ma.masked_array(X, mask=[False, False, False])

ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow,
}  # fmt: skip
OPERATORS = ARITHMETIC | {"@": operator.matmul}
COMPARISONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


# -- NumPy's own subclasses ------------------------------------------------------------------------------------------

model = wb.Dense(1, 1, seed=0)
column = np.ma.masked_array(np.ones((3, 1)), mask=[[False], [True], [False]])
MASK_LOST = {
    "Value": lambda: V(MASKED), "data": lambda: setattr(V(X), "data", MASKED), "in a list": lambda: V([MASKED, MASKED]),
    "deeper in lists": lambda: V([[X], [MASKED]]), "among numbers": lambda: V([1.0, np.ma.masked]), "in a tuple": lambda: V((X, MASKED)),
    "mean": lambda: wb.mean(MASKED), "a function": lambda: wb.maximum(V(X), MASKED), "np.maximum": lambda: np.maximum(V(X), MASKED),
    "np.maximum left": lambda: np.maximum(MASKED, V(X)), "np.where": lambda: np.where(X > 1, V(X), MASKED), "stack": lambda: wb.stack([V(X), MASKED]),
    "np.concatenate": lambda: np.concatenate([MASKED, V(X)]), "layer": lambda: model(column), "target": lambda: wb.mean_squared_error(V(X), MASKED),
    "labels": lambda: wb.cross_entropy(V(np.eye(3)), np.ma.masked_array([0, 1, 2], mask=[1, 0, 0])), "grad": lambda: wb.grad(wb.sum)(MASKED),
    "class weights": lambda: wb.cross_entropy(V(np.eye(3)), [0, 1, 2], class_weights=MASKED), "+=": lambda: operator.iadd(V(X), MASKED),
    "fit": lambda: wb.fit(model, column, X[:, None], loss="mean_squared_error", optimizer=wb.SGD(model.parameters()), progress=False),
    "fit y": lambda: wb.fit(model, X[:, None], column, loss="mean_squared_error", optimizer=wb.SGD(model.parameters()), progress=False),
    "evaluate": lambda: wb.evaluate(model, column, X[:, None], loss="mean_squared_error"), "accuracy": lambda: wb.accuracy(np.eye(3), np.ma.masked_array([0, 1, 2], mask=[1, 0, 0])),
    "check_gradients": lambda: wb.check_gradients(wb.exp, MASKED), "seed": lambda: (V(X) * 2.0).backward(MASKED), "compile": lambda: wb.compile(lambda x: wb.sum(V(X) * x))(MASKED),
}  # fmt: skip
MASK_LOST |= {f"v {sign} masked": lambda f=f: f(V(X), MASKED) for sign, f in (OPERATORS | COMPARISONS).items()}
MASK_LOST |= {
    f"masked @ v {i}": lambda f=f: f(MASKED, V(X)) for i, f in enumerate([operator.matmul, np.matmul, np.add])
}


@pytest.mark.parametrize("call", MASK_LOST.values(), ids=MASK_LOST)
def test_a_mask_is_not_dropped(call):
    with pytest.raises(TypeError, match=r"lose its mask.*x\.filled\(.*wb\.where\(x\.mask"):
        call()


@pytest.mark.parametrize("sign", OPERATORS | COMPARISONS)
def test_a_masked_array_on_the_left_does_not_take_a_value_for_its_numbers(sign):
    with pytest.raises(TypeError, match=r"mask.*x\.filled"):
        (OPERATORS | COMPARISONS)[sign](MASKED, V(X))


@pytest.mark.parametrize(
    "call", [np.ma.add, np.ma.multiply, lambda a, v: np.ma.maximum(v, a), lambda a, v: operator.iadd(a.copy(), v)]
)
def test_functions_of_masked_arrays_do_not_take_a_value_for_its_numbers(call):
    with pytest.raises(TypeError, match="without losing its history"):
        call(UNMASKED, V(X))


def test_the_way_out_for_a_mask_is_right():
    w = V(2.0)
    wb.sum(wb.where(MASKED.mask, 0.0, w * MASKED.data)).backward()
    assert w.grad == 2.0
    assert wb.mean(V(MASKED.filled(1.0))).data == 1.0


def test_a_masked_array_without_a_mask_is_plain_data():
    for y in (
        V(UNMASKED),
        V(X) * UNMASKED / X,
        V(np.ma.masked_array(X)),
    ):
        assert type(y) is V
        assert type(y.data) is np.ndarray
        np.testing.assert_array_equal(y.data, X)


def test_matrices_are_data_but_their_products_are_refused():
    m = np.eye(3).view(np.matrix)
    assert V(m).shape == (3, 3)
    np.testing.assert_array_equal((V(X) @ m).data, X)
    np.testing.assert_array_equal((m @ V(X)).data, X)
    np.testing.assert_array_equal((m + V(X)).data, np.eye(3) + X)
    for call in (lambda: m * V(X), lambda: V(X) * m, lambda: V(X) ** m):
        with pytest.raises(TypeError, match=r"products of matrices.*write v @ m.*np\.asarray\(m\)"):
            call()


def test_other_arrays_of_numpy_are_plain_data(tmp_path):
    file = np.memmap(tmp_path / "x", np.float64, "w+", shape=3)
    file[:] = X
    for x in (file, X.view(np.recarray)):
        y = V(1.0) * x
        assert type(y.data) is np.ndarray
        np.testing.assert_array_equal(y.data, X)
        np.testing.assert_array_equal((x * V(1.0)).data, X)


class Metres(np.ndarray):
    """An array with arithmetic of its own."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return f"metres of {ufunc.__name__}"


def test_an_array_with_a_meaning_of_its_own_gets_its_turn():
    x = X.view(Metres)
    assert V(X) * x == "metres of multiply"
    assert x * V(X) == "metres of multiply"
    assert np.add(V(X), x) == "metres of add"
    with pytest.raises(TypeError, match=r"Metres would lose.*np\.asarray\(x\)"):
        V(x)


# -- classes of the user's own ----------------------------------------------------------------------------------------


class Mine:
    def __add__(self, other):
        return NotImplemented

    def __radd__(self, other):
        return "mine"

    __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = __rmatmul__ = __radd__

    def __eq__(self, other):
        return "mine"

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = None


class Aside(Mine):
    __array_ufunc__ = None  # NumPy's word for: I take no part in ufuncs

    def __array__(self, dtype=None, copy=None):
        raise AssertionError


@pytest.mark.parametrize("kind", [Mine, Aside])
@pytest.mark.parametrize("sign", OPERATORS | COMPARISONS)
def test_a_class_of_the_users_own_gets_its_turn(kind, sign):
    assert (OPERATORS | COMPARISONS)[sign](V(X), kind()) == "mine"
    assert (OPERATORS | COMPARISONS)[sign](V(2.0), kind()) == "mine"


def test_a_class_that_can_not_is_pythons_own_error():
    for call in (lambda: Mine() + V(X), lambda: operator.iadd(Mine(), V(X))):
        with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \+=?: 'Mine' and 'Value'"):
            call()
    v = V(X)
    v.grad = X
    with pytest.raises(TypeError, match="makes a new Value"):
        v += Mine()


@pytest.mark.parametrize("x", ["a", None, {}, 1j, object(), b"a", {1.0}])
def test_what_holds_no_numbers_is_refused(x):
    for sign, f in ARITHMETIC.items():
        with pytest.raises(TypeError):
            f(V(X), x)
        if sign != "%":  # of a text, it fills in
            with pytest.raises(TypeError):
                f(x, V(X))


def test_sequences_are_numbers_on_both_sides():
    from array import array
    from collections import deque

    for x in ([1.0, 2.0, 4.0], (1, 2, 4), deque(X), array("d", X), range(3)):
        numbers = np.array(x, float)
        np.testing.assert_array_equal((V(X) * x).data, X * numbers)
        np.testing.assert_array_equal((x - V(X)).data, numbers - X)
        np.testing.assert_array_equal(V(X) > x, numbers < X)


# -- other libraries, where they are installed --------------------------------------------------------------------------


@pytest.fixture(params=["Series", "DataFrame", "Index", "category of floats"])
def table(request):
    pd = pytest.importorskip("pandas")
    return {
        "Series": pd.Series([1.0, 2.0, 3.0], index=[7, 3, 5]), "DataFrame": pd.DataFrame({"a": [1.0, 2.0], "b": [0.5, 1.0], "c": [3.0, 1.0]}),
        "Index": pd.Index([1.0, 2.0, 3.0]), "category of floats": pd.Series([1, 2, 3], dtype="Int64"),
    }[request.param]  # fmt: skip


@pytest.mark.parametrize("sign", ARITHMETIC)
def test_pandas_is_numbers_on_both_sides(table, sign):
    f, numbers = ARITHMETIC[sign], np.asarray(table, np.float64)
    for a, b, x, y in ((V(X), table, X, numbers), (table, V(X), numbers, X)):
        result = f(a, b)
        assert type(result) is V
        np.testing.assert_allclose(result.data, f(x, y), rtol=1e-15)
        v = a if type(a) is V else b
        wb.sum(result).backward()
        assert v.grad.shape == (3,)


@pytest.mark.parametrize("sign", COMPARISONS)
def test_pandas_compares_plainly(table, sign):
    f, numbers = COMPARISONS[sign], np.asarray(table, np.float64)
    for result, expected in ((f(V(X), table), f(X, numbers)), (f(table, V(X)), f(numbers, X))):
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)


def test_pandas_tables_in_products():
    pd = pytest.importorskip("pandas")
    table, w = pd.DataFrame(np.arange(6.0).reshape(2, 3)), V(X)
    for result in (wb.matmul(table, w), w @ table.T):
        assert type(result) is V
        np.testing.assert_array_equal(result.data, table.to_numpy() @ X)
    with pytest.raises(TypeError, match=r"if it was table @ value, write wb\.matmul\(table, value\)"):
        table @ w


def test_xarray_holds_the_value_with_its_history():
    xr = pytest.importorskip("xarray")
    v, labelled = V(X), xr.DataArray(X, dims="x", coords={"x": [10, 20, 30]})
    for sign, f in ARITHMETIC.items():
        for result in (f(v, labelled), f(labelled, v), np.multiply(v, labelled) if sign == "*" else f(v, labelled)):
            assert type(result) is xr.DataArray
            assert type(result.data) is V
            assert result.data.op is not None
            np.testing.assert_array_equal(result.data.data, f(X, X))
            assert list(result.coords["x"]) == [10, 20, 30]
    v.grad = None
    wb.sum((v * labelled).data).backward()
    np.testing.assert_array_equal(v.grad, X)
    with pytest.raises(TypeError, match="without losing its history"):
        (v * labelled).to_numpy()
    assert type(wb.mean_squared_error(v, labelled)) is V  # as data, it is its numbers


def test_tensors_with_a_history_of_their_own_are_refused():
    torch = pytest.importorskip("torch")
    plain = torch.tensor(X)
    for f in OPERATORS.values():
        for a, b in ((V(X), plain), (plain, V(X))):
            result = f(a, b)
            assert type(result) is V
            np.testing.assert_allclose(result.data, f(X, X))
            tracked = [torch.tensor(X, requires_grad=True) if type(x) is torch.Tensor else x for x in (a, b)]
            with pytest.raises(
                TypeError, match=r"torch\.Tensor can't be read as plain numbers here.*detach\(\)\.numpy\(\)"
            ):
                f(*tracked)
    for f in COMPARISONS.values():
        np.testing.assert_array_equal(f(V(X), plain), f(X, X))
        np.testing.assert_array_equal(f(plain, V(X)), f(X, X))
    with pytest.raises(TypeError, match="detach"):
        V(torch.tensor(X, requires_grad=True))


class OldArray:
    """An array class from before ``__array_ufunc__``: it leaves an operator to a class of higher priority."""

    __array_priority__ = 10.0

    def __init__(self, numbers):
        self.numbers = np.asarray(numbers)

    def __array__(self, dtype=None, copy=None):
        return self.numbers

    def __mul__(self, other):
        if getattr(other, "__array_priority__", 0.0) > self.__array_priority__:
            return NotImplemented
        return OldArray(self.numbers * np.asarray(other))


def test_a_class_with_a_priority_leaves_the_operator_to_a_value():
    v = wb.Value([1.0, 2.0])
    y = OldArray([3.0, 4.0]) * v
    assert type(y) is wb.Value
    wb.sum(y).backward()
    np.testing.assert_array_equal(v.grad, [3.0, 4.0])
