"""Every operation against PyTorch, where it is installed: values, first gradients, second derivatives, nasty points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")

from test_operations import (  # noqa: E402
    COMPILED,
    NASTY,
    NUMBERS,
    REGISTRY,
    ROWS,
    WITHOUT_DERIVATIVE,
    call,
    each_case,
    plain_inputs,
    tracked,
    value_and_gradients,
    weights,
    with_values,
)

import tinygrad_wb as wb  # noqa: E402

F = torch.nn.functional
torch.set_num_threads(1)  # work as small as this is done before a second thread is there
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*degrees of freedom:UserWarning", "ignore:Using padding='same':UserWarning"
)
nan = math.nan


def reduction(function):
    """A torch reduction with NumPy's words for the axes."""

    def reduced(a, axis=None, keepdims=False, **options):
        axes = tuple(range(a.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
        if axes == () and a.ndim:  # torch would reduce over all axes
            return a * 1.0
        return function(a, axes, keepdims, **options)

    return reduced


def variance(a, axis=None, ddof=0, keepdims=False):
    axes = tuple(range(a.ndim)) if axis is None else axis
    if axes == () and a.ndim:
        return a * 0.0
    return torch.var(a, axes, correction=ddof, keepdim=keepdims)


def clip(a, min=None, max=None):
    return torch.clamp(a, min, max)


def getitem(a, index):
    """A slice with a negative step is not torch's; flip says the same."""
    if isinstance(index, slice) and (index.step or 1) < 0:
        return torch.flip(a, (0,))[:: -index.step]
    as_torch = lambda i: torch.tensor(i) if isinstance(i, (np.ndarray, list)) else i
    return a[tuple(map(as_torch, index)) if isinstance(index, tuple) else as_torch(index)]


def broadcast_to(a, shape):
    return torch.broadcast_to(a, shape)  # it knows no shape=


def concatenate(parts, axis=0):
    return torch.cat([p.ravel() for p in parts] if axis is None else parts, axis or 0)


def put(a, index, shape):
    zeros = torch.zeros(shape, dtype=a.dtype)
    if isinstance(index, slice):
        places = torch.arange(math.prod(shape)).reshape(shape)[index]
        return zeros.ravel().index_put((places.ravel(),), a.ravel(), accumulate=True).reshape(shape)
    index = index if isinstance(index, tuple) else (index,)
    return zeros.index_put(tuple(torch.as_tensor(i) for i in index), a, accumulate=True)


def of_classes(function):
    """Torch has the classes second, and no leading axes but one."""

    def loss(a, labels, class_weights=None, **options):
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=a.dtype)
        labels = torch.as_tensor(np.ravel(np.asarray(labels, int)))
        return function(a.reshape(-1, a.shape[-1]), labels, weight=weight, **options)

    return loss


def affine(x, w, b):
    return F.linear(x, w.T, b)


def power(a, b):
    return torch.pow(a, b)


# -- neural operations ---------------------------------------------------------------------------------------------------


def widened(a, padding, fill=0.0):
    """Padded as torch's `pad` has it: the last axis first."""
    return F.pad(a, [n for pair in reversed(padding) for n in pair], value=fill)


def as_picture(a):
    """torch's unfold and fold know pictures only: a signal is one row."""
    return a[:, :, None, :] if a.ndim == 3 else a


def unfold(a, window, stride, padding, dilation, fill=0.0):
    pair = lambda x: (1,) * (2 - len(x)) + x
    if 0 in a.shape:
        return a.new_zeros(0, a.shape[1], math.prod(window), 4) + a.sum()
    picture = as_picture(widened(a, padding, fill))
    columns = F.unfold(picture, pair(window), pair(dilation), 0, pair(stride))
    return columns.reshape(*a.shape[:2], math.prod(window), -1)


def fold(a, sizes, window, stride, padding, dilation):
    pair = lambda x: (1,) * (2 - len(x)) + x
    if 0 in a.shape:
        return torch.zeros(*a.shape[:2], *sizes, dtype=a.dtype) + a.sum()
    whole = tuple(n + b + e for n, (b, e) in zip(sizes, padding, strict=True))
    y = F.fold(a.reshape(len(a), -1, a.shape[3]), pair(whole), pair(window), pair(dilation), 0, pair(stride))
    y = y.reshape(*a.shape[:2], *whole)
    return y[(..., *(slice(b, b + n) for n, (b, _) in zip(sizes, padding, strict=True)))]


def by_axes(name):
    """max_pool and average_pool are two functions there."""

    def pool(a, *args, **options):
        if "window" in options:
            options["kernel_size"] = options.pop("window")
        return getattr(F, f"{name}{a.ndim - 2}d")(a, *args, **options)

    return pool


def layer_norm(a, weight, bias, axis=-1, epsilon=1e-5):
    """Torch knows the last axes only."""
    axes = sorted(i % a.ndim for i in ((axis,) if isinstance(axis, int) else axis))
    last = [i for i in range(a.ndim) if i not in axes] + axes
    shape = [a.shape[i] for i in axes]
    weight, bias = (x.expand(shape) if x.ndim == 0 else x for x in (weight, bias))
    return F.layer_norm(a.permute(last), shape, weight, bias, epsilon).permute(*np.argsort(last).tolist())


def batch_norm(a, weight, bias, epsilon=1e-5):
    weight, bias = (x * torch.ones(a.shape[1], dtype=x.dtype) for x in (weight, bias))  # an expanded one is misread
    return F.batch_norm(a, None, None, weight, bias, training=True, eps=epsilon)


def attention(query, key, value, mask=0.0, causal=False, scale=None):
    """Both a mask and ``causal`` are refused there; a number as the mask adds 0 to every gradient."""
    rows = (query @ key.transpose(-1, -2)).shape
    if isinstance(mask, torch.Tensor) and mask.dtype.is_floating_point:
        mask = mask.expand(rows)
    else:
        mask = torch.as_tensor(np.broadcast_to(np.asarray(mask), rows).copy())
    if causal:
        visible = torch.ones(rows, dtype=torch.bool).tril()
        mask = mask & visible if mask.dtype == torch.bool else mask.masked_fill(~visible, -math.inf)
    return F.scaled_dot_product_attention(query, key, value, mask, scale=scale)


def kl_divergence(a, b):
    rows = a.reshape(-1, a.shape[-1])
    return F.kl_div(rows, b.reshape(rows.shape), reduction="batchmean")


TORCH = {
    "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div, "power": power, "maximum": torch.maximum,
    "minimum": torch.minimum, "negative": torch.neg, "positive": torch.positive, "absolute": torch.abs, "sign": torch.sign,
    "square": torch.square, "sqrt": torch.sqrt, "exp": torch.exp, "log": torch.log, "log1p": torch.log1p, "sin": torch.sin, "cos": torch.cos,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": lambda a: F.softplus(a, threshold=500.0), "erf": torch.erf, "silu": F.silu,
    "relu": torch.relu, "leaky_relu": lambda a, slope=0.01: F.leaky_relu(a, slope),
    "gelu": lambda a, approximate=False: F.gelu(a, approximate="tanh" if approximate else "none"), "clip": clip,
    "where": lambda c, a, b: torch.where(torch.as_tensor(np.asarray(c, bool)), a, b),
    "sum": reduction(torch.sum), "mean": reduction(torch.mean), "max": reduction(torch.amax), "min": reduction(torch.amin),
    "logsumexp": reduction(torch.logsumexp), "var": variance,
    "softmax": lambda a, axis=-1: F.softmax(a, axis), "log_softmax": lambda a, axis=-1: F.log_softmax(a, axis),
    "reshape": lambda a, shape: torch.reshape(a, shape if isinstance(shape, tuple) else (shape,)),
    "transpose": lambda a, axes=None: a.permute(tuple(reversed(range(a.ndim))) if axes is None else axes),
    "broadcast_to": broadcast_to, "astype": lambda a, dtype: a.to(getattr(torch, dtype)), "getitem": getitem, "put": put,
    "concatenate": concatenate, "stack": lambda parts, axis=0: torch.stack(parts, axis),
    "matmul": torch.matmul, "affine": affine, "mean_squared_error": F.mse_loss,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits, "hinge_loss": lambda a, t: torch.relu(1.0 - t * a).mean(),
    "cross_entropy": of_classes(F.cross_entropy),
    "take": lambda a, index: a[torch.as_tensor(np.asarray(index, int))], "scatter": lambda a, index, shape: put(a, np.asarray(index, int), shape),
    "pick": lambda a, labels: a[torch.arange(len(a)), torch.as_tensor(np.asarray(labels, int))],
    "greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt, "less_equal": torch.le, "equal": torch.eq, "not_equal": torch.ne,
    "logical_and": torch.logical_and, "isfinite": torch.isfinite, "one_hot": lambda labels, classes: F.one_hot(labels.long(), classes),
    # -- neural operations ---------------------------------------------------------------------------------------------
    "unfold": unfold, "fold": fold, "conv1d": F.conv1d, "conv2d": F.conv2d, "max_pool": by_axes("max_pool"), "average_pool": by_axes("avg_pool"),
    "first_equal": lambda a, b, axis: (a == b) & ((a == b).cumsum(axis) == 1), "layer_norm": layer_norm, "batch_norm": batch_norm,
    "embedding": lambda weight, labels: weight[torch.as_tensor(np.asarray(labels, int))], "scaled_dot_product_attention": attention,
    "mean_absolute_error": F.l1_loss, "huber": F.huber_loss, "kl_divergence": kl_divergence, "negative_log_likelihood": of_classes(F.nll_loss),
}  # fmt: skip

# Where the two mean different things on purpose.
DIFFERENT = {
    "absolute": {(nan,): "∂|nan| is nan here, 0 there"},
    "sign": {(nan,): "sign(nan) is NumPy's nan here, 0 there"},
    "relu": {(nan,): "nan is not above 0: slope 0 here, 1 there"},
    "hinge_loss": {(nan, 1.0): "as relu"},
    "softplus": {(x,): "torch's threshold" for x in (1000.0, 1e300)},
    "maximum": {"nan": "neither wins against a nan: slopes 0 here, 1 there"},
    "minimum": {"nan": "neither wins against a nan: slopes 0 here, 1 there"},
    "power": {(a, 0.0): "b · aᵇ⁻¹ is 0 · nan or 0 · ∞ here, 0 there" for a in (nan, 5e-324)},
    "mean_absolute_error": dict.fromkeys(((math.inf, math.inf), (nan, 1.0)), "as sign"),
    "kl_divergence": {(0.0, -1.0, 1.0, 0.0): "log(0) is -∞ here, and so the slope; 0 / 0 there"},
    "negative_log_likelihood": {(-1.0, -2.0, 0.0): "a mean over no weight: all slopes are nan here, the label's there"},
}


def differs(name, numbers):
    known = DIFFERENT.get(name, {})
    if "nan" in known and any(x != x for x in numbers):
        return True
    return any(
        isinstance(k, tuple)
        and len(k) == len(numbers)
        and all(a == b or (a != a and b != b) for a, b in zip(k, numbers, strict=True))
        for k in known
    )


def torch_call(name, inputs, options):
    """The same call in torch, with the same weights: result, gradients, and the tensors for more."""
    op = REGISTRY[name]
    kept = tracked(op, inputs)
    tensors = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True) if i in kept else x for i, x in enumerate(inputs)
    ]
    y = TORCH[name](tensors, **options) if op.variadic else TORCH[name](*tensors, **options)
    leaves = [tensors[i] for i in kept]
    loss = (y * torch.as_tensor(weights(y.detach().numpy()), dtype=y.dtype)).sum()
    gradients = torch.autograd.grad(loss, leaves, create_graph=True)
    return y, gradients, leaves


def close(a, b, tolerance=1e-10):
    b = b.detach().numpy(force=True) if isinstance(b, torch.Tensor) else b
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_every_operation_is_compared():
    assert sorted(TORCH) == sorted(REGISTRY.keys() - COMPILED)


@pytest.mark.parametrize("name", WITHOUT_DERIVATIVE)
def test_what_has_no_derivative_is_torchs(name):
    _, arrays, *options = WITHOUT_DERIVATIVE[name]
    options = options[0] if options else {}
    given = [x.astype(int) for x in arrays] if name == "one_hot" else arrays
    expected = TORCH[name](*map(torch.as_tensor, arrays), *options.values())
    np.testing.assert_array_equal(REGISTRY[name].function(*given, **options), expected.numpy())


@each_case
def test_values_and_gradients_are_torchs(name, case):
    for seed in range(3):
        inputs = ROWS[name].inputs(case, seed)
        y, gradients, _, _ = value_and_gradients(REGISTRY[name], inputs, case.options)
        expected, torchs, _ = torch_call(name, inputs, case.options)
        close(y, expected)
        for d, e in zip(gradients, torchs, strict=True):
            close(d, e)


@each_case
def test_second_derivatives_are_torchs(name, case):
    op, inputs = REGISTRY[name], ROWS[name].inputs(case)
    given = with_values(op, inputs)
    y = call(op, given, case.options)
    y.backward(weights(y.data), record=True)
    kept = tracked(op, inputs)
    first = wb.stack([wb.sum(wb.sin(given[i].grad)) for i in kept]).sum()
    for i in kept:
        given[i].grad = None
    first.backward()
    _, torchs, leaves = torch_call(name, inputs, case.options)
    theirs = sum(torch.sin(d).sum() for d in torchs)
    expected = torch.autograd.grad(theirs, leaves, allow_unused=True) if theirs.requires_grad else [None] * len(leaves)
    for i, d in zip(kept, expected, strict=True):
        ours = np.zeros(np.shape(inputs[i])) if given[i].grad is None else given[i].grad
        close(ours, np.zeros(np.shape(inputs[i])) if d is None else d)


@pytest.mark.parametrize(("name", "index"), [(n, i) for n, ps in NASTY.items() for i in range(len(ps))])
def test_nasty_points_are_torchs(name, index):
    point = NASTY[name][index]
    inputs = plain_inputs(name, point)
    if isinstance(point.value, type) or differs(name, np.concatenate([np.ravel(x) for x in inputs])):
        return
    expected, gradients, _ = torch_call(name, inputs, point.options)
    close(np.asarray(point.value, float), expected)
    for d, e in zip(point.gradients, gradients, strict=True):
        close(np.asarray(d, float), e)


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.elementwise])
def test_every_pair_of_nasty_numbers_gives_what_it_gives_in_torch(name):
    op, options = REGISTRY[name], ROWS[name].cases[0].options
    grid = np.meshgrid(*[NUMBERS] * len(ROWS[name].cases[0].shapes), indexing="ij")
    wanted = [
        k
        for k, numbers in enumerate(zip(*[x.ravel().tolist() for x in grid], strict=True))
        if not differs(name, numbers)
    ]
    columns = [x.ravel()[wanted] for x in grid]
    given = with_values(op, columns)
    y = call(op, given, options)
    y.backward(np.ones(y.shape))
    tensors = [torch.tensor(x, requires_grad=i in tracked(op, columns)) for i, x in enumerate(columns)]
    expected = TORCH[name](*tensors, **options)
    expected.sum().backward()
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-10, atol=1e-300)
    wrong = []
    for i in tracked(op, columns):
        ours, theirs = given[i].grad, tensors[i].grad.numpy()
        for k in np.flatnonzero(~np.isclose(ours, theirs, rtol=1e-10, atol=1e-300, equal_nan=True)):
            wrong.append((f"d{op.inputs[i]}", *[float(x[k]) for x in columns], float(ours[k]), float(theirs[k])))
    assert wrong == []  # which partial, at which inputs, ours, theirs


@st.composite
def convolutions(draw):
    """Shapes and options of a convolution that has at least one position."""
    axes = draw(st.integers(1, 2))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))
    window, stride, dilation, groups = each(1, 3), each(1, 3), each(1, 3), draw(st.integers(1, 3))
    padding = draw(st.sampled_from(["numbers", "same", "valid"]))
    if padding == "same":
        stride = (1,) * axes
    padding = each(0, 2) if padding == "numbers" else padding
    least = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    sizes = [draw(st.integers(n, n + 3)) for n in least]
    batch, channels, out = (draw(st.integers(1, 2)) for _ in range(3))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (batch, channels * groups, *sizes), (out * groups, channels, *window), options


def both_ways(name, inputs, options):
    """Values, gradients and a second derivative, here and there."""
    given = [wb.Value(x) for x in inputs]
    y = REGISTRY[name].function(*given, **options)
    expected, torchs, leaves = torch_call(name, inputs, options)
    close(y.data, expected)
    y.backward(weights(y.data), record=True)
    first = wb.stack([wb.sum(wb.sin(v.grad)) for v in given]).sum()
    for v, d in zip(given, torchs, strict=True):
        close(v.grad.data, d)
        v.grad = None
    if any(d.requires_grad for d in torchs):
        first.backward()
        second = torch.autograd.grad(sum(torch.sin(d).sum() for d in torchs), leaves, allow_unused=True)
        for v, d in zip(given, second, strict=True):
            close(np.zeros(v.shape) if v.grad is None else v.grad, torch.zeros(v.shape) if d is None else d)


@settings(max_examples=80)
@given(drawn=convolutions(), seed=st.integers(0, 2**16))
def test_convolutions_are_torchs(drawn, seed):
    x, w, options = drawn
    rng = np.random.default_rng(seed)
    both_ways(f"conv{len(x) - 2}d", [rng.normal(size=x), rng.normal(size=w)], options)


@settings(max_examples=80)
@given(drawn=convolutions(), seed=st.integers(0, 2**16), name=st.sampled_from(["max_pool", "average_pool"]))
def test_poolings_are_torchs_ties_too(drawn, seed, name):
    (*shape,), (_, _, *window), options = drawn
    padding = [n // 2 for n in window]
    sizes = [max(n, k) for n, k in zip(shape[2:], window, strict=True)]
    a = np.random.default_rng(seed).integers(-2, 3, (*shape[:2], *sizes)).astype(float)
    both_ways(name, [a], {"window": tuple(window), "stride": options["stride"], "padding": tuple(padding)})


@settings(max_examples=60)
@given(
    batch=st.lists(st.integers(1, 3), max_size=2), sizes=st.tuples(*[st.integers(1, 4)] * 4), seed=st.integers(0, 2**16),
    mask=st.sampled_from(["none", "added", "booleans"]), causal=st.booleans(),
)  # fmt: skip
def test_attention_is_torchs(batch, sizes, seed, mask, causal):
    """Queries that see nothing too, on which torch's first derivative is compared alone: its second is nan there."""
    queries, keys, features, values = sizes
    rng = np.random.default_rng(seed)
    q, k, v = (
        rng.normal(size=(*batch, queries, features)),
        rng.normal(size=(*batch, keys, features)),
        rng.normal(size=(*batch, keys, values)),
    )
    visible = rng.random((queries, keys)) < 0.6
    m = {"none": 0.0, "added": rng.normal(size=(queries, keys)), "booleans": visible}[mask]
    given = [wb.Value(x) for x in (q, k, v)] + ([wb.Value(m)] if mask == "added" else [m])
    y = wb.scaled_dot_product_attention(*given, causal=causal)
    y.backward(weights(y.data))
    expected, torchs, _ = torch_call("scaled_dot_product_attention", [q, k, v, m], {"causal": causal})
    close(y.data, expected)
    for x, d in zip(given, torchs, strict=False):
        if type(x) is wb.Value:
            close(x.grad, d)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_with_all_that_it_is_told(smoothing, weighted, dtype):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(32, 10)).astype(dtype), rng.integers(0, 10, 32)
    weight = rng.uniform(0.1, 3.0, 10) if weighted else None
    v, t = wb.Value(logits), torch.tensor(logits, requires_grad=True)
    loss = wb.cross_entropy(v, labels, label_smoothing=smoothing, class_weights=weight)
    weight = torch.tensor(weight.astype(dtype)) if weighted else None
    expected = F.cross_entropy(t, torch.as_tensor(labels), weight, label_smoothing=smoothing)
    loss.backward()
    expected.backward()
    assert v.grad.dtype == dtype
    tolerance = 1e-12 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(loss.data, expected.item(), rtol=tolerance)
    np.testing.assert_allclose(v.grad, t.grad.numpy(), rtol=10 * tolerance, atol=tolerance)


def test_a_network_of_many_operations():
    rng = np.random.default_rng(0)
    x, w, b, v = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(3, 2))
    labels = np.array([0, 1, 1, 0, 1])
    ours = [wb.Value(p) for p in (w, b, v)]
    hidden = wb.gelu(wb.affine(x, ours[0], ours[1]))
    loss = (
        wb.cross_entropy(hidden @ ours[2], labels) + 0.01 * (ours[0] ** 2).sum() - wb.log_softmax(hidden)[:, 1].mean()
    )
    loss.backward()
    theirs = [torch.tensor(p, requires_grad=True) for p in (w, b, v)]
    hidden = F.gelu(torch.tensor(x) @ theirs[0] + theirs[1])
    expected = (
        F.cross_entropy(hidden @ theirs[2], torch.tensor(labels))
        + 0.01 * (theirs[0] ** 2).sum()
        - F.log_softmax(hidden, -1)[:, 1].mean()
    )
    expected.backward()
    close(loss.data, expected)
    for p, q in zip(ours, theirs, strict=True):
        close(p.grad, q.grad)
