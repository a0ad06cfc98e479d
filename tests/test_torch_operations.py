"""Every operation against PyTorch, where it is installed: values, first gradients, second derivatives, nasty points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")

from test_operations import (  # noqa: E402
    COMPILED,
    HUGE,
    NASTY,
    NUMBERS,
    REGISTRY,
    ROWS,
    TINY,
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
inf, nan = math.inf, math.nan
torch.set_num_threads(1)  # work as small as this is done before a second thread is there
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*degrees of freedom:UserWarning", "ignore:Using padding='same':UserWarning"
)


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


def deviation(a, axis=None, ddof=0, keepdims=False):
    axes = tuple(range(a.ndim)) if axis is None else axis
    if axes == () and a.ndim:
        return a * 0.0
    return torch.std(a, axes, correction=ddof, keepdim=keepdims)


def by_rows(function):
    """A torch reduction over the last axis, with NumPy's words for any axes."""

    def reduced(a, axis=None, keepdims=False):
        axes = tuple(range(a.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
        axes = [i % a.ndim for i in axes]
        rest = [i for i in range(a.ndim) if i not in axes]
        lengths = [a.shape[i] for i in rest]
        y = function(a.permute((*rest, *axes)).reshape(*lengths, math.prod(a.shape[i] for i in axes)))
        return y.reshape([1 if i in axes else n for i, n in enumerate(a.shape)]) if keepdims else y

    return reduced


def scan(function):
    return lambda a, axis=None: function(a.ravel() if axis is None or not a.ndim else a, axis or 0)


def median(rows):
    return torch.quantile(rows, 0.5, -1) if rows.numel() else rows.sum(-1) * nan


def recurrence(a, b, axis):
    found = [b.select(axis, 0)] if b.shape[axis] else []
    for i in range(a.shape[axis]):
        found.append(b.select(axis, i + 1) + a.select(axis, i) * found[-1])
    return torch.stack(found, axis) if a.numel() else b + a.sum()


def order_of(a, axis):
    a = torch.as_tensor(a)
    return torch.argsort(a.ravel() if axis is None else a, dim=0 if axis is None else axis, stable=True)


def sort(a, axis=-1):
    return torch.sort(a.ravel() if axis is None else a, dim=0 if axis is None else axis, stable=True).values


def sort_by(x, a, axis):
    return torch.take_along_dim(x, order_of(a, axis), axis)


def unsort(x, a, axis):
    return torch.zeros_like(x).scatter(0 if axis is None else axis, order_of(a, axis), x)


def cbrt(a):
    return torch.sign(a) * torch.abs(a) ** (1 / 3)


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


def take(a, indices, axis=None):
    indices = torch.as_tensor(np.asarray(indices, int))
    a, axis = (a.reshape(-1), 0) if axis is None else (a, axis % a.ndim)
    return a[(slice(None),) * axis + (indices,)]


def scatter(a, indices, shape, axis=None):
    """Each number goes where it would have been taken from."""
    places = np.take(np.arange(math.prod(shape)).reshape(shape), np.asarray(indices, int), axis)
    return put(a.reshape(-1), places.reshape(-1), (math.prod(shape),)).reshape(shape)


def take_along_axis(a, indices, axis=-1):
    if axis is None:
        return a.reshape(-1)[torch.as_tensor(indices)]
    return torch.take_along_dim(a, torch.as_tensor(indices) % a.shape[axis], axis)


def scatter_along_axis(a, indices, shape, axis):
    return torch.zeros(shape, dtype=a.dtype).scatter_add(axis, torch.as_tensor(indices) % shape[axis], a)


def replaced(a, b, index):
    """Number by number, since torch leaves open which of repeated indices wins."""
    places = np.arange(a.numel()).reshape(tuple(a.shape))[index]
    new = torch.broadcast_to(b, places.shape).reshape(-1)
    numbers = list(a.reshape(-1))
    for place, x in zip(np.ravel(places), new, strict=True):
        numbers[place] = x
    return torch.stack(numbers).reshape(a.shape) if numbers else a * 1.0


def roll(a, shift, axis):
    if axis is None or not a.ndim:
        return torch.roll(a.reshape(-1), shift).reshape(a.shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    return torch.roll(a, shifts.reshape(-1).tolist(), axes.reshape(-1).tolist())


def repeat(a, repeats, axis=None):
    a, axis = (a.reshape(-1), 0) if axis is None else (a, axis)
    return torch.repeat_interleave(a, torch.as_tensor(repeats), axis)


BORDERS = {  # of rows (…, length) and its width
    "linear_ramp": lambda a, n, m: (
        a[..., :1] * torch.linspace(0, 1, n + 1, dtype=a.dtype)[:n],
        a[..., -1:] * torch.linspace(1, 0, m + 1, dtype=a.dtype)[1:],
    ),
    "maximum": lambda a, n, m: (a.amax(-1, True),) * 2,
    "mean": lambda a, n, m: (a.mean(-1, True),) * 2,
    "median": lambda a, n, m: (median(a)[..., None],) * 2,
    "minimum": lambda a, n, m: (a.amin(-1, True),) * 2,
}


def pad(a, pad_width, mode="constant", constant_values=0):
    """By the places that numbers come from, since torch's own pad knows fewer modes and axes; 0 is the border's."""
    if mode in BORDERS:
        for axis, (n, m) in enumerate(np.broadcast_to(pad_width, (a.ndim, 2))):
            if n + m:
                a = a.moveaxis(axis, -1)
                front, back = BORDERS[mode](a, n, m)
                a = torch.cat([front.expand(*a.shape[:-1], n), a, back.expand(*a.shape[:-1], m)], -1).moveaxis(-1, axis)
        return a
    how = {"mode": mode} if mode != "constant" else {}
    places = np.pad(np.arange(1, 1 + a.numel()).reshape(tuple(a.shape)), pad_width, **how)
    if mode == "constant":
        how = {"constant_values": constant_values}
    border = np.pad(np.zeros(tuple(a.shape)), pad_width, **how)
    numbers = torch.cat([torch.zeros(1, dtype=a.dtype), a.reshape(-1)])[torch.as_tensor(places)]
    return torch.where(torch.as_tensor(places > 0), numbers, torch.as_tensor(border))


def solve(a, b):
    return torch.linalg.solve(a, b[..., None])[..., 0] if b.ndim == 1 else torch.linalg.solve(a, b)


def signs_of(ours, theirs):
    """Which columns of torch's vectors have the other sign, as a constant."""
    return torch.as_tensor(np.sign(np.sum(np.asarray(ours) * theirs.detach().numpy(), -2, keepdims=True)))


def eigenpairs(a, UPLO="L"):
    values, vectors = torch.linalg.eigh(a, UPLO)
    vectors = vectors * signs_of(np.linalg.eigh(a.detach().numpy(), UPLO)[1], vectors)
    return torch.cat([values[..., None, :], vectors], -2)


def singular_triples(a):
    u, s, vh = torch.linalg.svd(a, full_matrices=False)
    signs = signs_of(np.linalg.svd(a.detach().numpy(), full_matrices=False)[0], u)
    return torch.cat([u * signs, s[..., None, :], vh.mT * signs], -2)


def p_norm(a, ord=2.0, axis=None, keepdims=False):
    return torch.linalg.vector_norm(a, ord, axis, keepdims)


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
        return a.new_zeros(0, 4, math.prod(window), a.shape[1]) + a.sum()
    picture = as_picture(widened(a, padding, fill))
    columns = F.unfold(picture, pair(window), pair(dilation), 0, pair(stride))
    return columns.reshape(*a.shape[:2], math.prod(window), -1).permute(0, 3, 2, 1)


def fold(a, sizes, window, stride, padding, dilation):
    pair = lambda x: (1,) * (2 - len(x)) + x
    if 0 in a.shape:
        return torch.zeros(0, a.shape[3], *sizes, dtype=a.dtype) + a.sum()
    columns = a.permute(0, 3, 2, 1)
    whole = tuple(n + b + e for n, (b, e) in zip(sizes, padding, strict=True))
    y = F.fold(columns.reshape(len(a), -1, a.shape[1]), pair(whole), pair(window), pair(dilation), 0, pair(stride))
    y = y.reshape(len(a), a.shape[3], *whole)
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
    "pick": lambda a, labels: a[torch.arange(len(a)), torch.as_tensor(np.asarray(labels, int))],
    "greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt, "less_equal": torch.le, "equal": torch.eq, "not_equal": torch.ne,
    # -- more arithmetic, functions, reductions
    "reciprocal": torch.reciprocal, "logaddexp": torch.logaddexp, "hypot": torch.hypot, "arctan2": torch.arctan2, "mod": torch.remainder,
    "floor_divide": lambda a, b: torch.div(a, b, rounding_mode="floor"), "expm1": torch.expm1, "log2": torch.log2, "log10": torch.log10,
    "cbrt": cbrt, "tan": torch.tan, "arcsin": torch.arcsin, "arccos": torch.arccos, "arctan": torch.arctan, "sinh": torch.sinh,
    "cosh": torch.cosh, "arcsinh": torch.arcsinh, "arccosh": torch.arccosh, "arctanh": torch.arctanh,
    "elu": lambda a, alpha=1.0: F.elu(a, alpha), "selu": F.selu, "mish": F.mish, "softsign": F.softsign, "hard_tanh": F.hardtanh,
    "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc, "rint": torch.round,
    "round": lambda a, decimals=0: torch.round(a, decimals=decimals), "prod": by_rows(lambda rows: rows.prod(-1)), "std": deviation,
    "ptp": by_rows(lambda rows: rows.amax(-1) - rows.amin(-1)), "median": by_rows(median), "cumsum": scan(torch.cumsum),
    "cumprod": scan(torch.cumprod), "recurrence": recurrence, "sort": sort, "sort_by": sort_by, "unsort": unsort,
    "argsort": lambda a: torch.argsort(a, stable=True),
    # --
    # -- indexing, arranging, products, matrices
    "take": take, "scatter": scatter, "take_along_axis": take_along_axis, "scatter_along_axis": scatter_along_axis, "set_at": replaced,
    "diagonal": lambda a, offset=0, axis1=0, axis2=1: torch.diagonal(a, offset, axis1, axis2), "diag": lambda a, k=0: torch.diag(a, k),
    "tril": lambda a, k=0: torch.tril(a.expand(len(a), -1) if a.ndim == 1 else a, k), "triu": lambda a, k=0: torch.triu(a.expand(len(a), -1) if a.ndim == 1 else a, k),
    "roll": lambda a, shift, axis=None: roll(a, shift, axis), "repeat": repeat, "tile": lambda a, reps: torch.tile(a, tuple(np.atleast_1d(np.array(reps, int)))),
    "pad": pad, "einsum": lambda operands, subscripts, optimize=True: torch.einsum(subscripts, *operands),
    "inv": torch.linalg.inv, "pinv": lambda a, rcond=None: torch.linalg.pinv(a, rtol=1e-15), "solve": solve, "det": torch.linalg.det,
    "slogdet": lambda a: torch.stack(torch.linalg.slogdet(a), -1), "cholesky": lambda a, upper=False: torch.linalg.cholesky(a, upper=upper),
    "eigh": eigenpairs, "svd": singular_triples, "norm": p_norm,
    "is_flat": lambda a, b: (b == 0.0) & ~(a.abs() > 1.3e-77), "logical_and": torch.logical_and, "isfinite": torch.isfinite, "one_hot": lambda labels, classes: F.one_hot(labels.long(), classes),
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
    "maximum": {"nan": "neither wins against a nan: slopes 0 here, 1 there"},
    "minimum": {"nan": "neither wins against a nan: slopes 0 here, 1 there"},
    # -- more arithmetic, functions, reductions
    "arctan2": {"tiny": "squares are 0 there, and so are slopes"},
    "mod": {"tiny": "a quotient that is infinite makes nan there, if there are several numbers"},
    "cbrt": {(0.0,): "torch has none; by |a| it is 0 · ∞ there"},
    "arccosh": {(-1.0,): "outside: 1/-0 here, 1/0 there"},
    "elu": {(nan,): "nan is not above 0: slope nan here, 1 there"},
    "selu": {(nan,): "as elu"},
    "softsign": {(x,): "1/∞ here, ∞/∞ there" for x in (inf, -inf)},
    "hard_tanh": {(nan,): "nan is not inside: slope 0 here, 1 there"},
    "prod": dict.fromkeys(((nan,), (inf, 2.0), (nan, 2.0), (HUGE, HUGE, TINY), (TINY, TINY, HUGE)), "the product of the others here, y / a there"),
    "median": {
        (2.0, 2.0, 2.0): "equals share here", (1.0, 1.0, 2.0, 3.0): "equals share here", (nan, 1.0): "slope nan here",
        (nan,): "slope nan here", (inf,): "∞ - ∞ there",
    },
    "cumprod": dict.fromkeys(((inf, 2.0), (nan, 2.0), (HUGE, HUGE)), "nothing is divided here"),
    "mean_absolute_error": dict.fromkeys(((math.inf, math.inf), (nan, 1.0)), "as sign"),
    "kl_divergence": {(0.0, -1.0, 1.0, 0.0): "log(0) is -∞ here, and so the slope; 0 / 0 there"},
    "negative_log_likelihood": {(-1.0, -2.0): "a mean over no weight: all slopes are nan here, the label's there"},
}  # fmt: skip
OF_A_KIND = {"nan": lambda x: x != x, "tiny": lambda x: 0.0 < abs(x) < 1e-150}
DIFFERENT_POINTS = {("eigh", 1): "the turn of equal eigenvalues' vectors counts as 0 here, and is nan there"}


def differs(name, numbers):
    known = DIFFERENT.get(name, {})
    if any(kind in known and any(map(of_kind, numbers)) for kind, of_kind in OF_A_KIND.items()):
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
    gradients = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True, materialize_grads=True)
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
    numbers = [x for i in tracked(REGISTRY[name], inputs) for x in np.ravel(inputs[i]).tolist()]
    if isinstance(point.value, type) or (name, index) in DIFFERENT_POINTS or differs(name, numbers):
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


def known_difference(name, key):
    """Whether some point of the row of which ``key`` is said is really another here than there."""
    op, options = REGISTRY[name], ROWS[name].cases[0].options
    tried = [
        ([*map(np.asarray, plain_inputs(name, p))], p.options) for p in NASTY[name] if not isinstance(p.value, type)
    ]
    if ROWS[name].elementwise:
        grid = np.meshgrid(*[NUMBERS] * len(ROWS[name].cases[0].shapes), indexing="ij")
        tried += [(list(column), options) for column in zip(*[x.ravel() for x in grid], strict=True)]
    of_kind = OF_A_KIND.get(key)
    for inputs, how in tried:
        numbers = [float(x) for i in tracked(op, inputs) for x in np.ravel(inputs[i])]
        if of_kind is None and not np.array_equal(numbers, key, equal_nan=True):
            continue
        if of_kind is not None and not any(map(of_kind, numbers)):
            continue
        # an array, of several numbers: torch takes other ways for them than for one
        columns = [np.full(9, x) if np.ndim(x) == 0 and ROWS[name].elementwise else x for x in inputs]
        given = with_values(op, columns)
        y = call(op, given, how)
        y.backward(weights(y.data))
        expected, torchs, _ = torch_call(name, columns, how)
        pairs = [(y.data, expected), *zip([given[i].grad for i in tracked(op, columns)], torchs, strict=True)]
        if not all(np.allclose(a, b.detach().numpy(), rtol=1e-10, atol=1e-300, equal_nan=True) for a, b in pairs):
            return True
    return False


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, known in DIFFERENT.items() for key in known])
def test_what_is_said_to_be_different_is(name, key):
    assert known_difference(name, key), "it is the same there now: take it off the table"


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
