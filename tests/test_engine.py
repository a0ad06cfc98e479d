"""The engine's promises: what a Value is, what is recorded, what backward() leaves behind."""

import copy
import gc
import math
import pickle
import re
import threading

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.backprop import history, pull_back
from tinygrad_wb.operations import REGISTRY

V = wb.Value
inf, nan = math.inf, math.nan


def close(a, b, rtol=1e-12):
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


def kind_of(x):
    return "float" if type(x) is float else str(x.dtype)


# -- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (3, "float"), (3.5, "float"), (True, "float"), (np.float32(1.5), "float"), (np.int8(3), "float"), (np.array(2.0), "float"),
        (np.array(2, np.float16), "float"), ([1, 2], "float64"), ([[True], [False]], "float64"), ((1.0, 2.0), "float64"), (range(3), "float64"),
        (np.arange(3), "float64"), (np.arange(3, dtype=np.uint8), "float64"), (np.zeros(2, bool), "float64"), (np.ones(2, np.float16), "float16"),
        (np.ones(2, np.float32), "float32"), (np.ones((2, 0)), "float64"), (np.ones(2, ">f4"), "float32"), (np.ones(2, np.longdouble), "float64"),
        ([], "float64"), (V(2.0), "float"), (V([1.0, 2.0]), "float64"), ([np.float32(1), 2], "float64"),
    ],
)  # fmt: skip
def test_data_becomes_a_float_or_a_floating_array(data, kind):
    v = V(data)
    assert kind_of(v.data) == kind
    assert type(v.data) in (float, np.ndarray)
    np.testing.assert_array_equal(v.data, np.asarray(wb.value.raw(data), float))
    assert v.dtype == np.dtype("float64" if kind == "float" else kind)
    assert v.dtype.isnative
    assert (v.shape, v.ndim, v.size) == (np.shape(v.data), np.ndim(v.data), np.size(v.data))
    assert (v.grad, v.name, v.op, v.inputs) == (None, None, None, ())


@pytest.mark.parametrize(
    "data",
    [
        1j, [1j, 2.0], np.ones(2, complex), "1.0", ["a"], b"1", None, object(), [None, 1.0], np.array([1, "x"], object), {"a": 1}, {1, 2},
        np.array(["2020-01-01"], "M8[D]"), np.array([1], "m8[s]"), len, np.zeros(2, [("x", float)]), [object()],
    ],
)  # fmt: skip
def test_other_data_is_refused_with_a_type_error(data):
    for call in (
        V,
        lambda d: V(1.0) + d,
        wb.exp,
        lambda d: wb.where(True, V(1.0), d),
        lambda d: wb.stack([V(1.0), d]),
    ):
        with pytest.raises(TypeError, match="numbers are wanted"):
            call(data)
    v = V(1.0)
    with pytest.raises(TypeError, match="numbers are wanted"):
        v.data = data
    assert v.data == 1.0


def test_construction_copies():
    array = np.array([1.0, 2.0])
    v, w = V(array), V(array)
    array[0] = 9.0
    np.testing.assert_array_equal(v.data, [1.0, 2.0])
    v.data[0] = 5.0
    np.testing.assert_array_equal(w.data, [1.0, 2.0])
    again = V(v)
    assert again.op is None
    again.data[0] = 7.0
    np.testing.assert_array_equal(v.data, [5.0, 2.0])
    view = V(np.ones((3, 3))[:, 1])
    assert view.data.base is None


def test_assigning_copies_too():
    array, v = np.array([1.0, 2.0]), V([0.0, 0.0])
    v.data = array
    array[0] = 9.0
    np.testing.assert_array_equal(v.data, [1.0, 2.0])
    w = V([3.0, 4.0])
    v.data = w
    w.data[0] = 9.0
    np.testing.assert_array_equal(v.data, [3.0, 4.0])


def test_data_computed_by_an_operation_can_not_be_assigned():
    y = V(2.0) * 3.0
    with pytest.raises(TypeError, match=r"computed by multiply.*leaf"):
        y.data = 1.0
    assert y.data == 6.0


def test_a_value_has_no_item_assignment_and_no_subclasses():
    v = V([1.0, 2.0])
    with pytest.raises(TypeError, match=r"wb\.where"):
        v[0] = 5.0
    with pytest.raises(TypeError, match="attribute"):
        type("Sub", (V,), {})
    with pytest.raises(AttributeError):
        v.gard = 1.0


@pytest.mark.parametrize("name", sorted(REGISTRY.keys() - {"compiled"}))  # a function of the user's, not a formula
def test_scalars_never_hold_numpy_numbers(name):
    """Whatever an operation makes of a float is a float or an array with axes; a comparison gives a bool."""
    op = REGISTRY[name]
    options = {"shape": {"shape": (1,)}, "dtype": {"dtype": "float32"}}
    given = next((o for k, o in options.items() if k in op.defaults), {})
    if name in (
        "getitem",
        "put",
        "take",
        "scatter",
        "take_along_axis",
        "scatter_along_axis",
        "set_at",
        "einsum",
        "pick",
        "concatenate",
        "stack",
        "matmul",
        "affine",
        "cross_entropy",
        "sort",
        "argsort",
        "unfold",
        "fold",
    ):
        return
    try:
        y = op.function(*[V(0.5) for _ in op.inputs], **given)
    except (ValueError, TypeError):
        return
    if set(op.partials) == {None}:
        assert type(y) is bool
        return
    assert type(y.data) is float or (type(y.data) is np.ndarray and y.data.ndim > 0)
    y.sum().backward()
    assert type(y.data) is type(y.grad)


# -- what is recorded ---------------------------------------------------------------------------------------------------


def test_constants_stand_raw_among_the_inputs():
    v, array = V([1.0, 2.0]), np.array([3.0, 4.0])
    y = v * array
    assert y.inputs[0] is v
    assert type(y.inputs[1]) is np.ndarray
    assert y.inputs[1].tolist() == array.tolist()
    assert y.given[0][1] is array, "the record holds a copy, as the caller may write to the array"
    assert (v + 2).inputs == (v, 2.0)
    assert type((v + 2).inputs[1]) is float
    assert type((2 - v).inputs[0]) is float
    assert type((v * [1, 2]).inputs[1]) is np.ndarray
    assert type((v * np.float32(2)).inputs[1]) is float


def test_without_a_value_nothing_is_recorded():
    for y in (
        wb.exp(1.0),
        wb.sum([1.0, 2.0]),
        wb.softmax([1.0, 2.0]),
        wb.add(1.0, 2.0),
        wb.mean_squared_error([1.0], [2.0]),
    ):
        assert type(y) in (float, np.ndarray)


def test_constants_get_no_gradient_and_their_partials_never_run(monkeypatch):
    def explode(*_):
        raise AssertionError("the partial of a constant was run")

    a, w, b, rows = V([1.0, 2.0]), V(np.ones((2, 2))), V([1.0, 1.0]), np.ones((3, 2))
    monkeypatch.setattr(REGISTRY["multiply"], "db", explode)
    (a * 3.0).sum().backward()
    monkeypatch.setattr(REGISTRY["affine"], "da", explode)
    wb.affine(rows, w, b).sum().backward()
    close(a.grad, [3.0, 3.0])
    close(w.grad, np.full((2, 2), 3.0))
    close(b.grad, [3.0, 3.0])
    assert type(rows) is np.ndarray


def test_labels_and_conditions_stand_raw_and_get_nothing():
    logits, labels, condition = V([[1.0, 2.0]]), V([1.0]), V([1.0, 0.0])
    y = wb.where(condition, V([1.0, 2.0]), 0.0)
    y.sum().backward()
    assert condition.grad is None
    assert not any(x is condition for x in y.inputs)
    loss = wb.cross_entropy(logits, labels.data.astype(int))
    loss.backward()
    assert type(loss.inputs[1]) is np.ndarray


def test_the_graph_is_what_was_written():
    a, b = V(5.0, "a"), V(2.0, "b")
    for y, name in [
        (a - b, "subtract"),
        (a / b, "divide"),
        (a + b, "add"),
        (a * b, "multiply"),
        (a**b, "power"),
        (-a, "negative"),
        (1 - a, "subtract"),
    ]:
        assert y.op is REGISTRY[name]
        assert len(history(y)) == 1
    assert (a - b).inputs == (a, b)
    assert (1 / b).inputs == (1.0, b)
    assert (a - b).op.template == "{a} - {b}"


def test_a_record_is_plain_data():
    y = wb.softmax(V([[1.0, 2.0]]), axis=0)
    assert dict(y.options) == {"axis": 0}
    assert set(V.__slots__) == {
        "__weakref__", "_data", "_entry", "calls", "given", "grad", "inputs", "listeners", "name", "op", "options", "origin", "_place",
        "tick",
    }  # fmt: skip
    assert not hasattr(y, "__dict__")
    assert not hasattr(y, "place"), "only `source_lines` asks for it"


def test_history_is_the_reverse_order_of_execution():
    a = V(2.0)
    b = a * 3.0
    c = a + b
    d = c * b
    loss = d - a
    assert all(x is y for x, y in zip(history(loss), [loss, d, c, b], strict=True))
    assert history(a) == []
    assert [v.tick for v in history(loss)] == sorted((v.tick for v in history(loss)), reverse=True)


# -- gradients ------------------------------------------------------------------------------------------------------------


def test_leaves_accumulate_and_intermediates_hold_the_latest():
    w = V(3.0)
    y = w * 2.0
    loss = y * y
    loss.backward()
    assert (w.grad, y.grad, loss.grad) == (24.0, 12.0, 1.0)
    loss.backward()
    assert (w.grad, y.grad, loss.grad) == (48.0, 12.0, 1.0)
    (y * 5.0).backward()
    assert (w.grad, y.grad) == (58.0, 5.0)
    w.grad = None
    loss.backward()
    assert w.grad == 24.0


def test_a_value_that_was_not_reached_has_the_gradient_none():
    a, b, c = V(1.0), V(2.0), V(3.0)
    unused = a * c
    (a * b).backward()
    assert c.grad is None
    assert unused.grad is None


def test_shared_subexpressions_are_summed_once_each():
    x = V(3.0)
    y = x * x
    (y * y + y + x).backward()
    assert x.grad == 4 * 27.0 + 2 * 3.0 + 1.0
    z = V([1.0, 2.0])
    (z + z + z).sum().backward()
    close(z.grad, [3.0, 3.0])


def test_a_diamond_of_thirty_storeys_takes_thirty_steps():
    x = y = V(1.0)
    for _ in range(30):
        y = y + y
    y.backward()
    assert x.grad == 2.0**30


def test_a_leaf_is_its_own_loss():
    x = V(3.0)
    x.backward()
    assert x.grad == 1.0
    v = V([1.0, 2.0])
    seed = np.array([3.0, 4.0])
    v.backward(seed)
    close(v.grad, seed)
    v.grad[0] = 9.0
    close(seed, [3.0, 4.0])


@pytest.mark.parametrize(
    "build",
    [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a + b + a, lambda a, b: (a.T + b.T).T, lambda a, b: a.reshape(4) + b.reshape(4),
        lambda a, b: wb.stack([a, b]).sum(axis=0), lambda a, b: wb.concatenate([a, b])[:2] + b, lambda a, b: +a + +b,
        lambda a, b: wb.affine(a, np.eye(2), b[0]) + b, lambda a, b: a[:] + b[::-1], lambda a, b: wb.broadcast_to(a, (2, 2)) + b,
        lambda a, b: a.astype("float64") + b,
    ],
)  # fmt: skip
def test_leaf_gradients_share_memory_with_nothing(build):
    a, b = V([[1.0, 2.0], [3.0, 4.0]]), V([[5.0, 6.0], [7.0, 8.0]])
    y = build(a, b)
    seed = np.ones(y.shape)
    y.backward(seed)
    others = [v.grad for v in history(y)] + [v.data for v in (*history(y), a, b)] + [seed]
    assert not np.shares_memory(a.grad, b.grad)
    for leaf in (a, b):
        assert not any(np.shares_memory(leaf.grad, other) for other in others)
    kept = b.grad.copy()
    a.grad *= 100.0
    np.testing.assert_array_equal(b.grad, kept)
    np.testing.assert_array_equal(seed, 1.0)


def test_accumulating_makes_a_new_array():
    w = V([1.0, 2.0])
    (w * 2.0).sum().backward()
    first = w.grad
    (w * 2.0).sum().backward()
    close(first, [2.0, 2.0])
    close(w.grad, [4.0, 4.0])


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_have_the_dtype_and_shape_of_their_value(dtype, record):
    w, b, x = V(np.ones((3, 2), dtype)), V(np.ones(2, dtype)), V(np.ones((4, 3), dtype))
    s, wide = V(2.0), V(np.ones((4, 1)))
    hidden = wb.tanh(x @ w + b) * s
    mixed = hidden * wide
    for y, seed in [
        (mixed.sum(), None),
        (mixed, np.ones((4, 2))),
        (hidden, np.ones((4, 2), np.float64)),
        (hidden, np.ones((4, 2), np.float32)),
    ]:
        y.backward(seed, record=record)
        for v in [w, b, x, s, *history(y)]:
            g = wb.value.raw(v.grad)
            assert type(g) is type(v.data)
            assert np.shape(g) == v.shape
            assert v.shape == () or g.dtype == v.dtype
    assert type(s.grad if not record else s.grad.data) is float


def test_backward_of_many_numbers_needs_a_seed():
    v = V([[1.0, 2.0]])
    with pytest.raises(wb.ShapeError, match=r"shape \(1, 2\).*sum\(\).*seed"):
        (v * 2.0).backward()
    with pytest.raises(wb.ShapeError, match=r"\(1,\)"):
        V([2.0]).backward()
    for seed in (1.0, [1.0, 2.0], np.ones((2, 1)), [[1.0]], np.ones((1, 2, 1))):
        with pytest.raises(wb.ShapeError, match=r"seed has shape .*this Value \(1, 2\)"):
            (v * 2.0).backward(seed)
    with pytest.raises(wb.ShapeError, match="seed"):
        v.sum().backward([1.0])
    assert v.grad is None
    (v * 2.0).backward([[3, 4]])
    close(v.grad, [[6.0, 8.0]])
    w = V(2.0)
    (w * w).backward(10.0)
    assert w.grad == 40.0
    (w * w).backward(seed=V(1.0))
    assert w.grad == 44.0
    for bad in ("a", 1j, object()):
        with pytest.raises(TypeError):
            (w * w).backward(bad)


def test_empty_losses():
    v = V(np.zeros((0, 3)))
    loss = (v * 2.0).sum()
    loss.backward()
    assert loss.data == 0.0
    assert v.grad.shape == (0, 3)


# -- staleness ---------------------------------------------------------------------------------------------------------------


def test_a_stale_graph_is_refused_and_nothing_is_changed():
    w, x = V([1.0, 2.0], name="weight"), V([3.0, 4.0])
    y = w * x
    loss = (y * y).sum()
    w.data = [5.0, 6.0]
    for backward in (
        loss.backward,
        lambda: loss.backward(record=True),
        lambda: pull_back(loss, 1.0),
        lambda: y.backward([1.0, 1.0]),
    ):
        with pytest.raises(wb.StaleGraphError, match=r"multiply.*weight.*\(2,\).*again"):
            backward()
    assert w.grad is x.grad is y.grad is loss.grad is None
    fresh = (w * x).sum()
    fresh.backward()
    close(x.grad, [5.0, 6.0])


def test_every_way_of_assigning_makes_older_graphs_stale():
    ways = {
        "assign": lambda w: setattr(w, "data", [0.0, 0.0]),
        "in place": lambda w: w.data.__isub__(1.0) is not None and setattr(w, "data", w.data),
        "the same data": lambda w: setattr(w, "data", w.data),
    }
    for way in ways.values():
        w = V([1.0, 2.0])
        loss = (w * w).sum()
        way(w)
        with pytest.raises(wb.StaleGraphError, match="a leaf"):
            loss.backward()
    w = V(2.0)
    loss = w * w
    w.data -= 0.5
    with pytest.raises(wb.StaleGraphError):
        loss.backward()
    (w * w).backward()
    assert w.grad == 3.0


def test_augmented_assignment_of_data_works_in_place():
    w = V([1.0, 2.0])
    held = w.data
    w.data -= [0.5, 0.5]
    assert w.data is held
    close(held, [0.5, 1.5])


def test_graphs_that_never_read_the_leaf_are_not_stale():
    a, b = V(2.0), V(3.0)
    first = a * a
    b.data = 4.0
    first.backward()
    assert a.grad == 4.0
    late = a * b
    late.backward()
    assert b.grad == 2.0


def test_a_leaf_under_no_grad_keeps_its_data_when_another_is_changed_in_place():
    w, v = V([1.0, 2.0, 3.0]), V([1.0, 1.0])
    with wb.no_grad():
        frozen = [w[:2], w.reshape(3)[:2], w.T[:2], +w[:2]]
    loss = wb.sum(wb.stack([f * v for f in frozen]))
    w.data -= 100.0  # what an optimizer does
    loss.backward()
    for f in frozen:
        close(f.data, [1.0, 2.0])
    close(v.grad, [4.0, 8.0])


# -- no_grad -------------------------------------------------------------------------------------------------------------------


def recorded(v):
    return (v * 2.0).op is not None


def test_no_grad_records_nothing_and_its_results_are_leaves():
    w = V([1.0, 2.0])
    with wb.no_grad():
        for y in (w * 2.0, wb.sum(w), w @ w, wb.concatenate([w, w]), wb.affine(w, np.ones((2, 2)), w), wb.exp(w), w[0]):
            assert (y.op, y.inputs, dict(y.options)) == (None, (), {})
    y = w * 2.0
    with wb.no_grad():
        z = y * w
    (z * y).sum().backward()
    close(w.grad, 2.0 * z.data)


def test_no_grad_nests_and_ends():
    v = V(1.0)
    with wb.no_grad():
        with wb.no_grad():
            assert not recorded(v)
        assert not recorded(v)
    assert recorded(v)


def test_no_grad_ends_with_an_exception():
    v = V(1.0)
    with pytest.raises(KeyError), wb.no_grad():
        raise KeyError
    assert recorded(v)
    with wb.no_grad():
        with pytest.raises(KeyError), wb.no_grad():
            raise KeyError
        assert not recorded(v)
    assert recorded(v)


def test_no_grad_as_a_decorator():
    v = V(1.0)

    @wb.no_grad()
    def inner(fail=False):
        if fail:
            raise KeyError
        return recorded(v)

    assert not inner()
    assert not inner()
    with pytest.raises(KeyError):
        inner(fail=True)
    assert recorded(v)


def test_no_grad_is_of_one_thread():
    v = V(1.0)
    seen, inside, done = {}, threading.Event(), threading.Event()

    def other():
        seen["other"] = recorded(v)
        with wb.no_grad():
            inside.set()
            done.wait(60)
            seen["other inside"] = recorded(v)

    thread = threading.Thread(target=other)
    with wb.no_grad():
        thread.start()
        assert inside.wait(60)
        assert not recorded(v)
    assert recorded(v)
    done.set()
    thread.join()
    assert seen == {"other": True, "other inside": False}
    assert recorded(v)


# -- any order --------------------------------------------------------------------------------------------------------------------


def test_record_true_gives_gradients_that_can_be_differentiated():
    x, slope, derivatives = V(2.0), None, []
    y = x**5
    for _ in range(5):
        y.backward(record=True)
        slope, x.grad = x.grad, None
        assert type(slope) is V
        derivatives.append(slope.data)
        y = slope
    close(derivatives, [80.0, 160.0, 240.0, 240.0, 120.0])


def test_record_true_accumulates_too():
    x = V([1.0, 2.0])
    (x * x).sum().backward(record=True)
    (x * x).sum().backward(record=True)
    assert type(x.grad) is V
    close(x.grad.data, [4.0, 8.0])
    (x * x).sum().backward()
    close(wb.value.raw(x.grad), [6.0, 12.0])
    y = V([1.0, 2.0])
    (y * y).sum().backward()
    (y * y).sum().backward(record=True)
    close(y.grad.data, [4.0, 8.0])


def test_record_true_on_arrays_mixed_with_constants():
    w, x = V([[0.5, -0.3], [0.2, 0.8]]), np.array([[1.0, 2.0], [3.0, -1.0]])
    loss = wb.tanh(x @ w).sum()
    loss.backward(record=True)
    norm = (w.grad * w.grad).sum()
    w.grad = None
    norm.backward()
    close(w.grad, wb.grad(lambda v: (wb.grad(lambda u: wb.tanh(x @ u).sum())(v) ** 2).sum())(w.data))


# -- IEEE arithmetic -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(
    ("f", "x", "value", "slope"),
    [
        (lambda v: 1.0 / v, 0.0, inf, -inf), (lambda v: 0.0 / v, 0.0, nan, nan), (lambda v: v / 0.0, 2.0, inf, inf), (lambda v: v / 0.0, 0.0, nan, inf),
        (lambda v: v**-1.0, 0.0, inf, -inf), (lambda v: v**-2, 0.0, inf, -inf), (lambda v: v**0.5, 0.0, 0.0, inf), (lambda v: (v * v) / 0, 3.0, inf, inf),
        (lambda v: v / (v - v), 1.0, inf, nan), (wb.log, 0.0, -inf, inf), (wb.log, -1.0, nan, -1.0),
        (wb.sqrt, 0.0, 0.0, inf), (wb.exp, 1000.0, inf, inf), (lambda v: v * 1e300 * 1e300, 1.0, inf, inf),
        (lambda v: v**400.0, 10.0, inf, inf), (lambda v: (v - 1.0) ** 0.5, 0.0, nan, nan), (lambda v: wb.mean(v) / 0.0, 1.0, inf, inf),
        (wb.log1p, -1.0, -inf, inf), (lambda v: wb.sqrt(v) / wb.sqrt(v), 0.0, nan, nan),
    ],
)  # fmt: skip
def test_division_by_zero_is_ieee_forward_and_backward(f, x, value, slope, record):
    with np.errstate(all="ignore"):
        for data in (x, [x]):
            v = V(data)
            y = f(v).sum()
            y.backward(record=record)
            np.testing.assert_array_equal(y.data, value)
            np.testing.assert_array_equal(np.ravel(wb.value.raw(v.grad)), [slope])
            assert type(wb.value.raw(v.grad)) is type(v.data)
        np.testing.assert_array_equal(wb.grad(f)(x), slope)
        np.testing.assert_array_equal(wb.value.raw(wb.grad(f)(V(x))), slope)


# -- what a Value says of itself -------------------------------------------------------------------------------------------------------


def test_comparisons_are_plain_booleans():
    a, b = V(1.0), V(2.0)
    for result, expected in [
        (a < b, True),
        (a <= 1.0, True),
        (a > b, False),
        (3 >= b, True),
        (a == 1.0, True),
        (a != b, True),
        (2.0 == b, True),
    ]:
        assert result is expected
    v = V([1.0, 2.0])
    for result, expected in [
        (v > 1.0, [False, True]),
        (v == [1.0, 5.0], [True, False]),
        (v <= V([0.0, 9.0]), [False, True]),
        (1.5 < v, [False, True]),
    ]:
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)
    nans = V(nan)
    assert not nans == nans
    assert nans != nans


def test_values_are_hashed_by_identity():
    a, b = V([1.0, 2.0]), V([1.0, 2.0])
    assert len({a, b, a}) == 2
    assert {a: 1, b: 2}[b] == 2


def test_length_iteration_and_truth():
    v = V([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(v) == 3
    rows = list(v)
    assert all(type(row) is V for row in rows)
    sum(row[0] * k for k, row in enumerate(rows)).backward()
    close(v.grad, [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    first, *_ = v
    close(first.data, [1.0, 2.0])
    for call in (len, iter, list):
        with pytest.raises(TypeError):
            call(V(1.0))
    assert bool(V(1.0))
    assert not V(0.0)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(v)
    assert list(V([])) == []


def test_item_and_float():
    for v in (V(2.5), V([2.5]), V([[2.5]]), V(np.array([2.5], np.float32))):
        assert type(v.item()) is float
        assert v.item() == float(v) == 2.5
    for v in (V([1.0, 2.0]), V([])):
        with pytest.raises(ValueError, match="one element"):
            v.item()
        with pytest.raises(ValueError, match="one element"):
            float(v)
    assert math.sqrt(V(4.0)) == 2.0


def test_repr_and_format():
    assert repr(V(3.0)) == "Value(3.0)"
    assert repr(V(3.0, name="w")) == "Value(3.0, name='w')"
    assert repr(V(3.0) * 2) == "Value(6.0, op=multiply)"
    assert repr(V([1.0, 2.0], "x")) == "Value([1., 2.], name='x')"
    assert f"{V(2.0):.3f}" == "2.000"
    assert f"{V([2.5]):5.1f}" == "  2.5"
    assert f"{V(2.0)}" == str(V(2.0)) == "Value(2.0)"
    assert f"{V([1.0, 2.0])}" == "Value([1., 2.])"
    assert len(repr(V(np.zeros((500, 500))))) < 500
    assert ["..." in repr(V(np.arange(n))) for n in (50.0, 51.0)] == [False, True]
    assert repr(V([[1.0, 2.0], [3.0, 4.0]])) == "Value([[1., 2.],\n       [3., 4.]])"
    with pytest.raises(ValueError, match="one element"):
        f"{V([1.0, 2.0]):.2f}"


def test_arg_extremes_are_plain():
    v = V([[1.0, 5.0], [7.0, 2.0]])
    assert v.argmax() == 2
    np.testing.assert_array_equal(v.argmin(axis=1), [0, 1])
    assert type(v.argmax(0)) is np.ndarray


# -- copies ----------------------------------------------------------------------------------------------------------------------------

COPIES = {
    "copy": copy.copy, "deepcopy": copy.deepcopy, "Value": V,
    **{f"pickle {p}": (lambda v, p=p: pickle.loads(pickle.dumps(v, p))) for p in range(pickle.HIGHEST_PROTOCOL + 1)},
}  # fmt: skip


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("data", [3.0, [1.0, 2.0], np.ones((2, 3), np.float32), np.zeros((0, 2))])
def test_copies_carry_the_data_and_not_the_history(duplicate, data):
    w = V(data, name="w")
    y = w * 2.0
    y.name = "y"
    y.backward(np.ones(y.shape) if y.shape else None)
    for v in (w, y):
        twin = duplicate(v)
        assert twin is not v
        assert twin.inputs == ()
        assert twin.op is (None if duplicate is V else v.op), "what was computed does not become a leaf, a parameter"
        np.testing.assert_array_equal(twin.data, v.data)
        assert kind_of(twin.data) == kind_of(v.data)
        if duplicate is not V:
            assert twin.name == v.name
            np.testing.assert_array_equal(twin.grad, v.grad)
            assert kind_of(twin.grad) == kind_of(v.grad)
        if v.shape and v.size:
            twin.data[...] = 77.0
            assert not np.any(v.data == 77.0)
            assert not np.shares_memory(twin.data, v.data)


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_of_what_was_computed_is_a_leaf_like_any_other(duplicate):
    one, two = duplicate(V([1.0, 2.0]) * 2.0), duplicate(V([3.0, 4.0]) * 2.0)
    for _ in range(2):
        (one + two).sum().backward()
    close(one.grad, [2.0, 2.0])
    one.grad *= 100.0
    close(two.grad, [2.0, 2.0])
    one.data = [5.0, 6.0]
    close(wb.grad(lambda w: wb.grad(lambda x: (one * w * x).sum())(3.0))(2.0).data, 11.0)


def test_deepcopy_of_a_structure_keeps_shared_values_shared():
    w = V([1.0, 2.0])
    w.grad = np.ones(2)
    one, two = copy.deepcopy([w, w])
    assert one is two
    one.grad[0] = 9.0
    close(w.grad, [1.0, 1.0])


def test_a_recorded_gradient_is_pickled_as_plain_data():
    x = V(2.0)
    (x * x * x).backward(record=True)
    assert pickle.loads(pickle.dumps(x)).grad == 12.0


def test_operations_are_pickled_by_name():
    for op in REGISTRY.values():
        assert pickle.loads(pickle.dumps(op)) is op
        assert copy.deepcopy(op) is op


# -- depth -------------------------------------------------------------------------------------------------------------------------------


def test_a_chain_of_a_million_operations():
    x = V(1.0)
    y = x
    for _ in range(500_000):
        y = y + 1.0
        y = y * 1.0
    assert y.data == 500_001.0
    y.backward()
    assert x.grad == 1.0
    assert copy.deepcopy(y).data == y.data
    assert pickle.loads(pickle.dumps(y)).data == y.data
    del y  # the whole chain, by reference counting
    gc.collect()


def test_a_deep_chain_of_arrays_and_of_recorded_gradients():
    x = V([1.0, 2.0])
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.sum().backward(record=True)
    close(x.grad.data, [1.0, 1.0])
    assert wb.grad(lambda v: chain(v, 5_000))(1.0) == 1.0


def chain(v, n):
    for _ in range(n):
        v = v + 0.0
    return v


# -- fused operations equal their composition -------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
ROWS, COLUMN, LABELS = RNG.normal(size=(4, 3)), RNG.normal(size=3), np.array([0, 2, 2, 1])
SIGNS = np.array([[1.0, -1.0, 1.0]] * 4)


def spelled_softmax(a, axis=-1):
    e = wb.exp(a - a.max(axis=axis, keepdims=True).data)
    return e / e.sum(axis=axis, keepdims=True)


def spelled_cross_entropy(a):
    picked = wb.log(spelled_softmax(a))[np.arange(4), LABELS]
    return -picked.mean()


def spelled_conv1d(x, w):
    """With a stride of 2 and zeros at both ends, by the three places of the window."""
    x = wb.concatenate([np.zeros((2, 3, 1)), x, np.zeros((2, 3, 1))], axis=2)
    return w[:, :, 0] @ x[:, :, 0:5:2] + w[:, :, 1] @ x[:, :, 1:6:2] + w[:, :, 2] @ x[:, :, 2:7:2]


def spelled_conv2d(x, w):
    places = [(i, j) for i in range(2) for j in range(3)]
    return sum(w[:, :, i, j] @ x[:, :, i : i + 3, j : j + 2].reshape(2, 3, 6) for i, j in places).reshape(2, 4, 3, 2)


def spelled_erf_gelu(a):
    return a * 0.5 * (1.0 + wb.erf(a * (1 / math.sqrt(2))))


FUSED = {
    "affine": (wb.affine, lambda x, w, b: x @ w + b, (ROWS, RNG.normal(size=(3, 2)), RNG.normal(size=2))),
    "affine on a stack": (wb.affine, lambda x, w, b: x @ w + b, (RNG.normal(size=(2, 4, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2))),
    "affine on a vector": (wb.affine, lambda x, w, b: x @ w + b, (COLUMN, RNG.normal(size=(3, 2)), RNG.normal(size=2))),
    "softmax": (wb.softmax, spelled_softmax, (ROWS,)),
    "softmax axis": (lambda a: wb.softmax(a, axis=0), lambda a: spelled_softmax(a, 0), (ROWS,)),
    "log_softmax": (wb.log_softmax, lambda a: wb.log(spelled_softmax(a)), (ROWS,)),
    "log_softmax by logsumexp": (wb.log_softmax, lambda a: a - wb.logsumexp(a, axis=-1, keepdims=True), (ROWS,)),
    "logsumexp": (lambda a: wb.logsumexp(a, axis=0), lambda a: wb.log(wb.exp(a).sum(axis=0)), (ROWS,)),
    "cross_entropy": (lambda a: wb.cross_entropy(a, LABELS), spelled_cross_entropy, (ROWS,)),
    "mean_squared_error": (wb.mean_squared_error, lambda a, b: ((a - b) ** 2).mean(), (ROWS, ROWS[::-1])),
    "binary_cross_entropy": (
        wb.binary_cross_entropy,
        lambda a, t: -(t * wb.log(wb.sigmoid(a)) + (1.0 - t) * wb.log(1.0 - wb.sigmoid(a))).mean(),
        (ROWS, RNG.uniform(size=(4, 3))),
    ),
    "hinge_loss": (wb.hinge_loss, lambda a, t: wb.relu(1.0 - t * a).mean(), (ROWS, SIGNS)),
    "mean": (lambda a: a.mean(axis=1), lambda a: a.sum(axis=1) / 3.0, (ROWS,)),
    "var": (lambda a: a.var(axis=0), lambda a: ((a - a.mean(axis=0)) ** 2).mean(axis=0), (ROWS,)),
    "var ddof": (lambda a: a.var(axis=1, ddof=1), lambda a: wb.square(a - a.mean(axis=1, keepdims=True)).sum(axis=1) / 2.0, (ROWS,)),
    "square": (wb.square, lambda a: a * a, (ROWS,)),
    "silu": (wb.silu, lambda a: a * wb.sigmoid(a), (ROWS,)),
    "cross_entropy by negative_log_likelihood": (
        lambda a: wb.cross_entropy(a, LABELS, class_weights=[1.0, 2.0, 0.5]),
        lambda a: wb.negative_log_likelihood(wb.log_softmax(a), LABELS, [1.0, 2.0, 0.5]), (ROWS,),
    ),
    "cross_entropy smoothed": (
        lambda a: wb.cross_entropy(a, LABELS, 0.3), lambda a: -(wb.log_softmax(a) * (0.7 * np.eye(3)[LABELS] + 0.1)).sum() / 4.0, (ROWS,),
    ),
    "kl_divergence": (
        lambda a, t: wb.kl_divergence(wb.log_softmax(a), wb.softmax(t)),
        lambda a, t: (spelled_softmax(t) * wb.log(spelled_softmax(t) / spelled_softmax(a))).sum() / 4.0, (ROWS, ROWS[::-1]),
    ),
    "huber": (
        lambda a, b: wb.huber(a, b, delta=0.7), lambda a, b: wb.where(abs(a - b) < 0.7, 0.5 * (a - b) ** 2, 0.7 * (abs(a - b) - 0.35)).mean(), (ROWS, ROWS[::-1]),
    ),
    "mean_absolute_error": (wb.mean_absolute_error, lambda a, b: abs(a - b).mean(), (ROWS, ROWS[::-1])),
    "embedding": (lambda a: wb.embedding(a, LABELS), lambda a: a[LABELS], (ROWS,)),
    "conv1d": (
        lambda x, w: wb.conv1d(x, w, 2, 1), spelled_conv1d, (RNG.normal(size=(2, 3, 5)), RNG.normal(size=(2, 3, 3))),
    ),
    "conv2d": (
        wb.conv2d, spelled_conv2d,
        (RNG.normal(size=(2, 3, 4, 4)), RNG.normal(size=(4, 3, 2, 3))),
    ),
    "max_pool": (lambda a: wb.max_pool(a, 2), lambda a: a.reshape(2, 3, 2, 2, 3, 2).max(axis=(3, 5)), (RNG.normal(size=(2, 3, 4, 6)),)),
    "average_pool": (lambda a: wb.average_pool(a, 2), lambda a: a.reshape(2, 3, 2, 2, 3, 2).mean(axis=(3, 5)), (RNG.normal(size=(2, 3, 4, 6)),)),
    "layer_norm": (
        wb.layer_norm, lambda a, w, b: (a - a.mean(axis=1, keepdims=True)) / wb.sqrt(a.var(axis=1, keepdims=True) + 1e-5) * w + b,
        (ROWS, COLUMN, RNG.normal(size=3)),
    ),
    "batch_norm": (
        wb.batch_norm, lambda a, w, b: (a - a.mean(axis=0)) / wb.sqrt(a.var(axis=0) + 1e-5) * w + b, (ROWS, COLUMN, RNG.normal(size=3)),
    ),
    "batch_norm of pictures": (
        wb.batch_norm, lambda a, w, b: wb.batch_norm(a.transpose(0, 2, 3, 1).reshape(12, 3), w, b).reshape(2, 2, 3, 3).transpose(0, 3, 1, 2),
        (RNG.normal(size=(2, 3, 2, 3)), COLUMN, RNG.normal(size=3)),
    ),
    "scaled_dot_product_attention": (
        wb.scaled_dot_product_attention, lambda q, k, v, m: spelled_softmax(q @ k.transpose(0, 2, 1) / math.sqrt(3.0) + m) @ v,
        (RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 5, 3)), RNG.normal(size=(2, 5, 2)), RNG.normal(size=(4, 5))),
    ),
    "scaled_dot_product_attention causal": (
        lambda q, k, v: wb.scaled_dot_product_attention(q, k, v, causal=True),
        lambda q, k, v: wb.stack([spelled_softmax(q[i] @ k[: i + 1].T / math.sqrt(3.0)) @ v[: i + 1] for i in range(4)]),
        (ROWS, ROWS[::-1], RNG.normal(size=(4, 2))),
    ),
    "sigmoid": (wb.sigmoid, lambda a: 1.0 / (1.0 + wb.exp(-a)), (ROWS,)),
    "sigmoid by tanh": (wb.sigmoid, lambda a: 0.5 * (1.0 + wb.tanh(a * 0.5)), (ROWS,)),
    "softplus": (wb.softplus, lambda a: wb.log(1.0 + wb.exp(a)), (ROWS,)),
    "tanh": (wb.tanh, lambda a: (wb.exp(a) - wb.exp(-a)) / (wb.exp(a) + wb.exp(-a)), (ROWS,)),
    "gelu": (wb.gelu, spelled_erf_gelu, (ROWS,)),
    "gelu approximate": (
        lambda a: wb.gelu(a, approximate=True), lambda a: 0.5 * a * (1.0 + wb.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))), (ROWS,),
    ),
    "leaky_relu": (lambda a: wb.leaky_relu(a, 0.2), lambda a: wb.relu(a) - 0.2 * wb.relu(-a), (ROWS,)),
    "relu": (wb.relu, lambda a: wb.maximum(a, 0.0), (ROWS,)),
    "clip": (lambda a: wb.clip(a, -0.5, 0.5), lambda a: wb.minimum(wb.maximum(a, -0.5), 0.5), (ROWS,)),
    "log1p": (wb.log1p, lambda a: wb.log(1.0 + a), (np.abs(ROWS),)),
    "expm1": (wb.expm1, lambda a: wb.exp(a) - 1.0, (ROWS,)),
    "logaddexp": (wb.logaddexp, lambda a, b: wb.log(wb.exp(a) + wb.exp(b)), (ROWS, COLUMN)),
    "log2": (wb.log2, lambda a: wb.log(a) / math.log(2.0), (np.abs(ROWS),)),
    "cbrt": (wb.cbrt, lambda a: a ** (1.0 / 3.0), (np.abs(ROWS),)),
    "reciprocal": (wb.reciprocal, lambda a: a**-1.0, (ROWS,)),
    "tan": (wb.tan, lambda a: wb.sin(a) / wb.cos(a), (ROWS,)),
    "cosh": (wb.cosh, lambda a: 0.5 * (wb.exp(a) + wb.exp(-a)), (ROWS,)),
    "arctanh": (wb.arctanh, lambda a: 0.5 * wb.log((1.0 + a) / (1.0 - a)), (np.tanh(ROWS),)),
    "arcsinh": (wb.arcsinh, lambda a: wb.log(a + wb.sqrt(a * a + 1.0)), (ROWS,)),
    "arctan2": (wb.arctan2, lambda a, b: wb.arctan(a / b), (ROWS, np.abs(COLUMN))),
    "hypot": (wb.hypot, lambda a, b: wb.sqrt(a * a + b * b), (ROWS, COLUMN)),
    "mod": (wb.mod, lambda a, b: a - b * wb.floor(a / b), (ROWS, COLUMN)),
    "mish": (wb.mish, lambda a: a * wb.tanh(wb.softplus(a)), (ROWS,)),
    "elu": (lambda a: wb.elu(a, 0.7), lambda a: wb.relu(a) - wb.relu(-0.7 * wb.expm1(wb.minimum(a, 0.0))), (ROWS,)),
    "std": (lambda a: a.std(axis=0, ddof=1), lambda a: wb.sqrt(a.var(axis=0, ddof=1)), (ROWS,)),
    "prod": (lambda a: a.prod(axis=1), lambda a: a[:, 0] * a[:, 1] * a[:, 2], (ROWS,)),
    "cumprod": (lambda a: a.cumprod(axis=1), lambda a: wb.stack([a[:, 0], a[:, 0] * a[:, 1], a.prod(axis=1)], axis=1), (ROWS * (ROWS > 0.0),)),
    "cumsum": (lambda a: a.cumsum(axis=0), lambda a: np.tri(4) @ a, (ROWS,)),
    "median": (lambda a: a.median(axis=0), lambda a: a.sort(axis=0)[1:3].mean(axis=0), (ROWS,)),
    "ptp": (lambda a: a.ptp(axis=1), lambda a: a.max(axis=1) - a.min(axis=1), (ROWS,)),
    "average": (lambda a, w: wb.average(a, axis=1, weights=w), lambda a, w: (a @ w) / wb.sum(w), (ROWS, np.abs(COLUMN))),
    "sqrt": (wb.sqrt, lambda a: a**0.5, (np.abs(ROWS),)),
    "divide": (lambda a, b: a / b, lambda a, b: a * b**-1.0, (ROWS, np.abs(ROWS) + 1.0)),
    "subtract": (lambda a, b: a - b, lambda a, b: a + -1.0 * b, (ROWS, COLUMN)),
    "stack": (lambda a, b: wb.stack([a, b]), lambda a, b: wb.concatenate([a.reshape(1, 3), b.reshape(1, 3)]), (COLUMN, ROWS[0])),
    "matmul": (lambda a, b: a @ b, lambda a, b: (a.reshape(4, 3, 1) * b.reshape(1, 3, 4)).sum(axis=1), (ROWS, RNG.normal(size=(3, 4)))),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fused_operations_equal_their_composition(name):
    fused, spelled, inputs = FUSED[name]
    close(fused(*map(V, inputs)).data, spelled(*map(V, inputs)).data)
    for argnum, x in enumerate(inputs):
        weighted = [lambda *xs, f=f: wb.sum(wb.sin(f(*xs))) for f in (fused, spelled)]
        ours, theirs = (wb.grad(f, argnum)(*map(V, inputs)).data for f in weighted)
        close(ours, theirs, rtol=1e-10)
        v = np.random.default_rng(argnum).normal(size=x.shape)
        ours, theirs = (wb.value.raw(wb.hvp(f, argnum)(*map(V, inputs), v)) for f in weighted)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_a_taken_name_is_refused_and_leaves_the_row():
    before = REGISTRY["exp"]
    with pytest.raises(ValueError, match="there is an operation exp already"):

        @wb.operation.operation(da=lambda g, y, a: g)
        def exp(a):
            return a

    assert REGISTRY["exp"] is before


def test_the_same_definition_may_run_again_and_replaces_the_first():
    def cell(factor):
        @wb.operation.operation(da=lambda g, y, a: g * factor)
        def of_a_cell(a):
            return a * factor

        return of_a_cell

    try:
        first, second = cell(2.0), cell(3.0)
        w = V(1.0)
        second(w).backward()
        assert (first(5.0), second(5.0), w.grad) == (10.0, 15.0, 3.0)
        assert REGISTRY["of_a_cell"].function is second
        with pytest.raises(ValueError, match="there is an operation of_a_cell already"):
            wb.operation.operation(da=lambda g, y, a: g, name="of_a_cell")(lambda a: a)
        assert REGISTRY["of_a_cell"].function is second
    finally:
        del REGISTRY["of_a_cell"]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("mysq({a})",), r"'mysq\(\{a\}\)' names mysq, which a printed program does not have"),
        (("{a} * {b}",), r"has \{b\}, which is not an argument; it can have \{a\}"),
        (("{a} *",), "is not a Python expression"),
        ((None, "numpy.exp({a})"), "names numpy"),
        ((None, "np.exp({a})", "torch.exp({a})"), "names torch"),
    ],
)
def test_a_text_that_no_program_could_run_is_refused(texts, words):
    words_of = dict(zip(("numpy", "scalar"), texts[1:], strict=False))
    with pytest.raises(TypeError, match=rf"operation mysq: its text .*{words}"):

        @wb.operation.operation(texts[0], da=lambda g, y, a: 2.0 * g * a, **words_of)
        def mysq(a):
            return a * a

    assert "mysq" not in REGISTRY


def test_what_lost_its_history_can_not_go_backward():
    w = V([1.0, 2.0], name="w")
    with wb.no_grad():
        loss = wb.sum(w * w)
        scale = wb.sum(w)
    for call in (loss.backward, lambda: loss.backward(record=True), lambda: loss.backward(2.0)):
        with pytest.raises(RuntimeError, match=r"backward\(\): Value\(5\.0\) was computed under no_grad"):
            call()
    loss = wb.sum(w * w)
    for copied in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        with pytest.raises(RuntimeError, match=r"is a copy, and copy\.deepcopy and pickle leave the history behind"):
            copied.backward()
    assert w.grad is None
    (wb.sum(w) * scale).backward()  # a part that was not recorded is a constant
    close(w.grad, [3.0, 3.0])
    leaf = V(2.0)
    leaf.backward()
    assert leaf.grad == 1.0


def test_a_graph_that_grows_from_step_to_step_is_told_once():
    w, b = V(5.0, name="w"), V(1.0, name="b")

    def train(w):
        for _ in range(30):
            ((w - 1.0) ** 2).backward()
            w = w - 0.1 * w.grad
            (b * b).backward()  # another loss between them

    with pytest.warns(wb.GradientWarning, match=r"grows with every backward\(\).*w\.data = w\.data") as told:
        train(w)
    assert [t.filename for t in told] == [__file__]


def test_graphs_that_reach_back_without_growing_are_right():
    w = V(5.0, name="w")
    trunk = wb.tanh(w * 2.0)
    for i in range(30):  # heads on one trunk
        wb.sum(trunk * float(i)).backward()
    x = V(1.0)
    for _ in range(30):  # by hand, rightly
        ((x - 3.0) ** 2).backward()
        x.data -= 0.1 * x.grad
        x.grad = None
    h = V(1.0)
    for _ in range(15):  # the gradient after each layer of one network
        h = wb.tanh(w * h)
        h.backward()
    state = V(0.0)
    for i in range(30):  # a recurrence that is cut every five steps
        state = wb.tanh(state + w) if i % 5 else wb.tanh(w)
        state.backward()


@pytest.mark.parametrize("sign", ["-=", "+="])
def test_updating_a_parameter_in_place_is_refused_with_the_remedy(sign):
    w = V([1.0, 2.0])
    (w * w).sum().backward()
    with pytest.raises(TypeError, match=rf"write v\.data {re.escape(sign)}"):
        exec(f"w {sign} 0.1 * w.grad", {"w": w})
    close(w.data, [1.0, 2.0])
    total = V(0.0)
    total += w.sum()  # a sum that is built up is no update
    assert total.data == 3.0


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 5, 3), (1, 0, 3)])
def test_affine_is_its_composition_for_any_number_of_axes(shape):
    rng = np.random.default_rng(0)
    x, w, b = V(rng.normal(size=shape)), V(rng.normal(size=(3, 4))), V(rng.normal(size=4))
    one, two = wb.affine(x, w, b), x @ w + b
    close(one.data, two.data)
    one.sum().backward()
    fused = [v.grad for v in (x, w, b)]
    for v in (x, w, b):
        v.grad = None
    two.sum().backward()
    for v, d in zip((x, w, b), fused, strict=True):
        close(d, v.grad)
