"""`wb.compile(f, pure=True)`: traced for each pattern of its arguments, with the meaning of the function itself."""

import copy
import gc
import math
import pickle
import re
import threading
import weakref

import numpy as np
import pytest

import tinygrad_wb as wb

W = np.random.default_rng(0).normal(size=(3, 2))


def x_of(seed, rows=4, dtype=float):
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(dtype)


def pure(f):
    return wb.compile(f, pure=True)


# -- how it is called ---------------------------------------------------------------------------------------------------


def test_as_a_decorator_with_and_without_arguments():
    w = wb.Value(2.0)

    @wb.compile(pure=True)
    def promised(x):
        """Twice."""
        return w * x

    @wb.compile()
    def followed(x):
        return w * x

    @wb.compile
    def plain(x):
        return w * x

    for f, way in ((promised, "promised"), (followed, "followed"), (plain, "followed")):
        assert [f(x).data for x in (1.0, 2.0, 3.0, 4.0)] == [2.0, 4.0, 6.0, 8.0]
        assert f.report().way == way
        assert str(f.report()).startswith(f"{way}: ")
    assert promised.__doc__ == "Twice."
    assert wb.compile(promised) is promised
    assert wb.compile(plain, pure=True).report().way == "promised"


def test_the_report_counts():
    w = wb.Value(W)
    f = pure(lambda x: wb.sum(x @ w))
    assert f.report() == ("promised", "", 0, 0)
    assert not f.replaying
    assert f.fast_source == ""
    for i in range(7):
        f(x_of(i, rows=2 + i % 2))
    assert f.report() == ("promised", "", 2, 7)
    assert str(f.report()) == "promised: 2 programs for 7 calls"
    assert f.replaying
    assert f.fast_source.startswith("def ")


def test_it_is_pickled_as_promised():
    again = pickle.loads(pickle.dumps(pure(double)))
    assert again(3.0).data == 6.0
    assert again.report().way == "promised"
    assert copy.deepcopy(pure(double)).report().way == "promised"


TWO = wb.Value(2.0)


def double(x):
    return TWO * x


def test_python_runs_only_while_it_is_traced():
    w, seen = wb.Value(W), []

    def f(x):
        seen.append(type(x))
        return wb.sum(x @ w)

    compiled = pure(f)
    compiled(x_of(0))
    assert seen == [wb.Value]
    compiled(x_of(1))
    assert len(seen) == 1, "the first call is traced, and computed by the program"
    for i in range(200):
        compiled(x_of(i))
    assert len(seen) == 5, "and in spot checks, at calls 3, 10, 30 and 100"


def test_effects_happen_once_for_a_call():
    w, calls = wb.Value(1.0), []

    def f(x):
        calls.append(1)
        return w * x

    compiled = pure(f)
    for i in range(1, 31):
        before = len(calls)
        compiled(float(i))
        assert len(calls) - before <= 1
    assert len(calls) == 4  # traced, and checked three times


# -- its numbers --------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "a loss": lambda x, w, b: wb.mean(wb.tanh(x @ w + b) ** 2),
    "two losses": lambda x, w, b: (wb.sum(x @ w), wb.mean(b * b)),
    "loss and prediction": lambda x, w, b: {"p": (p := x @ w + b), "loss": wb.mean(p * p)},
    "of arguments alone": lambda x, w, b: (x.sum(), x > 0.0, wb.sum(x @ w), np.mean(x) > 0.0),
    "a mask": lambda x, w, b: wb.mean((x @ w + b) * (x[:, :2] > 0.0)),
    "branches": lambda x, w, b: wb.sum(x @ w) if wb.sum(x) > 0.0 else wb.sum(b * b),
    "constants": lambda x, w, b: (wb.sum(x @ w), 3, None, "text", np.arange(2.0), x.shape),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_and_gradients_are_those_of_the_function(name, dtype):
    f = FUNCTIONS[name]
    w, b = wb.Value(W.astype(dtype)), wb.Value(np.array([0.1, 0.2], dtype))
    compiled = pure(lambda x: f(x, w, b))
    for i in range(12):
        x = x_of(i, dtype=dtype)
        found = []
        for call in (compiled, lambda x: f(x, w, b)):
            result = call(x)
            parts = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
            row = [wb.value.raw(part) for part in parts]
            for part in parts:
                if isinstance(part, wb.Value):
                    w.grad = b.grad = None
                    wb.sum(part).backward()
                    row += [w.grad, b.grad]
            found.append(row)
        assert len(found[0]) == len(found[1])
        for a, e in zip(*found, strict=True):
            if isinstance(e, (np.ndarray, float)):
                np.testing.assert_allclose(a, e, rtol=1e-5 if dtype is np.float32 else 1e-12, atol=1e-6)
                assert getattr(a, "dtype", None) == getattr(e, "dtype", None)
            else:
                assert a == e, "None, too: what a result does not use gets no gradient"


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 11])
def test_what_a_result_or_a_condition_does_not_use_gets_no_gradient(calls):
    used, other, asked = wb.Value(2.0), wb.Value(3.0), wb.Value(1.0)

    def f(x):
        y = used * x if asked > 0.0 else other * x
        return y, other * 5.0

    compiled = pure(f)
    for _ in range(calls):
        y, z = compiled(4.0)
    y.backward()
    assert (used.grad, other.grad, asked.grad) == (4.0, None, None)
    used.grad = None
    z.backward()
    assert (used.grad, other.grad, asked.grad) == (None, 5.0, None)


NASTY = {
    "1/0": (lambda w, x: w / x, 0.0, math.inf),
    "0/0": (lambda w, x: w * 0.0 / x, 0.0, math.nan),
    "a plain 1/0": (lambda w, x: w * (1.0 / x), 0.0, math.inf),
    "a plain root of -2": (lambda w, x: w * x**0.5, -2.0, math.nan),
    "overflow": (lambda w, x: w * wb.exp(x), 1000.0, math.inf),
    "log of 0": (lambda w, x: w * wb.log(x), 0.0, -math.inf),
}


@pytest.mark.parametrize(("f", "x", "expected"), NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("calm_first", [True, False])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_floats_have_one_meaning_in_all_calls(f, x, expected, calm_first):
    w = wb.Value(2.0)
    compiled = pure(lambda x: f(w, x))
    if calm_first:
        compiled(1.5)
    for _ in range(12):
        y = compiled(x)
        np.testing.assert_equal(y.data, expected)
        w.grad = None
        y.backward()
        np.testing.assert_equal(w.grad, expected / 2.0)
    assert compiled(1.0).data == f(w, 1.0).data


def test_given_values_get_gradients():
    f = pure(lambda a, b: (wb.sum(a * b), a * 2.0))
    a = wb.Value(np.ones(3))
    for i in range(12):
        b = wb.Value(np.arange(3.0) + i)
        a.grad = None
        f(a, b)[0].backward()
        np.testing.assert_array_equal(a.grad, b.data)
        np.testing.assert_array_equal(b.grad, a.data)
        a.grad = None
        wb.sum(f(a, a)[0]).backward()
        np.testing.assert_array_equal(a.grad, 2.0 * a.data)


def test_parameters_are_read_anew():
    w = wb.Value(np.ones(3))
    f = pure(lambda x: wb.sum(w * x))
    for i in range(12):
        w.data = np.full(3, float(i))
        assert f(np.ones(3)).data == 3.0 * i
    w.data = np.ones(3, np.float32)
    assert f(np.ones(3)).data == 3.0


def test_under_no_grad_it_records_nothing():
    w = wb.Value(2.0)
    f = pure(lambda x: w * x)
    for i in range(6):
        with wb.no_grad():
            y = f(float(i))
        assert y.op is None
        assert y.data == 2.0 * i
        assert f(float(i)).op is not None


# -- patterns of arguments ----------------------------------------------------------------------------------------------


class Trainer:
    def __init__(self, scale):
        self.scale = scale
        self.w = wb.Value(1.0)

    @wb.compile(pure=True)
    def loss(self, x):
        return self.w * x * self.scale


def test_an_object_at_the_address_of_a_dead_one_is_another():
    for i in range(200):
        trainer = Trainer(float(i))
        assert trainer.loss(3.0).data == 3.0 * i
        del trainer


def test_objects_are_held_no_longer_than_their_programs():
    f = pure(lambda trainer, x: trainer.w * x * trainer.scale)
    first = Trainer(2.0)
    f(first, 1.0)
    seen = weakref.ref(first)
    del first
    gc.collect()
    assert seen() is not None, "its program may be called again"
    for i in range(100):
        f(Trainer(float(i)), 1.0)
    gc.collect()
    assert seen() is None
    assert f.report().programs <= 40


def test_whole_numbers_texts_and_flags_are_patterns():
    w = wb.Value(2.0)
    f = pure(lambda x, n, kind, scale=1: (w * x) ** n * (2.0 if kind == "twice" else 1.0) * scale)
    for _ in range(4):
        for n in (1, 2, 3):
            for kind in ("once", "twice"):
                for scale in (1, True, 3):
                    assert f(3.0, n, kind, scale=scale).data == 6.0**n * (2.0 if kind == "twice" else 1.0) * scale


def test_shapes_and_dtypes_are_patterns():
    w = wb.Value(W)
    f = pure(lambda x: x @ w)
    for _ in range(4):
        for rows in (1, 2, 5):
            for dtype in (np.float32, np.float64, np.int64):
                x = (10.0 * x_of(rows, rows)).astype(dtype)
                np.testing.assert_allclose(f(x).data, x @ W, rtol=1e-6)


def test_other_branches_are_other_programs():
    w = wb.Value(2.0)
    f = pure(lambda x: w * x if wb.sum(x) > 0.0 else -w if wb.sum(x) > -5.0 else w * 7.0)
    for _ in range(10):
        for x, expected in ((3.0, 6.0), (-1.0, -2.0), (-9.0, 14.0)):
            assert f(x).data == expected
    assert f.report().programs == 3


def test_branches_without_end_are_computed_all_the_same():
    w = wb.Value(1.0)

    def f(x):
        n = 0
        while wb.sum(x) > n:
            n += 1
        return w * x * float(n)

    compiled = pure(f)
    for i in [*range(60), *range(60)]:
        assert compiled(float(i)).data == float(i) * i
    assert compiled.report().programs <= 8


# -- what can't be traced -----------------------------------------------------------------------------------------------


def no_grad(w, x):
    with wb.no_grad():
        return wb.sum(w * x)


REFUSED = {
    "float()": lambda w, x: w * float(wb.sum(x)),
    ".data": lambda w, x: w * wb.sum(x).data,
    "item()": lambda w, x: w * wb.sum(w * x).item(),
    "a method of arrays": lambda w, x: w * x.copy(),
    "an index": lambda w, x: w * np.eye(3)[x],
    "backward()": lambda w, x: (y := wb.sum(w * x), y.backward())[0],
    "no_grad": no_grad,
    "an object": lambda w, x: (wb.sum(w * x), object()),
    "nothing": lambda w, x: None,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cant_be_traced_is_an_error_with_the_users_line(name):
    w, calls = wb.Value(2.0), []

    def f(x):
        calls.append(1)
        return REFUSED[name](w, x)

    compiled = pure(f)
    for i in range(1, 3):
        with pytest.raises(wb.ReplayError, match="eave pure=True away") as caught:
            compiled(np.array([0.0, 1.0, 2.0]))
        assert isinstance(caught.value, TypeError)
        assert len(calls) == i, "the function is run once"
    if name not in ("an object", "nothing"):
        assert re.search(r"test_promised\.py:\d+: .*x", str(caught.value))


def test_an_error_of_the_functions_own_passes():
    w = wb.Value(W)
    f = pure(lambda x: wb.sum(x @ w))
    for _ in range(2):
        with pytest.raises(wb.ShapeError, match="matmul"):
            f(np.ones((4, 5)))
    g = pure(lambda x: {}[1])
    with pytest.raises(KeyError):
        g(1.0)


def test_a_wrong_label_is_told():
    w = wb.Value(W)
    f = pure(lambda x, y: wb.cross_entropy(x @ w, y))
    x = x_of(0)
    for y in ([0, 1, 0, 1],) * 2 + ([0, 1, 5, 1], [0, 1, -1, 1], [0, 1, 5, 1]) + ([1, 1, 1, 1],):
        if max(y) > 1 or min(y) < 0:
            with pytest.raises(ValueError, match="labels must be from 0 to 1"):
                f(x, np.array(y))
        else:
            assert f(x, np.array(y)).data == pytest.approx(wb.cross_entropy(x @ w, np.array(y)).data)


# -- inside and beside others -------------------------------------------------------------------------------------------


def test_inside_other_compiled_functions():
    w = wb.Value(2.0)
    inner = pure(lambda x: w * x)
    for outer in (pure(lambda x: inner(x) + 1.0), wb.compile(lambda x: inner(x) + 1.0), lambda x: inner(x) + 1.0):
        for i in range(12):
            w.grad = None
            y = outer(float(i))
            y.backward()
            assert (y.data, w.grad) == (2.0 * i + 1.0, float(i))


def test_in_fit():
    ways = []
    for options in ({"pure": True}, {}, {"compile": False}):
        w = wb.Value(np.zeros((3, 1)))
        seen = []

        def model(x, w=w, seen=seen):
            seen.append(1)
            return x @ w

        x = x_of(0, 40)
        wb.fit(
            model, x, x @ [[1.0], [2.0], [3.0]], loss="mean_squared_error", optimizer=wb.SGD([w], 0.1), epochs=20, seed=0,
            progress=False, callbacks=[lambda training: ways.append(training.way)], batch_size=20, **options,
        )  # fmt: skip
        ways.append((ways[-1], len(seen), w.data.round(6).tolist()))
    found = [way for way in ways if type(way) is tuple]
    assert [way for way, _, _ in found] == ["promised", "followed", ""]
    assert found[0][1] < 10
    assert found[1][1] == found[2][1] == 40
    assert found[0][2] == found[1][2] == found[2][2]


def test_layers_with_random_numbers_and_running_means():
    def net():
        return wb.Sequential(
            wb.Dense(3, 8, seed=0), wb.BatchNorm(8), wb.tanh, wb.Dropout(0.3, seed=1), wb.Dense(8, 2, seed=2)
        )

    models = net(), net()
    y = np.arange(16) % 2
    f = pure(lambda x: wb.cross_entropy(models[0](x), y))
    for i in range(40):
        x = x_of(i, 16)
        expected = wb.cross_entropy(models[1](x), y)
        found = f(x)
        assert found.data == pytest.approx(expected.data, rel=1e-9)
        expected.backward()
        found.backward()
        for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
            np.testing.assert_allclose(p.grad, q.grad, rtol=1e-7, atol=1e-12)
            p.grad = q.grad = None
        np.testing.assert_allclose(models[0][1].running_mean, models[1][1].running_mean, rtol=1e-12)
        assert models[0][3].rng.bit_generator.state == models[1][3].rng.bit_generator.state


def test_random_numbers_stay_in_step_where_a_branch_goes_another_way():
    layers = wb.Dropout(0.5, seed=0), wb.Dropout(0.5, seed=0)
    w = wb.Value(np.ones(3))

    def f(layer, x):
        y = layer(x * w)
        return wb.sum(layer(y)) if wb.sum(x) > 0.0 else wb.sum(y)

    compiled = pure(lambda x: f(layers[0], x))
    for i in range(50):
        x = np.random.default_rng(i).normal(size=3)
        assert compiled(x).data == pytest.approx(f(layers[1], x).data)


def test_source_lines_see_its_operations():
    w = wb.Value(2.0)
    f = pure(lambda x: wb.tanh(w * x))
    f(1.0)
    with wb.source_lines():
        assert f(1.0).op.name == "tanh"


def test_second_derivatives():
    w = wb.Value(3.0)
    f = pure(lambda x: w**3 * x)
    for _ in range(5):
        w.grad = None
        f(2.0).backward(record=True)
        slope, w.grad = w.grad, None
        slope.backward()
        assert (slope.data, w.grad) == (54.0, 36.0)


def test_threads():
    w = wb.Value(W)
    f = pure(lambda x: wb.mean(wb.tanh(x @ w)))
    wrong = []

    def work(k):
        for i in range(150):
            x = x_of(i + k, 2 + i % 3)
            if abs(f(x).data - np.mean(np.tanh(x @ W))) > 1e-12:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_random_numbers_are_drawn_once_where_a_program_fails():
    """1/0 raises in a program of Python's floats, so such a call runs as it is: on the numbers that were drawn."""

    def numbers(compiles):
        layer, w, v = wb.Dropout(0.5, seed=3), wb.Value(2.0), wb.Value(np.ones(6))

        def function(divisor, x):
            return wb.sum(layer(v * x)) / (w * divisor)

        f = wb.compile(function, pure=True) if compiles else function
        with np.errstate(all="ignore"):
            # Every fifth call fails; the tenth call of the program is checked, and fails as well.
            return [f(0.0 if i % 5 == 4 else 1.0, np.arange(6.0) + 1.0).data for i in range(25)]

    assert numbers(compiles=True) == numbers(compiles=False)
