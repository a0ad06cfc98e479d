"""Every operation in the registry, walked by one table of samples and one of nasty points.

An operation without a row in both fails the suite. To add one, write a `Row` (how to draw inputs away from kinks, and
what NumPy says the result is) and its nasty points (value and gradient at 0, ±inf, nan, ties, huge and tiny numbers).
"""

import contextlib
import inspect
import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb
from tinygrad_wb.operations import REGISTRY
from tinygrad_wb.recording import Recorder

inf, nan = math.inf, math.nan

# == drawing inputs ==================================================================================================


def spread(rng, shape, low=0.3, high=2.0):
    """Numbers of both signs, away from 0."""
    return rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)


def above_zero(rng, shape):
    return rng.uniform(0.3, 2.0, shape)


def not_one(rng, shape):
    """Away from 0 and from ±1, where hinge_loss and clip have kinks."""
    return rng.choice([-1.0, 1.0], shape) * rng.choice([0.5, 1.5], shape) * rng.uniform(0.9, 1.1, shape)


def below_one(rng, shape):
    """Where sine and tanh have an inverse."""
    return spread(rng, shape, 0.1, 0.8)


def above_one(rng, shape):
    return rng.uniform(1.2, 3.0, shape)


def between_steps(rng, shape):
    """Away from whole numbers and halves, and from what lies in the middle between two tenths."""
    return rng.integers(-3, 4, shape) + rng.choice([0.2, 0.3, 0.7, 0.8], shape) + rng.uniform(-0.02, 0.02, shape)


def dividend(rng, shape):
    """Never near a multiple of a `divisor`."""
    return rng.choice([-1.0, 1.0], shape) * rng.choice([0.4, 1.4, 2.4], shape) * rng.uniform(0.95, 1.05, shape)


def divisor(rng, shape):
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.95, 1.05, shape)


def with_zeros(rng, shape):
    return spread(rng, shape) * (rng.random(shape) > 0.3)


# == the table of samples =============================================================================================


@dataclass
class Case:
    """Shapes (or ready inputs) for one call, and its options."""

    shapes: tuple
    options: dict = field(default_factory=dict)


@dataclass
class Row:
    """``reference`` is the operation in NumPy's words; it takes plain inputs and the options."""

    reference: Callable[..., Any]
    draw: tuple = (spread,)
    cases: tuple = ()
    scalars: bool = True
    elementwise: bool = False
    keeps_dtype: bool = True
    half: bool = True  # whether it takes float16
    order: int = 2  # up to which its derivatives are checked; docs/operations.md says so too

    def inputs(self, case, seed=0):
        rng = np.random.default_rng(seed)
        draws = self.draw * len(case.shapes) if len(self.draw) == 1 else self.draw
        drawn = [d(rng, s) if isinstance(s, tuple) else s for d, s in zip(draws, case.shapes, strict=True)]
        return [float(x) if np.ndim(x) == 0 else np.asarray(x) for x in drawn]


UNARY_SHAPES = tuple(Case((s,)) for s in [(), (1,), (3,), (2, 3), (2, 1, 3), (0,), (2, 0)])
BINARY_SHAPES = tuple(
    Case(s)
    for s in [
        ((), ()), ((3,), ()), ((), (2, 3)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((3, 1), (1, 2)), ((4, 1, 3), (2, 1)),
        ((1,), ()), ((1, 1), (3,)), ((0, 3), (3,)), ((2, 0), (2, 1)),
    ]
)  # fmt: skip


def unary(reference, draw=spread, options=({},)):
    cases = tuple(Case(case.shapes, o) for case in UNARY_SHAPES for o in options)
    return Row(reference, (draw,), cases, elementwise=True)


def binary(reference, *draw):
    return Row(reference, draw or (spread,), BINARY_SHAPES, elementwise=True)


def general(reference, *cases, scalars=False, draw=(spread,), **more):
    return Row(reference, draw, tuple(Case(*c) if isinstance(c, tuple) else c for c in cases), scalars, **more)


def sample(*shapes, **options):
    return Case(shapes, options)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def clip(a, min=-inf, max=inf):
    return np.minimum(np.maximum(a, min), max)


def erf(a):
    return np.vectorize(math.erf, otypes=[float])(a)


def gelu(a, approximate=False):
    if approximate:
        return 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
    return a * 0.5 * (1 + erf(a / np.sqrt(2)))


def logsumexp(a, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(a), axis=axis, keepdims=keepdims))


def log_softmax(a, axis=-1):
    return a - logsumexp(a, axis, True)


def cross_entropy(logits, labels, label_smoothing=0.0, class_weights=None):
    """By the truth as probabilities, each class weighted."""
    classes = logits.shape[-1]
    weights = np.ones(classes) if class_weights is None else np.asarray(class_weights, float)
    labels = np.asarray(labels, int).ravel()
    truth = (np.eye(classes)[labels] * (1 - label_smoothing) + label_smoothing / classes) * weights
    return -np.sum(truth * log_softmax(logits).reshape(-1, classes)) / weights[labels].sum()


def negative_log_likelihood(log_probabilities, labels, class_weights=None):
    rows, labels = log_probabilities.reshape(-1, log_probabilities.shape[-1]), np.asarray(labels, int).ravel()
    return -np.average(
        rows[np.arange(len(labels)), labels], weights=None if class_weights is None else np.take(class_weights, labels)
    )


def huber(a, b, delta=1.0):
    e = np.abs(a - b)
    return np.mean(np.where(e <= delta, e**2 / 2, delta * (e - delta / 2)))


def each_window(shape, window, stride=1, padding=0, dilation=1, places=None):
    """For each position: where it stands among the positions, and (number in the window, its index in a), one by one."""
    axes = len(shape) - 2
    window, stride, dilation = (np.broadcast_to(x, (axes,)) for x in (window, stride, dilation))
    pads = np.broadcast_to(np.asarray(padding).reshape(-1, 1) if np.ndim(padding) == 1 else padding, (axes, 2))
    spans = dilation * (window - 1) + 1
    counts = [(n + b + a - span) // s + 1 for n, (b, a), span, s in zip(shape[2:], pads, spans, stride, strict=True)]
    for at in np.ndindex(*counts):
        inside = []
        for k, t in enumerate(np.ndindex(*window)):
            index = [i * s + j * d - b for i, s, j, d, (b, _) in zip(at, stride, t, dilation, pads, strict=True)]
            if all(0 <= i < n for i, n in zip(index, shape[2:], strict=True)):
                inside.append((k, t, tuple(index)))
        yield at, counts, inside


def convolved(x, w, stride=1, padding=0, dilation=1, groups=1):
    """A convolution, number by number."""
    window = w.shape[2:]
    if isinstance(padding, str):
        spans = [k * d - d for k, d in zip(window, np.broadcast_to(dilation, (len(window),)), strict=True)]
        padding = [[n // 2, n - n // 2] for n in spans] if padding == "same" else 0
    out, each = len(w) // groups, w.shape[1]
    places = list(each_window(x.shape, window, stride, padding, dilation))
    y = np.zeros((len(x), len(w), *(places[0][1])))
    for at, _, inside in places:
        for o in range(len(w)):
            channels = slice(o // out * each, (o // out + 1) * each)
            for _, t, index in inside:
                y[(slice(None), o, *at)] += x[(slice(None), channels, *index)] @ w[(o, slice(None), *t)]
    return y


def unfolded(a, window, stride, padding, dilation, fill=0.0):
    places = list(each_window(a.shape, window, stride, padding, dilation))
    y = np.full((len(a), len(places), int(np.prod(window)), a.shape[1]), fill, float)
    for i, (_, _, inside) in enumerate(places):
        for k, _, index in inside:
            y[:, i, k] = a[(..., *index)]
    return y


def folded(a, sizes, window, stride, padding, dilation):
    y = np.zeros((len(a), a.shape[3], *sizes))
    for i, (_, _, inside) in enumerate(each_window(y.shape, window, stride, padding, dilation)):
        for k, _, index in inside:
            y[(..., *index)] += a[:, i, k]
    return y


def pooled(reduce):
    def pool(a, window, stride=None, padding=0):
        places = list(each_window(a.shape, window, window if stride is None else stride, padding))
        y = np.zeros((*a.shape[:2], *places[0][1]))
        for at, _, inside in places:
            y[(..., *at)] = reduce(np.stack([a[(..., *index)] for *_, index in inside]), window, a.ndim - 2)
        return y

    return pool


def normalised(a, weight, bias, axes, own, epsilon=1e-5):
    place = [n if i in own else 1 for i, n in enumerate(a.shape)]
    weight, bias = (np.reshape(x, place) if np.ndim(x) else x for x in (weight, bias))
    deviation = np.sqrt(np.var(a, axis=axes, keepdims=True) + epsilon)
    return (a - np.mean(a, axis=axes, keepdims=True)) / deviation * weight + bias


def layer_norm(a, weight=1.0, bias=0.0, axis=-1, epsilon=1e-5):
    axes = tuple(np.arange(a.ndim)[list(np.atleast_1d(axis))])
    return normalised(a, weight, bias, axes, axes, epsilon)


def batch_norm(a, weight=1.0, bias=0.0, epsilon=1e-5):
    return normalised(a, weight, bias, (0, *range(2, a.ndim)), (1,), epsilon)


def attention(query, key, value, mask=0.0, causal=False, scale=None):
    """Query by query, key by key."""
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * (1 / np.sqrt(query.shape[-1]) if scale is None else scale)
    mask = np.asarray(mask)
    visible = np.broadcast_to(mask if mask.dtype == bool else True, scores.shape).copy()
    scores = scores if mask.dtype == bool else scores + mask
    for i in range(scores.shape[-2]):
        visible[..., i, :] &= np.arange(scores.shape[-1]) <= i if causal else True
    e = np.where(visible, np.exp(scores), 0.0)
    return np.matmul(e / np.where(e.sum(-1, keepdims=True) == 0, 1.0, e.sum(-1, keepdims=True)), value)


def put(a, index, shape):
    y = np.zeros(shape)
    np.add.at(y, index, a)
    return y


def recurrence(a, b, axis):
    """The same by matrices: yᵢ is the sum of all bₖ, each times every a between k and i."""
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    terms = [[b[k] * np.prod(a[k:i], axis=0) for k in range(i + 1)] for i in range(len(b))]
    return np.moveaxis(np.array([np.sum(row, axis=0) for row in terms]), 0, axis)


def elu(a, alpha=1.0):
    return np.where(a > 0, a, alpha * (np.exp(a) - 1))


def padded(a, pad_width, **options):
    """NumPy before 2.3 takes no dictionary of widths."""
    if isinstance(pad_width, dict):
        pad_width = [np.broadcast_to(pad_width.get(i, pad_width.get(i - a.ndim, 0)), 2) for i in range(a.ndim)]
    return np.pad(a, pad_width, **options)


def sort_by(x, a, axis):
    return np.take_along_axis(x, np.argsort(a, axis), axis)


def unsort(x, a, axis):
    y = np.empty(np.shape(x))
    np.put_along_axis(y, np.argsort(a, axis), x, axis)
    return y


def replaced(a, b, index):
    y = np.array(a, float)
    y[index] = b
    return y


def scatter(a, indices, shape, axis=None):
    flat = np.arange(math.prod(shape)).reshape(shape)
    return put(a, np.take(flat, np.asarray(indices, int), axis), math.prod(shape)).reshape(shape)


def scatter_along_axis(a, indices, shape, axis):
    flat = np.arange(math.prod(shape)).reshape(shape)
    return put(a, np.take_along_axis(flat, indices, axis), math.prod(shape)).reshape(shape)


def symmetric(a):
    return (a + np.swapaxes(a, -1, -2)) / 2


def eigenpairs(a, UPLO="L"):
    values, vectors = np.linalg.eigh(a, UPLO)
    return np.concatenate([values[..., None, :], vectors], -2)


def singular_triples(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[..., None, :], np.swapaxes(vh, -1, -2)], -2)


def sign_and_logarithm(a):
    sign, logarithm = np.linalg.slogdet(a)
    return np.stack([sign, logarithm], -1)


def easy_matrix(rng, shape):
    """Well away from singular, with singular values (and, made symmetric, eigenvalues) well away from each other."""
    return rng.uniform(-0.3, 0.3, shape) + np.eye(*shape[-2:]) * np.arange(2.0, 2.0 + shape[-1])


REDUCTION_CASES = (
    sample(()), sample((3,)), sample((2, 3)), sample((1, 1)), sample((2, 3), axis=0), sample((2, 3), axis=-1, keepdims=True),
    sample((2, 3, 4), axis=(0, 2)), sample((2, 3, 4), axis=(-1, 0), keepdims=True), sample((2, 3), keepdims=True),
    sample((3, 1, 2), axis=1), sample((3, 2), axis=()),
)  # fmt: skip
PARTS = (sample((2, 3), (2, 3)), sample((2, 3), (2, 3), (2, 3), axis=1), sample((2, 3), (2, 3), axis=-1))
SAME_SHAPE = (sample((), ()), sample((3,), (3,)), sample((4, 2), (4, 2)), sample((2, 3, 2), (2, 3, 2)))
REPEATS, MASK = np.array([0, 2, 0, -1]), np.array([[True, False, True], [False, False, True]])

ROWS = {
    "add": binary(np.add),
    "subtract": binary(np.subtract),
    "multiply": binary(np.multiply),
    "divide": binary(np.divide),
    "power": binary(np.power, above_zero, spread),
    "maximum": binary(np.maximum),
    "minimum": binary(np.minimum),
    "negative": unary(np.negative),
    "positive": unary(np.positive),
    "absolute": unary(np.absolute),
    "sign": unary(np.sign),
    "square": unary(np.square),
    "sqrt": unary(np.sqrt, above_zero),
    "exp": unary(np.exp),
    "log": unary(np.log, above_zero),
    "log1p": unary(np.log1p, above_zero),
    "sin": unary(np.sin),
    "cos": unary(np.cos),
    "tanh": unary(np.tanh),
    "sigmoid": unary(sigmoid),
    "softplus": unary(lambda a: np.log1p(np.exp(a))),
    "erf": unary(erf),
    "silu": unary(lambda a: a * sigmoid(a)),
    "relu": unary(lambda a: np.where(a > 0, a, 0.0)),
    "leaky_relu": unary(lambda a, slope=0.01: np.where(a > 0, a, slope * a), options=({}, {"slope": 0.3})),
    "gelu": unary(gelu, options=({}, {"approximate": True})),
    "clip": unary(
        clip, not_one, options=({"min": -1.0, "max": 1.0}, {"min": -1.0}, {"max": 1.0}),
    ),
    "where": Row(
        np.where, (lambda rng, shape: rng.random(shape) > 0.5, spread, spread), elementwise=True,
        cases=(
            sample((3,), (3,), (3,)), sample((), (), ()), sample((2, 3), (3,), ()), sample((3,), (), (2, 1)), sample((), (2,), ()),
            sample((2, 2), (), ()), sample((0, 2), (2,), ()),
        ),
    ),
    "sum": general(np.sum, *REDUCTION_CASES, sample((0,)), sample((0, 3), axis=0), sample((0, 3), axis=1), scalars=True),
    "mean": general(np.mean, *REDUCTION_CASES, sample((0, 3), axis=1), scalars=True),
    "max": general(np.max, *REDUCTION_CASES, sample((0, 3), axis=1), scalars=True),
    "min": general(np.min, *REDUCTION_CASES, sample((0, 3), axis=1), scalars=True),
    "var": general(np.var, *REDUCTION_CASES, sample((2, 3), axis=1, ddof=1), sample((4,), ddof=2), scalars=True),
    "logsumexp": general(logsumexp, *REDUCTION_CASES, sample((0, 3), axis=1), scalars=True),
    "softmax": general(
        lambda a, axis=-1: np.exp(log_softmax(a, axis)),
        sample((3,)), sample((2, 3)), sample((2, 3), axis=0), sample((2, 3, 2), axis=1), sample((2, 1)), sample((0, 3)),
    ),
    "log_softmax": general(
        log_softmax, sample((3,)), sample((2, 3)), sample((2, 3), axis=0), sample((2, 3, 2), axis=1), sample((2, 1)), sample((0, 3))
    ),
    "reshape": general(
        lambda a, **options: np.reshape(a, options["shape"]),  # which NumPy 2.0 calls otherwise
        sample((6,), shape=(2, 3)), sample((2, 3), shape=(-1,)), sample((2, 3), shape=6), sample((), shape=(1, 1)),
        sample((1, 1), shape=()), sample((0, 3), shape=(3, 0)), sample((), shape=()),
    ),
    "transpose": general(
        np.transpose,
        sample((2, 3)), sample((3,)), sample((3,), axes=0), sample((2, 3, 4)), sample((2, 3, 4), axes=(2, 0, 1)), sample((2, 3, 4), axes=(-1, 0, -2)),
        sample((0, 3)), sample(()),
    ),
    "broadcast_to": general(
        np.broadcast_to,
        sample((3,), shape=(2, 3)), sample((2, 1), shape=(4, 2, 3)), sample((), shape=(2, 2)), sample((), shape=()),
        sample((1,), shape=(0,)), sample((2, 3), shape=(2, 3)),
    ),
    "astype": general(
        np.asarray, sample((3,), dtype="float64"), sample((2, 3), dtype="float64"),
        sample((), dtype="float64"), scalars=True, keeps_dtype=False,
    ),
    "getitem": general(
        lambda a, index: a[index],
        *[
            sample((3, 4), index=i)
            for i in [
                1, -1, slice(1, None), slice(None, None, -2), (1, 2), (slice(None), 2), (..., 0), None, (slice(None), None, 1),
                (np.array([0, 2, 0]),), (np.array([0, 0]), np.array([1, 1])), (slice(None), [1, 1, -3]), [2, 2], slice(0, 0),
                (np.array([[0, 1], [1, 1]]),), np.array([0, 0, 2]), np.array([True, False, True]), (np.array([True, False, True]),), (),
            ]
        ],
        sample((2, 3), index=MASK), sample((2, 3), index=~MASK & MASK), sample((2, 3), index=(MASK[:, 0], 1)),
    ),
    "put": general(
        put,
        sample((4,), index=REPEATS, shape=(3,)), sample((2,), index=slice(0, 2), shape=(3,)), sample((), index=1, shape=(3,)),
        sample((3,), index=MASK, shape=(2, 3)), sample((2, 3), index=([0, 0],), shape=(2, 3)), sample((), index=(0, 1), shape=(2, 2)),
    ),
    "concatenate": general(
        lambda *parts, axis=0: np.concatenate(parts, axis), *PARTS, sample((2,), (3,)), sample((1, 2), (3, 2), (2, 2)),
        sample((3,)), sample((2, 1), (2, 4), axis=-1), sample((2, 1), (3,), axis=None), sample((0, 2), (3, 2)),
    ),
    "stack": general(
        lambda *parts, axis=0: np.stack(parts, axis), *PARTS, sample((), ()), sample((), (), (), axis=-1), sample((3,), (3,), axis=-2),
        sample((2, 3), (2, 3), axis=2),
    ),
    "matmul": general(
        np.matmul,
        *[
            sample(a, b)
            for a, b in [
                ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((1, 3), (3, 1)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
                ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((4, 2, 3), (3,)), ((3,), (4, 3, 2)), ((1,), (1,)), ((0, 3), (3, 2)),
                ((2, 0), (0, 3)), ((5, 2, 2, 3), (3,)), ((3,), (2, 2, 3, 2)), ((1, 2, 3), (4, 3, 2)),
            ]
        ],
    ),
    "affine": general(
        lambda x, w, b: np.matmul(x, w) + b,
        sample((4, 3), (3, 2), (2,)), sample((3,), (3, 2), (2,)), sample((2, 4, 3), (3, 2), (2,)), sample((1, 3), (3, 1), (1,)),
        sample((0, 3), (3, 2), (2,)), sample((1, 1), (1, 1), (1,)), sample((2, 2, 1, 3), (3, 2), (2,)),
    ),
    "mean_squared_error": general(lambda a, b: np.mean(np.square(a - b)), *SAME_SHAPE, scalars=True),
    "binary_cross_entropy": general(
        lambda a, b: np.mean(np.log1p(np.exp(a)) - a * b), *SAME_SHAPE, scalars=True, draw=(spread, above_zero)
    ),
    "hinge_loss": general(
        lambda a, b: np.mean(np.maximum(0, 1 - a * b)), *SAME_SHAPE, scalars=True, draw=(not_one, lambda rng, s: rng.choice([-1.0, 1.0], s))
    ),
    "cross_entropy": general(
        cross_entropy,
        sample((4, 3), np.array([0, 2, 2, 1])), sample((3,), 1), sample((2, 2, 3), np.array([[0, 1], [2, 2]])), sample((2, 1), [0, 0]),
        sample((2, 3), np.array([1, 2], np.uint8)),
        sample((4, 3), np.array([0, 2, 2, 1]), label_smoothing=0.1), sample((4, 3), np.array([0, 2, 2, 1]), class_weights=[1.0, 0.0, 2.5]),
        sample((2, 2, 3), np.array([[0, 1], [2, 2]]), label_smoothing=0.3, class_weights=[0.5, 1.0, 2.0]), sample((3,), 1, label_smoothing=1.0),
    ),
    "pick": general(
        lambda a, labels: a[np.arange(len(a)), labels],
        sample((4, 3), np.array([0, 2, 2, 1])), sample((1, 2), np.array([1])), sample((0, 3), np.array([], int)), sample((2, 1), np.array([0, 0], np.uint8)),
    ),
    # -- more arithmetic, functions, reductions
    "reciprocal": unary(np.reciprocal),
    "logaddexp": binary(lambda a, b: np.log(np.exp(a) + np.exp(b))),
    "hypot": binary(lambda a, b: np.sqrt(a * a + b * b)),
    "arctan2": binary(np.arctan2),
    "mod": binary(np.mod, dividend, divisor),
    "floor_divide": binary(np.floor_divide, dividend, divisor),
    "expm1": unary(lambda a: np.exp(a) - 1),
    "log2": unary(np.log2, above_zero),
    "log10": unary(np.log10, above_zero),
    "cbrt": unary(np.cbrt),
    "tan": unary(np.tan, below_one),
    "arcsin": unary(np.arcsin, below_one),
    "arccos": unary(np.arccos, below_one),
    "arctan": unary(np.arctan),
    "sinh": unary(np.sinh),
    "cosh": unary(np.cosh),
    "arcsinh": unary(np.arcsinh),
    "arccosh": unary(np.arccosh, above_one),
    "arctanh": unary(np.arctanh, below_one),
    "elu": unary(elu, options=({}, {"alpha": 0.3})),
    "selu": unary(lambda a: 1.0507009873554805 * elu(a, 1.6732632423543772)),
    "mish": unary(lambda a: a * np.tanh(np.log(1 + np.exp(a)))),
    "softsign": unary(lambda a: a / (1 + np.abs(a))),
    "hard_tanh": unary(lambda a: clip(a, -1.0, 1.0), not_one),
    "floor": unary(np.floor, between_steps),
    "ceil": unary(np.ceil, between_steps),
    "trunc": unary(np.trunc, between_steps),
    "rint": unary(np.rint, between_steps),
    "round": unary(np.round, between_steps, options=({}, {"decimals": 1}, {"decimals": -1})),
    "prod": general(
        np.prod, *REDUCTION_CASES, sample((4,)), sample((3, 4), axis=1), sample((0,)), sample((0, 3), axis=0), sample((0, 3), axis=1),
        sample((2, 2, 2, 2), axis=(3, 1)), sample((4, 2), axis=0), scalars=True, draw=(with_zeros,),
    ),
    "std": general(np.std, *REDUCTION_CASES, sample((2, 3), axis=1, ddof=1), sample((4,), ddof=2), scalars=True),
    "ptp": general(lambda a, axis=None, keepdims=False: np.max(a, axis, keepdims=keepdims) - np.min(a, axis, keepdims=keepdims),
                   *REDUCTION_CASES, sample((0, 3), axis=1), scalars=True),
    "median": general(
        np.median, *(case for case in REDUCTION_CASES if case.options != {"axis": ()}), sample((4,)), sample((5, 4), axis=1),
        sample((2, 2, 2, 3), axis=(3, 1)), sample((0, 3), axis=1), scalars=True,
    ),
    "cumsum": general(
        np.cumsum, sample(()), sample((3,)), sample((2, 3)), sample((2, 3), axis=0), sample((2, 3), axis=-1), sample((2, 3, 2), axis=1),
        sample((0,)), sample((0, 3), axis=0), sample((2, 0), axis=1), sample((1, 1), axis=0),
    ),
    "cumprod": general(
        np.cumprod, sample(()), sample((3,)), sample((5,), axis=0), sample((2, 3)), sample((2, 3), axis=0), sample((2, 4), axis=-1),
        sample((2, 4, 2), axis=1), sample((0,)), sample((0, 3), axis=0), sample((2, 0), axis=1), sample((1, 1), axis=0), draw=(with_zeros,),
    ),
    "recurrence": general(
        recurrence, sample((2,), (3,), axis=0), sample((4, 2), (5, 2), axis=0), sample((2, 4), (2, 5), axis=1),
        sample((2, 2, 3), (2, 3, 3), axis=1), sample((0,), (1,), axis=0), sample((0, 2), (1, 2), axis=0),
    ),
    "sort": general(
        np.sort, sample((3,)), sample((2, 3)), sample((4, 3), axis=0), sample((4, 3), axis=None), sample((2, 4, 2), axis=1), sample((0, 3)),
        sample((2, 0)), sample((), axis=None), sample((1,)),
    ),
    "sort_by": general(
        sort_by, sample((4,), (4,), axis=0), sample((2, 4), (2, 4), axis=1), sample((4, 2), (4, 2), axis=0), sample((6,), (2, 3), axis=None),
        sample((0, 3), (0, 3), axis=1),
    ),
    "unsort": general(
        unsort, sample((4,), (4,), axis=0), sample((2, 4), (2, 4), axis=1), sample((4, 2), (4, 2), axis=0), sample((6,), (2, 3), axis=None),
        sample((0, 3), (0, 3), axis=1),
    ),
    # -- indexing: with the index as an input, it may be traced ----------------------------------------------------------
    "take": general(
        lambda a, indices, axis=None: np.take(a, np.asarray(indices, int), axis),
        sample((3, 2), 1, axis=0), sample((3, 2), -1, axis=1), sample((3, 2), 4), sample((4,), REPEATS, axis=0), sample((3, 2), REPEATS % 3, axis=0), sample((3, 4), np.array([[0, 1], [1, 1]]), axis=0),
        sample((3,), np.array([], int)), sample((2, 3), REPEATS), sample((2, 3, 2), np.array([[0, -1, 0]]), axis=1), sample((2, 3), np.array([1]), axis=-1),
    ),
    "scatter": general(
        scatter,
        sample((4,), REPEATS, shape=(3,)), sample((4, 2), REPEATS, shape=(3, 2), axis=0), sample((2, 2, 4), np.array([[0, 1], [1, 1]]), shape=(3, 4), axis=0),
        sample((0,), np.array([], int), shape=(3,), axis=0), sample((2,), 1, shape=(3, 2), axis=0), sample((4,), REPEATS, shape=(2, 3)),
        sample((2, 1, 3, 2), np.array([[0, -1, 0]]), shape=(2, 3, 2), axis=1), sample((2, 4), REPEATS, shape=(2, 3), axis=-1),
    ),
    "take_along_axis": general(
        lambda a, indices, axis=-1: np.take_along_axis(a, indices, axis),
        sample((2, 3), np.array([[0, 0], [2, -1]])), sample((2, 3), np.array([[1, 0, 1]]), axis=0), sample((2, 3, 2), np.array([[[2], [2]]]), axis=1),
        sample((2, 3), REPEATS, axis=None), sample((3,), np.array([], int)),
    ),
    "scatter_along_axis": general(
        scatter_along_axis,
        sample((2, 2), np.array([[0, 0], [2, -1]]), shape=(2, 3), axis=-1), sample((1, 3), np.array([[1, 0, 1]]), shape=(2, 3), axis=0),
        sample((4,), REPEATS, shape=(3,), axis=0),
    ),
    "set_at": general(
        replaced,
        *[sample((3, 4), (), index=i) for i in [1, -1, slice(1, None), (1, 2), (..., 0), None, (), ([0, 2, 0],), np.array([True, False, True])]],
        sample((3, 4), (4,), index=0), sample((3, 4), (2, 4), index=slice(None, None, 2)), sample((4,), (4,), index=REPEATS), sample((3, 4), (3, 1), index=([0, 2, 0],)),
        sample((4,), (2, 2), index=np.array([[0, 1], [1, 0]])), sample((2, 3), (3,), index=MASK), sample((), (), index=()), sample((0, 2), (2,), index=slice(None)),
    ),
    "diagonal": general(
        np.diagonal,
        sample((3, 3)), sample((2, 4)), sample((4, 2), offset=-1), sample((3, 3), offset=1), sample((2, 3), offset=5), sample((2, 3, 4)),
        sample((2, 3, 4), axis1=-1, axis2=0, offset=1), sample((2, 3, 4), axis1=1, axis2=2, offset=-1), sample((0, 3)),
    ),
    "diag": general(
        np.diag, sample((3,)), sample((3,), k=1), sample((2,), k=-2), sample((0,)), sample((3, 3)), sample((2, 3), k=1), sample((3, 2), k=-1),
    ),
    "tril": general(np.tril, *(triangles := (sample((3, 3)), sample((2, 4), k=1), sample((4, 2), k=-1), sample((2, 3, 3)), sample((3,)), sample((0, 2))))),
    "triu": general(np.triu, *triangles),
    # -- arranging -----------------------------------------------------------------------------------------------------------
    "roll": general(
        np.roll,
        sample((4,), shift=1), sample((4,), shift=-5), sample((2, 3), shift=2), sample((2, 3), shift=1, axis=1), sample((2, 3), shift=(1, -1), axis=(0, 1)),
        sample((2, 3), shift=1, axis=(0, -1)), sample((2, 3), shift=(1, 1), axis=1), sample((0,), shift=1), sample((), shift=1),
    ),
    "repeat": general(
        np.repeat,
        sample((3,), repeats=2), sample((2, 3), repeats=2), sample((2, 3), repeats=3, axis=0), sample((2, 3), repeats=2, axis=-1), sample((3,), repeats=[0, 1, 2]),
        sample((2, 3), repeats=(2, 0, 1), axis=1), sample((2,), repeats=0), sample((), repeats=3), sample((0, 2), repeats=2, axis=1),
    ),
    "tile": general(
        np.tile,
        sample((3,), reps=2), sample((2, 3), reps=2), sample((2, 3), reps=(2, 1)), sample((3,), reps=(2, 1, 2)), sample((2, 3, 2), reps=(2,)), sample((), reps=3),
        sample((2,), reps=0), sample((2,), reps=[2, 2]), sample((), reps=()),
    ),
    "pad": general(
        padded,
        sample((3,), pad_width=1), sample((3,), pad_width=(0, 2), constant_values=(5, 7)), sample((2, 3), pad_width=((1, 0), (0, 2)), constant_values=7),
        sample((2, 3), pad_width=((1, 2),)), sample((2, 3), pad_width={-1: (1, 2)}), sample((2, 3), pad_width={0: 1}, mode="edge"), sample((), pad_width=0),
        *[
            sample(shape, pad_width=width, mode=mode)
            for mode in ("edge", "reflect", "symmetric", "wrap", "linear_ramp", "maximum", "mean", "median", "minimum")
            for shape, width in [((3,), 2), ((2, 3), ((1, 0), (0, 2))), ((2, 3), (3, 4)), ((1, 2), 1), ((2, 2, 2), 1), ((2, 0), 0)]
        ],
    ),
    # -- products ------------------------------------------------------------------------------------------------------------
    "einsum": general(
        lambda *operands, subscripts, optimize=True: np.einsum(subscripts, *operands),
        sample((2, 3), (3, 4), subscripts="ij,jk->ik"), sample((3,), (3,), subscripts="i,i->"), sample((2, 3), subscripts="ij->ji"), sample((2, 3), subscripts="ij->"),
        sample((2, 3), subscripts="ij->j", optimize=False), sample((3, 3), subscripts="ii->i"), sample((3, 3), subscripts="ii->"), sample((2, 2, 2), subscripts="iii->i"),
        sample((2, 3, 2), (3,), subscripts="iji,k->jk"), sample((2,), (3,), (4,), subscripts="i,j,k->kji"), sample((2, 3), (3, 4), (4, 2), subscripts="ij,jk,ki->"),
        sample((2, 3), (2, 3), subscripts="ij,ij->i", optimize="greedy"), sample((2, 3), (4,), subscripts="ij,k->i"),
        sample((5, 2, 3), (5, 3, 2), subscripts="bij,bjk->bik"), sample((2, 2, 3), (3, 3), subscripts="iij,jj->ij"), sample((0, 3), (3, 2), subscripts="ij,jk->ik"),
        sample((), subscripts="->"), sample((2, 3, 2, 3), subscripts="ijij->ij"), sample((2, 3), (2, 3), (2, 3), (2,), subscripts="ij,ij,ij,i->j"),
    ),
    # -- matrices ------------------------------------------------------------------------------------------------------------
    "inv": general(np.linalg.inv, *(square := (sample((3, 3)), sample((1, 1)), sample((2, 2, 2)), sample((2, 1, 3, 3)), sample((0, 2, 2)))), **(matrices := {"draw": (easy_matrix,), "half": False})),
    "pinv": general(
        lambda a, rcond=None: np.linalg.pinv(a, rcond),
        *square, sample((2, 3)), sample((4, 2)), sample((2, 3, 2)), sample((1, 3)), sample((3, 3), rcond=1e-9), **matrices,
    ),
    "solve": Row(
        np.linalg.solve, (easy_matrix, spread), half=False, scalars=False,
        cases=(
            sample((3, 3), (3,)), sample((3, 3), (3, 2)), sample((2, 2, 2), (2, 2, 1)), sample((2, 2, 2), (2, 3)), sample((2, 2), (4, 2, 3)),
            sample((4, 1, 3, 3), (2, 3, 2)), sample((2, 2, 2), (2,)), sample((1, 1), (1,)), sample((0, 2, 2), (2, 2)),
        ),
    ),
    "det": general(np.linalg.det, *square, sample((4, 4)), **matrices),
    "slogdet": general(sign_and_logarithm, *square, **matrices),
    "cholesky": general(np.linalg.cholesky, *square, sample((4, 4)), sample((3, 3), upper=True), sample((2, 2, 2), upper=True), **matrices),
    "eigh": general(eigenpairs, *square, sample((4, 4)), sample((3, 3), UPLO="U"), sample((2, 2, 2), UPLO="U"), **matrices),
    "svd": general(singular_triples, *square, sample((2, 3)), sample((4, 2)), sample((2, 4, 2)), sample((2, 2, 3)), sample((1, 3)), **matrices),
    "norm": general(
        np.linalg.vector_norm,
        *[
            sample(shape, ord=ord, axis=axis, keepdims=keepdims)
            for ord in (2.0, 3.0, 1.5, 0.5, -1.0, 4.0)
            for shape, axis, keepdims in [((), None, False), ((3,), None, False), ((2, 3), 0, False), ((2, 3), -1, True), ((2, 3, 2), (0, 2), False), ((2, 3), None, True)]
        ],
        scalars=True,
    ),
    # -- neural operations -------------------------------------------------------------------------------------------
    "unfold": general(
        unfolded,
        sample((2, 3, 5), window=(2,), stride=(1,), padding=((0, 0),), dilation=(1,)),
        sample((1, 2, 5), window=(3,), stride=(2,), padding=((1, 2),), dilation=(1,), fill=7.0),
        sample((2, 1, 4, 5), window=(2, 3), stride=(1, 2), padding=((1, 0), (0, 1)), dilation=(2, 1)),
        sample((1, 1, 1, 1), window=(1, 1), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1)),
        sample((0, 2, 3), window=(2,), stride=(1,), padding=((1, 1),), dilation=(1,)),
    ),
    "fold": general(
        folded,
        sample((2, 4, 2, 3), sizes=(5,), window=(2,), stride=(1,), padding=((0, 0),), dilation=(1,)),
        sample((1, 3, 3, 2), sizes=(5,), window=(3,), stride=(2,), padding=((1, 2),), dilation=(1,)),
        sample((2, 6, 6, 1), sizes=(4, 5), window=(2, 3), stride=(1, 2), padding=((1, 0), (0, 1)), dilation=(2, 1)),
        sample((0, 4, 2, 2), sizes=(3,), window=(2,), stride=(1,), padding=((1, 1),), dilation=(1,)),
    ),
    "conv1d": general(
        convolved,
        sample((2, 3, 5), (4, 3, 2)), sample((1, 1, 3), (1, 1, 3)), sample((2, 2, 6), (2, 2, 3), stride=2), sample((2, 2, 5), (3, 2, 3), padding=1),
        sample((1, 2, 7), (2, 2, 2), dilation=3), sample((2, 4, 5), (6, 2, 2), groups=2), sample((2, 3, 4), (3, 1, 3), padding="same", groups=3),
        sample((1, 2, 5), (2, 2, 4), padding="same", dilation=2), sample((1, 2, 5), (2, 2, 2), padding="valid"),
        sample((2, 2, 8), (4, 1, 3), stride=(3,), padding=(2,), dilation=(2,), groups=2), sample((0, 2, 4), (1, 2, 2)), sample((2, 1, 4), (2, 1, 1)),
    ),
    "conv2d": general(
        convolved,
        sample((2, 3, 4, 5), (2, 3, 3, 2)), sample((1, 1, 2, 2), (1, 1, 2, 2)), sample((1, 2, 5, 4), (2, 2, 3, 3), stride=2, padding=1),
        sample((2, 2, 4, 4), (3, 2, 3, 3), padding="same"), sample((1, 1, 4, 5), (2, 1, 2, 4), padding="same"),
        sample((1, 2, 5, 6), (2, 2, 2, 2), dilation=(2, 3)), sample((2, 4, 3, 3), (2, 2, 2, 2), groups=2),
        sample((1, 3, 4, 3), (6, 1, 3, 3), padding=(1, 2), groups=3), sample((1, 2, 6, 5), (2, 1, 2, 3), stride=(2, 1), padding=(1, 0), dilation=(2, 1), groups=2),
        sample((2, 2, 1, 3), (2, 2, 1, 1)), sample((0, 1, 3, 3), (2, 1, 2, 2)),
    ),
    "max_pool": general(
        pooled(lambda windows, *_: windows.max(0)),
        sample((2, 3, 4), window=2), sample((2, 2, 4, 4), window=2), sample((1, 2, 5, 4), window=(3, 2), stride=1), sample((1, 1, 5, 5), window=3, stride=2, padding=1),
        sample((1, 2, 5), window=3, stride=2, padding=1), sample((1, 1, 3, 4), window=(2, 4), padding=(1, 2), stride=(1, 2)), sample((2, 1, 3), window=1), sample((0, 1, 4), window=2),
    ),
    "average_pool": general(
        pooled(lambda windows, window, axes: windows.sum(0) / np.prod(np.broadcast_to(window, (axes,)))),
        sample((2, 3, 4), window=2), sample((2, 2, 4, 4), window=2), sample((1, 2, 5, 4), window=(3, 2), stride=1), sample((1, 1, 5, 5), window=3, stride=2, padding=1),
        sample((1, 2, 5), window=3, stride=2, padding=1), sample((1, 1, 3, 4), window=(2, 4), padding=(1, 2), stride=(1, 2)), sample((2, 1, 3), window=1), sample((0, 1, 4), window=2),
    ),
    "layer_norm": general(
        layer_norm,
        sample((2, 4), (4,), (4,)), sample((3,), (3,), (3,)), sample((2, 3, 4), (4,), (), epsilon=0.1), sample((2, 3, 4), (), ()), sample((2, 3, 4), (3, 4), (3, 4), axis=(-2, -1)),
        sample((2, 3, 4), (3,), (3,), axis=1), sample((2, 3), (2, 3), (2, 3), axis=(1, 0)), sample((0, 3), (3,), (3,)),
    ),
    "batch_norm": general(
        batch_norm,
        sample((4, 2), (2,), (2,)), sample((3, 2, 4), (2,), (2,)), sample((2, 3, 2, 2), (3,), (), epsilon=0.1), sample((3, 2), (), ()), sample((2, 1, 3), (1,), (1,)),
    ),
    "embedding": general(
        lambda weight, labels: weight[np.asarray(labels, int)],
        sample((3, 2), REPEATS % 3), sample((4, 3), np.array([[0, 1], [1, 1]])), sample((3, 2), np.array([1])), sample((2, 3, 2), np.array([1, 1, 0], np.uint8)), sample((3,), np.array([2, 0, 2])),
        sample((3, 2), np.array([], int)), sample((3, 2), 1), sample((3, 2, 2), 2), sample((3,), 0),
    ),
    "scaled_dot_product_attention": general(
        attention,
        sample((3, 4), (5, 4), (5, 2), 0.0), sample((2, 3, 4), (2, 5, 4), (2, 5, 2), (3, 5)), sample((2, 3, 2), (2, 3, 2), (2, 3, 2), 0.0, causal=True),
        sample((2, 2, 3, 2), (2, 2, 3, 2), (2, 2, 3, 3), (2, 1, 1, 3), scale=0.5), sample((2, 3, 2), (4, 2), (4, 2), 0.0), sample((1, 2), (1, 2), (1, 1), 0.0),
        sample((2, 3, 2), (2, 3, 2), (2, 3, 2), MASK[[0, 1, 1]], causal=True), sample((2, 2, 3), (3, 3), (2, 3, 2), MASK), sample((4, 2), (3, 2), (3, 2), 0.0, causal=True),
        sample((2, 2), (3, 2), (3, 2), MASK & [[False], [True]]),
    ),
    "mean_absolute_error": general(lambda a, b: np.mean(np.abs(a - b)), *SAME_SHAPE, scalars=True),
    "huber": general(huber, *SAME_SHAPE, sample((3, 2), (3, 2), delta=0.5), sample((), (), delta=3.0), scalars=True),
    "kl_divergence": general(
        lambda a, b: np.sum(b * (np.log(b) - a)) / np.prod(a.shape[:-1]), sample((3,), (3,)), sample((4, 2), (4, 2)), sample((2, 3, 2), (2, 3, 2)),
        draw=(spread, above_zero),
    ),
    "negative_log_likelihood": general(
        negative_log_likelihood,
        sample((4, 3), np.array([0, 2, 2, 1])), sample((3,), 1), sample((2, 2, 3), np.array([[0, 1], [2, 2]])), sample((2, 1), [0, 0]),
        sample((4, 3), np.array([0, 2, 2, 1], np.uint8), class_weights=[1.0, 0.0, 2.5]),
    ),
}  # fmt: skip

# A matrix of ones is singular; `einsum` makes numbers of whole ones before it contracts.
NOT_OF = {"inv": [np.bool_], "solve": [np.bool_], "cholesky": [np.bool_], "einsum": [np.uint8, np.bool_]}

# Those without any derivative: what NumPy says, and inputs for which an array and each of its numbers are tried.
NASTY_PAIRS = [np.ravel(x) for x in np.meshgrid(*[[0.0, -0.0, 1.0, -1.0, 0.5, inf, -inf, nan, 1e300, 1e-300]] * 2)]
WITHOUT_DERIVATIVE = {
    "greater": (np.greater, NASTY_PAIRS), "greater_equal": (np.greater_equal, NASTY_PAIRS), "less": (np.less, NASTY_PAIRS),
    "less_equal": (np.less_equal, NASTY_PAIRS), "equal": (np.equal, NASTY_PAIRS), "not_equal": (np.not_equal, NASTY_PAIRS),
    "logical_and": (np.logical_and, NASTY_PAIRS), "isfinite": (np.isfinite, NASTY_PAIRS[:1]),
    "is_flat": (lambda a, b: np.equal(b, 0.0) & ~(np.abs(a) > 1.3e-77), NASTY_PAIRS),
    "one_hot": (lambda labels, classes: np.eye(classes)[np.asarray(labels, int)], [np.array([0.0, 2.0, 1.0, 2.0])], {"classes": 3}),
    "argsort": (lambda a: np.argsort(a, kind="stable"), NASTY_PAIRS[:1]),
    "first_equal": (
        lambda a, b, axis: np.equal(a, b) & (np.cumsum(np.equal(a, b)).reshape(np.shape(a)) == 1),
        [np.array([0.0, 2.0, 1.0, 2.0]), np.array([2.0, 2.0, 2.0, 2.0])], {"axis": 0},
    ),
}  # fmt: skip
# Operators of Values, what public functions record, and what partials are made of.
INTERNAL = {
    "getitem", "put", "pick", "scatter", "scatter_along_axis", "set_at", "recurrence", "sort_by", "unsort", "unfold", "fold",
    "einsum", "slogdet", "eigh", "svd", "norm",
} | (WITHOUT_DERIVATIVE.keys() - {"one_hot", "argsort"})  # fmt: skip
COMPILED = {
    "compiled"
}  # a whole function as one operation; it is registered when `wb.compile` is loaded, and has tests of its own

CASES = [(name, i) for name, row in ROWS.items() for i in range(len(row.cases))]
each_case = pytest.mark.parametrize(
    ("name", "case"), [pytest.param(n, ROWS[n].cases[i], id=f"{n}-{i}") for n, i in CASES]
)

# == the table of nasty points ==========================================================================================


@dataclass
class Point:
    """Inputs; then the value, or the error; and the gradient by each input, with the result's elements weighted 1, 2, 3, …"""

    inputs: tuple
    value: Any
    gradients: tuple = ()
    options: dict = field(default_factory=dict)


def points(*rows):
    """Of an operation with one input: (input, value, gradient)."""
    return [Point((x,), y, (d,)) for x, y, d in rows]


def pairs(*rows):
    """Of an operation with two: (a, b, value, ∂/∂a, ∂/∂b)."""
    return [Point((a, b), y, (da, db)) for a, b, y, da, db in rows]


def at(*inputs, gives, slopes=(), **options):
    return Point(inputs, gives, slopes, options)


def passes_on(*operands, gives, slopes, **options):
    return [at(*operands, gives=gives, slopes=slopes, **options)]


HUGE, TINY = 1e300, 1e-300
EXTREMES = (
    at([2.0, 2.0, 2.0], gives=2.0, slopes=([1 / 3] * 3,)),
    at([0.0, -0.0], gives=0.0, slopes=([0.5, 0.5],)),
    at([inf, inf], gives=inf, slopes=([0.5, 0.5],)),
    at([-inf, -inf], gives=-inf, slopes=([0.5, 0.5],)),
    at([nan, 1.0], gives=nan, slopes=([nan, nan],)),
    at([[1.0, 1.0], [3.0, 3.0]], gives=[1.0, 3.0], slopes=([[0.5, 0.5], [1.0, 1.0]],), axis=1),
    at([], gives=wb.ShapeError),
    at(np.zeros((0, 2)), gives=[], slopes=(np.zeros((0, 2)),), axis=1),
    at(nan, gives=nan, slopes=(nan,)),
    at(inf, gives=inf, slopes=(1.0,)),
)
REARRANGED = [inf, -inf, nan, -0.0]  # numbers that only move

NASTY = {
    "add": pairs(
        (0.0, -0.0, 0.0, 1.0, 1.0), (inf, -inf, nan, 1.0, 1.0), (inf, 1.0, inf, 1.0, 1.0), (nan, 1.0, nan, 1.0, 1.0),
        (1.7e308, 1.7e308, inf, 1.0, 1.0), (1.0, TINY, 1.0, 1.0, 1.0),
    ),
    "subtract": pairs(
        (0.0, 0.0, 0.0, 1.0, -1.0), (inf, inf, nan, 1.0, -1.0), (-inf, 1.0, -inf, 1.0, -1.0), (nan, 1.0, nan, 1.0, -1.0),
        (1.7e308, -1.7e308, inf, 1.0, -1.0), (1.0, TINY, 1.0, 1.0, -1.0),
    ),
    "multiply": pairs(
        (0.0, inf, nan, inf, 0.0), (0.0, -0.0, 0.0, 0.0, 0.0), (inf, -2.0, -inf, -2.0, inf), (nan, 0.0, nan, 0.0, nan),
        (HUGE, HUGE, inf, HUGE, HUGE), (TINY, TINY, 0.0, TINY, TINY),
    ),
    "divide": pairs(
        (1.0, 0.0, inf, inf, -inf), (1.0, -0.0, -inf, -inf, -inf), (0.0, 0.0, nan, inf, nan), (-1.0, 0.0, -inf, inf, inf),
        (inf, inf, nan, 0.0, nan), (inf, 2.0, inf, 0.5, -inf), (1.0, inf, 0.0, 0.0, 0.0), (nan, 1.0, nan, 1.0, nan),
        (1.0, nan, nan, nan, nan), (HUGE, TINY, inf, HUGE, -inf), (TINY, HUGE, 0.0, TINY, 0.0),
    ),
    "power": pairs(
        (0.0, 0.0, 1.0, 0.0, 0.0), (0.0, 2.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 1.0, 0.0), (0.0, 0.5, 0.0, inf, 0.0),
        (0.0, -1.0, inf, -inf, -inf), (-0.0, 3.0, 0.0, 0.0, 0.0), (-8.0, 2.0, 64.0, -16.0, nan), (-8.0, 1 / 3, nan, nan, nan),
        (inf, 2.0, inf, inf, inf), (inf, -1.0, 0.0, 0.0, nan), (inf, 0.0, 1.0, 0.0, inf), (2.0, inf, inf, inf, inf), (2.0, -inf, 0.0, nan, 0.0),
        (nan, 2.0, nan, nan, nan), (2.0, nan, nan, nan, nan), (1.0, nan, 1.0, nan, 0.0), (10.0, 400.0, inf, inf, inf),
        (HUGE, 2.0, inf, 2 * HUGE, inf), (TINY, 2.0, 0.0, 2 * TINY, 0.0),
        (nan, 0.0, 1.0, 0.0, nan), (-inf, 0.0, 1.0, 0.0, nan), (5e-324, 0.0, 1.0, 0.0, -1074 * math.log(2)),
    ),
    "maximum": pairs(
        (1.0, 1.0, 1.0, 0.5, 0.5), (0.0, -0.0, 0.0, 0.5, 0.5), (inf, inf, inf, 0.5, 0.5), (-inf, 1.0, 1.0, 0.0, 1.0),
        (inf, 1.0, inf, 1.0, 0.0), (nan, 1.0, nan, 0.0, 0.0), (1.0, nan, nan, 0.0, 0.0), (HUGE, -HUGE, HUGE, 1.0, 0.0),
        (TINY, 0.0, TINY, 1.0, 0.0),
    ),
    "minimum": pairs(
        (1.0, 1.0, 1.0, 0.5, 0.5), (0.0, -0.0, 0.0, 0.5, 0.5), (inf, inf, inf, 0.5, 0.5), (-inf, 1.0, -inf, 1.0, 0.0),
        (inf, 1.0, 1.0, 0.0, 1.0), (nan, 1.0, nan, 0.0, 0.0), (1.0, nan, nan, 0.0, 0.0), (HUGE, -HUGE, -HUGE, 0.0, 1.0),
        (TINY, 0.0, 0.0, 0.0, 1.0),
    ),
    "negative": points((0.0, 0.0, -1.0), (-0.0, 0.0, -1.0), (inf, -inf, -1.0), (nan, nan, -1.0), (HUGE, -HUGE, -1.0), (TINY, -TINY, -1.0)),
    "positive": points((0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, inf, 1.0), (nan, nan, 1.0), (HUGE, HUGE, 1.0), (TINY, TINY, 1.0)),
    "absolute": points(
        (0.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (inf, inf, 1.0), (-inf, inf, -1.0), (nan, nan, nan), (-HUGE, HUGE, -1.0), (-TINY, TINY, -1.0)
    ),
    "sign": points(
        (0.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (inf, 1.0, 0.0), (-inf, -1.0, 0.0), (nan, nan, 0.0), (-HUGE, -1.0, 0.0), (TINY, 1.0, 0.0)
    ),
    "square": points(
        (0.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (inf, inf, inf), (-inf, inf, -inf), (nan, nan, nan), (HUGE, inf, 2 * HUGE), (TINY, 0.0, 2 * TINY)
    ),
    "sqrt": points(
        (0.0, 0.0, inf), (-0.0, -0.0, -inf), (inf, inf, 0.0), (-inf, nan, nan), (-1.0, nan, nan), (nan, nan, nan),
        (HUGE, 1e150, 5e-151), (TINY, 1e-150, 5e149),
    ),
    "exp": points(
        (0.0, 1.0, 1.0), (-0.0, 1.0, 1.0), (inf, inf, inf), (-inf, 0.0, 0.0), (nan, nan, nan), (1000.0, inf, inf), (-1000.0, 0.0, 0.0),
        (HUGE, inf, inf), (TINY, 1.0, 1.0),
    ),
    "log": points(
        (0.0, -inf, inf), (-0.0, -inf, -inf), (inf, inf, 0.0), (-inf, nan, 0.0), (-1.0, nan, -1.0), (nan, nan, nan),
        (HUGE, 300 * math.log(10), TINY), (TINY, -300 * math.log(10), HUGE),
    ),
    "log1p": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (-1.0, -inf, inf), (-2.0, nan, -1.0), (inf, inf, 0.0), (-inf, nan, 0.0), (nan, nan, nan),
        (HUGE, 300 * math.log(10), TINY), (TINY, TINY, 1.0),
    ),
    "sin": points((0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, nan, nan), (-inf, nan, nan), (nan, nan, nan), (TINY, TINY, 1.0)),
    "cos": points((0.0, 1.0, 0.0), (-0.0, 1.0, 0.0), (inf, nan, nan), (-inf, nan, nan), (nan, nan, nan), (TINY, 1.0, -TINY)),
    "tanh": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, 1.0, 0.0), (-inf, -1.0, 0.0), (nan, nan, nan), (1000.0, 1.0, 0.0), (-HUGE, -1.0, 0.0),
        (TINY, TINY, 1.0),
    ),
    "sigmoid": points(
        (0.0, 0.5, 0.25), (-0.0, 0.5, 0.25), (inf, 1.0, 0.0), (-inf, 0.0, 0.0), (nan, nan, nan), (1000.0, 1.0, 0.0), (-1000.0, 0.0, 0.0),
        (-700.0, math.exp(-700.0), math.exp(-700.0)), (-HUGE, 0.0, 0.0), (TINY, 0.5, 0.25),
    ),
    "softplus": points(
        (0.0, math.log(2), 0.5), (-0.0, math.log(2), 0.5), (inf, inf, 1.0), (-inf, 0.0, 0.0), (nan, nan, nan), (1000.0, 1000.0, 1.0),
        (-1000.0, 0.0, 0.0), (-700.0, math.exp(-700.0), math.exp(-700.0)), (HUGE, HUGE, 1.0), (TINY, math.log(2), 0.5),
    ),
    "erf": points(
        (0.0, 0.0, 2 / math.sqrt(math.pi)), (-0.0, -0.0, 2 / math.sqrt(math.pi)), (inf, 1.0, 0.0), (-inf, -1.0, 0.0), (nan, nan, nan),
        (1000.0, 1.0, 0.0), (-HUGE, -1.0, 0.0), (TINY, TINY * 2 / math.sqrt(math.pi), 2 / math.sqrt(math.pi)),
    ),
    # ∞ · 0 at the far left, as in PyTorch
    "silu": points(
        (0.0, 0.0, 0.5), (-0.0, -0.0, 0.5), (inf, inf, nan), (-inf, nan, nan), (nan, nan, nan), (1000.0, 1000.0, 1.0), (-1000.0, 0.0, 0.0),
        (HUGE, HUGE, 1.0), (TINY, TINY / 2, 0.5),
    ),
    "gelu": [
        *points(
            (0.0, 0.0, 0.5), (-0.0, -0.0, 0.5), (inf, inf, nan), (-inf, nan, nan), (nan, nan, nan), (1000.0, 1000.0, 1.0),
            (-1000.0, 0.0, 0.0), (HUGE, HUGE, 1.0), (TINY, TINY / 2, 0.5),
        ),
        at(1000.0, gives=1000.0, slopes=(1.0,), approximate=True), at(-1000.0, gives=0.0, slopes=(0.0,), approximate=True),
        at(0.0, gives=0.0, slopes=(0.5,), approximate=True),
    ],
    "relu": points(
        (0.0, 0.0, 0.0), (-0.0, 0.0, 0.0), (inf, inf, 1.0), (-inf, 0.0, 0.0), (nan, nan, 0.0), (HUGE, HUGE, 1.0), (-HUGE, 0.0, 0.0),
        (TINY, TINY, 1.0),
    ),
    "leaky_relu": points(
        (0.0, 0.0, 0.01), (-0.0, -0.0, 0.01), (inf, inf, 1.0), (-inf, -inf, 0.01), (nan, nan, 0.01), (-HUGE, -1e298, 0.01), (TINY, TINY, 1.0)
    ),
    "clip": [
        at(x, gives=y, slopes=(d,), min=0.0, max=1.0)
        for x, y, d in [
            (0.0, 0.0, 1.0), (-0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (inf, 1.0, 0.0), (-inf, 0.0, 0.0), (nan, nan, 0.0), (HUGE, 1.0, 0.0),
            (TINY, TINY, 1.0), (-TINY, 0.0, 0.0),
        ]
    ],
    "where": [
        at(1.0, nan, 2.0, gives=nan, slopes=(1.0, 0.0)), at(0.0, nan, 2.0, gives=2.0, slopes=(0.0, 1.0)),
        at(-0.0, inf, 2.0, gives=2.0, slopes=(0.0, 1.0)), at(nan, 1.0, 2.0, gives=1.0, slopes=(1.0, 0.0)),
        at(inf, HUGE, TINY, gives=HUGE, slopes=(1.0, 0.0)), at([True, False], [inf, nan], 3.0, gives=[inf, 3.0], slopes=([1.0, 0.0], 2.0)),
    ],
    "sum": [
        at([inf, -inf], gives=nan, slopes=([1.0, 1.0],)), at([nan, 1.0], gives=nan, slopes=([1.0, 1.0],)), at([], gives=0.0, slopes=([],)),
        at([1e308, 1e308], gives=inf, slopes=([1.0, 1.0],)), at(inf, gives=inf, slopes=(1.0,)),
        at(np.zeros((0, 2)), gives=[0.0, 0.0], slopes=(np.zeros((0, 2)),), axis=0),
        at(np.zeros((2, 0)), gives=[0.0, 0.0], slopes=(np.zeros((2, 0)),), axis=1), at([-0.0, -0.0], gives=0.0, slopes=([1.0, 1.0],)),
    ],
    "mean": [
        at([inf, 1.0], gives=inf, slopes=([0.5, 0.5],)), at([inf, -inf], gives=nan, slopes=([0.5, 0.5],)), at([], gives=nan, slopes=([],)),
        at([nan, 1.0], gives=nan, slopes=([0.5, 0.5],)), at(nan, gives=nan, slopes=(1.0,)), at([HUGE, TINY], gives=HUGE / 2, slopes=([0.5, 0.5],)),
        at(np.zeros((0, 2)), gives=[nan, nan], slopes=(np.zeros((0, 2)),), axis=0),
    ],
    "max": [*EXTREMES, at([1.0, HUGE], gives=HUGE, slopes=([0.0, 1.0],)), at([inf, 1.0], gives=inf, slopes=([1.0, 0.0],))],
    "min": [*EXTREMES, at([1.0, -HUGE], gives=-HUGE, slopes=([0.0, 1.0],)), at([inf, 1.0], gives=1.0, slopes=([0.0, 1.0],))],
    "var": [
        at([inf, 1.0], gives=nan, slopes=([nan, -inf],)), at([nan, 1.0], gives=nan, slopes=([nan, nan],)), at([], gives=nan, slopes=([],)),
        at([3.0, 3.0], gives=0.0, slopes=([0.0, 0.0],)), at(5.0, gives=0.0, slopes=(0.0,)), at([HUGE, -HUGE], gives=inf, slopes=([HUGE, -HUGE],)),
        at([3.0], gives=nan, slopes=([nan],), ddof=1), at(np.zeros((0, 2)), gives=[nan, nan], slopes=(np.zeros((0, 2)),), axis=0),
    ],
    "logsumexp": [
        at([1000.0, 1000.0], gives=1000.0 + math.log(2), slopes=([0.5, 0.5],)), at([-1000.0, -1000.0], gives=math.log(2) - 1000.0, slopes=([0.5, 0.5],)),
        at([-inf, 0.0], gives=0.0, slopes=([0.0, 1.0],)), at([HUGE, 0.0], gives=HUGE, slopes=([1.0, 0.0],)),
        at([inf, 0.0], gives=inf, slopes=([nan, 0.0],)), at([-inf, -inf], gives=-inf, slopes=([nan, nan],)),
        at([nan, 0.0], gives=nan, slopes=([nan, nan],)), at(7.0, gives=7.0, slopes=(1.0,)), at([], gives=-inf, slopes=([],)),
        at(np.zeros((2, 0)), gives=[-inf, -inf], slopes=(np.zeros((2, 0)),), axis=1), at(np.zeros((2, 0)), gives=np.zeros((1, 0)), slopes=(np.zeros((2, 0)),), axis=0, keepdims=True),
        at(np.zeros((2, 0)), gives=IndexError, axis=2),
    ],
    "softmax": [
        at([1000.0, 0.0], gives=[1.0, 0.0], slopes=([0.0, 0.0],)), at([HUGE, HUGE], gives=[0.5, 0.5], slopes=([-0.25, 0.25],)),
        at([-inf, 0.0], gives=[0.0, 1.0], slopes=([0.0, 0.0],)), at([inf, 0.0], gives=[nan, nan], slopes=([nan, nan],)),
        at([nan, 0.0], gives=[nan, nan], slopes=([nan, nan],)), at([5.0], gives=[1.0], slopes=([0.0],)),
        at(np.zeros((0, 2)), gives=np.zeros((0, 2)), slopes=(np.zeros((0, 2)),)), at(np.zeros((2, 0)), gives=np.zeros((2, 0)), slopes=(np.zeros((2, 0)),)),
        at([], gives=[], slopes=([],)), at([], gives=IndexError, axis=1),
    ],
    "log_softmax": [
        at([1000.0, 0.0], gives=[0.0, -1000.0], slopes=([-2.0, 2.0],)),
        at([HUGE, HUGE], gives=[-math.log(2)] * 2, slopes=([-0.5, 0.5],)), at([-inf, 0.0], gives=[-inf, 0.0], slopes=([1.0, -1.0],)),
        at([inf, 0.0], gives=[nan, nan], slopes=([nan, nan],)), at([nan, 0.0], gives=[nan, nan], slopes=([nan, nan],)),
        at([5.0], gives=[0.0], slopes=([0.0],)), at(np.zeros((0, 2)), gives=np.zeros((0, 2)), slopes=(np.zeros((0, 2)),)),
        at(np.zeros((2, 0)), gives=np.zeros((2, 0)), slopes=(np.zeros((2, 0)),)), at([], gives=[], slopes=([],)), at([], gives=IndexError, axis=1),
    ],
    "reshape": passes_on(REARRANGED, gives=[[inf, -inf], [nan, -0.0]], slopes=([1.0, 2.0, 3.0, 4.0],), shape=(2, 2))
    + passes_on([], gives=np.zeros((0, 3)), slopes=([],), shape=(0, 3)),
    "transpose": passes_on([[inf, -inf], [nan, -0.0]], gives=[[inf, nan], [-inf, -0.0]], slopes=([[1.0, 3.0], [2.0, 4.0]],))
    + passes_on(np.zeros((0, 3)), gives=np.zeros((3, 0)), slopes=(np.zeros((0, 3)),)) + passes_on(nan, gives=nan, slopes=(1.0,)),
    "broadcast_to": passes_on([inf, nan], gives=[[inf, nan], [inf, nan]], slopes=([4.0, 6.0],), shape=(2, 2))
    + passes_on(inf, gives=[], slopes=(0.0,), shape=(0,)),
    "astype": passes_on(REARRANGED, gives=REARRANGED, slopes=([1.0, 2.0, 3.0, 4.0],), dtype="float64")
    + passes_on([HUGE, 1.0, TINY], gives=[inf, 1.0, 0.0], slopes=([1.0, 2.0, 3.0],), dtype="float32")
    + passes_on([], gives=[], slopes=([],), dtype="float16"),
    "getitem": passes_on(REARRANGED, gives=[nan, nan, inf], slopes=([3.0, 0.0, 3.0, 0.0],), index=[2, 2, 0])
    + passes_on(REARRANGED, gives=-inf, slopes=([0.0, 1.0, 0.0, 0.0],), index=1)
    + passes_on(REARRANGED, gives=[], slopes=([0.0] * 4,), index=slice(2, 2))
    + passes_on(REARRANGED, gives=[], slopes=([0.0] * 4,), index=np.zeros(4, bool))
    + passes_on([], gives=[], slopes=([],), index=slice(None)),
    "put": passes_on([inf, nan, 1.0], gives=[inf, nan, 0.0], slopes=([1.0, 2.0, 2.0],), index=[0, 1, 1], shape=(3,))
    + passes_on([], gives=[0.0, 0.0], slopes=([],), index=slice(0, 0), shape=(2,)),
    "concatenate": passes_on([inf], [nan, -0.0], gives=[inf, nan, -0.0], slopes=([1.0], [2.0, 3.0]))
    + passes_on([], [1.0], gives=[1.0], slopes=([], [1.0])),
    "stack": passes_on(inf, nan, gives=[inf, nan], slopes=(1.0, 2.0))
    + passes_on([], [], gives=np.zeros((2, 0)), slopes=([], [])),
    "matmul": [
        at([inf], [0.0], gives=nan, slopes=([0.0], [inf])), at([nan, 1.0], [1.0, 1.0], gives=nan, slopes=([1.0, 1.0], [nan, 1.0])),
        at([HUGE], [HUGE], gives=inf, slopes=([HUGE], [HUGE])), at([], [], gives=0.0, slopes=([], [])),
        at(np.zeros((2, 0)), np.zeros((0, 1)), gives=[[0.0], [0.0]], slopes=(np.zeros((2, 0)), np.zeros((0, 1)))),
        at([[inf]], [[-1.0]], gives=[[-inf]], slopes=([[-1.0]], [[inf]])),
    ],
    "affine": [
        at([[inf]], [[1.0]], [-inf], gives=[[nan]], slopes=([[1.0]], [[inf]], [1.0])),
        at([[nan]], [[0.0]], [1.0], gives=[[nan]], slopes=([[0.0]], [[nan]], [1.0])),
        at([[HUGE]], [[HUGE]], [0.0], gives=[[inf]], slopes=([[HUGE]], [[HUGE]], [1.0])),
        at(np.zeros((0, 1)), [[1.0]], [1.0], gives=np.zeros((0, 1)), slopes=(np.zeros((0, 1)), [[0.0]], [0.0])),
    ],
    "mean_squared_error": [
        at(inf, 1.0, gives=inf, slopes=(inf, -inf)), at(inf, inf, gives=nan, slopes=(nan, nan)), at(nan, 1.0, gives=nan, slopes=(nan, nan)),
        at(1.0, 1.0, gives=0.0, slopes=(0.0, 0.0)), at([HUGE, 0.0], [0.0, 0.0], gives=inf, slopes=([HUGE, 0.0], [-HUGE, 0.0])),
        at([], [], gives=wb.ShapeError),
    ],
    "binary_cross_entropy": [
        at(1000.0, 1.0, gives=0.0, slopes=(0.0, -1000.0)), at(1000.0, 0.0, gives=1000.0, slopes=(1.0, -1000.0)),
        at(-1000.0, 1.0, gives=1000.0, slopes=(-1.0, 1000.0)), at(-1000.0, 0.0, gives=0.0, slopes=(0.0, 1000.0)),
        at(0.0, 0.5, gives=math.log(2), slopes=(0.0, 0.0)), at(inf, 1.0, gives=nan, slopes=(0.0, -inf)),
        at(nan, 1.0, gives=nan, slopes=(nan, nan)), at(-HUGE, 1.0, gives=HUGE, slopes=(-1.0, HUGE)), at([], [], gives=wb.ShapeError),
    ],
    "hinge_loss": [
        at(1.0, 1.0, gives=0.0, slopes=(0.0, 0.0)), at(0.0, 1.0, gives=1.0, slopes=(-1.0, 0.0)), at(-inf, 1.0, gives=inf, slopes=(-1.0, inf)),
        at(inf, 1.0, gives=0.0, slopes=(0.0, nan)), at(nan, 1.0, gives=nan, slopes=(0.0, nan)),
        at(HUGE, -1.0, gives=HUGE, slopes=(1.0, -HUGE)), at([], [], gives=wb.ShapeError),
    ],
    "cross_entropy": [
        at([[1000.0, 0.0]], [0], gives=0.0, slopes=([[0.0, 0.0]],)), at([[1000.0, 0.0]], [1], gives=1000.0, slopes=([[1.0, -1.0]],)),
        at([[-inf, 0.0]], [1], gives=0.0, slopes=([[0.0, 0.0]],)), at([[-inf, 0.0]], [0], gives=inf, slopes=([[-1.0, 1.0]],)),
        at([[nan, 0.0]], [0], gives=nan, slopes=([[nan, nan]],)), at([[HUGE, HUGE]], [0], gives=math.log(2), slopes=([[-0.5, 0.5]],)),
        at(np.zeros((0, 2)), np.zeros(0, int), gives=wb.ShapeError), at(np.zeros((2, 0)), [0, 0], gives=wb.ShapeError),
        at([[5.0]], [0], gives=0.0, slopes=([[0.0]],)),
        at([[-inf, 0.0]], [1], gives=0.0, slopes=([[0.0, 0.0]],), class_weights=[1.0, 2.0]), at([[0.0, -inf]], [0], gives=inf, slopes=([[0.05, -0.05]],), label_smoothing=0.1),
        at([[1000.0, 0.0]], [0], gives=50.0, slopes=([[0.05, -0.05]],), label_smoothing=0.1), at([[0.0, 1.0]], [0], gives=nan, slopes=([[nan, nan]],), class_weights=[0.0, 1.0]),
        at([[0.0, 1.0]], [0], gives=ValueError, label_smoothing=1.5), at([[0.0, 1.0]], [0], gives=wb.ShapeError, class_weights=[1.0, 2.0, 3.0]),
    ],
    "pick": passes_on([[inf, 1.0], [nan, -0.0]], [1, 0], gives=[1.0, nan], slopes=([[0.0, 1.0], [2.0, 0.0]],))
    + passes_on(np.zeros((0, 2)), np.zeros(0, int), gives=[], slopes=(np.zeros((0, 2)),)),
    # -- more arithmetic, functions, reductions
    "reciprocal": points(
        (0.0, inf, -inf), (-0.0, -inf, -inf), (inf, 0.0, 0.0), (-inf, 0.0, 0.0), (nan, nan, nan), (HUGE, TINY, 0.0), (TINY, HUGE, -inf),
        (-2.0, -0.5, -0.25),
    ),
    "logaddexp": pairs(
        (0.0, 0.0, math.log(2), 0.5, 0.5), (1000.0, 1000.0, 1000.0 + math.log(2), 0.5, 0.5), (-1000.0, 0.0, 0.0, 0.0, 1.0),
        (inf, 1.0, inf, 1.0, 0.0), (-inf, 1.0, 1.0, 0.0, 1.0), (inf, inf, inf, nan, nan), (-inf, -inf, -inf, nan, nan),
        (inf, -inf, inf, 1.0, 0.0), (nan, 1.0, nan, nan, nan), (HUGE, -HUGE, HUGE, 1.0, 0.0), (TINY, TINY, math.log(2), 0.5, 0.5),
    ),
    "hypot": pairs(
        (3.0, -4.0, 5.0, 0.6, -0.8), (0.0, 0.0, 0.0, nan, nan), (0.0, 2.0, 2.0, 0.0, 1.0), (inf, 1.0, inf, nan, 0.0), (inf, -inf, inf, nan, nan),
        (nan, 1.0, nan, nan, nan), (inf, nan, inf, nan, nan), (HUGE, HUGE, math.sqrt(2) * HUGE, math.sqrt(0.5), math.sqrt(0.5)),
        (TINY, 0.0, TINY, 1.0, 0.0),
    ),
    "arctan2": pairs(
        (0.0, 0.0, 0.0, 0.0, 0.0), (0.0, -0.0, math.pi, 0.0, 0.0), (-0.0, -1.0, -math.pi, -1.0, 0.0), (0.0, -1.0, math.pi, -1.0, 0.0),
        (1.0, 0.0, math.pi / 2, 0.0, -1.0), (-2.0, 0.0, -math.pi / 2, 0.0, 0.5), (1.0, inf, 0.0, nan, 0.0), (inf, 1.0, math.pi / 2, 0.0, nan),
        (inf, -inf, 0.75 * math.pi, nan, nan), (nan, 1.0, nan, nan, nan), (HUGE, HUGE, math.pi / 4, TINY / 2, -TINY / 2),
        (TINY, 0.0, math.pi / 2, 0.0, -HUGE),
    ),
    "mod": pairs(
        (5.0, 3.0, 2.0, 1.0, -1.0), (-5.0, 3.0, 1.0, 1.0, 2.0), (5.0, -3.0, -1.0, 1.0, 2.0), (-5.0, -3.0, -2.0, 1.0, -1.0),
        (6.0, 3.0, 0.0, 1.0, -2.0), (1.0, 0.0, nan, 1.0, -inf), (0.0, 0.0, nan, 1.0, nan), (1.0, inf, 1.0, 1.0, 0.0),
        (-1.0, inf, inf, 1.0, 1.0), (inf, 2.0, nan, 1.0, nan), (nan, 1.0, nan, 1.0, nan), (1.0, nan, nan, 1.0, nan), (TINY, HUGE, TINY, 1.0, 0.0),
        (-TINY, 1.0, 1.0, 1.0, 1.0),
    ),
    "floor_divide": pairs(
        (5.0, 3.0, 1.0, 0.0, 0.0), (-5.0, 3.0, -2.0, 0.0, 0.0), (6.0, -3.0, -2.0, 0.0, 0.0), (1.0, 0.0, inf, 0.0, 0.0), (-1.0, 0.0, -inf, 0.0, 0.0),
        (0.0, 0.0, nan, 0.0, 0.0), (1.0, inf, 0.0, 0.0, 0.0), (-1.0, inf, -1.0, 0.0, 0.0), (inf, 2.0, nan, 0.0, 0.0), (nan, 1.0, nan, 0.0, 0.0),
        (HUGE, TINY, inf, 0.0, 0.0), (TINY, HUGE, 0.0, 0.0, 0.0),
    ),
    "expm1": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, inf, inf), (-inf, -1.0, 0.0), (nan, nan, nan), (1000.0, inf, inf), (-1000.0, -1.0, 0.0),
        (TINY, TINY, 1.0),
    ),
    "log2": points(
        (0.0, -inf, inf), (-0.0, -inf, -inf), (8.0, 3.0, 0.125 / math.log(2)), (inf, inf, 0.0), (-inf, nan, 0.0), (-1.0, nan, -1 / math.log(2)),
        (nan, nan, nan), (2.0**-1000, -1000.0, 2.0**1000 / math.log(2)), (HUGE, 300 * math.log2(10), TINY / math.log(2)),
    ),
    "log10": points(
        (0.0, -inf, inf), (-0.0, -inf, -inf), (1000.0, 3.0, 0.001 / math.log(10)), (inf, inf, 0.0), (-inf, nan, 0.0),
        (-1.0, nan, -1 / math.log(10)), (nan, nan, nan), (HUGE, 300.0, TINY / math.log(10)), (TINY, -300.0, HUGE / math.log(10)),
    ),
    "cbrt": points(
        (0.0, 0.0, inf), (-0.0, -0.0, inf), (8.0, 2.0, 1 / 12), (-27.0, -3.0, 1 / 27), (inf, inf, 0.0), (-inf, -inf, 0.0), (nan, nan, nan),
        (HUGE, 1e100, 1e-200 / 3), (TINY, 1e-100, 1e200 / 3),
    ),
    "tan": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (math.pi / 4, 1.0, 2.0), (inf, nan, nan), (-inf, nan, nan), (nan, nan, nan), (TINY, TINY, 1.0)
    ),
    "arcsin": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (1.0, math.pi / 2, inf), (-1.0, -math.pi / 2, inf), (1.5, nan, nan), (inf, nan, nan), (-inf, nan, nan),
        (nan, nan, nan), (-HUGE, nan, nan), (TINY, TINY, 1.0),
    ),
    "arccos": points(
        (0.0, math.pi / 2, -1.0), (1.0, 0.0, -inf), (-1.0, math.pi, -inf), (-1.5, nan, nan), (inf, nan, nan), (-inf, nan, nan), (nan, nan, nan),
        (HUGE, nan, nan), (TINY, math.pi / 2, -1.0),
    ),
    "arctan": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (1.0, math.pi / 4, 0.5), (inf, math.pi / 2, 0.0), (-inf, -math.pi / 2, 0.0), (nan, nan, nan),
        (HUGE, math.pi / 2, 0.0), (TINY, TINY, 1.0),
    ),
    "sinh": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, inf, inf), (-inf, -inf, inf), (nan, nan, nan), (1000.0, inf, inf), (-1000.0, -inf, inf),
        (TINY, TINY, 1.0),
    ),
    "cosh": points(
        (0.0, 1.0, 0.0), (-0.0, 1.0, 0.0), (inf, inf, inf), (-inf, inf, -inf), (nan, nan, nan), (1000.0, inf, inf), (-1000.0, inf, -inf),
        (TINY, 1.0, TINY),
    ),
    "arcsinh": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, inf, 0.0), (-inf, -inf, 0.0), (nan, nan, nan), (HUGE, math.log(2) + 300 * math.log(10), 0.0),
        (TINY, TINY, 1.0),
    ),
    "arccosh": points(
        (1.0, 0.0, inf), (0.0, nan, nan), (0.5, nan, nan), (-2.0, nan, 1 / math.sqrt(3)), (inf, inf, 0.0), (nan, nan, nan),
        (HUGE, math.log(2) + 300 * math.log(10), 0.0), (1.25, math.log(2), 4 / 3),
    ),
    "arctanh": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (1.0, inf, inf), (-1.0, -inf, inf), (2.0, nan, -1 / 3), (inf, nan, 0.0), (-inf, nan, 0.0), (nan, nan, nan),
        (TINY, TINY, 1.0),
    ),
    "elu": [
        *points(
            (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, inf, 1.0), (-inf, -1.0, 0.0), (nan, nan, nan), (1000.0, 1000.0, 1.0), (-1000.0, -1.0, 0.0),
            (HUGE, HUGE, 1.0), (-TINY, -TINY, 1.0),
        ),
        at(0.0, gives=0.0, slopes=(0.3,), alpha=0.3), at(-inf, gives=-0.3, slopes=(0.0,), alpha=0.3), at(2.0, gives=2.0, slopes=(1.0,), alpha=0.3),
    ],
    "selu": points(
        (0.0, 0.0, 1.7580993408473766), (-0.0, -0.0, 1.7580993408473766), (inf, inf, 1.0507009873554805), (-inf, -1.7580993408473766, 0.0),
        (nan, nan, nan), (1000.0, 1050.7009873554805, 1.0507009873554805), (-1000.0, -1.7580993408473766, 0.0),
    ),
    "mish": points(
        (0.0, 0.0, 0.6), (-0.0, -0.0, 0.6), (inf, inf, nan), (-inf, nan, nan), (nan, nan, nan), (1000.0, 1000.0, 1.0), (-1000.0, 0.0, 0.0),
        (HUGE, HUGE, 1.0), (-HUGE, 0.0, 0.0), (TINY, 0.6 * TINY, 0.6),
    ),
    "softsign": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (inf, nan, 0.0), (-inf, nan, 0.0), (nan, nan, nan), (1.0, 0.5, 0.25), (HUGE, 1.0, 0.0),
        (-HUGE, -1.0, 0.0), (TINY, TINY, 1.0),
    ),
    "hard_tanh": points(
        (0.0, 0.0, 1.0), (-0.0, -0.0, 1.0), (1.0, 1.0, 0.0), (-1.0, -1.0, 0.0), (inf, 1.0, 0.0), (-inf, -1.0, 0.0), (nan, nan, 0.0), (HUGE, 1.0, 0.0),
        (-TINY, -TINY, 1.0),
    ),
    "floor": points(
        (0.0, 0.0, 0.0), (-0.0, -0.0, 0.0), (2.0, 2.0, 0.0), (-0.5, -1.0, 0.0), (inf, inf, 0.0), (-inf, -inf, 0.0), (nan, nan, 0.0), (HUGE, HUGE, 0.0),
        (TINY, 0.0, 0.0), (-TINY, -1.0, 0.0),
    ),
    "ceil": points(
        (0.0, 0.0, 0.0), (-0.0, -0.0, 0.0), (2.0, 2.0, 0.0), (-0.5, 0.0, 0.0), (inf, inf, 0.0), (-inf, -inf, 0.0), (nan, nan, 0.0), (HUGE, HUGE, 0.0),
        (TINY, 1.0, 0.0), (-TINY, 0.0, 0.0),
    ),
    "trunc": points(
        (0.0, 0.0, 0.0), (1.7, 1.0, 0.0), (-1.7, -1.0, 0.0), (inf, inf, 0.0), (-inf, -inf, 0.0), (nan, nan, 0.0), (-HUGE, -HUGE, 0.0), (TINY, 0.0, 0.0)
    ),
    "rint": points(
        (0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (1.5, 2.0, 0.0), (-2.5, -2.0, 0.0), (inf, inf, 0.0), (-inf, -inf, 0.0), (nan, nan, 0.0), (HUGE, HUGE, 0.0),
        (TINY, 0.0, 0.0),
    ),
    "round": [
        *points(
            (0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (1.5, 2.0, 0.0), (-2.5, -2.0, 0.0), (inf, inf, 0.0), (nan, nan, 0.0), (HUGE, HUGE, 0.0), (TINY, 0.0, 0.0)
        ),
        at(1.25, gives=1.2, slopes=(0.0,), decimals=1), at(-15.0, gives=-20.0, slopes=(0.0,), decimals=-1),
        at([inf, nan, 0.125], gives=[inf, nan, 0.12], slopes=([0.0] * 3,), decimals=2),
    ],
    "prod": [
        at([2.0, 0.0, 3.0], gives=0.0, slopes=([0.0, 6.0, 0.0],)), at([0.0, 0.0, 3.0], gives=0.0, slopes=([0.0, 0.0, 0.0],)),
        at([-0.0, 5.0], gives=-0.0, slopes=([5.0, 0.0],)), at([0.0], gives=0.0, slopes=([1.0],)), at(nan, gives=nan, slopes=(1.0,)),
        at([inf, 2.0], gives=inf, slopes=([2.0, inf],)), at([inf, 0.0], gives=nan, slopes=([0.0, inf],)),
        at([nan, 2.0], gives=nan, slopes=([2.0, nan],)), at([HUGE, HUGE, TINY], gives=inf, slopes=([1.0, 1.0, inf],)),
        at([TINY, TINY, HUGE], gives=0.0, slopes=([1.0, 1.0, 0.0],)), at([], gives=1.0, slopes=([],)),
        at(np.zeros((0, 2)), gives=[1.0, 1.0], slopes=(np.zeros((0, 2)),), axis=0), at(np.zeros((0, 2)), gives=[], slopes=(np.zeros((0, 2)),), axis=1),
        at([[0.0, 2.0], [3.0, 0.0]], gives=[0.0, 0.0], slopes=([[3.0, 0.0], [0.0, 4.0]],), axis=0),
    ],
    "std": [
        at([3.0, 3.0], gives=0.0, slopes=([0.0, 0.0],)), at(5.0, gives=0.0, slopes=(0.0,)), at([1.0, 3.0], gives=1.0, slopes=([-0.5, 0.5],)),
        at([inf, 1.0], gives=nan, slopes=([nan, nan],)), at([nan, 1.0], gives=nan, slopes=([nan, nan],)), at([], gives=nan, slopes=([],)),
        at([3.0], gives=nan, slopes=([nan],), ddof=1), at([1e-200, -1e-200], gives=0.0, slopes=([0.0, 0.0],)),
        at([[1.0, 3.0], [2.0, 2.0]], gives=[1.0, 0.0], slopes=([[-0.5, 0.5], [0.0, 0.0]],), axis=1),
    ],
    "ptp": [
        at([2.0, 2.0, 2.0], gives=0.0, slopes=([0.0] * 3,)), at([1.0, 3.0, 3.0], gives=2.0, slopes=([-1.0, 0.5, 0.5],)),
        at([inf, 1.0], gives=inf, slopes=([1.0, -1.0],)), at([inf, inf], gives=nan, slopes=([0.0, 0.0],)),
        at([nan, 1.0], gives=nan, slopes=([nan, nan],)), at([HUGE, -HUGE], gives=2 * HUGE, slopes=([1.0, -1.0],)), at([], gives=wb.ShapeError),
        at(4.0, gives=0.0, slopes=(0.0,)), at(np.zeros((0, 2)), gives=[], slopes=(np.zeros((0, 2)),), axis=1),
    ],
    "median": [
        at([3.0, 1.0, 2.0], gives=2.0, slopes=([0.0, 0.0, 1.0],)), at([4.0, 1.0, 3.0, 2.0], gives=2.5, slopes=([0.0, 0.0, 0.5, 0.5],)),
        at([2.0, 2.0, 2.0], gives=2.0, slopes=([1 / 3] * 3,)), at([1.0, 2.0, 2.0, 3.0], gives=2.0, slopes=([0.0, 0.5, 0.5, 0.0],)),
        at([0.0, -0.0], gives=0.0, slopes=([0.5, 0.5],)), at([1.0, 1.0, 2.0, 3.0], gives=1.5, slopes=([0.25, 0.25, 0.5, 0.0],)),
        at([-inf, 0.0, inf], gives=0.0, slopes=([0.0, 1.0, 0.0],)), at([inf, -inf], gives=nan, slopes=([0.5, 0.5],)),
        at([nan, 1.0], gives=nan, slopes=([nan, nan],)), at(nan, gives=nan, slopes=(nan,)), at(inf, gives=inf, slopes=(1.0,)),
        at([TINY, HUGE, 1.0], gives=1.0, slopes=([0.0, 0.0, 1.0],)), at([], gives=nan, slopes=([],)),
        at(np.zeros((2, 0)), gives=[nan, nan], slopes=(np.zeros((2, 0)),), axis=1), at(np.zeros((0, 2)), gives=[], slopes=(np.zeros((0, 2)),), axis=1),
    ],
    "cumsum": [
        at([inf, -inf, 1.0], gives=[inf, nan, nan], slopes=([6.0, 5.0, 3.0],)), at([nan, 1.0], gives=[nan, nan], slopes=([3.0, 2.0],)),
        at([1e308, 1e308], gives=[1e308, inf], slopes=([3.0, 2.0],)), at([-0.0, 0.0], gives=[-0.0, 0.0], slopes=([3.0, 2.0],)),
        at([1.0, TINY], gives=[1.0, 1.0], slopes=([3.0, 2.0],)), at([], gives=[], slopes=([],)), at(inf, gives=[inf], slopes=(1.0,)),
        at([[1.0, 2.0], [3.0, 4.0]], gives=[1.0, 3.0, 6.0, 10.0], slopes=([[10.0, 9.0], [7.0, 4.0]],)),
        at(np.zeros((0, 2)), gives=np.zeros((0, 2)), slopes=(np.zeros((0, 2)),), axis=1), at(1.0, gives=[1.0], slopes=(1.0,), axis=0),
        at([1.0], gives=IndexError, axis=1),
    ],
    "cumprod": [
        at([2.0, 0.0, 3.0], gives=[2.0, 0.0, 0.0], slopes=([1.0, 4.0 + 18.0, 0.0],)), at([0.0, 0.0, 3.0], gives=[0.0] * 3, slopes=([1.0, 0.0, 0.0],)),
        at([0.0, 5.0], gives=[0.0, 0.0], slopes=([11.0, 0.0],)), at([inf, 0.0], gives=[inf, nan], slopes=([1.0, inf],)),
        at([inf, 2.0], gives=[inf, inf], slopes=([5.0, inf],)), at([nan, 2.0], gives=[nan, nan], slopes=([5.0, nan],)),
        at([HUGE, HUGE], gives=[HUGE, inf], slopes=([2 * HUGE, 2 * HUGE],)), at([TINY, TINY], gives=[TINY, 0.0], slopes=([1.0, 2 * TINY],)),
        at([], gives=[], slopes=([],)), at(0.0, gives=[0.0], slopes=(1.0,)), at([1.0], gives=IndexError, axis=1),
        at([[0.0, 2.0], [3.0, 0.0]], gives=[[0.0, 2.0], [0.0, 0.0]], slopes=([[10.0, 2.0], [0.0, 8.0]],), axis=0),
    ],
    "recurrence": [
        at([0.0, 2.0], [1.0, 0.0, 3.0], gives=[1.0, 0.0, 3.0], slopes=([8.0, 0.0], [1.0, 8.0, 3.0]), axis=0),
        at([inf], [0.0, 1.0], gives=[0.0, nan], slopes=([0.0], [inf, 2.0]), axis=0), at([nan], [1.0, 1.0], gives=[1.0, nan], slopes=([2.0], [nan, 2.0]), axis=0),
        at([HUGE], [HUGE, 1.0], gives=[HUGE, inf], slopes=([2 * HUGE], [2 * HUGE, 2.0]), axis=0), at([], [7.0], gives=[7.0], slopes=([], [1.0]), axis=0),
        at([], [], gives=[], slopes=([], []), axis=0),
    ],
    "sort": [
        at([nan, inf, -inf, 1.0], gives=[-inf, 1.0, inf, nan], slopes=([4.0, 3.0, 1.0, 2.0],)), at([2.0, 1.0, 2.0], gives=[1.0, 2.0, 2.0], slopes=([2.0, 1.0, 3.0],)),
        at([HUGE, TINY, -HUGE], gives=[-HUGE, TINY, HUGE], slopes=([3.0, 2.0, 1.0],)), at([0.0, -0.0], gives=[0.0, 0.0], slopes=([1.0, 2.0],)),
        at([], gives=[], slopes=([],)), at(np.zeros((0, 2)), gives=np.zeros((0, 2)), slopes=(np.zeros((0, 2)),), axis=0), at(1.0, gives=IndexError),
        at([[3.0, 1.0], [2.0, nan]], gives=[1.0, 2.0, 3.0, nan], slopes=([[3.0, 1.0], [2.0, 4.0]],), axis=None),
    ],
    "sort_by": passes_on(REARRANGED, [3.0, nan, 1.0, 3.0], gives=[nan, inf, -0.0, -inf], slopes=([2.0, 4.0, 1.0, 3.0],), axis=0)
    + passes_on([], [], gives=[], slopes=([],), axis=0),
    "unsort": passes_on(REARRANGED, [3.0, nan, 1.0, 3.0], gives=[-inf, -0.0, inf, nan], slopes=([3.0, 1.0, 4.0, 2.0],), axis=0)
    + passes_on([], [], gives=[], slopes=([],), axis=0),
    # -- indexing ------------------------------------------------------------------------------------------------------------
    "take": passes_on(REARRANGED, [2, 2, 0], gives=[nan, nan, inf], slopes=([3.0, 0.0, 3.0, 0.0],), axis=0)
    + passes_on([1.0, 2.0], 1, gives=2.0, slopes=([0.0, 1.0],)) + passes_on([], np.array([], int), gives=[], slopes=([],), axis=0)
    + [at([1.0], [1], gives=IndexError), at([1.0], 0.5, gives=IndexError), at([1.0], [True], gives=TypeError), at([1.0], [0], gives=IndexError, axis=1)],
    "scatter": passes_on([inf, nan, 1.0], [0, 1, 1], gives=[inf, nan, 0.0], slopes=([1.0, 2.0, 2.0],), shape=(3,), axis=0)
    + passes_on([], np.array([], int), gives=[0.0, 0.0], slopes=([],), shape=(2,)),
    "take_along_axis": passes_on([[inf, nan], [1.0, -inf]], [[1], [0]], gives=[[nan], [1.0]], slopes=([[0.0, 1.0], [2.0, 0.0]],))
    + passes_on([], np.array([], int), gives=[], slopes=([],)) + [at([1.0], [1], gives=IndexError), at([1.0], [[0]], gives=wb.ShapeError)],
    "scatter_along_axis": passes_on([inf, nan, 1.0], [0, 1, 1], gives=[inf, nan, 0.0], slopes=([1.0, 2.0, 2.0],), shape=(3,), axis=0),
    "set_at": passes_on(REARRANGED, nan, gives=[inf, nan, nan, -0.0], slopes=([1.0, 0.0, 3.0, 4.0], 2.0), index=1)
    + passes_on([1.0, 2.0], [3.0, inf, 5.0], gives=[5.0, 2.0], slopes=([0.0, 2.0], [0.0, 0.0, 1.0]), index=([0, 0, 0],))
    + passes_on([1.0, 2.0], [7.0], gives=[7.0, 7.0], slopes=([0.0, 0.0], [3.0]), index=slice(None)) + passes_on([], 1.0, gives=[], slopes=([], 0.0), index=slice(None))
    + [at([1.0], 2.0, gives=IndexError, index=1), at([1.0], [1.0, 2.0], gives=wb.ShapeError, index=slice(None))],
    "diagonal": passes_on([[inf, 1.0], [2.0, nan]], gives=[inf, nan], slopes=([[1.0, 0.0], [0.0, 2.0]],))
    + passes_on(np.zeros((2, 0)), gives=[], slopes=(np.zeros((2, 0)),)) + [at([1.0], gives=wb.ShapeError), at([[1.0]], gives=wb.ShapeError, axis2=0)],
    "diag": passes_on([inf, nan], gives=[[inf, 0.0], [0.0, nan]], slopes=([1.0, 4.0],)) + passes_on([[inf, nan]], gives=[nan], slopes=([[0.0, 1.0]],), k=1)
    + [at(1.0, gives=wb.ShapeError)],
    "tril": passes_on([[1.0, inf], [nan, 4.0]], gives=[[1.0, 0.0], [nan, 4.0]], slopes=([[1.0, 0.0], [3.0, 4.0]],)),
    "triu": passes_on([[1.0, inf], [nan, 4.0]], gives=[[1.0, inf], [0.0, 4.0]], slopes=([[1.0, 2.0], [0.0, 4.0]],)),
    # -- arranging -----------------------------------------------------------------------------------------------------------
    "roll": passes_on(REARRANGED, gives=[-0.0, inf, -inf, nan], slopes=([2.0, 3.0, 4.0, 1.0],), shift=1) + passes_on([], gives=[], slopes=([],), shift=3)
    + [at([1.0], gives=IndexError, shift=1, axis=1)],
    "repeat": passes_on([inf, nan], gives=[inf, inf, nan, nan], slopes=([3.0, 7.0],), repeats=2) + passes_on([1.0, nan], gives=[nan], slopes=([0.0, 1.0],), repeats=[0, 1])
    + [at([1.0], gives=wb.ShapeError, repeats=-1), at([1.0, 2.0], gives=wb.ShapeError, repeats=[1, 1, 1])],
    "tile": passes_on([inf, nan], gives=[inf, nan, inf, nan], slopes=([4.0, 6.0],), reps=2) + passes_on([1.0, nan], gives=[], slopes=([0.0, 0.0],), reps=0),
    "pad": passes_on([inf, nan], gives=[-0.0, inf, nan, -0.0], slopes=([2.0, 3.0],), pad_width=1, constant_values=-0.0)
    + passes_on([inf, nan], gives=[nan, inf, nan, inf], slopes=([6.0, 4.0],), pad_width=1, mode="wrap")
    + passes_on([inf, nan], gives=[inf, inf, nan, nan], slopes=([3.0, 7.0],), pad_width=1, mode="edge")
    + passes_on([1.0, 2.0, 3.0], gives=[3.0, 2.0, 1.0, 2.0, 3.0], slopes=([3.0, 6.0, 6.0],), pad_width=(2, 0), mode="reflect")
    + passes_on([2.0, 2.0, 1.0], gives=[2.0, 2.0, 2.0, 1.0], slopes=([2.5, 3.5, 4.0],), pad_width=(1, 0), mode="maximum")
    + passes_on([3.0], gives=[0.0, 1.0, 2.0, 3.0, 0.0], slopes=([2.0 / 3.0 + 2.0 + 4.0],), pad_width=(3, 1), mode="linear_ramp")
    + [at([1.0], gives=wb.ShapeError, pad_width=1, mode="empty"), at([1.0], gives=wb.ShapeError, pad_width=-1), at([], gives=wb.ShapeError, pad_width=1, mode="edge")],
    # -- products ------------------------------------------------------------------------------------------------------------
    "einsum": passes_on([inf], [0.0], gives=nan, slopes=([0.0], [inf]), subscripts="i,i->") + passes_on([HUGE], [HUGE], gives=inf, slopes=([HUGE], [HUGE]), subscripts="i,i->")
    + passes_on([[inf, nan], [1.0, -0.0]], gives=[inf, -0.0], slopes=([[1.0, 0.0], [0.0, 2.0]],), subscripts="ii->i") + passes_on([], gives=0.0, slopes=([],), subscripts="i->")
    + [at([1.0], gives=wb.ShapeError, subscripts="ij->i"), at([1.0, 2.0], [1.0, 2.0, 3.0], gives=wb.ShapeError, subscripts="i,i->")],
    # -- matrices ------------------------------------------------------------------------------------------------------------
    "inv": [
        at([[2.0, 0.0], [0.0, -4.0]], gives=[[0.5, 0.0], [0.0, -0.25]], slopes=([[-0.25, 0.25], [0.375, -0.25]],)), at([[HUGE]], gives=[[TINY]], slopes=([[0.0]],)),
        at([[1.0, 2.0], [2.0, 4.0]], gives=np.linalg.LinAlgError), at([[0.0]], gives=np.linalg.LinAlgError), at([[1.0, 2.0]], gives=np.linalg.LinAlgError),
        at([1.0], gives=np.linalg.LinAlgError), at([[nan]], gives=[[nan]], slopes=([[nan]],)), at(np.zeros((0, 0)), gives=np.zeros((0, 0)), slopes=(np.zeros((0, 0)),)),
    ],
    "pinv": [
        at([[2.0, 0.0], [0.0, 0.0]], gives=[[0.5, 0.0], [0.0, 0.0]], slopes=([[-0.25, 0.75], [0.5, 0.0]],)), at([[0.0]], gives=[[0.0]], slopes=([[0.0]],)),
        at([[0.0, 0.0]], gives=[[0.0], [0.0]], slopes=([[0.0, 0.0]],)),
        at([[nan, 1.0], [1.0, 1.0]], gives=np.linalg.LinAlgError), at(np.zeros((0, 2)), gives=np.zeros((2, 0)), slopes=(np.zeros((0, 2)),)),
    ],
    "solve": [
        at([[2.0, 0.0], [0.0, -4.0]], [2.0, 4.0], gives=[1.0, -1.0], slopes=([[-0.5, 0.5], [0.5, -0.5]], [0.5, -0.5])),
        at([[1.0, 2.0], [2.0, 4.0]], [1.0, 1.0], gives=np.linalg.LinAlgError), at([[1.0]], [1.0, 2.0], gives=wb.ShapeError), at([[1.0]], [inf], gives=[inf], slopes=([[-inf]], [1.0])),
        at(np.zeros((0, 0)), [], gives=[], slopes=(np.zeros((0, 0)), [])),
    ],
    "det": [
        at([[1.0, 2.0], [2.0, 4.0]], gives=0.0, slopes=([[4.0, -2.0], [-2.0, 1.0]],)), at([[0.0, 1.0], [0.0, 2.0]], gives=0.0, slopes=([[2.0, 0.0], [-1.0, 0.0]],)), at([[0.0]], gives=0.0, slopes=([[1.0]],)), at(np.zeros((2, 2)), gives=0.0, slopes=(np.zeros((2, 2)),)),
        at(np.diag([0.0, 2.0, 3.0]), gives=0.0, slopes=(np.diag([6.0, 0.0, 0.0]),)), at([[[2.0]], [[0.0]]], gives=[2.0, 0.0], slopes=([[[1.0]], [[2.0]]],)),
        at(np.zeros((0, 0)), gives=1.0, slopes=(np.zeros((0, 0)),)), at([[1.0, 2.0]], gives=np.linalg.LinAlgError),
    ],
    "slogdet": [
        at([[-math.e]], gives=[-1.0, 1.0], slopes=([[-2.0 / math.e]],)), at([[HUGE, 0.0], [0.0, HUGE]], gives=[1.0, 600 * math.log(10)], slopes=([[2 * TINY, 0.0], [0.0, 2 * TINY]],)),
        at([1.0], gives=np.linalg.LinAlgError),
    ],
    "cholesky": [
        at([[4.0]], gives=[[2.0]], slopes=([[0.25]],)), at([[4.0, 0.0], [0.0, 9.0]], gives=[[2.0, 0.0], [0.0, 3.0]], slopes=([[0.25, 0.75], [0.75, 2.0 / 3.0]],)),
        at([[4.0, nan], [0.0, 9.0]], gives=[[2.0, 0.0], [0.0, 3.0]], slopes=([[0.25, 0.75], [0.75, 2.0 / 3.0]],)),
        at([[4.0, 0.0], [nan, 9.0]], gives=[[2.0, 0.0], [0.0, 3.0]], slopes=([[0.25, 0.5], [0.5, 2.0 / 3.0]],), upper=True),
        at([[1.0, 2.0], [2.0, 1.0]], gives=np.linalg.LinAlgError), at([[0.0]], gives=np.linalg.LinAlgError), at(np.zeros((0, 0)), gives=np.zeros((0, 0)), slopes=(np.zeros((0, 0)),)),
    ],
    # of equal eigenvalues the vectors have no slope, and the values' is right in sum
    "eigh": [
        at([[3.0]], gives=[[3.0], [1.0]], slopes=([[1.0]],)), at(np.eye(2) * 5.0, gives=[[5.0, 5.0], [1.0, 0.0], [0.0, 1.0]], slopes=([[1.0, 0.0], [0.0, 2.0]],)),
        at([[2.0, nan], [0.0, 3.0]], gives=[[2.0, 3.0], [1.0, 0.0], [0.0, 1.0]], slopes=([[1.0, -0.5], [-0.5, 2.0]],)),
        at([[2.0, 0.0], [nan, 3.0]], gives=[[2.0, 3.0], [1.0, 0.0], [0.0, 1.0]], slopes=([[1.0, -0.5], [-0.5, 2.0]],), UPLO="U"),
        at(np.zeros((2, 3)), gives=np.linalg.LinAlgError), at([1.0], gives=np.linalg.LinAlgError), at([[1.0]], gives=wb.ShapeError, UPLO="X"),
    ],
    "svd": [
        at([[-3.0]], gives=[[-1.0], [3.0], [1.0]], slopes=([[-2.0]],)), at([[0.0]], gives=[[1.0], [0.0], [1.0]], slopes=([[2.0]],)), at([[nan]], gives=np.linalg.LinAlgError),
        at([1.0], gives=np.linalg.LinAlgError),
    ],
    "norm": [
        at([0.0, 0.0], gives=0.0, slopes=([0.0, 0.0],)), at([3.0, -4.0], gives=5.0, slopes=([0.6, -0.8],)), at(0.0, gives=0.0, slopes=(0.0,)), at([inf, 1.0], gives=inf, slopes=([nan, 0.0],)),
        at([nan, 1.0], gives=nan, slopes=([nan, nan],)), at([], gives=0.0, slopes=([],)), at([0.0, 2.0], gives=2.0, slopes=([0.0, 1.0],), ord=3.0), at([0.0, 0.0], gives=0.0, slopes=([0.0, 0.0],), ord=3.0),
        at([0.0, 4.0], gives=4.0, slopes=([0.0, 1.0],), ord=0.5), at([[0.0, 0.0], [0.0, 2.0]], gives=[0.0, 2.0], slopes=([[0.0, 0.0], [0.0, 2.0]],), axis=1), at(-2.0, gives=2.0, slopes=(-1.0,)),
    ],
    # -- neural operations -------------------------------------------------------------------------------------------
    "unfold": passes_on(
        [[[inf, nan, -0.0]]], gives=[[[[inf], [nan]], [[nan], [-0.0]]]], slopes=([[[1.0, 5.0, 4.0]]],), window=(2,), stride=(1,), padding=((0, 0),), dilation=(1,)
    )
    + passes_on([[[1.0]]], gives=[[[[nan], [1.0]], [[1.0], [nan]]]], slopes=([[[5.0]]],), window=(2,), stride=(1,), padding=((1, 1),), dilation=(1,), fill=nan),
    "fold": passes_on(
        [[[[inf], [1.0]], [[-inf], [nan]]]], gives=[[[inf, -inf, nan]]], slopes=([[[[1.0], [2.0]], [[2.0], [3.0]]]],), sizes=(3,), window=(2,), stride=(1,),
        padding=((0, 0),), dilation=(1,),
    ),
    "conv1d": [
        at([[[inf, 1.0]]], [[[0.0]]], gives=[[[nan, 0.0]]], slopes=([[[0.0, 0.0]]], [[[inf]]])),
        at([[[nan, 1.0, 2.0]]], [[[1.0, 1.0]]], gives=[[[nan, 3.0]]], slopes=([[[1.0, 3.0, 2.0]]], [[[nan, 5.0]]])),
        at([[[HUGE]]], [[[HUGE]]], gives=[[[inf]]], slopes=([[[HUGE]]], [[[HUGE]]])),
        at([[[5.0]]], [[[2.0, 3.0, 4.0]]], gives=[[[15.0]]], slopes=([[[3.0]]], [[[0.0, 5.0, 0.0]]]), padding="same"),
        at(np.zeros((0, 1, 2)), [[[2.0]]], gives=np.zeros((0, 1, 2)), slopes=(np.zeros((0, 1, 2)), [[[0.0]]])),
        at([[[1.0]]], [[[1.0, 1.0]]], gives=wb.ShapeError), at([[1.0]], [[[1.0]]], gives=wb.ShapeError), at([[[1.0]]], [[[1.0]], [[1.0]]], gives=wb.ShapeError, groups=2),
        at([[[1.0]]], [[[1.0]]], gives=ValueError, stride=0), at([[[1.0, 2.0]]], [[[1.0]]], gives=ValueError, stride=2, padding="same"),
    ],
    "conv2d": [
        at([[[[inf, 1.0]]]], [[[[-1.0]]]], gives=[[[[-inf, -1.0]]]], slopes=([[[[-1.0, -2.0]]]], [[[[inf]]]])),
        at([[[[nan]]]], [[[[0.0]]]], gives=[[[[nan]]]], slopes=([[[[0.0]]]], [[[[nan]]]])),
        at([[[[1.0, 2.0], [3.0, 4.0]]]], [[[[1.0, 0.0], [0.0, 1.0]]]], gives=[[[[5.0]]]], slopes=([[[[1.0, 0.0], [0.0, 1.0]]]], [[[[1.0, 2.0], [3.0, 4.0]]]])),
        at(np.ones((1, 2, 2, 2)), np.ones((1, 1, 1, 1)), gives=wb.ShapeError), at(np.ones((1, 2, 2)), np.ones((1, 1, 1, 1)), gives=wb.ShapeError),
        at(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 1)), gives=wb.ShapeError), at(np.ones((1, 2, 2, 2)), np.ones((3, 1, 1, 1)), gives=wb.ShapeError, groups=2),
    ],
    "max_pool": [
        at([[[2.0, 2.0, 1.0]]], gives=[[[2.0]]], slopes=([[[1.0, 0.0, 0.0]]],), window=3),
        at([[[1.0, 2.0, 2.0, 2.0]]], gives=[[[2.0, 2.0, 2.0]]], slopes=([[[0.0, 3.0, 3.0, 0.0]]],), window=2, stride=1),
        at([[[[0.0, 3.0], [3.0, 1.0]]]], gives=[[[[3.0]]]], slopes=([[[[0.0, 1.0], [0.0, 0.0]]]],), window=2),
        at([[[0.0, -0.0]]], gives=[[[0.0]]], slopes=([[[1.0, 0.0]]],), window=2), at([[[nan, 1.0]]], gives=[[[nan]]], slopes=([[[1.0, 0.0]]],), window=2),
        at([[[1.0, nan]]], gives=[[[nan]]], slopes=([[[0.0, 1.0]]],), window=2), at([[[inf, -inf]]], gives=[[[inf]]], slopes=([[[1.0, 0.0]]],), window=2),
        at([[[-5.0, -7.0]]], gives=[[[-5.0, -7.0]]], slopes=([[[1.0, 2.0]]],), window=2, stride=2, padding=1), at([[[1.0]]], gives=wb.ShapeError, window=2),
        at([[1.0, 2.0]], gives=wb.ShapeError, window=2), at([[[1.0, 2.0]]], gives=ValueError, window=2, padding=2), at([[[1.0, 2.0]]], gives=ValueError, window=0),
        at(np.zeros((0, 1, 2)), gives=np.zeros((0, 1, 1)), slopes=(np.zeros((0, 1, 2)),), window=2),
    ],
    "average_pool": [
        at([[[inf, 1.0]]], gives=[[[inf]]], slopes=([[[0.5, 0.5]]],), window=2), at([[[inf, -inf]]], gives=[[[nan]]], slopes=([[[0.5, 0.5]]],), window=2),
        at([[[nan, 1.0, 2.0, 3.0]]], gives=[[[nan, 2.5]]], slopes=([[[0.5, 0.5, 1.0, 1.0]]],), window=2), at([[[4.0]]], gives=[[[2.0, 2.0]]], slopes=([[[1.5]]],), window=2, stride=1, padding=1),
        at([[[1.0]]], gives=wb.ShapeError, window=2), at(1.0, gives=wb.ShapeError, window=2),
    ],
    "layer_norm": [
        at([3.0, 3.0], 2.0, 1.0, gives=[1.0, 1.0], slopes=([-math.sqrt(1e5), math.sqrt(1e5)], 0.0, 3.0)),
        at([5.0], [2.0], [1.0], gives=[1.0], slopes=([0.0], [0.0], [1.0])), at([nan, 1.0], 1.0, 0.0, gives=[nan, nan], slopes=([nan, nan], nan, 3.0)),
        at([inf, 1.0], 1.0, 0.0, gives=[nan, nan], slopes=([nan, nan], nan, 3.0)), at([[1.0, 2.0]], [1.0], 0.0, gives=wb.ShapeError),
        at([[1.0, 2.0]], 1.0, [[0.0, 0.0]], gives=wb.ShapeError), at(2.0, 1.0, 0.0, gives=wb.ShapeError),
        at(np.zeros((0, 2)), [1.0, 1.0], [0.0, 0.0], gives=np.zeros((0, 2)), slopes=(np.zeros((0, 2)), [0.0, 0.0], [0.0, 0.0])),
    ],
    "batch_norm": [
        at([[3.0], [3.0]], [2.0], [1.0], gives=[[1.0], [1.0]], slopes=([[-math.sqrt(1e5)], [math.sqrt(1e5)]], [0.0], [3.0])),
        at([[nan, 1.0], [2.0, 1.0]], 1.0, 0.0, gives=[[nan, 0.0], [nan, 0.0]], slopes=([[nan, -math.sqrt(1e5)], [nan, math.sqrt(1e5)]], nan, 10.0)),
        at([1.0, 2.0], 1.0, 0.0, gives=wb.ShapeError), at(np.zeros((0, 2)), 1.0, 0.0, gives=wb.ShapeError), at([[1.0, 2.0]], [1.0, 2.0, 3.0], 0.0, gives=wb.ShapeError),
    ],
    "embedding": [
        at([[inf, nan], [-0.0, 1.0]], [1, 1, 0], gives=[[-0.0, 1.0], [-0.0, 1.0], [inf, nan]], slopes=([[5.0, 6.0], [4.0, 6.0]],)),
        at([[1.0], [2.0]], 1, gives=[2.0], slopes=([[0.0], [1.0]],)), at([1.0, 2.0], 1, gives=2.0, slopes=([0.0, 1.0],)),
        at([[1.0], [2.0]], 2, gives=ValueError), at([[1.0], [2.0]], -1, gives=ValueError), at([[1.0], [2.0]], 0.5, gives=TypeError),
        at([[1.0], [2.0]], [2], gives=ValueError), at([[1.0], [2.0]], [-1], gives=ValueError), at([[1.0], [2.0]], [0.5], gives=TypeError),
        at([[1.0], [2.0]], [True], gives=TypeError), at(2.0, [0], gives=wb.ShapeError), at([[1.0], [2.0]], np.array([], int), gives=np.zeros((0, 1)), slopes=([[0.0], [0.0]],)),
    ],
    "scaled_dot_product_attention": [
        at([[1000.0]], [[1000.0], [0.0]], [[1.0], [2.0]], 0.0, gives=[[1.0]], slopes=([[0.0]], [[0.0], [0.0]], [[1.0], [0.0]], 0.0)),
        at([[-1000.0]], [[1000.0], [-1000.0]], [[1.0], [2.0]], 0.0, gives=[[2.0]], slopes=([[0.0]], [[0.0], [0.0]], [[0.0], [1.0]], 0.0)),
        at([[0.0]], [[0.0], [0.0]], [[1.0], [2.0]], [[0.0, -inf]], gives=[[1.0]], slopes=([[0.0]], [[0.0], [0.0]], [[1.0], [0.0]], [[0.0, 0.0]])),
        at([[1.0]], [[nan], [0.0]], [[1.0], [2.0]], 0.0, gives=[[nan]], slopes=([[nan]], [[nan], [nan]], [[nan], [nan]], nan)),
        at([[1.0]], [[1.0], [2.0]], [[1.0], [2.0]], [[False, False]], gives=[[0.0]], slopes=([[0.0]], [[0.0], [0.0]], [[0.0], [0.0]])),
        at([[1.0]], [[7.0], [2.0]], [[1.0], [2.0]], [[False, True]], gives=[[2.0]], slopes=([[0.0]], [[0.0], [0.0]], [[0.0], [1.0]])),
        at([[1.0]], [[1.0, 2.0]], [[1.0]], 0.0, gives=wb.ShapeError), at([[1.0]], [[1.0]], [[1.0], [2.0]], 0.0, gives=wb.ShapeError), at([1.0], [[1.0]], [[1.0]], 0.0, gives=wb.ShapeError),
        at([[1.0]], [[1.0], [2.0]], [[1.0], [2.0]], [[0.0, 0.0, 0.0]], gives=wb.ShapeError), at([[1.0]], [[1.0]], [[1.0]], np.zeros((2, 1, 1)), gives=wb.ShapeError),
        at(np.ones((2, 1, 1)), np.ones((3, 1, 1)), np.ones((3, 1, 1)), 0.0, gives=wb.ShapeError),
    ],
    "mean_absolute_error": [
        at(inf, 1.0, gives=inf, slopes=(1.0, -1.0)), at(inf, inf, gives=nan, slopes=(nan, nan)), at(nan, 1.0, gives=nan, slopes=(nan, nan)), at(1.0, 1.0, gives=0.0, slopes=(0.0, 0.0)),
        at([HUGE, 0.0], [-TINY, 0.0], gives=HUGE / 2, slopes=([0.5, 0.0], [-0.5, 0.0])), at([], [], gives=wb.ShapeError), at([1.0, 2.0], [1.0], gives=wb.ShapeError),
    ],
    "huber": [
        at(inf, 1.0, gives=inf, slopes=(1.0, -1.0)), at(nan, 1.0, gives=nan, slopes=(nan, nan)), at(1.0, 1.0, gives=0.0, slopes=(0.0, 0.0)), at(1.0, 0.0, gives=0.5, slopes=(1.0, -1.0)),
        at(-3.0, 0.0, gives=4.0, slopes=(-2.0, 2.0), delta=2.0), at([HUGE, 0.0], [0.0, 0.0], gives=HUGE / 2, slopes=([0.5, 0.0], [-0.5, 0.0])), at([], [], gives=wb.ShapeError),
        at(1.0, 0.0, gives=ValueError, delta=0.0), at(1.0, 0.0, gives=ValueError, delta=-1.0),
    ],
    "kl_divergence": [
        at([0.0, -1.0], [1.0, 0.0], gives=0.0, slopes=([-1.0, 0.0], [1.0, -inf])), at([-inf, 0.0], [0.5, 0.5], gives=inf, slopes=([-0.5, -0.5], [inf, 1.0 - math.log(2)])),
        at([nan], [1.0], gives=nan, slopes=([-1.0], [nan])), at(-1.0, 1.0, gives=wb.ShapeError), at([[-1.0]], [1.0], gives=wb.ShapeError), at([], [], gives=wb.ShapeError),
    ],
    "negative_log_likelihood": [
        at([[-inf, 0.0]], [1], gives=0.0, slopes=([[0.0, -1.0]],)), at([[-inf, 0.0]], [0], gives=inf, slopes=([[-1.0, 0.0]],)), at([[nan, 0.0]], [0], gives=nan, slopes=([[-1.0, 0.0]],)),
        at([[-1.0, -2.0], [-3.0, -4.0]], [0, 1], gives=1.75, slopes=([[-0.75, 0.0], [0.0, -0.25]],), class_weights=[3.0, 1.0]),
        at([[-1.0, -2.0]], [0], gives=nan, slopes=([[nan, nan]],), class_weights=[0.0, 1.0]), at([[-1.0, -2.0]], [0], gives=wb.ShapeError, class_weights=[1.0]),
        at([[-1.0, -2.0]], [2], gives=ValueError), at([[-1.0, -2.0]], [-1], gives=ValueError), at(np.zeros((0, 2)), np.zeros(0, int), gives=wb.ShapeError),
    ],
}  # fmt: skip

each_point = pytest.mark.parametrize(
    ("name", "point"), [pytest.param(n, p, id=f"{n}-{i}") for n, ps in NASTY.items() for i, p in enumerate(ps)]
)

# == calling ============================================================================================================


def call(op, inputs, options):
    return op.function(list(inputs), **options) if op.variadic else op.function(*inputs, **options)


def tracked(op, inputs):
    """Positions of the inputs that have a partial; there is none by a mask of booleans."""
    return [
        i
        for i, x in enumerate(inputs)
        if op.variadic or (op.partials[i] is not None and (op.inputs[i] != "mask" or np.asarray(x).dtype != bool))
    ]


def with_values(op, inputs, make=wb.Value):
    """The inputs, those that have a partial as Values."""
    kept = tracked(op, inputs)
    return [make(x) if i in kept else x for i, x in enumerate(inputs)]


def weights(y):
    """A weight for each element of a result: 1, 2, 3, …"""
    return np.arange(1.0, 1.0 + np.size(y)).reshape(np.shape(y)) if np.ndim(y) else 1.0


def value_and_gradients(op, inputs, options, **how):
    """Call with Values, go backward with weights 1, 2, 3, …: the result and all gradients, as plain data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean over nothing
        given = with_values(op, inputs)
        y = call(op, given, options)
        y.backward(weights(y.data), **how)
        return y.data, [wb.value.raw(given[i].grad) for i in tracked(op, inputs)], given, y


def agree(a, b, rtol=1e-12, atol=0.0):
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def plain_type(x):
    """What a Value may hold: a Python float, or an array that has axes."""
    return type(x) is float or (type(x) is np.ndarray and x.ndim > 0)


# == the tests ==========================================================================================================


def test_every_operation_has_a_row_of_samples_and_one_of_nasty_points():
    assert sorted(REGISTRY.keys() - COMPILED) == sorted([*ROWS, *WITHOUT_DERIVATIVE])
    assert sorted(ROWS) == sorted(NASTY)
    assert all(row.cases for row in ROWS.values())
    assert all(NASTY.values())
    assert {name for name, op in REGISTRY.items() if set(op.partials) == {None}} == set(WITHOUT_DERIVATIVE)


def test_every_operation_is_public_under_its_name():
    # A loss looks at its input and targets before it calls its row.
    hidden = {
        name
        for name, op in REGISTRY.items()
        if inspect.unwrap(getattr(wb, name, None)) is not inspect.unwrap(op.function)
    }
    assert hidden - COMPILED == INTERNAL


@pytest.mark.parametrize("name", WITHOUT_DERIVATIVE)
def test_what_has_no_derivative_is_what_numpy_says_recorded_or_not(name):
    """Of Values it gives plain data; in a program it is recorded like anything else."""
    op, (reference, arrays, *options) = REGISTRY[name], WITHOUT_DERIVATIVE[name]
    options = options[0] if options else {}
    for inputs in [arrays, *zip(*(x.tolist() for x in arrays), strict=True)]:
        given = inputs if name != "one_hot" else [np.asarray(inputs[0], int)]
        expected = reference(*inputs, **options)
        plain = call(op, given if name == "one_hot" else [wb.Value(x) for x in inputs], options)
        with Recorder().running():
            recorded = call(op, [wb.value.traced(x) for x in given], options)
        assert recorded.op is op
        for found in (plain, recorded._data, call(op, given, options)):
            np.testing.assert_array_equal(found, expected)
            assert type(found) is bool or (type(found) is np.ndarray and found.ndim > 0)


@each_case
def test_value_is_what_numpy_says(name, case):
    op, row = REGISTRY[name], ROWS[name]
    inputs = row.inputs(case)
    expected = row.reference(*inputs, **case.options)
    plain = call(op, inputs, case.options)
    recorded = call(op, with_values(op, inputs), case.options)
    assert plain_type(recorded.data)
    assert recorded.op is op
    agree(recorded.data, expected, rtol=1e-12, atol=1e-15)
    agree(plain, recorded.data)


def check_sample(name, case):
    """Hold one sample's derivatives against finite differences, up to the row's order."""
    op, row = REGISTRY[name], ROWS[name]
    inputs = row.inputs(case)
    kept = tracked(op, inputs)

    def f(*values):
        full = list(inputs)
        for i, v in zip(kept, values, strict=True):
            full[i] = symmetric(v) if op.symmetric else v
        return call(op, full, case.options)

    wb.check_gradients(f, *[inputs[i] for i in kept], order=row.order)


@each_case
def test_gradients_to_the_rows_order(name, case):
    check_sample(name, case)


@each_case
def test_recorded_gradients_equal_computed_ones(name, case):
    op, row = REGISTRY[name], ROWS[name]
    inputs = row.inputs(case)
    _, computed, given, _ = value_and_gradients(op, inputs, case.options)
    _, recorded, again, _ = value_and_gradients(op, inputs, case.options, record=True)
    for i, d, e in zip(tracked(op, inputs), computed, recorded, strict=True):
        assert plain_type(d)
        assert type(again[i].grad) is wb.Value
        assert d is given[i].grad
        agree(d, e)
        assert np.shape(d) == np.shape(inputs[i])


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.scalars])
def test_scalars_and_arrays_of_one_element_agree(name):
    op, row = REGISTRY[name], ROWS[name]
    cases = [case for case in row.cases if all(s == () for s in case.shapes)]
    assert cases
    for case, seed in [(case, seed) for case in cases for seed in range(5)]:
        scalars = row.inputs(case, seed)
        y, gradients, _, _ = value_and_gradients(op, scalars, case.options)
        assert type(y) is float
        assert all(type(d) is float for d in gradients)
        for shape in [(1,), (1, 1)]:
            arrays = [np.full(shape, x) for x in scalars]
            z, same, _, _ = value_and_gradients(op, arrays, case.options)
            np.testing.assert_allclose(z, y, rtol=1e-14)
            for d, e in zip(gradients, same, strict=True):
                assert e.shape == shape
                np.testing.assert_allclose(e, d, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@each_case
def test_dtype_in_is_dtype_out(name, case, dtype):
    op, row = REGISTRY[name], ROWS[name]
    exact = row.inputs(case)
    kept = tracked(op, exact)
    inputs = [np.asarray(x, dtype) if i in kept and np.ndim(x) else x for i, x in enumerate(exact)]
    if dtype is np.float16 and not row.half:
        with pytest.raises(TypeError, match=rf"{name}\(.*float16 is unsupported.*astype\('float32'\)"):
            call(op, with_values(op, inputs), case.options)
        return
    y, gradients, given, out = value_and_gradients(op, inputs, case.options)
    if row.keeps_dtype and np.ndim(y) and any(np.ndim(inputs[i]) for i in kept):
        assert y.dtype == dtype
    assert out.grad is None or np.shape(out.grad) == np.shape(y)
    if np.ndim(out.grad):
        assert out.grad.dtype == y.dtype
    reference, exact_gradients, _, _ = value_and_gradients(op, exact, case.options)
    tolerance = {np.float16: 0.02, np.float32: 1e-5, np.float64: 1e-12}[dtype]
    agree(y, reference, tolerance, tolerance)
    for i, d, e in zip(kept, gradients, exact_gradients, strict=True):
        assert type(d) is type(given[i].data)
        if np.ndim(d):
            assert d.dtype == given[i].dtype == dtype
        agree(d, e, tolerance, tolerance * max(1.0, np.max(np.abs(e), initial=0.0)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.elementwise and len(row.draw) < 3])
def test_a_python_number_beside_a_small_array_leaves_it_small(name, dtype):
    op, row = REGISTRY[name], ROWS[name]
    options = row.cases[0].options
    for scalar in (0.5, np.float64(0.5), 1, True):
        shapes = [()] * len(row.cases[0].shapes)
        for i in range(len(shapes)):
            inputs = [scalar] * len(shapes)
            inputs[i] = v = wb.Value(np.array([0.25, 0.75], dtype))
            y = call(op, inputs, options)
            y.sum().backward()
            assert y.dtype == v.grad.dtype == y.grad.dtype == dtype


@each_case
def test_integers_and_booleans_are_numbers(name, case):
    op, row = REGISTRY[name], ROWS[name]
    exact = row.inputs(case)
    for kind in (np.int64, np.uint8, np.bool_) if name not in ("negative", "positive") else (np.int64,):
        kept = tracked(op, exact)
        small = [np.asarray(1.0 + np.abs(np.rint(x))).astype(kind) if i in kept else x for i, x in enumerate(exact)]
        wide = [np.asarray(x, float) if i in kept else x for i, x in enumerate(small)]
        if kind in NOT_OF.get(name, ()):
            continue
        expected = call(op, with_values(op, wide), case.options).data
        agree(call(op, with_values(op, small), case.options).data, expected)
        if kept[1:]:  # one Value, the rest constants
            agree(
                call(op, [wb.Value(x) if i == kept[0] else x for i, x in enumerate(small)], case.options).data, expected
            )
        if kind is np.int64:
            np.testing.assert_allclose(call(op, small, case.options), expected, rtol=1e-12, atol=1e-15)


@st.composite
def shapes_and_seed(draw, count):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3, min_side=0))
    return shapes.input_shapes, shapes.result_shape, draw(st.integers(0, 2**16))


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.elementwise and len(row.cases[0].shapes) > 1])
@settings(max_examples=40)
@given(data=st.data())
def test_broadcasting_is_numpys_and_its_gradient_is_the_sum(name, data):
    op, row = REGISTRY[name], ROWS[name]
    shapes, full, seed = data.draw(shapes_and_seed(len(row.cases[0].shapes)))
    inputs = row.inputs(Case(shapes), seed)
    y, gradients, _, _ = value_and_gradients(op, inputs, {})
    agree(y, row.reference(*inputs))
    assert np.shape(y) == full
    stretched = [np.array(np.broadcast_to(x, full)) if full else x for x in inputs]
    _, wide, _, _ = value_and_gradients(op, stretched, {})
    for i, d, e in zip(tracked(op, inputs), gradients, wide, strict=True):
        shape = np.shape(inputs[i])
        extra = tuple(range(len(full) - len(shape)))
        summed = np.sum(e, axis=extra)
        summed = np.sum(summed, axis=tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True)
        agree(d, np.reshape(summed, shape), rtol=1e-12, atol=1e-12)


@each_case
def test_constants_stand_in_any_position(name, case):
    op, row = REGISTRY[name], ROWS[name]
    inputs = row.inputs(case)
    kept = tracked(op, inputs)
    y, gradients, _, _ = value_and_gradients(op, inputs, case.options)
    for position, i in enumerate(kept):
        mixed = list(inputs)
        mixed[i] = v = wb.Value(inputs[i])
        before = [np.copy(x) for x in inputs]
        z = call(op, mixed, case.options)
        z.backward(weights(z.data))
        agree(z.data, y)
        agree(v.grad, gradients[position])
        assert [x for x in z.inputs if type(x) is wb.Value] == [v]
        assert all(type(x) in (wb.Value, float, np.ndarray) for x in z.inputs)
        for x, old in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(x, old)


def formatted(op, names, options):
    words = {k: repr(v) for k, v in options.items() if k != "shared"}
    if op.variadic:
        return op.template.format(**{op.inputs[0]: f"[{', '.join(names)}]"}, **words)
    return op.template.format(**dict(zip(op.inputs, names, strict=True)), **words)


@each_case
def test_template_is_python_that_gives_the_same_result(name, case):
    op, row = REGISTRY[name], ROWS[name]
    values = with_values(op, row.inputs(case))
    y = call(op, values, case.options)
    names = [f"v{i}" for i in range(len(values))]
    text = formatted(op, names, y.options)
    names_known = {
        **vars(wb),
        "array": np.array,
        "uint8": np.uint8,
        **{n: REGISTRY[n].function for n in INTERNAL & ROWS.keys()},
        **dict(zip(names, values, strict=True)),
    }
    again = eval(text, {"__builtins__": {"slice": slice, "Ellipsis": Ellipsis}}, names_known)
    assert type(again) is wb.Value
    agree(again.data, y.data)


@each_case
def test_options_by_position_equal_options_by_name(name, case):
    op, row = REGISTRY[name], ROWS[name]
    values = with_values(op, row.inputs(case))
    by_name = call(op, values, case.options)
    options = [by_name.options[k] for k in op.defaults]
    by_position = op.function(list(values), *options) if op.variadic else op.function(*values, *options)
    agree(by_position.data, by_name.data)
    assert {k: str(v) for k, v in by_position.options.items() if k != "shared"} == {
        k: str(v) for k, v in by_name.options.items() if k != "shared"
    }


METHODS = """absolute abs astype broadcast_to clip cos erf exp gelu leaky_relu log log1p log_softmax logsumexp max maximum
mean min minimum relu reshape sigmoid silu sin softmax softplus sqrt square sum tanh transpose var
diagonal repeat take""".split()
METHODS += """arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil cosh cumprod cumsum elu expm1 floor hard_tanh hypot
log10 log2 logaddexp median mish prod ptp reciprocal rint round selu sign sinh softsign sort std tan trunc""".split()


@pytest.mark.parametrize("name", METHODS)
def test_methods_equal_functions(name):
    if name == "absolute":
        name = "abs"
    op = REGISTRY["absolute" if name == "abs" else name]
    row = ROWS[op.name]
    for case in row.cases:
        inputs = row.inputs(case)
        values = with_values(op, inputs)
        y = getattr(values[0], name)(*values[1:], **case.options) if name not in ("reshape", "transpose") else None
        if y is None:
            options = tuple(case.options.values())
            y = getattr(values[0], name)(*options)
            if options and isinstance(options[0], tuple) and options[0]:
                agree(getattr(values[0], name)(*options[0]).data, y.data)
        assert y.op is op
        agree(y.data, call(op, values, case.options).data)


OPERATORS = {
    operator.add: "add", operator.sub: "subtract", operator.mul: "multiply", operator.truediv: "divide", operator.pow: "power",
    operator.matmul: "matmul", operator.mod: "mod", operator.floordiv: "floor_divide",
}  # fmt: skip


@pytest.mark.parametrize(("sign", "name"), OPERATORS.items(), ids=OPERATORS.values())
@pytest.mark.parametrize("scalar", [False, True])
def test_operators_equal_functions_on_both_sides(sign, name, scalar):
    if scalar and name == "matmul":
        with pytest.raises(wb.ShapeError, match="multiply it with \\*"):
            sign(wb.Value(2.0), 3.0)
        return
    a, b = (2.0, 3.0) if scalar else (np.array([[2.0, 0.5], [1.0, 3.0]]), np.array([[3.0, 1.0], [0.5, 2.0]]))
    op = REGISTRY[name]
    expected = sign(a, b)
    for x, y in [(wb.Value(a), wb.Value(b)), (wb.Value(a), b), (a, wb.Value(b)), (wb.Value(a), np.asarray(b).tolist())]:
        result = sign(x, y)
        assert result.op is op
        agree(result.data, expected)
        for held, operand in zip(result.inputs, (x, y), strict=True):
            assert held is operand if type(operand) is wb.Value else type(held) is type(a)


def test_unary_operators_and_shaping_shorthands():
    v = wb.Value([[1.0, -2.0, 3.0]])
    assert ((-v).op.name, (+v).op.name, abs(v).op.name, v.T.op.name, v[0].op.name) == (
        "negative", "positive", "absolute", "transpose", "getitem",
    )  # fmt: skip
    agree(v.T.data, v.data.T)
    agree(v[0, ::-1].data, v.data[0, ::-1])
    assert (+v) is not v


# -- nasty points ---------------------------------------------------------------------------------------------------------


def plain_inputs(name, point):
    """Lists as arrays, numbers as floats; labels and conditions as they are."""
    return [float(x) if np.ndim(x) == 0 else np.asarray(x) for x in point.inputs]


def check_point(name, point, inputs, shape=None, **how):
    op = REGISTRY[name]
    if isinstance(point.value, type):
        with pytest.raises(point.value):
            call(op, with_values(op, inputs), point.options)
        return
    y, gradients, _, _ = value_and_gradients(op, inputs, point.options, **how)
    value, slopes = (point.value, point.gradients) if shape is None else (
        np.full(shape, point.value), [np.full(shape, d) for d in point.gradients],
    )  # fmt: skip
    assert len(slopes) == len(gradients)
    assert plain_type(y)
    agree(y, value)
    for i, d, e in zip(tracked(op, inputs), gradients, slopes, strict=True):
        assert plain_type(d), f"gradient {i} is a {type(d)}"
        agree(d, np.asarray(e))


@pytest.mark.parametrize("record", [False, True])
@each_point
def test_nasty_points(name, point, record):
    check_point(name, point, plain_inputs(name, point), record=record)


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(
    ("name", "point"),
    [pytest.param(n, p, id=f"{n}-{i}") for n, ps in NASTY.items() if ROWS[n].elementwise for i, p in enumerate(ps)],
)
def test_nasty_points_in_an_array_are_what_they_are_as_scalars(name, point, record):
    inputs = plain_inputs(name, point)
    if all(type(x) is float for x in inputs):
        check_point(name, point, [np.array([x]) for x in inputs], shape=(1,), record=record)


NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, inf, -inf, nan, 1000.0, -1000.0, HUGE, -HUGE, TINY, -TINY, 5e-324]


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.elementwise])
def test_every_pair_of_nasty_numbers_gives_scalars_what_it_gives_arrays(name):
    """No expected values here, but all combinations: scalars, recorded or not, do as arrays do, and never raise.

    Each input in turn stands among constants too.
    """
    op, options = REGISTRY[name], ROWS[name].cases[0].options
    grid = [np.ravel(x) for x in np.meshgrid(*[NUMBERS] * len(ROWS[name].cases[0].shapes), indexing="ij")]
    kept = tracked(op, grid)
    arrays = with_values(op, grid)
    out = call(op, arrays, options)
    out.backward(np.ones(out.shape))
    for k, numbers in enumerate(zip(*[x.tolist() for x in grid], strict=True)):
        for among in [kept, *([i] for i in kept if len(kept) > 1)]:
            for record in (False, True):
                given = [wb.Value(x) if i in among else x for i, x in enumerate(numbers)]
                result = call(op, given, options)
                result.backward(record=record)
                where = f"{name}{numbers}, Values at {among}, record={record}"
                assert type(result.data) is float
                np.testing.assert_allclose(result.data, out.data[k], rtol=1e-13, err_msg=where)
                for i in among:
                    slope = wb.value.raw(given[i].grad)
                    assert type(slope) is float
                    np.testing.assert_allclose(
                        slope, arrays[i].grad[k], rtol=1e-13, err_msg=f"∂/∂{op.inputs[i]} of {where}"
                    )


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.elementwise])
def test_empty_arrays_give_empty_results_and_gradients(name):
    op, row = REGISTRY[name], ROWS[name]
    for shape in [(0,), (2, 0), (0, 3, 1)]:
        inputs = [np.zeros(shape)] * len(row.cases[0].shapes)
        y, gradients, _, _ = value_and_gradients(op, inputs, row.cases[0].options)
        assert y.shape == shape
        assert all(d.shape == shape and d.dtype == np.float64 for d in gradients)


STABLE = {
    "sigmoid": wb.sigmoid,
    "softplus": wb.softplus,
    "tanh": wb.tanh,
    "silu": wb.silu,
    "gelu": wb.gelu,
    "elu": wb.elu,
    "selu": wb.selu,
    "mish": wb.mish,
    "softsign": wb.softsign,
    "hard_tanh": wb.hard_tanh,
    "logaddexp": lambda v: wb.logaddexp(v, 0.5) + wb.logaddexp(v, v),
    "softmax": lambda v: wb.softmax(v) if v.shape else v,
    "log_softmax": lambda v: wb.log_softmax(v) if v.shape else v,
    "logsumexp": wb.logsumexp,
    "binary_cross_entropy": lambda v: wb.binary_cross_entropy(v, v.data * 0.0),
    "cross_entropy": lambda v: wb.cross_entropy(v, 1) if v.shape else v,
    "cross_entropy smoothed": lambda v: wb.cross_entropy(v, 1, 0.1, [1.0, 2.0, 1.0, 1.0, 1.0]) if v.shape else v,
    "attention": lambda v: wb.scaled_dot_product_attention(*[v.reshape(5, 1)] * 3, causal=True) if v.shape else v,
    "huber": lambda v: wb.huber(v, v.data * 0.0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STABLE)
def test_large_scores_do_not_overflow_on_the_way(name, dtype):
    """Not even inside: with NumPy told to raise, neither the result nor the gradient passes through inf or nan."""
    for data in (np.array([1000.0, -1000.0, 0.0, 90.0, -90.0], dtype), 1000.0, -1000.0):
        v = wb.Value(data)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            STABLE[name](v).sum().backward()
        assert np.all(np.isfinite(v.grad))


def test_a_squared_error_neither_wraps_nor_overflows_in_small_numbers():
    assert wb.mean_squared_error(np.array([0], np.uint8), np.array([20], np.uint8)) == 400.0
    assert wb.mean_squared_error(wb.Value(np.full(2000, 10.0, np.float16)), np.zeros(2000, np.float16)).data == 100.0


# -- products with zeros ------------------------------------------------------------------------------------------------


def slope_of_products(a, which):
    """∂(a₀ · a₁ · …)/∂aᵢ∂aⱼ… for each choice of ``which`` many: the product of all others, 0 where one is chosen twice."""
    out = np.zeros((len(a),) * which)
    for chosen in np.ndindex(*out.shape):
        if len(set(chosen)) == which:
            out[chosen] = math.prod(x for k, x in enumerate(a) if k not in chosen)
    return out


@pytest.mark.parametrize("zeros", range(16))
def test_derivatives_of_products_are_exact_wherever_there_are_zeros(zeros):
    """For each way of setting some of four numbers to zero, up to the third order."""
    a = np.array([2.0, -3.0, 5.0, 7.0]) * [not zeros >> i & 1 for i in range(4)]
    products = [
        wb.prod,
        lambda v: wb.cumprod(v)[3],
        lambda v: wb.prod(v.reshape(2, 2)),
        lambda v: v.reshape(2, 2).prod(axis=1).prod(),
    ]
    for f in products:
        np.testing.assert_array_equal(wb.grad(f)(a), slope_of_products(a, 1))
        np.testing.assert_array_equal(wb.hessian(f)(a), slope_of_products(a, 2))
        np.testing.assert_array_equal(wb.jacobian(wb.hessian(f))(a), slope_of_products(a, 3))

    partial_products = wb.hessian(lambda v: wb.sum(wb.cumprod(v) * [1.0, 2.0, 4.0, 8.0]))(a)
    expected = np.zeros((4, 4))
    for n in (1, 2, 3, 4):
        expected[:n, :n] += 2.0 ** (n - 1) * slope_of_products(a[:n], 2)
    np.testing.assert_array_equal(partial_products, expected)


# -- the axes of a number ------------------------------------------------------------------------------------------------


AXES = {"axis", "axes", "axis1", "axis2", "source", "destination"}
OTHERWISE = {"shift": 1, "repeats": 3, "sections": 1, "indices": 0}  # what else some of them must be told


def told_axes(f):
    """What of the signature are axes, and what else must be told."""
    known = inspect.signature(f).parameters if inspect.isfunction(f) else {}
    return known.keys() & AXES, {k: x for k, x in OTHERWISE.items() if k in known}


WITH_AXES = [name for name in sorted(vars(wb)) if told_axes(getattr(wb, name))[0] and name not in WITHOUT_DERIVATIVE]


@pytest.mark.parametrize("name", WITH_AXES)
def test_a_number_has_the_axes_that_numpy_gives_it_or_the_call_is_refused(name):
    """Where the call is taken, its value and its gradient are right; it is never `backward` that refuses."""
    f = getattr(wb, name)
    axes, options = told_axes(f)
    several = {"stack": lambda v: ([v, v],), "concatenate": lambda v: ([v, v],), "tensordot": lambda v: (v, v)}
    inputs = several.get(name, lambda v: (v,))
    for axis in (None, 0, -1, (), (0,), 1):
        told = options | dict.fromkeys(axes, axis)
        try:
            y = f(*inputs(wb.Value(2.5)), **told)
        except (IndexError, TypeError, ValueError):
            continue
        if hasattr(np, name):
            with contextlib.suppress(TypeError):  # NumPy calls it otherwise
                agree(y.data, getattr(np, name)(*inputs(2.5), **told))
        wb.check_gradients(lambda v, told=told: f(*inputs(v), **told), 2.5, order=2)


def test_a_number_along_axis_0():
    for f, value, slope in [
        (wb.prod, 2.5, 1.0), (wb.sum, 2.5, 1.0), (wb.max, 2.5, 1.0), (wb.ptp, 0.0, 0.0), (wb.softmax, 1.0, 0.0),
        (wb.logsumexp, 2.5, 1.0), (lambda v, axis: wb.repeat(v, 3, axis), [2.5] * 3, 3.0),
        (lambda v, axis: wb.repeat(v, [2], axis), [2.5] * 2, 2.0), (wb.cumprod, [2.5], 1.0),
    ]:  # fmt: skip
        for axis in (0, -1):
            v = wb.Value(2.5)
            y = f(v, axis=axis)
            agree(y.data, value)
            y.backward(np.ones(y.shape) if y.shape else None)
            assert v.grad == slope


# -- powers of exponent 0 ------------------------------------------------------------------------------------------------

BASES = [2.0, -3.0, 0.03, 1e-200, 1e-310, 5e-324, 0.0, -0.0, HUGE, inf, -inf, nan]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("zero", ["0", "an array", "a Value", "a Value of an array"])
def test_the_slope_of_what_is_raised_to_0_is_0_to_every_order(zero, dtype):
    """a⁰ is 1 for every a. The slopes by a are 0 in eager, recorded, compiled and printed form."""
    a, zeros = np.array(BASES).astype(dtype), np.zeros(len(BASES), dtype)
    exponent = {"0": 0, "an array": zeros, "a Value": wb.Value(0.0), "a Value of an array": wb.Value(zeros)}[zero]
    f = lambda v: wb.sum(v**exponent)
    found = [wb.grad(f)(a), wb.grad(lambda v: wb.sum(wb.grad(f)(v)))(a)]
    compiled = wb.compile(f)
    for _ in range(3):  # two runs, then a replay
        v = wb.Value(a)
        compiled(v).backward()
        found.append(v.grad)
    v = wb.Value(a, name="v")
    program = f(v).program()
    found.append(program.run()[1]["v"])
    for slope in found:
        np.testing.assert_array_equal(wb.value.raw(slope), np.zeros(len(a)))
        assert slope.dtype == dtype


@pytest.mark.parametrize("a", [2.0, 0.3, 1e60, 1e-60])
def test_the_slope_by_a_at_exponent_0_has_a_slope_by_the_exponent(a):
    """∂²(aᵇ)/∂a∂b is 1 / a there, in either order."""
    for second in [
        wb.hessian(lambda z: z[0] ** z[1])([a, 0.0]),
        wb.hessian(lambda z: wb.sum(z[:1] ** z[1:]))([a, 0.0]),
    ]:
        np.testing.assert_allclose(second, [[0.0, 1 / a], [1 / a, math.log(a) ** 2]], rtol=1e-14)


def test_exponents_with_zeros_among_them():
    a, b = np.array([2.0, 0.0, nan, 1e-310, 3.0]), np.array([0.0, 0.0, 0.0, 0.0, 2.0])
    v, w = wb.Value(a), wb.Value(b)
    (v**w).sum().backward()
    np.testing.assert_array_equal(v.grad, [0.0, 0.0, 0.0, 0.0, 6.0])
    np.testing.assert_allclose(w.grad, [math.log(2), 0.0, nan, math.log(1e-310), 9 * math.log(3)])
    np.testing.assert_array_equal(wb.hessian(lambda v: wb.sum(v**b))(a), np.diag([0.0, 0.0, 0.0, 0.0, 2.0]))


# -- slopes far out -------------------------------------------------------------------------------------------------------

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of selu
FAR_OUT = {  # on the left, where y is all but its limit: the exact slope
    "elu": (wb.elu, np.exp),
    "elu, alpha=0.3": (lambda v: wb.elu(v, 0.3), lambda a: 0.3 * np.exp(a)),
    "selu": (wb.selu, lambda a: SCALE * ALPHA * np.exp(a)),
    "expm1": (wb.expm1, np.exp),
    "sigmoid": (wb.sigmoid, lambda a: np.exp(a) / (1.0 + np.exp(a)) ** 2),
    "softplus": (wb.softplus, sigmoid),
    "-softplus(-a)": (lambda v: -wb.softplus(-v), lambda a: sigmoid(-a)),
    "silu": (wb.silu, lambda a: sigmoid(a) * (1.0 + a * sigmoid(-a))),
    "softsign": (wb.softsign, lambda a: 1.0 / (1.0 + np.abs(a)) ** 2),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FAR_OUT)
def test_slopes_keep_their_digits_far_to_the_left(name, dtype):
    f, exact = FAR_OUT[name]
    a = -np.logspace(0, 1.9 if dtype is np.float32 else 2.8, 40).astype(dtype)
    expected = exact(a.astype(np.float64))
    for slope in [
        wb.grad(lambda v: wb.sum(f(v)))(a),
        [wb.grad(f)(float(x)) for x in a],
        wb.jacobian(wb.grad(lambda v: wb.sum(f(v))))(a).diagonal() if name in ("elu", "selu", "expm1") else expected,
    ]:
        np.testing.assert_allclose(slope, expected, rtol=4e-6 if dtype is np.float32 else 1e-14)


# -- average --------------------------------------------------------------------------------------------------------------

AVERAGES = [
    ((2, 3), {}), ((2, 3), {"axis": 1}), ((2, 3), {"axis": (0, 1), "keepdims": True}), ((), {}),
    ((2, 3), {"weights": (2, 3)}), ((2, 3), {"weights": (2, 3), "axis": 0}), ((2, 3), {"weights": (3,), "axis": 1}),
    ((2, 3), {"weights": (3,), "axis": -1, "keepdims": True}), ((2, 3, 4), {"weights": (2,), "axis": 0}), ((), {"weights": ()}),
    ((2, 3, 4), {"weights": (3, 4), "axis": (1, 2)}), ((2, 3, 4), {"weights": (4, 2), "axis": (2, 0)}),
    ((2, 2, 2), {"weights": (2, 2), "axis": (2, 0)}), ((2, 3, 4), {"weights": (2, 3, 4), "axis": (2, 0), "keepdims": True}), ((3,), {"weights": (3,)}),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "options"), AVERAGES)
def test_average_is_numpys_and_has_derivatives_by_the_weights_too(shape, options):
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape)
    options = dict(options)
    weighted = "weights" in options
    w = rng.uniform(0.5, 2.0, options.pop("weights", ()))

    def f(a, w):
        return wb.average(a, weights=w, **options) if weighted else wb.average(a, **options) * w

    expected = np.average(a, weights=w if weighted else None, **options)
    agree(f(wb.Value(a), wb.Value(w)).data / (1.0 if weighted else w), expected)
    agree(f(wb.Value(a), w.tolist() if weighted else w).data / (1.0 if weighted else w), expected)
    agree(wb.average(a.tolist(), weights=w if weighted else None, **options), expected)
    wb.check_gradients(f, a, w, order=2)


@pytest.mark.parametrize(
    ("shape", "weights", "axis"), [((2, 3), (3,), None), ((2, 3), (2,), 1), ((2, 3), (3, 2), (0, 1)), ((2, 3), (), 0)]
)
def test_weights_of_another_shape_are_refused_with_a_remedy(shape, weights, axis):
    with pytest.raises(wb.ShapeError, match=r"average.*a has shape \(2, 3\) and weights .*give a weight for each"):
        wb.average(wb.Value(np.ones(shape)), axis, np.ones(weights))


def test_weights_that_add_up_to_nothing_divide_by_zero():
    assert math.isnan(wb.average(wb.Value(3.0), weights=0.0).data)
    np.testing.assert_array_equal(wb.average(wb.Value([1.0, 3.0]), weights=[1.0, -1.0]).data, -inf)


# -- sorting --------------------------------------------------------------------------------------------------------------


def test_equals_keep_their_order_and_the_order_is_plain():
    v = wb.Value([2.0, 1.0, 2.0, 1.0] * 50)  # NumPy's quickest sort would mix up equals among so many
    for order in (v.argsort(), wb.argsort(v), np.argsort(v)):
        assert type(order) is np.ndarray
        assert order.dtype == np.intp
    np.testing.assert_array_equal(v.argsort(), [*range(1, 200, 2), *range(0, 200, 2)])
    (wb.sort(v) * np.arange(200.0)).sum().backward()
    slopes, v.grad = v.grad, None
    (v[v.argsort()] * np.arange(200.0)).sum().backward()
    np.testing.assert_array_equal(slopes, v.grad)
    np.testing.assert_array_equal(slopes[1::2], np.arange(100.0))


# -- erf ------------------------------------------------------------------------------------------------------------------


def test_gelu_does_not_take_another_word_for_yes():
    with pytest.raises(TypeError, match="approximate is True, the tanh form, or False, the exact one; got 'none'"):
        wb.gelu(1.0, approximate="none")


def test_erf_of_arrays_is_maths_to_the_last_digits():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.linspace(-7.0, 7.0, 20_001), np.logspace(-308, 1, 5_000), rng.normal(size=50_000) * 0.01])
    exact = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(wb.erf(x), exact, rtol=8e-16)
    np.testing.assert_allclose(wb.erf(x.astype(np.float32)), exact, rtol=3e-7, atol=1e-38)
    for shape in [(3, 25_000), (75_000, 1)]:  # more than a block, and not contiguous
        a = rng.normal(size=shape[::-1]).T
        agree(wb.erf(a), np.reshape([math.erf(v) for v in a.ravel()], shape), 1e-15)
