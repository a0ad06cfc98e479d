"""Optimizers: two steps worked out by hand for each, and what they refuse."""

import inspect
import math
from math import sqrt

import numpy as np
import pytest

import tinygrad_wb as wb

W, G = 2.0, (0.5, -0.25)  # the weight at the start, and ∂Loss/∂w at the two steps

# Each row: the optimizer, its options, and the weight after one step and after two, by the formulas on paper.
TABLE = {
    "SGD": (wb.SGD, {}, 1.95, 1.975),
    "SGD momentum": (wb.SGD, {"momentum": 0.9}, 1.95, 1.95 - 0.1 * (0.45 - 0.25)),
    "SGD nesterov": (wb.SGD, {"momentum": 0.9, "nesterov": True}, 2 - 0.1 * 0.95, 1.905 - 0.1 * (-0.25 + 0.9 * 0.2)),
    "SGD weight decay": (wb.SGD, {"weight_decay": 0.1}, 1.93, 1.93 - 0.1 * (-0.25 + 0.193)),
    "SGD momentum and decay": (
        wb.SGD,
        {"momentum": 0.9, "weight_decay": 0.1},
        1.93,
        1.93 - 0.1 * (0.9 * 0.7 - 0.057),
    ),
    "Adam": (wb.Adam, {}, 1.9, 1.9 - 0.1 * (0.02 / 0.19) / sqrt(0.00031225 / 0.001999)),
    "Adam betas": (
        wb.Adam,
        {"beta1": 0.5, "beta2": 0.75},
        1.9,
        1.9 - 0.1 * (0.0 / 0.75) / sqrt(0.0625 / 0.4375),  # the mean of 0.5 and -0.25 is then exactly 0
    ),
    "Adam weight decay": (
        wb.Adam,
        {"weight_decay": 0.1},
        1.9,
        1.9 - 0.1 * (0.057 / 0.19) / sqrt(0.00049311 / 0.001999),
    ),
    "Adam large epsilon": (wb.Adam, {"epsilon": 0.5}, 2.0 - 0.1 * 0.5 / (0.5 + 0.5), None),
    "AdamW": (
        wb.AdamW,
        {},
        1.998 - 0.1,
        1.898 - 0.001 * 1.898 - 0.1 * (0.02 / 0.19) / sqrt(0.00031225 / 0.001999),
    ),
    "AdamW decay 0.5": (wb.AdamW, {"weight_decay": 0.5}, 2.0 - 0.1 - 0.1, None),
    "RMSprop": (wb.RMSprop, {"decay": 0.9}, 2 - 0.1 * 0.5 / sqrt(0.025), 1.6837722340 + 0.1 * 0.25 / sqrt(0.02875)),
    "RMSprop momentum": (
        wb.RMSprop,
        {"decay": 0.9, "momentum": 0.5},
        2 - 0.1 * 0.5 / sqrt(0.025),
        1.6837722340 - 0.1 * (0.5 * 0.5 / sqrt(0.025) - 0.25 / sqrt(0.02875)),
    ),
    "RMSprop weight decay": (
        wb.RMSprop,
        {"decay": 0.9, "weight_decay": 0.1},
        2 - 0.1 * 0.7 / sqrt(0.049),
        1.6837722340 + 0.1 * 0.08162277660 / sqrt(0.9 * 0.049 + 0.1 * 0.08162277660**2),
    ),
    "RMSprop default decay": (wb.RMSprop, {}, 2 - 0.1 * 0.5 / (sqrt(0.01 * 0.25) + 1e-8), None),
    "Adagrad": (wb.Adagrad, {}, 1.9, 1.9 + 0.1 * 0.25 / sqrt(0.3125)),
    "Adagrad weight decay": (wb.Adagrad, {"weight_decay": 0.1}, 1.9, 1.9 + 0.1 * 0.06 / sqrt(0.49 + 0.0036)),
}
KINDS = {
    "scalar": lambda number: number,
    "array": lambda number: np.full((2, 3), number),
    "float32": lambda number: np.full(4, number, np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("optimizer", "options", "first", "second"), TABLE.values(), ids=TABLE)
def test_two_steps_by_hand(optimizer, options, first, second, kind):
    w = wb.Value(KINDS[kind](W))
    optimizer = optimizer([w], learning_rate=0.1, **options)
    tolerance = 1e-6 if kind == "float32" else 2e-8
    for g, expected in zip(G, (first, second), strict=True):
        w.grad = KINDS[kind](g)
        optimizer.step()
        if expected is not None:
            np.testing.assert_allclose(w.data, KINDS[kind](expected), rtol=tolerance)
    assert type(w.data) is (float if kind == "scalar" else np.ndarray)
    assert w.dtype == (np.float32 if kind == "float32" else np.float64)
    assert optimizer.steps == 2


DEFAULT_RATES = [(wb.SGD, 0.01), (wb.Adam, 0.001), (wb.AdamW, 0.001), (wb.RMSprop, 0.01), (wb.Adagrad, 0.01)]


@pytest.mark.parametrize(("optimizer", "rate"), DEFAULT_RATES, ids=lambda x: getattr(x, "__name__", x))
def test_default_learning_rate(optimizer, rate):
    assert optimizer([wb.Value(1.0)]).rate == rate


# Our settings by PyTorch's names. SGD's learning rate is not among them: ours is 0.01, PyTorch's 0.001.
TORCH_NAMES = {
    wb.SGD: {"momentum": "momentum", "nesterov": "nesterov", "weight_decay": "weight_decay"},
    wb.Adam: {"learning_rate": "lr", "beta1": "betas", "beta2": "betas", "epsilon": "eps", "weight_decay": "weight_decay"},
    wb.RMSprop: {
        "learning_rate": "lr", "decay": "alpha", "epsilon": "eps", "momentum": "momentum", "weight_decay": "weight_decay"
    },
    wb.Adagrad: {"learning_rate": "lr", "epsilon": "eps", "weight_decay": "weight_decay"},
}  # fmt: skip
TORCH_NAMES[wb.AdamW] = TORCH_NAMES[wb.Adam]


@pytest.mark.parametrize("optimizer", TORCH_NAMES)
def test_default_settings_are_pytorchs(optimizer):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")
    ours = optimizer([wb.Value(1.0)])
    theirs = getattr(torch.optim, optimizer.__name__)([torch.ones(1)]).defaults
    for name, word in TORCH_NAMES[optimizer].items():
        default = theirs[word][("beta1", "beta2").index(name)] if word == "betas" else theirs[word]
        assert getattr(ours, name) == default, name
    own = {name for kind in (optimizer, *optimizer.__mro__[1:2]) for name in inspect.signature(kind).parameters}
    unlike = {"parameters", "options", "clip_norm", "clip_value"} | (
        {"learning_rate"} if optimizer is wb.SGD else set()
    )
    assert own - unlike == set(TORCH_NAMES[optimizer]), "the table names every setting"


@pytest.mark.parametrize("optimizer", TORCH_NAMES)
def test_with_default_settings_the_steps_are_pytorchs(optimizer):
    """Some gradients are so small that an epsilon, or a decay, of another size would show."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")
    w = wb.Value([2.0, -1.0, 0.0, 3.0])
    t = torch.tensor(w.data.copy(), requires_grad=True)
    ours, theirs = optimizer([w], 0.1), getattr(torch.optim, optimizer.__name__)([t], lr=0.1)
    for g in ([0.5, 1e-8, 1e-10, 0.0], [-0.25, 3e-8, 1e-10, 0.0], [0.1, -1e-8, 2e-10, 1e-9]):
        w.grad, t.grad = np.array(g), torch.tensor(g, dtype=torch.float64)
        ours.step()
        theirs.step()
        np.testing.assert_allclose(w.data, t.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize(("optimizer", "options", "first", "second"), TABLE.values(), ids=TABLE)
def test_each_parameter_has_its_own_memory(optimizer, options, first, second):
    """Two parameters beside each other move as each would alone."""
    grads = [(0.5, -0.25, 0.1), (-3.0, 2.0, 0.0)]

    def run(*which):
        values = [wb.Value(W) for _ in which]
        steps = optimizer(values, learning_rate=0.1, **options)
        for t in range(3):
            for value, i in zip(values, which, strict=True):
                value.grad = grads[i][t]
            steps.step()
        return [value.data for value in values]

    assert run(0, 1) == run(0) + run(1)


@pytest.mark.parametrize("optimizer", [wb.SGD, wb.Adam, wb.AdamW, wb.RMSprop, wb.Adagrad])
def test_it_walks_downhill(optimizer):
    a, b = wb.Value(3.0), wb.Value([-2.0, 1.0])
    optimizer = optimizer([a, b], learning_rate=0.05)

    def loss():
        return (a - 1.0) ** 2 + ((b + 1.0) ** 2).sum()

    start = loss().data
    for _ in range(200):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().data < start / 4.0


def test_zero_grad_says_not_computed():
    w = wb.Value(1.0)
    optimizer = wb.SGD([w])
    w.grad = 3.0
    optimizer.zero_grad()
    assert w.grad is None


def test_parameters_may_come_from_a_generator():
    optimizer = wb.SGD(p for p in wb.Dense(2, 1).parameters())
    assert len(optimizer.parameters) == 2


# -- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [False, True], ids=["arrays", "recorded gradients"])
def test_clip_norm_scales_all_gradients_together_and_leaves_grad_true(record):
    a, b = wb.Value(0.0), wb.Value([0.0, 0.0])
    optimizer = wb.SGD([a, b], learning_rate=1.0, clip_norm=1.0)
    (a * 3.0 + (b * np.array([0.0, 4.0])).sum()).backward(record=record)  # the norm is 5
    optimizer.step()
    assert a.data == pytest.approx(-0.6, rel=1e-6)
    np.testing.assert_allclose(b.data, [0.0, -0.8], rtol=1e-6)
    assert float(a.grad) == 3.0
    np.testing.assert_array_equal(b.grad.data if record else b.grad, [0.0, 4.0])


def test_clip_norm_leaves_small_gradients_as_they_are():
    w = wb.Value([0.0, 0.0])
    optimizer = wb.SGD([w], learning_rate=1.0, clip_norm=5.1)
    w.grad = np.array([3.0, 4.0])
    optimizer.step()
    np.testing.assert_array_equal(w.data, [-3.0, -4.0])


@pytest.mark.parametrize("optimizer", [wb.SGD, wb.Adam, wb.AdamW, wb.RMSprop, wb.Adagrad])
@pytest.mark.parametrize("clip", ["clip_norm", "clip_value"])
def test_every_optimizer_clips(optimizer, clip):
    moved = []
    for limit in (None, 1e-12):  # so small that epsilon stops even those that scale by the gradient
        w = wb.Value(1.0)
        options = {wb.SGD: {}, wb.AdamW: {"epsilon": 1e-3, "weight_decay": 0.0}}.get(optimizer, {"epsilon": 1e-3})
        steps = optimizer([w], learning_rate=0.1, **{clip: limit}, **options)
        w.grad = 5.0
        steps.step()
        moved.append(1.0 - w.data)
    assert moved[0] > 0.05
    assert 0.0 <= moved[1] < 1e-8


@pytest.mark.parametrize("clip", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("limit", [1e-7, 0.3, 1.0, 5.0 - 5e-7, 5.0, 5.0 + 5e-7, 5.0 + 2e-6, 100.0])
@pytest.mark.parametrize("large", [1.0, 1e200, math.inf, math.nan])
def test_clipping_is_torchs(clip, limit, large):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")
    gradients = [3.0, np.array([0.0, -4.0 * large, 0.0])]  # the norm is 5 if large is 1
    theirs = [torch.tensor(g, dtype=torch.float64) for g in gradients]
    for t in theirs:
        t.grad = t.clone()
    getattr(torch.nn.utils, {"clip_norm": "clip_grad_norm_", "clip_value": "clip_grad_value_"}[clip])(theirs, limit)
    parameters = [wb.Value(np.zeros(np.shape(g))) for g in gradients]
    optimizer = wb.SGD(parameters, 1.0, **{clip: limit})
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g
    optimizer.step()
    for p, t in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p.data, -t.grad.numpy(), rtol=1e-15)


@pytest.mark.parametrize("record", [False, True], ids=["arrays", "recorded gradients"])
def test_clip_value_cuts_each_number_and_leaves_grad_true(record):
    a, b = wb.Value(0.0), wb.Value(np.zeros(2, np.float32))
    optimizer = wb.SGD([a, b], learning_rate=1.0, clip_value=2.0)
    (a * 3.0 + (b * np.array([-0.5, -4.0], np.float32)).sum()).backward(record=record)
    optimizer.step()
    assert type(a.data) is float
    assert a.data == -2.0
    assert b.dtype == np.float32
    np.testing.assert_array_equal(b.data, [0.5, 2.0])
    assert float(a.grad) == 3.0
    np.testing.assert_array_equal(b.grad.data if record else b.grad, [-0.5, -4.0])


def test_clip_value_on_weights_that_stand_side_by_side():
    def trained(wrapped):
        model = wb.MLP(3, [4], 1, seed=0)
        optimizer = wb.Adam(model.parameters(), 0.1, clip_value=0.01)
        loss_of = wrapped(lambda x: wb.sum(model(x) ** 2))
        for _ in range(6):
            optimizer.zero_grad()
            loss_of(np.arange(6.0).reshape(2, 3)).backward()
            optimizer.step()
        return [p.data.copy() for p in model.parameters()]

    ends = trained(wb.compile), trained(lambda function: function)
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_value": 0.0}, "SGD: clip_value must be positive, got 0.0"),
        ({"clip_value": math.nan}, "SGD: clip_value must be positive, got nan"),
        ({"clip_norm": -1}, "SGD: clip_norm must be positive, got -1"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "by clip_norm or by clip_value, not by both"),
    ],
)
def test_clipping_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        wb.SGD([wb.Value(1.0)], **options)


# -- schedules ------------------------------------------------------------------------------------------------------


def test_a_schedule_gives_the_rate_of_each_step():
    w = wb.Value(0.0)
    optimizer = wb.SGD([w], learning_rate=lambda step: 10.0**-step)
    seen = []
    for _ in range(4):
        seen.append(optimizer.rate)
        w.grad = 1.0
        optimizer.step()
    assert seen == [1.0, 0.1, 0.01, 0.001]
    assert w.data == pytest.approx(-1.111)


def test_the_learning_rate_may_be_changed_between_steps():
    w = wb.Value(0.0)
    optimizer = wb.SGD([w], learning_rate=1.0)
    for optimizer.learning_rate in (1.0, 0.5):
        w.grad = 1.0
        optimizer.step()
    assert w.data == -1.5


def test_a_step_that_is_refused_does_not_count():
    optimizer = wb.SGD([wb.Value(0.0)], learning_rate=lambda step: 1.0 / (step + 1))
    with pytest.raises(ValueError, match="no gradient"):
        optimizer.step()
    assert optimizer.rate == 1.0


# -- numbers --------------------------------------------------------------------------------------------------------

NUMPY_OPTIONS = [
    (wb.SGD, {"learning_rate": np.float64(0.1)}),
    (wb.SGD, {"learning_rate": lambda step: np.float32(0.1)}),
    (wb.SGD, {"momentum": np.float64(0.9), "weight_decay": np.float64(0.1)}),
    (wb.Adam, {"beta1": np.float64(0.9), "epsilon": np.float64(1e-8)}),
    (wb.AdamW, {"weight_decay": np.float64(0.1)}),
    (wb.RMSprop, {"decay": np.float64(0.9), "momentum": np.float64(0.5)}),
    (wb.Adagrad, {"epsilon": np.float64(1e-8)}),
    (wb.SGD, {"clip_norm": np.float64(0.1)}),
]


@pytest.mark.parametrize(("optimizer", "options"), NUMPY_OPTIONS, ids=lambda x: getattr(x, "__name__", None))
def test_numbers_from_numpy_leave_a_scalar_a_python_float_and_float32_as_it_is(optimizer, options):
    scalar, array = wb.Value(1.0), wb.Value(np.ones(2, np.float32))
    optimizer = optimizer([scalar, array], **options)
    for _ in range(2):
        optimizer.zero_grad()
        (scalar * array.sum()).backward()
        optimizer.step()
    assert type(scalar.data) is float
    assert array.dtype == np.float32


@pytest.mark.parametrize("optimizer", [wb.Adam, wb.RMSprop, wb.Adagrad])
def test_where_an_array_gives_nan_a_scalar_does_too(optimizer):
    """A gradient of 0 and no epsilon: 0/0."""
    scalar, array = wb.Value(1.0), wb.Value([1.0])
    optimizer = optimizer([scalar, array], epsilon=0.0)
    scalar.grad, array.grad = 0.0, np.array([0.0])
    optimizer.step()
    assert np.isnan(array.data[0])
    assert math.isnan(scalar.data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("optimizer", "options", "first", "second"), TABLE.values(), ids=TABLE)
def test_recorded_gradients_are_followed_as_plain_ones_are(optimizer, options, first, second, kind):
    """After ``backward(record=True)`` the gradients are Values; parameters and what is remembered stay plain."""

    def trained(record):
        w = wb.Value(KINDS[kind](W))
        steps = optimizer([w], learning_rate=0.1, **options)
        for _ in range(3):
            steps.zero_grad()
            wb.sum(w * w * w).backward(record=record)
            assert type(w.grad) is (wb.Value if record else type(w.data))
            steps.step()
        assert not any(isinstance(x, wb.Value) for memory in steps.memory for x in memory.values())
        return w

    plain, recorded = trained(False), trained(True)
    assert recorded.op is None
    assert type(recorded.data) is type(plain.data)
    assert recorded.dtype == plain.dtype
    np.testing.assert_array_equal(recorded.data, plain.data)


# -- in place, and the clock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [wb.SGD, wb.Adam, wb.AdamW, wb.RMSprop, wb.Adagrad])
def test_a_parameter_stays_the_same_array(optimizer):
    w = wb.Value([1.0, 2.0])
    data = w.data
    optimizer = optimizer([w])
    for _ in range(3):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    assert w.data is data
    assert not np.array_equal(data, [1.0, 2.0])


@pytest.mark.parametrize("data", [2.0, [2.0, 3.0]], ids=["scalar", "array"])
def test_a_step_makes_older_graphs_stale(data):
    w = wb.Value(data)
    optimizer = wb.SGD([w])
    loss = wb.sum(w * w)
    loss.backward()
    optimizer.step()
    with pytest.raises(wb.StaleGraphError):
        loss.backward()
    optimizer.zero_grad()
    wb.sum(w * w).backward()
    np.testing.assert_allclose(w.grad, 2.0 * w.data)


# -- refusals -------------------------------------------------------------------------------------------------------

OPTIMIZERS = [wb.SGD, wb.Adam, wb.AdamW, wb.RMSprop, wb.Adagrad]
REFUSED = {
    "no parameters": (list, {}, ValueError, "there are no parameters; give model.parameters()"),
    "an array": (lambda: [np.ones(2)], {}, TypeError, r"parameters are Values, got array\("),
    "a number": (lambda: [1.0], {}, TypeError, r"parameters are Values, got 1\.0"),
    "a model": (lambda: wb.MLP(2, [2], 1), {}, TypeError, "got MLP"),
    "named parameters": (lambda: wb.MLP(2, [2], 1).named_parameters(), {}, TypeError, "parameters are Values, got "),
    "a computed Value": (lambda: [wb.Value(1.0) * 2.0], {}, TypeError, "was computed; only leaves can be updated"),
    "twice the same": (lambda: [wb.Value(1.0)] * 2, {}, ValueError, "a parameter is listed twice"),
    "a negative rate": (lambda: [wb.Value(1.0)], {"learning_rate": -0.1}, ValueError, "learning_rate must not be neg"),
    "nan as rate": (lambda: [wb.Value(1.0)], {"learning_rate": math.nan}, ValueError, "learning_rate must not be neg"),
    "clip_norm 0": (lambda: [wb.Value(1.0)], {"clip_norm": 0.0}, ValueError, "clip_norm must be positive, got 0"),
    "a negative clip_norm": (lambda: [wb.Value(1.0)], {"clip_norm": -1.0}, ValueError, "clip_norm must be positive"),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("parameters", "options", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(optimizer, parameters, options, error, message):
    with pytest.raises(error, match=f"^{optimizer.__name__}: .*{message}"):
        optimizer(parameters(), **options)


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match="SGD: nesterov looks ahead along the momentum, so it needs momentum > 0"):
        wb.SGD([wb.Value(1.0)], nesterov=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_missing_gradients_are_named_and_nothing_is_changed(optimizer):
    model = wb.MLP(2, [3], 1, seed=0)
    extra = wb.Value(1.0)
    model[0](np.ones(2)).sum().backward()  # the second layer was not used
    optimizer = optimizer([*model.parameters(), extra])
    before = [np.copy(p.data) for p in optimizer.parameters]
    with pytest.raises(
        ValueError, match=r"step\(\): no gradient for 1\.weight, 1\.bias, number 4\. Call loss\.backward"
    ):
        optimizer.step()
    for p, old in zip(optimizer.parameters, before, strict=True):
        np.testing.assert_array_equal(p.data, old)
    assert optimizer.steps == 0


def test_an_optimizer_says_what_it_is():
    assert repr(wb.SGD([wb.Value(1.0)], 0.5)) == "SGD(1 parameters, learning_rate=0.5)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: wb.SGD(p, momentum=-1.0), "SGD: momentum must be from 0 up, got -1.0"),
        (lambda p: wb.SGD(p, momentum=math.inf), "SGD: momentum must be from 0 up, got inf"),
        (lambda p: wb.SGD(p, weight_decay=-1e-9), "SGD: weight_decay must be from 0 up, got -1e-09"),
        (lambda p: wb.Adam(p, beta1=1.5), "Adam: beta1 must be from 0 to below 1, got 1.5"),
        (lambda p: wb.Adam(p, beta1=1.0), "Adam: beta1 must be from 0 to below 1, got 1.0"),
        (lambda p: wb.Adam(p, beta2=1.0), "Adam: beta2 must be from 0 to below 1, got 1.0"),
        (lambda p: wb.Adam(p, beta2=1.5), "Adam: beta2 must be from 0 to below 1, got 1.5"),
        (lambda p: wb.Adam(p, beta2=-0.1), "Adam: beta2 must be from 0 to below 1, got -0.1"),
        (lambda p: wb.AdamW(p, beta2=1.0), "AdamW: beta2 must be from 0 to below 1, got 1.0"),
        (lambda p: wb.AdamW(p, weight_decay=-0.1), "AdamW: weight_decay must be from 0 up"),
        (lambda p: wb.RMSprop(p, decay=float("nan")), "RMSprop: decay must be from 0 to below 1, got nan"),
        (lambda p: wb.RMSprop(p, decay=1.0), "RMSprop: decay must be from 0 to below 1, got 1.0"),
        (lambda p: wb.RMSprop(p, momentum=-0.1), "RMSprop: momentum must be from 0 up, got -0.1"),
        (lambda p: wb.Adagrad(p, epsilon=-1.0), "Adagrad: epsilon must be from 0 up"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make([wb.Value(1.0)])


def test_settings_at_the_edge_of_what_makes_sense_are_taken():
    p = [wb.Value(1.0)]
    adam = wb.Adam(p, beta1=0.0, beta2=0.0, epsilon=0.0, weight_decay=0.0)
    assert (adam.beta1, adam.beta2, adam.epsilon, adam.weight_decay) == (0.0, 0.0, 0.0, 0.0)
    assert wb.SGD(p, momentum=1.5, learning_rate=0.0).momentum == 1.5
    assert wb.RMSprop(p, decay=0.0).decay == 0.0
