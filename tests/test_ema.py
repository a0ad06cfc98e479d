"""`EMA`: averaged weights, as PyTorch's, in `fit` and by hand."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_wb as wb

X, Y = wb.datasets.moons(70, seed=0)


class Net(wb.Module):
    """With a number among the parameters, and running means that are none."""

    def __init__(self, seed=0):
        self.hidden = wb.Dense(2, 8, "tanh", seed=seed)
        self.norm = wb.BatchNorm(8)
        self.out = wb.Dense(8, 2, seed=seed + 1)
        self.scale = wb.Value(1.5)

    def forward(self, x):
        return self.out(self.norm(self.hidden(x))) * self.scale


def weights(model):
    return [np.copy(p.data) for p in model.parameters()]


def lent(ema, model):
    with ema.weights():
        return weights(model)


def same(a, b):
    return all(np.array_equal(x, y) and np.shape(x) == np.shape(y) for x, y in zip(a, b, strict=True))


def fit(model, callbacks, epochs=3, **options):
    how = {"loss": "cross_entropy", "batch_size": 16, "seed": 0, "progress": False} | options
    return wb.fit(model, X, Y, epochs=epochs, callbacks=callbacks, optimizer=wb.Adam(model.parameters(), 0.05), **how)


class Each(wb.Callback):
    """The weights after every batch."""

    def __init__(self):
        self.seen = []

    def on_batch(self, training):
        self.seen.append([np.copy(p.data) for p in training.optimizer.parameters])


def averaged(seen, decay):
    """The formula, from the first weights on."""
    average = seen[0]
    for now in seen[1:]:
        average = [decay * a + (1.0 - decay) * w for a, w in zip(average, now, strict=True)]
    return average


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999, 1.0])
def test_in_fit_it_is_the_average_over_every_batch(decay, compile):
    each, ema, model = Each(), wb.EMA(decay=decay), Net()
    fit(model, [each, ema], compile=compile)
    assert ema.updates == len(each.seen) == 15
    for ours, expected in zip(ema.averages, averaged(each.seen, decay), strict=True):
        np.testing.assert_allclose(ours.data, expected, rtol=1e-12, atol=1e-14)


def test_training_is_the_same_with_it_and_ends_with_the_models_own_weights():
    ends = []
    for callbacks in ([], [wb.EMA(decay=0.9)]):
        model = Net()
        history = fit(model, callbacks)
        ends.append((weights(model), history.batch_losses))
    assert same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_by_hand_with_a_compiled_step_whose_parameters_stand_side_by_side():
    model = wb.MLP(2, [8], 2, seed=0)
    ema, optimizer = wb.EMA(model, decay=0.8), wb.SGD(model.parameters(), 0.5, momentum=0.9)
    loss_of = wb.compile(lambda x, y: wb.cross_entropy(model(x), y))
    seen = []
    for _ in range(8):
        optimizer.zero_grad()
        loss_of(X, Y).backward()
        optimizer.step()
        ema.update()
        seen.append(weights(model))
    assert model[0].weight.data.base is model[1].weight.data.base is not None
    expected = averaged(seen, 0.8)
    inside = lent(ema, model)
    for ours, theirs in zip(inside, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert same(weights(model), seen[-1])
    assert model[0].weight.data.base is model[1].weight.data.base is not None
    with ema.weights():  # the compiled function sees them
        losses = float(loss_of(X, Y)), float(wb.cross_entropy(model(X), Y))
    assert losses[0] == pytest.approx(losses[1])
    assert float(loss_of(X, Y)) == pytest.approx(float(wb.cross_entropy(model(X), Y)))
    assert losses[0] != pytest.approx(float(loss_of(X, Y)))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_it_is_torchs_averaged_model(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")
    swa = torch.optim.swa_utils
    model = wb.MLP(3, [4], 2, seed=0, dtype=dtype)
    twin = torch.nn.ParameterList(torch.nn.Parameter(torch.tensor(p.data)) for p in model.parameters())
    ema, theirs = wb.EMA(model, decay=0.9), swa.AveragedModel(twin, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9))
    assert same(lent(ema, model), [p.detach().numpy() for p in theirs.module])
    rng = np.random.default_rng(0)
    for _ in range(6):
        for p, q in zip(model.parameters(), twin, strict=True):
            p.data = rng.normal(size=p.shape).astype(dtype)
            q.data = torch.tensor(p.data)
        ema.update()
        theirs.update_parameters(twin)
        for ours, q in zip(lent(ema, model), theirs.module, strict=True):
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, q.detach().numpy(), rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


def test_the_first_update_copies_to_the_bit():
    model = Net()
    ema = wb.EMA(model, decay=0.999)
    for p in model.parameters():
        p.data = p.data * 1e-9 + 0.1
    ema.update()
    assert same(lent(ema, model), weights(model))


@pytest.mark.parametrize("fails", [False, True])
def test_the_models_own_weights_come_back_to_the_bit(fails):
    model = Net()
    ema = wb.EMA(model, decay=0.5)
    ema.update()
    for p in model.parameters():
        p.data = np.random.default_rng(0).normal(size=p.shape)
    ema.update()
    own, kept = weights(model), model.norm.running_mean.copy()
    try:
        with ema.weights():
            assert not same(weights(model), own)
            np.testing.assert_array_equal(model.norm.running_mean, kept)
            with ema.weights():
                pass
            assert not same(weights(model), own)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert same(weights(model), own)
    assert type(model.scale.data) is float


def test_gradients_of_before_are_stale_not_wrong():
    model = wb.Dense(1, 1, seed=0)
    ema = wb.EMA(model)
    loss = wb.sum(model([[1.0]]) ** 2)
    lent(ema, model)
    with pytest.raises(wb.StaleGraphError):
        loss.backward()


def test_averages_steady_weights_that_jump():
    """A rate so large that the weights never settle: their average is nearer to the truth."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = x @ [1.0, -2.0] + rng.normal(size=200)
    w = wb.Value(np.zeros(2))
    ema = wb.EMA(decay=0.99)
    wb.fit(
        lambda x: x @ w, x, y, loss="mean_squared_error", optimizer=wb.SGD([w], 0.1), epochs=30, batch_size=2, seed=0,
        callbacks=[ema], progress=False,
    )  # fmt: skip
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    own = np.linalg.norm(w.data - best)
    with ema.weights():
        assert np.linalg.norm(w.data - best) < own / 2.0


# -- kept, resumed, copied ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_resumed_it_goes_on_to_the_same_bits(tmp_path, epochs):
    pytest.importorskip("safetensors", reason="safetensors is not installed; files are read with it")
    path, whole, model = tmp_path / "training", wb.EMA(decay=0.9), Net()
    fit(model, [whole], epochs=4)
    fit(Net(), [wb.EMA(decay=0.9), wb.Checkpoint(path)], epochs=epochs)
    resumed, other = wb.EMA(decay=0.9), Net()
    fit(other, [resumed], epochs=4, resume=path)
    assert resumed.updates == whole.updates
    assert same([a.data for a in resumed.averages], [a.data for a in whole.averages])
    assert same(lent(resumed, other), lent(whole, model))


def test_a_second_fit_goes_on_with_the_same_average():
    model, ema, each = Net(), wb.EMA(decay=0.9), Each()
    fit(model, [ema, each])
    fit(model, [ema, each], seed=1)
    assert ema.updates == 30
    np.testing.assert_allclose(ema.averages[0].data, averaged(each.seen, 0.9)[0], rtol=1e-12)


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_it_is_copied_with_its_model(copied):
    model = Net()
    ema = wb.EMA(model, decay=0.5)
    ema.update()
    for p in model.parameters():
        p.data = p.data + 1.0
    ema.update()
    other, of_other = copied((model, ema))
    assert same(lent(of_other, other), lent(ema, model))
    of_other.update()
    assert (of_other.updates, ema.updates) == (3, 2)
    assert not same(lent(of_other, other), lent(ema, model))


def test_averages_are_what_is_saved_inside_the_block(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed; files are read with it")
    model, ema, other = Net(), wb.EMA(decay=0.9), Net(5)
    fit(model, [ema])
    with ema.weights():
        wb.save(model, tmp_path / "model")
    wb.load(other, tmp_path / "model")
    assert same(weights(other), lent(ema, model))


# -- refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan"), "0.9", None])
def test_a_decay_that_is_no_part(decay):
    with pytest.raises(ValueError, match="decay is the part of the average that stays"):
        wb.EMA(decay=decay)


def test_without_a_model():
    for use in (lambda ema: ema.update(), lambda ema: ema.weights().__enter__()):
        with pytest.raises(ValueError, match=r"of which model\? Give EMA\(model\)"):
            use(wb.EMA())
    with pytest.raises(TypeError, match="EMA takes a model"):
        wb.EMA(0.9)


def test_another_model_than_before():
    ema = wb.EMA(Net())
    with pytest.raises(ValueError, match="EMA averages another model's weights"):
        fit(Net(), [ema])
    assert ema.updates == 0
