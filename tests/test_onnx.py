"""ONNX files: onnxruntime computes the same from them, for every operation and every layer, or they are listed."""

import inspect
import re
import sys

import numpy as np
import pytest
from docs_scripts import DOCS
from test_operations import COMPILED, NASTY, ROWS, WITHOUT_DERIVATIVE

import tinygrad_wb as wb
from tinygrad_wb.nn import __all__ as layer_names
from tinygrad_wb.operation import REGISTRY, operation

onnx = pytest.importorskip("onnx", reason="onnx is not installed; export_onnx needs it")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; it runs what is exported")

from tinygrad_wb.onnx.counts import Count, DiffersError, Stretched, merged  # noqa: E402
from tinygrad_wb.onnx.graph import make  # noqa: E402
from tinygrad_wb.onnx.rows import ROWS as TABLE  # noqa: E402
from tinygrad_wb.onnx.table import LACKING  # noqa: E402

RNG = np.random.default_rng(0)
DTYPES = {"tensor(double)": np.float64, "tensor(float)": np.float32}
TOLERANCE = {"float64": 1e-6, "float32": 2e-5}

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{words}:RuntimeWarning")  # of what NumPy computes here of nan and nothing
    for words in (".*encountered in", "Degrees of freedom", "Mean of empty")
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def ran(path, inputs):
    """All that onnxruntime computes from ``inputs``."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are for those who watch a server
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    feed = {
        told.name: x if isinstance(x, np.ndarray) else np.array(x, DTYPES[told.type])
        for told, x in zip(session.get_inputs(), inputs, strict=True)
    }
    return session.run(None, feed)


def plain(x):
    return np.asarray(getattr(x, "data", x))


def same(found, own, tolerance):
    own = plain(own)
    assert found.shape == own.shape
    assert found.dtype.kind == own.dtype.kind
    if own.ndim:
        assert found.dtype == own.dtype
    assert np.allclose(found, own, rtol=tolerance, atol=tolerance, equal_nan=True), f"{found} {own}"


def compared(f, path, inputs, others=(), tolerance=1e-6, batch=True):
    """Export ``f``, and hold what onnxruntime makes of ``inputs`` and of ``others`` against ours."""
    assert wb.export_onnx(f, path, tuple(inputs), batch=batch) == path
    for given in (inputs, *others):
        (found,) = ran(path, given)
        same(found, f(*given), tolerance)


def called(name, options):
    """The operation as a function of its inputs."""
    op = REGISTRY[name]
    return (lambda *parts: op.function(parts, **options)) if op.variadic else (lambda *xs: op.function(*xs, **options))


def in_dtype(inputs, dtype):
    return [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in inputs]


def of_size(inputs, n, size, seed):
    """The inputs as a batch of another size, and of other numbers."""
    rng = np.random.default_rng(seed)

    def other(x):
        y = x[np.arange(size) % n] if np.ndim(x) and len(x) == n else x
        of_floats = isinstance(y, np.ndarray) and y.dtype.kind == "f"
        return rng.permutation(y.ravel()).reshape(y.shape) if of_floats else y

    return list(map(other, inputs))


# -- every operation ----------------------------------------------------------------------------------------------------

CASES = [
    pytest.param(name, row.inputs(case), case.options, id=f"{name}-{i}")
    for name, row in ROWS.items()
    for i, case in enumerate(row.cases)
] + [
    pytest.param(
        name, [x.astype(int) if name == "one_hot" else x for x in inputs], options[0] if options else {}, id=name
    )
    for name, (_, inputs, *options) in WITHOUT_DERIVATIVE.items()
]  # fmt: skip


def lacking(name, dtype="float64"):
    return name in LACKING and not (name == "det" and dtype == "float32")


def single_label(name, inputs):
    return name in ("cross_entropy", "negative_log_likelihood") and np.ndim(inputs[1]) == 0


def test_the_walk_sees_every_operation():
    assert {case.values[0] for case in CASES} == set(REGISTRY) - COMPILED
    assert set(TABLE) < set(REGISTRY)
    assert set(LACKING) < set(REGISTRY)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "inputs", "options"), CASES)
def test_operation(name, inputs, options, dtype, path):
    with np.errstate(over="ignore"):
        inputs = in_dtype(inputs, dtype)
    f = called(name, options)
    if lacking(name, dtype):
        with pytest.raises(
            TypeError, match=re.escape(f"{name} (test_onnx.py:") + r"\d+\): " + re.escape(LACKING[name])
        ):
            wb.export_onnx(f, path, tuple(inputs), batch=False)
    elif single_label(name, inputs):
        with pytest.raises(TypeError, match="give labels as an array"):
            wb.export_onnx(f, path, tuple(inputs), batch=False)
    else:
        compared(f, path, inputs, tolerance=TOLERANCE[dtype], batch=False)
        return
    assert not path.exists()


@pytest.mark.parametrize(("name", "inputs", "options"), CASES)
def test_operation_on_batches_of_other_sizes(name, inputs, options, path):
    """Whatever is not refused is right for all of them."""
    n = next((len(x) for x in inputs if np.ndim(x)), 0)
    if not n or name == "unsort":  # whose inputs belong together
        return
    f = called(name, options)
    try:
        wb.export_onnx(f, path, tuple(inputs))
    except (TypeError, ValueError):
        assert not path.exists()
        return
    for size in (n, n + 4, n + 1, 1):
        given = of_size(inputs, n, size, seed=size)
        try:
            own = f(*given)
        except (ValueError, IndexError):
            assert size == 1, "it would have been refused"
            continue
        same(ran(path, given)[0], own, 1e-6)


# What onnxruntime has otherwise, as docs/onnx.md says.
OTHERWISE = {("log_softmax", 3), ("max_pool", 5)}


@pytest.mark.parametrize(
    ("name", "i", "point"), [pytest.param(n, i, p, id=f"{n}-{i}") for n, ps in NASTY.items() for i, p in enumerate(ps)]
)
def test_nasty_points(name, i, point, path):
    if isinstance(point.value, type) or lacking(name):  # an error, or not exported
        return
    inputs = [float(x) if np.ndim(x) == 0 else np.asarray(x) for x in point.inputs]
    if single_label(name, inputs):
        return
    if (name, i) in OTHERWISE:
        with pytest.raises(AssertionError):
            compared(called(name, point.options), path, inputs, batch=False)
        return
    compared(called(name, point.options), path, inputs, batch=False)


@pytest.mark.parametrize("broken", [lambda a: a, TABLE["sin"], lambda a: make("Tanh", a) * 1.00001])
def test_a_wrong_row_is_found(broken, path, monkeypatch):
    monkeypatch.setitem(TABLE, "tanh", broken)
    with pytest.raises(AssertionError):
        compared(wb.tanh, path, [np.array([0.3, -0.7])])


def test_a_file_that_onnx_itself_refuses_is_not_written(path, monkeypatch):
    path.write_text("what was there")
    monkeypatch.setitem(TABLE, "tanh", lambda a: a @ a)  # of shapes (2, 3) and (2, 3)
    with pytest.raises(Exception, match="Incompatible dimensions"):
        wb.export_onnx(wb.tanh, path, np.zeros((2, 3)), batch=False)
    assert path.read_text() == "what was there"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# -- every layer --------------------------------------------------------------------------------------------------------


def sample(shape, *layers):
    """A function that makes the layers in a dtype, and an input of a shape (for labels, the labels)."""
    return layers, shape


def layer(kind, *args, **options):
    return lambda dtype: kind(*args, **options, dtype=dtype)


def trained_norm(channels):
    """One that has seen something."""

    def make(dtype):
        norm = wb.BatchNorm(channels, dtype=dtype)
        for _ in range(3):
            norm(RNG.normal(2.0, 3.0, (8, channels)).astype(dtype))
        return norm

    return make


LABELS = np.array([[0, 2, 1], [4, 4, 0]])
LAYERS = {
    "MLP": sample((4, 3), layer(wb.MLP, 3, [5, 4], 2)),
    "Activation": sample((4, 3), *[lambda dtype, name=name: wb.Activation(name) for name in wb.nn.layers.ACTIVATIONS]),
    "AveragePool": sample((2, 3, 4, 6), lambda dtype: wb.AveragePool(2), lambda dtype: wb.AveragePool(3, 1, 1)),
    "BatchNorm": sample((4, 3), trained_norm(3)),
    "Conv1d": sample((2, 4, 6), layer(wb.Conv1d, 4, 2, 3, "tanh"), layer(wb.Conv1d, 4, 2, 2, stride=2, padding=1, groups=2)),
    "Conv2d": sample((2, 3, 5, 6), layer(wb.Conv2d, 3, 2, 3, "relu", padding="same"), layer(wb.Conv2d, 3, 6, (2, 3), groups=3)),
    "Dense": sample((4, 3), layer(wb.Dense, 3, 2, "gelu"), layer(wb.Dense, 3, 2, bias=False)),
    "Dropout": sample((4, 3), lambda dtype: wb.Dropout(0.5)),
    "Embedding": sample(LABELS, layer(wb.Embedding, 5, 3)),
    "Flatten": sample((2, 3, 4), lambda dtype: wb.Flatten()),
    "GRU": sample((2, 5, 3), layer(wb.GRU, 3, 4)),
    "LSTM": sample((2, 5, 3), layer(wb.LSTM, 3, 4)),
    "LayerNorm": sample((2, 5, 3), layer(wb.LayerNorm, 3), layer(wb.LayerNorm, (5, 3))),
    "MaxPool": sample((2, 3, 4, 6), lambda dtype: wb.MaxPool(2), lambda dtype: wb.MaxPool(3, 1, 1)),
    "MultiHeadAttention": sample((2, 5, 4), layer(wb.MultiHeadAttention, 4, 2), layer(wb.MultiHeadAttention, 4, 2, causal=True, bias=False)),
    "RNN": sample((2, 5, 3), layer(wb.RNN, 3, 4), layer(wb.RNN, 3, 4, "relu")),
    "Residual": sample((4, 3), lambda dtype: wb.Residual(wb.Dense(3, 3, "tanh", dtype=dtype), wb.Dropout(0.1))),
    "Sequential": sample((4, 3), lambda dtype: wb.Sequential(wb.Dense(3, 2, dtype=dtype), wb.tanh), lambda dtype: wb.Sequential()),
    "TransformerBlock": sample((2, 5, 4), layer(wb.TransformerBlock, 4, 2, causal=True, dropout=0.5)),
}  # fmt: skip


def without_sample(names):
    return {name for name in names if name != "Module" and issubclass(getattr(wb, name), wb.Module)} - LAYERS.keys()


def test_every_layer_has_a_sample(monkeypatch):
    assert without_sample(layer_names) == set()
    monkeypatch.setattr(wb, "Fresh", type("Fresh", (wb.Module,), {}), raising=False)
    assert without_sample([*layer_names, "Fresh"]) == {"Fresh"}, "a new one would be missed"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, dtype, path):
    makers, shape = LAYERS[name]
    for made_in in makers:
        model = made_in(dtype)
        x = shape if isinstance(shape, np.ndarray) else RNG.normal(size=shape).astype(dtype)
        wb.export_onnx(model, path, x)
        assert model.training, "it is as it was"
        model.eval()
        for size in (len(x), 1, 7):
            (given,) = of_size([x], len(x), size, seed=size)
            same(ran(path, [given])[0], model(given), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_network(dtype, path):
    model = wb.Sequential(
        wb.Conv2d(1, 4, 3, "relu", padding="same", dtype=dtype), wb.MaxPool(2), trained_norm(4)(dtype), wb.Flatten(),
        wb.Dense(64, 8, "gelu", dtype=dtype), wb.Dropout(0.5), wb.LayerNorm(8, dtype=dtype), wb.Dense(8, 3, "softmax", dtype=dtype),
    )  # fmt: skip
    x = RNG.normal(size=(5, 1, 8, 8)).astype(dtype)
    model.eval()
    compared(model, path, [x], [[x[:1]], [np.concatenate([x, x])]], tolerance={"float16": 1e-2}.get(dtype, 1e-6))


def words(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_words_that_onnx_has_are_used(path):
    model = wb.Sequential(
        wb.Conv2d(1, 2, 3, dtype="float32"), wb.MaxPool(2), wb.AveragePool(1), wb.Flatten(), wb.Dense(18, 4, "gelu", dtype="float32"),
        wb.LayerNorm(4, dtype="float32"), wb.softmax,
    )  # fmt: skip
    wb.export_onnx(model, path, np.zeros((1, 1, 8, 8), np.float32))
    expected = [
        "Conv",
        "Reshape",
        "Add",
        "MaxPool",
        "AveragePool",
        "Reshape",
        "Gemm",
        "Gelu",
        "LayerNormalization",
        "Softmax",
    ]
    assert words(path) == expected
    wb.export_onnx(wb.Embedding(5, 2), path, LABELS)
    assert words(path) == ["Gather"]
    wb.export_onnx(lambda x, y: wb.einsum("ij,kj->ik", x, y), path, (np.zeros((2, 3)), np.zeros((4, 3))))
    assert words(path) == ["Einsum"]


# -- functions ------------------------------------------------------------------------------------------------------------

X = RNG.normal(size=(3, 2))
W = wb.Value(RNG.normal(size=(2, 2)), name="w")
V = wb.Value(RNG.normal(size=(2, 2)), name="v")
COMPILED_HALF, NORM = wb.compile(lambda x: wb.tanh(x @ W)), wb.BatchNorm(2)

FUNCTIONS = {
    "a gradient": wb.grad(lambda x: wb.sum(wb.tanh(x @ W) ** 2)),
    "a loss": lambda x: wb.mean_squared_error(x @ W, x * 0.5),
    "by the length": lambda x: wb.sum(x @ W) / len(x) + x.shape[0] * 2.0 - x.size,
    "a reshape": lambda x: (x @ W).reshape(x.shape[0], 1, 2).reshape(-1, 2) + wb.reshape(x, (2, -1)).T,
    "twice as many": lambda x: wb.concatenate([x, x @ W]).reshape(2, len(x), 2).sum(0),
    "zeros for all": lambda x: wb.concatenate([np.zeros((len(x), 3)), x], 1) + np.full((len(x), 1), 7.0),
    "the last": lambda x: x[len(x) - 1] * x[-1] + x[:, -1].sum(),
    "every second": lambda x: x[::2] @ W,
    "by lists": lambda x: x[:, [1, 0, 1]] + x[[0]][..., [0, 0, 1]] + x[[-1], [0]] + x[None, [0, 1], :][0, 1, [0, 0, 1]],
    "clipped": lambda x: wb.clip(x, -1.0, len(x)),
    "replaced": lambda x: wb.set_at(x, (slice(None), 0), wb.sum(x, 1)),
    "where": lambda x: np.where((x > 0.0) & (x < 1.0), x, -x),
    "scaled": lambda x: (x - x.mean(0)) / x.std(0, ddof=1),
    "the middle one": lambda x: wb.median(x, 0),
    "in order": lambda x: wb.sort(x, 0) + wb.cumsum(x, 0) + wb.roll(x, 1, 0),
    "repeated": lambda x: wb.repeat(x, 2, 0) + wb.tile(x, (2, 1)) + wb.pad(x, ((len(x), 0), (0, 0)), constant_values=1.0),
    "a branch on a parameter": lambda x: x @ W if W[0, 0] != 0.0 else x,
    "made outside": lambda x, y=W * 2.0: x @ y,
    "compiled": wb.compile(lambda x: wb.tanh(x @ W)),
    "half of it compiled": lambda x: COMPILED_HALF(x) + 1.0,
}  # fmt: skip


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, batch, path):
    f = FUNCTIONS[name]
    compared(f, path, [X], [[np.concatenate([X, -X, X])], [X[:2]]] if batch else [], batch=batch)


def test_the_example_need_not_be_more_than_one(path):
    wb.export_onnx(lambda x: x - x.mean(0), path, X[:1])
    same(ran(path, [X])[0], X - X.mean(0), 1e-6)


def test_several_inputs(path):
    def attend(query, key, scale):
        return wb.softmax(query @ key.T * scale)

    wb.export_onnx(attend, path, (X, RNG.normal(size=(4, 2)), 0.5))
    inputs = onnx.load(path).graph.input
    assert [x.name for x in inputs] == ["query", "key", "scale"]
    lengths = [[d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] for x in inputs]
    assert lengths == [["batch", 2], [4, 2], []], "what is not as long as the batch is fixed"
    key = RNG.normal(size=(4, 2))
    same(ran(path, [X[:1], key, 2.0])[0], attend(X[:1], key, 2.0), 1e-6)
    with pytest.raises(Exception, match="Got: 3 Expected: 4"):
        ran(path, [X, key[:3], 2.0])


def test_a_fixed_batch_is_fixed(path):
    wb.export_onnx(wb.tanh, path, X, batch=False)
    with pytest.raises(Exception, match="Got: 4 Expected: 3"):
        ran(path, [RNG.normal(size=(4, 2))])


def test_inputs_of_all_kinds(path):
    compared(lambda mask, x: wb.where(mask, x, 0.0), path, [X > 0.0, X])
    compared(wb.Embedding(5, 2, seed=0), path, [LABELS.astype(np.uint8)])
    compared(wb.Embedding(5, 2, seed=0), path, [LABELS.astype(np.int32)])
    compared(lambda a, b: a * b - 1.0, path, [2.0, 3.0])
    compared(lambda x, n: x * n, path, [X.astype(np.float32), 3.0])
    compared(lambda x, unused: x * 2.0, path, [X, X])
    compared(lambda x: x @ W, path, [X.astype(int)])
    i, j = np.array([7, -7, 6, -6]), np.array([2, 2, -3, -4])
    compared(lambda i, j: i // j, path, [i, j])
    compared(lambda i, j: i % j + i, path, [i, j])
    wb.export_onnx(wb.Dense(2, 1, seed=0), path, [[0.0, 1.0]])  # a list
    same(ran(path, [X])[0], wb.Dense(2, 1, seed=0)(X), 1e-6)
    wb.export_onnx(wb.tanh, path, wb.Value(X))
    same(ran(path, [X])[0], np.tanh(X), 1e-6)


def test_results_of_all_kinds(path):
    def several(x):
        y = wb.tanh(x)
        return {"y": y, "parts": (x, y, y + 1.0), "w": W, "seven": 7.0, "order": wb.argsort(x), "above": x > 0.0}

    wb.export_onnx(several, path, X)
    names = [x.name for x in onnx.load(path).graph.output]
    assert names == ["y", "parts_0", "parts_1", "parts_2", "w", "seven", "order", "above"]
    y = np.tanh(X)
    for found, own in zip(ran(path, [X]), [y, X, y, y + 1.0, W, 7.0, np.argsort(X), X > 0.0], strict=True):
        same(found, own, 1e-6)
    wb.export_onnx(lambda x: [x, x], path, X)
    assert [x.name for x in onnx.load(path).graph.output] == ["output_0", "output_1"]
    layer = wb.LSTM(2, 3, seed=0)
    wb.export_onnx(layer.run, path, X[:, None])
    y, (h, c) = layer.run(X[:, None])
    for found, own in zip(ran(path, [X[:, None]]), [y, h, c], strict=True):
        same(found, own, 1e-6)


# -- what is refused -----------------------------------------------------------------------------------------------------


def drawn_outside(x):
    return x + float(np.random.default_rng().random())


def caught(x):
    try:
        return x * x.item()
    except TypeError:
        return x * 2.0


def unseen(x):
    with wb.no_grad():
        y = x * 2.0
    return y + 1.0


REFUSED = {
    "a branch": (lambda x: x if x[0, 0] > 0.0 else -x, r"one way if greater \(test_onnx.py:\d+\) is (True|False).*wb.where"),
    "noise": (lambda x: wb.dropout(x, 0.5), "random numbers.*eval"),
    "a layer in training": (lambda x: NORM(x) * 2.0, "in training.*eval"),
    "noise of its own": (drawn_outside, r"add \(test_onnx.py:\d+\): a number of its own"),
    "no_grad": (unseen, "leave no_grad away"),
    "numbers": (lambda x: x * x.item(), "item"),
    "numbers, the error caught": (caught, "item"),
    "data": (lambda x: x * x.data, "v.data"),
    "a mask": (lambda x: x[x > 0.0], "how many a mask picks"),
    "a backward": (lambda x: wb.sum(x @ W).backward(), "backward"),
    "no result": (lambda x: None, "returns None"),
    "an integer": (lambda x: (x, 3), "returns 3"),
    "nothing": (lambda x: (), "returns nothing"),
}  # fmt: skip
OF_A_BATCH = {
    "a loop": (lambda x: wb.stack([row * 2.0 for row in x]), r"its work .* 3, 4, 6 items"),
    "an own array": (lambda x: x + np.arange(len(x))[:, None], r"add \(test_onnx.py:\d+\): an array of its own"),
    "one over": (lambda x: wb.sum(x) * (1.0 / len(x)), r"multiply .*: a number of its own"),
    "an option": (lambda x: x[::2].reshape((len(x) + 1) // 2, 1, 2), r"reshape .*: an option"),
    "a fixed length": (lambda x: x.reshape(6), "it takes no batch of 4.*batch=False"),
    "other results": (lambda x: (*x,), "what it returns|its work"),
    "a square": (lambda x: wb.reshape(x @ x.T, (len(x) ** 2,)), r"reshape .*: an option"),
    "a shift": (lambda x: wb.roll(x, len(x) - 1, 0), r"roll \(.*where only a fixed one can stand"),
    "a place beside an array": (lambda x: x[len(x) - 1, [0, 1]], "a place that follows the batch, beside an index array"),
    "an index": (lambda x: x[np.full(len(x), 1)], "an index array that follows the batch"),
    "the same place again": (lambda x: wb.set_at(x, ([0, 0],), 1.0), "named several times"),
    "a place far off": (lambda x: wb.set_at(wb.concatenate([x] * 200), ([500],), 1.0), "a place beyond 256 in a batch"),
    "other parameters": (lambda x: x @ W + x @ V + x @ (W if len(x) % 2 else V), r"matmul .*: what it computes with"),
    "a diagonal": (lambda x: wb.diag(x @ x.T), r"diag \(test_onnx.py:\d+\): a diagonal through the batch.*batch=False"),
    "copies": (lambda x: wb.pad(x, ((1, 1), (0, 0)), mode="edge"), "copies of numbers of the batch"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("batch", [True, False])
def test_what_would_be_frozen_is_refused(name, batch, path):
    f, message = REFUSED[name]
    with pytest.raises(TypeError, match=rf"(?s)export_onnx: .*{message}"):
        wb.export_onnx(f, path, np.zeros((3, 2)), batch=batch)
    assert not path.exists()


@pytest.mark.parametrize("name", OF_A_BATCH)
def test_what_does_not_follow_the_batch_is_refused(name, path):
    f, message = OF_A_BATCH[name]
    with pytest.raises(TypeError, match=rf"(?s)export_onnx: .*{message}"):
        wb.export_onnx(f, path, X)
    if name != "other results":
        compared(f, path, [X], batch=False)


def test_bad_examples(path):
    with pytest.raises(ValueError, match="no items"):
        wb.export_onnx(wb.tanh, path, np.zeros((0, 2)))
    with pytest.raises(TypeError, match="numbers are wanted"):
        wb.export_onnx(wb.tanh, path, "x")
    with pytest.raises(TypeError, match="complex"):
        wb.export_onnx(wb.tanh, path, np.zeros(3, complex))
    if np.dtype(np.longdouble) != np.float64:
        with pytest.raises(TypeError, match="up to float64"):
            wb.export_onnx(wb.tanh, path, np.zeros(3, np.longdouble))
    with pytest.raises(TypeError, match="a model or a function is wanted"):
        wb.export_onnx(3.0, path, X)
    with pytest.raises(wb.ShapeError, match="takes 3 inputs"):
        wb.export_onnx(wb.Dense(3, 1), path, X)
    assert not path.exists()


def test_the_list_is_complete_and_says_where(path):
    class Own(wb.Module):
        def forward(self, x):
            values, _ = wb.eigh(x)
            return wb.norm(wb.inv(x), "nuc", (1, 2)) + wb.sum(values, 1)

    with pytest.raises(TypeError) as error:
        wb.export_onnx(wb.Sequential(wb.tanh, Own()), path, np.eye(2)[None])
    line = inspect.getsourcelines(Own)[1] + 2
    outside = LACKING["inv"]
    assert str(error.value) == (
        "export_onnx: ONNX has no words for\n"
        f"  eigh in Own '1' (test_onnx.py:{line}): {outside}\n"
        f"  inv in Own '1' (test_onnx.py:{line + 1}): {outside}\n"
        f"  svd in Own '1' (test_onnx.py:{line + 1}): {outside}"
    )


def test_operations_of_users(path):
    @operation(da=lambda g, y, a: g * 2.0**a * np.log(2.0))
    def exp2(a):
        return 2.0**a

    @operation(da=None)
    def first_digit(a):
        return np.frompyfunc(lambda x: float(str(abs(x))[0]), 1, 1)(a).astype(float)

    try:
        compared(exp2, path, [X])
        with pytest.raises(TypeError, match=r"first_digit .*: it has no row, and its forward takes no Values"):
            wb.export_onnx(first_digit, path, X)
    finally:
        del REGISTRY["exp2"], REGISTRY["first_digit"]


def test_the_page_and_the_docstring_list_what_onnx_lacks():
    page = (DOCS / "onnx.md").read_text(encoding="utf-8") if (DOCS / "onnx.md").exists() else pytest.skip("no docs/")
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)) == LACKING
    said = re.search(r"ONNX lacks (.*?)\.", inspect.getdoc(wb.export_onnx), re.DOTALL)[1]
    assert set(re.findall(r"\w+", said)) - {"of", "float64", "and"} == set(LACKING)


def test_the_pages_script(tmp_path, monkeypatch):
    page = (DOCS / "onnx.md").read_text(encoding="utf-8") if (DOCS / "onnx.md").exists() else pytest.skip("no docs/")
    monkeypatch.chdir(tmp_path)
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(script, {})


# -- the file ------------------------------------------------------------------------------------------------------------


def test_names(path):
    class Net(wb.Module):
        def __init__(self):
            self.x = wb.Dense(2, 2, seed=0)
            setattr(self, 'a"}\n\x00/ é', wb.Dense(2, 2, seed=1))
            self.output = wb.Value([1.0, 2.0])
            self.again = self.x

        def forward(self, x, **more):
            return self.again(getattr(self, 'a"}\n\x00/ é')(self.x(x))) * self.output

    model = Net()
    compared(model, path, [X])
    graph = onnx.load(path).graph
    assert [x.name for x in graph.input] == ["x"]
    assert [x.name for x in graph.output] == ["output"]
    expected = {"x.weight", "x.bias", "a____/_é.weight", "a____/_é.bias", "output_2"}
    assert {x.name for x in graph.initializer} == expected, "a shared one stands once"
    names = [node.name for node in graph.node]
    assert names == ["x/affine", "a____/_é/affine", "x/affine_2", "multiply"]
    assert graph.name == "Net"


def test_names_that_are_used_up(path):
    w = [wb.Value(float(i), name="x") for i in range(3)]
    wb.export_onnx(lambda x, output: (x * w[0] + w[1]) * output + w[2], path, (X, 2.0))
    every = [*onnx.load(path).graph.initializer, *onnx.load(path).graph.input, *onnx.load(path).graph.output]
    names = [x.name for x in every]
    assert len(set(names)) == len(names)
    same(ran(path, [X, 2.0])[0], (X * 0.0 + 1.0) * 2.0 + 2.0, 1e-6)


def test_names_of_inputs(path):
    for f, names in [
        (lambda *xs: xs[0] + xs[1], ["xs_0", "xs_1"]),
        (lambda a, *, b=0.0: a, ["a"]),
        (np.add, ["x1", "x2"] if _has_names(np.add) else ["input_0", "input_1"]),
    ]:
        wb.export_onnx(f, path, (X,) * len(names))
        assert [x.name for x in onnx.load(path).graph.input] == names


def _has_names(function):
    try:
        return list(inspect.signature(function).parameters)[:2] == ["x1", "x2"]
    except (TypeError, ValueError):
        return False


def test_a_decorated_function_is_exported_with_its_decorator(path):
    import functools

    @functools.wraps(wb.tanh)
    def twice(x):
        return wb.tanh(x) * 2.0

    compared(twice, path, [X])


def test_what_the_file_says_of_itself(path):
    model = wb.MLP(2, [3], 1, seed=0)
    before = [p.data.copy() for p in model.parameters()]
    wb.export_onnx(model, path, X)
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    assert (file.producer_name, file.producer_version) == ("tinygrad_wb", wb.__version__)
    assert [(x.domain, x.version) for x in file.opset_import] == [("", 21)]
    assert {x.name: onnx.numpy_helper.to_array(x).tolist() for x in file.graph.initializer} == {
        name: p.data.tolist() for name, p in model.named_parameters()
    }
    assert all((p.data == b).all() and p.grad is None for p, b in zip(model.parameters(), before, strict=True))
    first = path.read_bytes()
    wb.export_onnx(model, path, X)
    assert path.read_bytes() == first, "the same model is the same file"


def test_onnxs_own_reference_agrees(path):
    """Another implementation than onnxruntime."""
    from onnx.reference import ReferenceEvaluator

    model = wb.Sequential(wb.Dense(2, 4, "gelu", seed=0), wb.LayerNorm(4), wb.RNN(4, 3, seed=0), wb.softmax).eval()
    x = RNG.normal(size=(3, 5, 2))
    wb.export_onnx(model, path, x)
    (found,) = ReferenceEvaluator(str(path)).run(None, {"x": x})
    same(found, model(x), 1e-6)


def test_a_file_too_large_is_refused(path, monkeypatch):
    monkeypatch.setattr(sys.modules["tinygrad_wb.onnx.export"], "LARGEST", 100)
    with pytest.raises(ValueError, match="136 bytes of numbers, an ONNX file holds 100 at most"):
        wb.export_onnx(wb.Dense(16, 1, seed=0), path, np.zeros((1, 16)))


def test_without_onnx(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'python -m pip install "tinygrad_wb\[onnx\]"'):
        wb.export_onnx(wb.tanh, path, X)


def test_the_statements_are_the_programs(path):
    """A statement of the program is a node of the file, where ONNX has the word."""
    model = wb.MLP(2, [3, 3], 1, activation="tanh", seed=0)
    wb.export_onnx(model, path, X)
    program = wb.compile(model).program(X)
    statements = [line.comment.split(":")[0] for line in program._lines[: program._forward_lines]]
    assert [node.name.rsplit("/")[1].removesuffix("_2") for node in onnx.load(path).graph.node] == statements


# -- numbers that follow the batch ----------------------------------------------------------------------------------------


def test_numbers_that_follow_the_batch():
    sizes = (4, 5, 7)
    assert merged((12, 15, 21), sizes) == Count(3, 0)
    assert merged((3, 4, 6), sizes) == Count(1, -1)
    assert merged((0.4, 0.5, 0.7), sizes) == Count(pytest.approx(0.1), pytest.approx(0.0))
    assert merged(([4, 2], [5, 2], [7, 2]), sizes) == [Count(1, 0), 2]
    assert merged((slice(0, 4), slice(0, 5), slice(0, 7)), sizes) == slice(0, Count(1, 0))
    assert merged((np.nan, np.nan, np.nan), sizes) is not None
    stretched = merged([np.full((n, 2), 3.0) for n in sizes], sizes)
    assert isinstance(stretched, Stretched)
    assert (stretched.part.tolist(), stretched.shape) == ([[3.0, 3.0]], (Count(1, 0), 2))
    for wrong in [
        (16, 25, 49), (2, 3, 4), (1, 1.0, 1), ("a", "b", "a"), ([1], [1, 2], [1]), (None, 4, None), (0.25, 0.2, 1 / 7),
        [np.arange(n) for n in sizes], [np.zeros((2,) * n) for n in (1, 2, 1)], [np.zeros(2, d) for d in "dfd"],
    ]:  # fmt: skip
        with pytest.raises(DiffersError):
            merged(wrong, sizes)
