"""The programs of compiled functions: the quick form of every operation, memory that is handed on, tiles, long programs."""

import contextlib
import functools
import tracemalloc
import types
import warnings
from unittest import mock

import both_ways
import numpy as np
import pytest
from both_ways import CALLS, V, W, agree, bare, gradients, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operations import ROWS, each_case, tracked, weights
from test_random_graphs import BINARY, REDUCTIONS, UNARY, plain, programs, run

import tinygrad_wb as wb
from tinygrad_wb.compiling import tiling
from tinygrad_wb.compiling.emit import numpy as emitted
from tinygrad_wb.operation import REGISTRY

# A followed function does large arrays, and places that are computed, on the spot: it has the same numbers either way.
check = functools.partial(both_ways.check, follows=None)

# == 1. every operation ===================================================================================================


@each_case
def test_every_operation_replays_as_it_computes(name, case):
    op, row = REGISTRY[name], ROWS[name]
    kept = tracked(op, row.inputs(case))

    def call(inputs):
        return op.function(inputs, **case.options) if op.variadic else op.function(*inputs, **case.options)

    leaves = [wb.Value(x) if i in kept else None for i, x in enumerate(row.inputs(case))]
    y = call([leaves[i] if i in kept else x for i, x in enumerate(row.inputs(case))])
    c = weights(y.data)

    def of_parameters(*rest):
        others = iter(rest)
        out = call([next(others) if v is None else v for v in leaves])
        return wb.sum(out * c)

    def of_arguments(*inputs):
        out = call(inputs)
        return out, wb.sum(out * c)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty|invalid value|Degrees of freedom", RuntimeWarning)
        ways = [(wb.compile(of_parameters, pure), wb.compile(of_arguments, pure)) for pure in (False, True)]
        for seed in range(CALLS):
            inputs = row.inputs(case, seed)
            if name in ("take", "scatter", "cross_entropy", "negative_log_likelihood", "embedding"):
                inputs = [x if i in kept else np.asarray(x) for i, x in enumerate(inputs)]  # labels may be arguments
            for v, x in zip(leaves, inputs, strict=True):
                if v is not None:
                    v.data = x
            rest = [x for v, x in zip(leaves, inputs, strict=True) if v is None]
            own = [v for v in leaves if v is not None]
            values = [wb.Value(x) if i in kept else x for i, x in enumerate(inputs)]
            expected = of_parameters(*rest)
            expected.backward()
            slopes = gradients(own)
            exact, _ = of_arguments(*values)
            for by_parameters, by_arguments in ways:
                loss = by_parameters(*rest)
                loss.backward()
                agree(loss.data, expected.data)
                agree(gradients(own), slopes)
                out, loss = by_arguments(*values)
                agree(out.data, exact.data, 0.0 if row.elementwise else 1e-12)
                loss.backward()
                agree(gradients([values[i] for i in kept]), slopes)
    assert all(f.replaying for f in ways[True])


def test_rows_by_a_single_traced_number():
    w = W()
    check(lambda i: w[i] * 2.0 + wb.exp(w * 2.0)[i], [(np.array(k),) for k in (0, 2, 1, 1, 0)], [w])


@pytest.mark.parametrize(
    "f",
    [
        lambda w, x: wb.sort(w) * x,
        lambda w, x: w[np.argsort(x, kind="stable")] * wb.sort(x) * 2.0,
        lambda w, x: wb.median(w * x) + w[wb.argsort(x)[0]] * wb.ptp(x),
        lambda w, x: np.cumprod(np.sort(w * x)) + np.std(x) * w % 0.7,
    ],
)
def test_what_is_sorted_is_sorted_anew_on_replay(f):
    """Not frozen in the order that the record had, with the gradient of the parameter and of the argument."""
    w = V()
    for arguments in ([normal(3, seed=i) for i in range(CALLS)], [wb.Value(normal(3, seed=i)) for i in range(CALLS)]):
        check(lambda x: f(w, x), [(x,) for x in arguments], [w])


# `test_random_graphs.run`, on Values that are there already.
known = types.SimpleNamespace(**{name: getattr(wb, name) for name in (*UNARY, *BINARY, *REDUCTIONS)}, Value=lambda v: v)
run_on = types.FunctionType(run.__code__, {**run.__globals__, "wb": known})


@settings(max_examples=120)
@given(program=programs(), data=st.data())
def test_random_graphs(program, data):
    leaves, steps = program
    values = [wb.Value(x) for x in leaves]

    def f(*given):
        found = run_on([*values[: len(values) // 2], *given], steps)
        return found[-1], found[-2]

    ways = [wb.compile(f, pure) for pure in (False, True)]
    for _ in range(CALLS):
        new = [data.draw(plain(np.shape(x))) for x in leaves]
        for v, x in zip(values, new, strict=True):
            v.data = x
        given = [wb.Value(x) for x in new[len(values) // 2 :]]
        every = [*values[: len(values) // 2], *given]
        with np.errstate(all="ignore"):
            expected = f(*given)
            (expected[0] + wb.sum(expected[1])).backward()
            slopes = gradients(every)
            for compiled in ways:
                got = compiled(*given)
                agree(bare(got), bare(expected), 1e-9)
                (got[0] + wb.sum(got[1])).backward()
                agree(gradients(every), slopes, 1e-9)
    assert ways[True].replaying


ALIVE = {
    "views of what dies": lambda x, w: wb.exp(x).reshape(-1)[2:8].reshape(2, 3).T @ wb.tanh(x)[:2, :2],
    "a broadcast of what dies": lambda x, w: wb.broadcast_to(wb.exp(w[0]), (4, 2)) * (x @ w) + wb.exp(x @ w),
    "a view that is used last": lambda x, w: [h := wb.exp(x), t := h.T, wb.tanh(x) * 2.0 + wb.cos(x), wb.sum(t @ (x * 2.0))][1:],
    "over its own input": lambda x, w: wb.tanh(wb.exp(-(x @ w) * 2.0) + 1.0) * (x @ w),
    "the same input twice": lambda x, w: (h := wb.tanh(x)) * h + h / (h + 2.0) - h,
    "a chain of sums": lambda x, w: wb.sum(x, axis=0) + wb.mean(x, axis=0) + wb.max(x, axis=0) + wb.sum(x, axis=1)[:3],
    "rows and columns": lambda x, w: x - wb.max(x, axis=1, keepdims=True) + wb.min(x, axis=0, keepdims=True),
    "gradients that are aliases": lambda x, w: wb.sum(w + w.T.T) + wb.sum(w - w) + wb.sum(x @ w + w[0]),
    "parts put together": lambda x, w: wb.concatenate([x[:2] @ w, w, x[2:] @ w, (x @ w)[:1]]).T,
    "an outer product": lambda x, w: wb.reshape(x[:, 0], (4, 1)) * wb.reshape(w[:, 0], (1, 3)) + x,
    "normalised": lambda x, w: (h := x @ w, (h - wb.mean(h, axis=0)) / wb.sqrt(wb.var(h, axis=0) + 1e-5))[1],
    "attention": lambda x, w: wb.softmax((q := x @ w) @ q.T / 2.0) @ x,
    "turned in its own memory": lambda x, w: wb.tanh((wb.exp(x) @ w).T + 1.0).T @ (x @ w).T[:, :2] + wb.sum(x.T[::-1] * 2.0),
    "channels last": lambda x, w: wb.sum(wb.relu(wb.transpose((h := wb.reshape(x @ w, (2, 2, 2))), (0, 2, 1)) * w[0, 1] + w[:2, :1]), (0, 2)) * wb.max(h),
    "axes the other way round": lambda x, w: [wb.sum(wb.exp(wb.transpose(wb.reshape(x @ w, (2, 2, 2)))), i) * w[0] for i in (0, 1, 2)],
    "a slice backwards": lambda x, w: x[::-1, ::-2] * wb.exp(x)[:, :2] @ w[:2],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["d", "f", "e"])
@pytest.mark.parametrize("name", ALIVE)
def test_memory_that_is_handed_on(name, dtype):
    f, w = ALIVE[name], wb.Value(normal(3, 2, dtype=dtype))
    calls = [(wb.Value(normal(4, 3, seed=i, dtype=dtype)),) for i in range(CALLS + 2)]
    check(lambda x: f(x, w), calls, [w], rtol={"d": 1e-10, "f": 1e-4, "e": 0.1}[dtype])
    check(lambda x: (f(x, w), wb.exp(x * 0.1)), calls, [w], rtol={"d": 1e-10, "f": 1e-4, "e": 0.1}[dtype])


def turned(r, a):
    return wb.transpose(a, tuple(r.permutation(a.ndim).tolist()))


def reduced(r, a):
    axes = tuple(r.permutation(a.ndim)[: r.integers(1, a.ndim)].tolist())
    return [wb.sum, wb.mean, wb.max, wb.min][r.integers(4)](a, axis=axes, keepdims=bool(r.integers(2)))


def pooled(r, a):
    how = {"stride": int(r.integers(1, 3)), "padding": int(r.integers(0, 2))}
    return [wb.max_pool, wb.average_pool][r.integers(2)](a, 2, **how)


def convolved(r, a):
    w = np.random.default_rng(a.shape[1]).normal(size=(3, a.shape[1], 2, 2))
    return wb.conv2d(a, w, stride=int(r.integers(1, 3)), padding=int(r.integers(0, 2))) * 0.3


# What lies in memory otherwise than its axes say, and what reads or writes such memory; what does not fit is left out.
MOVES = [
    turned, turned, reduced, reduced, pooled, pooled, convolved, convolved,
    lambda r, a: wb.tanh(a * 0.7 + 0.1), lambda r, a: wb.relu(a - 0.2), lambda r, a: wb.exp(-a * a) + a,
    lambda r, a: a[..., ::-1], lambda r, a: wb.reshape(a, (-1, a.shape[-1])), lambda r, a: wb.softmax(a),
    lambda r, a: wb.swapaxes(a, 0, -1) * a.sum(), lambda r, a: a @ wb.swapaxes(wb.tanh(a), -1, -2) * 0.1,
    lambda r, a: wb.concatenate([a, wb.sin(a)], axis=int(r.integers(a.ndim))),
]  # fmt: skip


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(2, 3, 4, 4), (2, 1, 5, 3), (1, 3, 4, 2), (3, 2, 3), (4, 5), (8, 8), (9, 2, 9)]),
    st.sampled_from([1, tiling.TILE]),
)
def test_random_graphs_of_turned_arrays(seed, shape, block):
    def f(x):
        r = np.random.default_rng(seed)
        found = [x, wb.tanh(x)]
        for _ in range(10):
            with contextlib.suppress(ValueError, IndexError):
                y = MOVES[r.integers(len(MOVES))](r, found[r.integers(len(found))])
                if 0 < y.size < 2000 and 0 < y.ndim < 6:
                    found.append(y)
        return wb.sum(wb.tanh(found[-1])) + sum(wb.sum(wb.sin(y)) for y in found[1::2])

    with mock.patch.object(tiling, "TILE", block):  # 1: all that has eight rows is done in blocks
        check(f, [(wb.Value(normal(*shape, seed=i)),) for i in range(CALLS + 1)], rtol=1e-8)


MET_TWICE = {  # arrays that a stretch of steps in blocks reads in two ways, so that a later block needs what an earlier one read
    "turned, and written over": lambda x, v: (t := x.T, wb.sin(x) @ (t * 2.0))[1],
    "backwards, and written over": lambda x, v: (t := x[::-1], wb.exp(x) @ (t * 2.0))[1],
    "turned, and its memory free": lambda x, v: (t := x.T, d := t + v, d @ wb.sin(v))[2],
    "backwards, and its memory free": lambda x, v: (t := x[::-1], d := t > 0.1, (d * 1.0) @ wb.sin(v))[2],
    "both in one step": lambda x, v: wb.tanh(x) * wb.sin(x.T) + wb.cos(x[::-1]) * x,
    "a symmetric loss": lambda x, v: wb.log(wb.sum(wb.exp(x - wb.max(x, 1, True)), 1)) + wb.log(wb.sum(wb.exp(x.T - wb.max(x, 0)), 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", MET_TWICE)
def test_blocks_of_an_array_that_is_read_in_two_ways(name, monkeypatch):
    monkeypatch.setattr(tiling, "TILE", 16)
    w = wb.Value(normal(12, 12, seed=9))
    calls = [(wb.Value(normal(12, 12, seed=i)),) for i in range(CALLS + 1)]
    compiled = check(lambda v: wb.sum(MET_TWICE[name](v @ w * 0.3, v)), calls, [w], rtol=1e-9)
    assert "for i in range" in compiled.fast_source


@pytest.mark.parametrize("keepdims", [False, True], ids=["", "keepdims"])
@pytest.mark.parametrize(
    "axis",
    [None, 0, 1, -1, -2, (0, 1), (1, 2), (0, 2), (1, 2, 3), (0, 1, 2), (2, 0), (-1, 0), (3, 2), (0, 1, 2, 3)],
    ids=str,
)
def test_reductions_over_first_and_last_axes(axis, keepdims):
    w = wb.Value(normal(2, 3, 5, 4))

    def f(x):
        y = wb.tanh(x * w)  # in memory of the replay's own
        o = {"axis": axis, "keepdims": keepdims}
        return wb.sum(y, **o) + wb.mean(y * y, **o) + wb.max(y, **o) * wb.min(y, **o) + wb.sum(wb.transpose(y) * 2.0)

    calls = [(wb.Value(normal(2, 3, 5, 4, seed=i)),) for i in range(CALLS + 2)]
    check(f, calls, [w])
    check(lambda x: wb.sum(wb.sum(x[:, ::2, :, :2] * w[:, :2, :, 2:], axis=axis) ** 2), calls, [w])


@pytest.mark.parametrize("size", [255, 257, 300_000])
def test_large_arrays(size):
    w, b = wb.Value(normal(size)), wb.Value(normal(1))
    check(
        lambda x: (wb.mean(wb.tanh(w * x + b) * wb.relu(x - w) + wb.maximum(x, 0.5)), wb.sigmoid(w * x)),
        [(normal(size, seed=i),) for i in range(CALLS)], [w, b],
    )  # fmt: skip
    m = wb.Value(normal(2, size))
    check(
        lambda x: wb.sum(wb.log_softmax(m * x, axis=1)[:, 0]) + wb.max(m),
        [(normal(size, seed=i),) for i in range(CALLS)],
        [m],
    )


TALL = {  # products that are cut into pieces, or can't be: (m, k) @ (k, n)
    "by rows": (2048, 40, 8),
    "by the inner axis": (24, 4096, 8),
    "a prime number of rows": (65_537, 3, 4),
    "a prime inner axis": (3, 65_537, 4),
    "dense": (128, 128, 128),
}


@pytest.mark.parametrize("lead", [(), (1,), (1, 1), (2,)], ids=str)
@pytest.mark.parametrize("name", TALL)
def test_thin_products(name, lead):
    m, k, n = TALL[name]
    w = wb.Value(normal(k, n))
    # its gradient by w is a product too, cut along the other axis
    calls = [(wb.Value(normal(*lead, m, k, seed=i)),) for i in range(CALLS)]
    check(lambda x: wb.sum(wb.tanh(x @ w)), calls, [w], rtol=1e-8)
    check(lambda x: wb.sum((wb.exp(-x) @ wb.tanh(w)) ** 2), calls, [w], rtol=1e-8)  # in memory of the replay's own
    check(lambda x: w.T @ wb.swapaxes(x, -1, -2), calls, [w], rtol=1e-8)


def test_thin_products_are_cut_and_dense_ones_are_not():
    for shape, cut in ((2048, 40, 8), True), ((128, 128, 128), False), ((16, 16, 16), False):
        w = wb.Value(normal(*shape[1:]))
        f = wb.compile(lambda x, w=w: wb.sum(wb.tanh(x @ w)), pure=True)
        for i in range(CALLS):
            f(normal(*shape[:2], seed=i))
        assert ("matmul" in f.fast_source) == cut  # of a stack; else `dot`


@pytest.mark.parametrize("pool", [wb.max_pool, wb.average_pool])
@pytest.mark.parametrize(
    "how",
    [{}, {"stride": 1}, {"stride": 1, "padding": 1}, {"stride": 3}],
    ids=["beside", "overlapping", "padded", "gaps"],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_that_follow_each_other(pool, how, groups):
    first, second = wb.Value(normal(4, 2, 3, 3)), wb.Value(normal(4, 4 // groups, 2, 2))
    b = wb.Value(normal(4, 1, 1))

    def f(x):
        h = wb.relu(wb.conv2d(x, first, padding="same") + b)
        h = wb.tanh(wb.conv2d(h, second, groups=groups) * 0.5 + b)
        return wb.sum(pool(h, 2, **how) ** 2) + wb.sum(wb.mean(h, (0, 2, 3)) * b[:, 0, 0]) + wb.sum(wb.max(h, (2, 3)))

    calls = [(wb.Value(normal(3, 2, 7, 6, seed=i)),) for i in range(CALLS + 1)]
    check(f, calls, [first, second, b])


def test_the_largest_of_a_window_where_some_are_nan_or_equal():
    numbers = [[np.nan, 1.0, np.nan, np.nan], [2.0, 2.0, -np.inf, -np.inf], [0.0, -0.0, np.inf, np.nan]]
    w = wb.Value(1.0)
    calls = [(wb.Value(np.roll(numbers, i)[:, None]),) for i in range(CALLS + 2)]
    check(lambda x: wb.sum(wb.max_pool(x * w, 2) * [[[1.0, 2.0]]]), calls, [w])
    check(lambda x: wb.max_pool(wb.exp(x), 2), calls)


# == 3. very many scalar operations ========================================================================================


@pytest.mark.parametrize("part", [50, 300])
def test_a_long_program_is_split_into_several_functions(part, monkeypatch):
    monkeypatch.setattr(emitted, "PART", part)
    ws = [wb.Value(0.1 * i) for i in range(20)]

    def f(x, y):
        total = x * 0.0
        for i in range(60):
            h = wb.tanh(sum((w * x + y for w in ws[i % 7 :: 3]), ws[i % 20]))
            total = total + (h * h if h > 0.2 else wb.exp(h) * y)
        return total, total * 2.0

    compiled = check(f, [(0.1 + 0.02 * i, 0.3 - 0.01 * i) for i in range(CALLS)], ws)
    calls = [(0.1, 0.3)] * 4 + [(-0.5, 0.2)] * 3 + [(0.1, 0.3)]
    compiled = check(f, calls, ws)
    assert compiled.fast_source.count("def part_") > 1
    m = wb.Value(normal(4, 4))

    def g(x):
        for _ in range(80):
            x = wb.tanh(x @ m) + x * 0.5
        return wb.mean(x), x

    assert "def part_" in check(g, [(normal(2, 4, seed=i),) for i in range(CALLS)], [m]).fast_source


# == elementwise work on large arrays goes block by block ===================================================================

LARGE = {
    "even rows": (1 << 20,),
    "uneven rows": (1_000_003,),
    "matrix": (2048, 300),
    "narrow": (600_000, 2),
    "cube": (640, 30, 40),
}


def chain(x, row):
    y = x * 2.0 + row
    y = wb.maximum(y, 0.25) - wb.exp(-wb.absolute(y))
    return wb.sqrt(y * y + 1.0) * wb.where(y > 1.0, 2.0, 0.5)


@pytest.mark.parametrize("shape", LARGE.values(), ids=LARGE)
def test_work_in_blocks(shape):
    """What is computed block by block, what it leaves behind, and gradients through it, equal the eager numbers."""
    x, w = wb.Value(normal(*shape)), wb.Value(normal(shape[-1]) if len(shape) > 1 else 0.3)
    forward, loss = wb.compile(chain, True), wb.compile(lambda v: wb.mean(chain(v, w) * v), True)
    followed = wb.compile(loss.function)
    for i in range(CALLS + 1):
        x.data = normal(*shape, seed=i)
        with wb.no_grad():
            agree(forward(x, w).data, chain(x, w).data)
        wanted = loss.function(x)
        wanted.backward()
        slopes = gradients([x, w])
        for way in (loss, followed):
            found = way(x)
            agree(found.data, wanted.data)
            found.backward()
            for a, b in zip(gradients([x, w]), slopes, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert forward.replaying
    assert "for i in range(0, " in forward.fast_source
    assert "for i in range(0, " in loss.fast_source


# Work in tiles on transposed arrays: from one number to the next it is eight numbers' way, where NumPy itself is wrong.
ACROSS = {
    "negative": lambda x: (n := -wb.exp(x).T, wb.sum(wb.cos(n)) + wb.sum(wb.sum(n, axis=1) ** 2) * 1e-6)[1],
    "negative in place": lambda x: (n := -wb.sin(x).T, wb.sum(wb.cos(n)) + wb.sum(n @ wb.cos(n).T) * 1e-6)[1],
    "isfinite": lambda x: (
        h := wb.log(wb.maximum(x, 0.0)).T,
        m := np.isfinite(h),
        wb.sum(wb.where(m, wb.cos(h), 0.0)) + wb.sum(wb.sum(m * 1.0, axis=1) * wb.sum(wb.where(m, h, 1.0), axis=1)),
    )[2],
}


@pytest.mark.parametrize("name", ACROSS)
def test_tiles_of_transposed_arrays(name):
    compiled = check(ACROSS[name], [(wb.Value(normal(70_000, 8, seed=i)),) for i in range(CALLS)])
    assert "for i in range(0, 8, 1)" in compiled.fast_source


def test_a_chain_needs_little_memory():
    x = normal(1 << 20)

    @wb.compile(pure=True)
    def long(v):
        for i in range(10):
            v = wb.maximum(v * 1.5 - 0.25, float(i) / 100.0)
        return v

    with wb.no_grad():
        for _ in range(CALLS):
            long(x)
        tracemalloc.start()
        try:
            y = long(x)
            assert tracemalloc.get_traced_memory()[1] < 1.5 * x.nbytes
        finally:
            tracemalloc.stop()
        agree(y.data, long.function(wb.Value(x)).data)
