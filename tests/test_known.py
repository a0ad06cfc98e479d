"""The known way of `fit`: nothing that can change escapes it, and its numbers are those of eager training."""

import copy
import functools
import re
import types

import numpy as np
import pytest

import tinygrad_wb as wb

X = np.random.default_rng(0).normal(size=(48, 3))
Y = np.random.default_rng(1).integers(0, 2, 48)
EPOCHS, BATCH = 4, 16


def net(**options):
    return wb.Sequential(
        wb.Dense(3, 8, "tanh", seed=0, **options), wb.Dropout(0.2, seed=1), wb.Dense(8, 2, seed=2, **options)
    )


def fit(model, change=None, at=4, compile=True, loss="cross_entropy", x=X, y=Y, ways=None, **options):
    """Train; after batch ``at``, ``change(model)``. The history, and the ways that batches were computed in."""
    ways = [] if ways is None else ways

    class Changing(wb.Callback):
        def on_batch(self, training):
            ways.append(training.way)
            if change is not None and len(training.history.batch_losses) == at:
                change(training.model)

    optimizer = wb.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "seed": 3, "progress": False} | options
    history = wb.fit(model, x, y, loss=loss, optimizer=optimizer, compile=compile, callbacks=[Changing()], **options)
    return history, ways


def both(make, change=None, **options):
    """The same training, compiled and eager: losses and weights agree. The ways that the compiled one took."""
    model, other = make(), make()
    try:
        expected, _ = fit(other, change, compile=False, ways=(batches := []), **options)
    except (ValueError, AttributeError) as error:  # such as a weight that has no gradient any more
        with pytest.raises(type(error), match=re.escape(str(error))):
            fit(model, change, ways=(ways := []), **options)
        assert len(ways) == len(batches)
        return ways
    history, ways = fit(model, change, **options)
    np.testing.assert_allclose(history.batch_losses, expected.batch_losses, rtol=1e-9)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-7, atol=1e-12)
    return ways


MODELS = {
    "MLP": lambda: wb.MLP(3, [8, 8], 2, seed=0),
    "dropout": net,
    "batch norm": lambda: wb.Sequential(wb.Dense(3, 8, seed=0), wb.BatchNorm(8), wb.relu, wb.Dense(8, 2, seed=1)),
    "layer norm, residual": lambda: wb.Sequential(
        wb.Dense(3, 8, seed=0), wb.Residual(wb.LayerNorm(8), wb.Dense(8, 8, "gelu", seed=1)), wb.Dense(8, 2, seed=2)
    ),
    "a partial": lambda: wb.Sequential(
        wb.Dense(3, 8, functools.partial(wb.leaky_relu, slope=0.1), seed=0), wb.Dense(8, 2, seed=1)
    ),
}


def tied():
    layer = wb.Dense(4, 4, "tanh", seed=0)
    return wb.Sequential(wb.Dense(3, 4, seed=1), layer, layer, wb.Dense(4, 2, seed=2))


MODELS["tied"] = tied


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_layers_of_the_package_are_known_from_the_first_batch_on(make):
    assert set(both(make)) == {"known"}


@pytest.mark.parametrize("batch_size", [16, 20, 48])
def test_a_last_batch_of_another_size_is_known_too(batch_size):
    assert set(both(net, batch_size=batch_size)) == {"known"}


def test_sequences_are_known():
    tokens = np.random.default_rng(0).integers(0, 5, (24, 4))

    def make():
        return wb.Sequential(
            wb.Embedding(5, 8, seed=0), wb.TransformerBlock(8, 2, causal=True, dropout=0.1, seed=1), wb.GRU(8, 6, seed=2),
            wb.Dense(6, 5, seed=3),
        )  # fmt: skip

    assert set(both(make, x=tokens, y=np.roll(tokens, -1, 1), batch_size=8)) == {"known"}


LOSSES = {
    "a name": ("mean_squared_error", "known"),
    "a function": (wb.huber, "known"),
    "a partial": (functools.partial(wb.huber, delta=0.5), "known"),
    "one's own": (lambda p, y: wb.mean((p - y) ** 2), "followed"),
    "a partial with an array": (functools.partial(wb.huber, delta=np.array(0.5)), "followed"),
}


@pytest.mark.parametrize(("loss", "way"), LOSSES.values(), ids=LOSSES)
def test_losses(loss, way):
    assert both(lambda: wb.Dense(3, 2, seed=0), loss=loss, y=X[:, :2])[-1] == way


class Own(wb.Module):
    def __init__(self):
        self.inner = wb.Dense(3, 2, seed=0)

    def forward(self, x):
        return self.inner(x) * 2.0


class OfADense(wb.Dense):
    pass


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Own, "Own is not a class of the package .*test_known.py"),
        (lambda: OfADense(3, 2, seed=0), "OfADense"),
        (
            lambda: wb.Sequential(wb.Dense(3, 4, seed=0), lambda x: x * 2.0, wb.Dense(4, 2, seed=1)),
            "<lambda>.*test_known.py",
        ),
        (lambda: wb.Dense(3, 2, lambda x: wb.exp(-x), seed=0), "<lambda> is not a function of the package"),
    ],
    ids=["a module", "a subclass", "a function", "an activation"],
)
def test_python_of_the_users_is_followed_and_the_report_says_where_it_is(make, why):
    reports = []
    assert both(make)[-1] == "followed"
    optimizer = wb.SGD((model := make()).parameters(), 0.1)
    wb.fit(
        model, X, Y, loss="cross_entropy", optimizer=optimizer, progress=False,
        callbacks=[lambda training: reports.append(training.objective.report())],
    )  # fmt: skip
    assert re.search(why, reports[-1].reason), reports[-1]


# -- what changes in the midst of training ----------------------------------------------------------------------------


def by_setattr(model):
    model[1].rate = 0.5


def by_vars(model):
    vars(model[1]).update(rate=0.5)


def by_object(model):
    object.__setattr__(model[1], "rate", 0.5)


def by_a_new_dict(model):
    model[1].__dict__ = {**vars(model[1]), "rate": 0.5}


def activation(model):
    vars(model[0])["activation"] = wb.sigmoid


def no_activation(model):
    model[0].activation = None


def own_activation(model):
    model[0].activation = lambda x: wb.relu(x) * 3.0


def eval_mode(model):
    model[1].training = False


def own_forward(model):
    layer = model[0]
    vars(layer)["forward"] = lambda x: wb.affine(x, layer.weight, layer.bias) * 0.5


def other_class(model):
    class Twice(wb.Dense):
        def forward(self, x):
            return super().forward(x) * 2.0

    model[0].__class__ = Twice


def other_layers(model):
    vars(model)["layers"] = (model[0], model[2])


def another_order(model):
    layer = wb.Dense(8, 8, "relu", seed=5)
    vars(model)["layers"] = (model[0], layer, model[1], model[2])


def other_weights(model):
    vars(model[0])["weight"] = wb.Value(model[0].weight.data * 2.0)


def other_numbers(model):
    model[0].weight.data = model[0].weight.data * 2.0


def numbers_in_place(model):
    model[0].weight.data[:] *= 2.0


def no_bias(model):
    vars(model[2])["bias"] = None


def swapped(model):
    layer = model[0]
    layer.__dict__ = dict(zip(vars(layer), reversed(vars(layer).values()), strict=True)) | {
        "activation": wb.relu, "weight": layer.weight, "bias": layer.bias,
    }  # fmt: skip


def renamed(model):
    model[1].__dict__ = {"chance" if name == "rate" else name: member for name, member in vars(model[1]).items()}


def reseeded(model):
    model[1].rng = np.random.default_rng(77)


def put_back(model):
    model[1].rng.bit_generator.state = np.random.PCG64(9).state


CHANGES = [
    by_setattr, by_vars, by_object, by_a_new_dict, activation, no_activation, own_activation, eval_mode, own_forward,
    other_class, other_layers, another_order, other_weights, other_numbers, numbers_in_place, no_bias, swapped, renamed, reseeded,
    put_back,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("at", [1, 5])
def test_a_change_in_the_midst_of_training_shows_at_the_next_batch(change, at):
    ways = both(net, change, at=at)
    assert ways[at - 1] == "known"


@pytest.mark.parametrize("change", [own_activation, own_forward, other_class])
def test_what_is_the_users_is_followed_from_then_on(change):
    ways = both(net, change)
    assert ways[:4] == ["known"] * 4
    assert "known" not in ways[4:]


PATCHES = {
    "forward": ("forward", lambda old: lambda self, x: old(self, x) * 2.0),
    "call": ("__call__", lambda old: lambda self, *args: old(self, *args) * 2.0),
    "wrapped": ("forward", lambda old: functools.wraps(old)(lambda self, x: old(self, x) * 2.0)),
}


@pytest.mark.parametrize(("name", "patch"), PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("early", [True, False])
def test_a_patched_class_is_seen(monkeypatch, name, patch, early):
    patched = patch(getattr(wb.Dense, name))
    losses = {}
    for compile in (True, False):
        with monkeypatch.context() as m:
            change = lambda model, m=m: m.setattr(wb.Dense, name, patched, raising=False)
            if early:
                change(None)
            history, ways = fit(net(), None if early else change, compile=compile)
            losses[compile] = history.batch_losses
            assert not compile or ways[-1] != "known"
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-9)


def test_a_patched_module_is_seen(monkeypatch):
    call = wb.Module.__call__
    losses = {}
    for compile in (True, False):
        with monkeypatch.context() as m:

            def change(model, m=m):
                m.setattr(wb.Module, "__call__", lambda self, *args: call(self, *args) * 1.5)

            history, _ = fit(net(), change, compile=compile)
            losses[compile] = history.batch_losses
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-9)


def test_a_step_inside_a_recurrent_layer_is_looked_at(monkeypatch):
    x = np.random.default_rng(0).normal(size=(24, 4, 3))

    def make():
        return wb.Sequential(wb.RNN(3, 4, seed=0), wb.Dense(4, 2, seed=1))

    step = wb.RNN._step
    losses = {}
    for compile in (True, False):
        with monkeypatch.context() as m:
            change = lambda model, m=m: m.setattr(wb.RNN, "_step", lambda self, z, h: step(self, z, h) * 0.5)
            history, _ = fit(make(), change, compile=compile, x=x, y=np.zeros((24, 4), int), batch_size=8)
            losses[compile] = history.batch_losses
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-9)


def test_a_listener_that_comes_later_is_heard():
    heard = {True: [], False: []}
    for compile in (True, False):
        fit(
            net(),
            lambda model, c=compile: model[0].weight.on_gradient(lambda g: heard[c].append(g.sum())),
            compile=compile,
        )
    assert len(heard[True]) == EPOCHS * len(X) // BATCH - 4
    np.testing.assert_allclose(heard[True], heard[False], rtol=1e-8)


def test_an_object_that_takes_the_place_of_a_dead_one_is_another():
    """Nothing goes by the identity of what is not alive any more."""

    losses = {}
    for compile in (True, False):
        model = net()

        class Replacing(wb.Callback):
            def on_batch(self, training):
                layers, seed = training.model.layers, len(training.history.batch_losses)
                vars(training.model)["layers"] = (*layers[:2], wb.Dense(8, 2, seed=seed))

        history = wb.fit(
            model, X, Y, loss="cross_entropy", optimizer=wb.SGD(model[0].parameters(), 0.1), epochs=6, batch_size=16, seed=0,
            progress=False, compile=compile, callbacks=[Replacing()],
        )  # fmt: skip
        losses[compile] = history.batch_losses
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-9)


def test_settings_that_change_again_and_again_are_followed_in_the_end():
    ways, rates = [], iter(np.linspace(0.1, 0.6, 1000).tolist())

    class Curriculum(wb.Callback):
        def on_batch(self, training):
            ways.append(training.way)
            training.model[1].rate = next(rates)

    model = net()
    wb.fit(
        model, X, Y, loss="cross_entropy", optimizer=wb.SGD(model.parameters(), 0.1), epochs=10, batch_size=16, seed=0,
        progress=False, callbacks=[Curriculum()],
    )  # fmt: skip
    assert ways[0] == "known"
    assert ways[-1] != "known"


def test_notes_and_names_are_no_change():
    def note(model):
        model.parameters()
        model[0].weight.name = "w"
        model.comment = "good"

    assert set(both(net, note)) == {"known"}


def test_an_unused_parameter_gets_no_gradient_and_stays_where_it_is():
    model = wb.Dense(3, 2, seed=0)
    other = wb.Value(np.ones(3))
    optimizer = wb.SGD([*model.parameters(), other], 0.1, weight_decay=0.5)
    with pytest.raises(ValueError, match="no gradient"):
        wb.fit(model, X, Y, loss="cross_entropy", optimizer=optimizer, progress=False)
    np.testing.assert_array_equal(other.data, 1.0)


def test_a_shape_that_is_wrong_is_told_as_without_compiling():
    for compile in (True, False):
        with pytest.raises(wb.ShapeError, match="Dense takes 4 inputs"):
            fit(wb.Dense(4, 2, seed=0), compile=compile)


@pytest.mark.parametrize("wrong", [-1, 7])
def test_a_label_that_is_wrong_is_told_as_without_compiling(wrong):
    y = Y.copy()
    y[::5] = wrong
    for compile in (True, False):
        with pytest.raises(ValueError, match="labels must be from 0 to 1"):
            fit(net(), compile=compile, y=y)


def test_random_generators_stand_where_they_stand_without_compiling():
    for loss in ("cross_entropy", lambda p, y: wb.cross_entropy(p, y) * 1.0):
        states = []
        for compile in (True, False):
            model = net()
            fit(model, compile=compile, loss=loss, batch_size=20)
            states.append(model[1].rng.bit_generator.state)
        assert states[0] == states[1]


def test_fit_can_be_called_again_with_a_copy():
    model = net()
    fit(model)
    assert set(fit(copy.deepcopy(model))[1]) == {"known"}


def test_source_lines_see_every_operation():
    with wb.source_lines():
        model = net()
        history, _ = fit(model)
    np.testing.assert_allclose(history.batch_losses, fit(net(), compile=False)[0].batch_losses, rtol=1e-9)


def test_a_module_of_another_kind_inside_is_found():
    model = wb.Sequential(wb.Dense(3, 2, seed=0))
    vars(model)["layers"] = (*model.layers, types.SimpleNamespace(__call__=None))
    with pytest.raises(TypeError):
        fit(model)
