"""Layers, losses, optimizers and schedules held against PyTorch: the same weights in, the same numbers out."""

import numpy as np
import pytest

import tinygrad_wb as wb

torch = pytest.importorskip("torch", reason="PyTorch is not installed; these tests compare with it")

RTOL, ATOL = 1e-9, 1e-11  # all in float64, and well inside the 1e-6 that is promised


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=RTOL, atol=ATOL)


def linear(layer):
    """A PyTorch layer with the weights of a Dense."""
    twin = torch.nn.Linear(*layer.weight.shape, bias=layer.bias is not None, dtype=torch.float64)
    with torch.no_grad():
        twin.weight.copy_(torch.from_numpy(layer.weight.data.T))
        if layer.bias is not None:
            twin.bias.copy_(torch.from_numpy(layer.bias.data))
    return twin


def compare_gradients(ours, theirs):
    """Of Dense layers and their twins; PyTorch keeps its weights turned round."""
    for layer, twin in zip(ours, theirs, strict=True):
        close(layer.weight.grad.T, twin.weight.grad)
        if layer.bias is not None:
            close(layer.bias.grad, twin.bias.grad)


# -- layers ---------------------------------------------------------------------------------------------------------

F = torch.nn.functional
ACTIVATIONS = {
    None: lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "mish": F.mish,
    "softsign": F.softsign,
    "hard_tanh": F.hardtanh,
    "sin": torch.sin,
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
}


@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense(activation, bias, shape):
    layer = wb.Dense(5, 4, activation, bias=bias, bias_init="he_normal", seed=0)
    twin = linear(layer)
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=shape), rng.normal(size=(*shape[:-1], 4))
    ours, theirs = wb.Value(x), torch.tensor(x, requires_grad=True)
    y, z = layer(ours), ACTIVATIONS[activation](twin(theirs))
    close(y.data, z)
    y.backward(seed=g)
    z.backward(torch.from_numpy(g))
    close(ours.grad, theirs.grad)
    compare_gradients([layer], [twin])


def test_mlp():
    model = wb.MLP(5, [8, 6], 3, activation="tanh", seed=0)
    twins = [linear(layer) for layer in model]
    network = torch.nn.Sequential(twins[0], torch.nn.Tanh(), twins[1], torch.nn.Tanh(), twins[2])
    x = np.random.default_rng(1).normal(size=(9, 5))
    y, z = model(x), network(torch.from_numpy(x))
    close(y.data, z)
    (y**2).mean().backward()
    (z**2).mean().backward()
    compare_gradients(model, twins)


# -- losses ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(2)
SCORES, OTHER = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
LABELS = np.array([0, 3, 1, 2, 2, 0])
LOSSES = {
    "mean_squared_error": (F.mse_loss, SCORES, OTHER),
    "mean_squared_error 1-D": (F.mse_loss, SCORES[0], OTHER[0]),
    "cross_entropy": (F.cross_entropy, SCORES, LABELS),
    "cross_entropy large": (F.cross_entropy, SCORES * 1000.0, LABELS),
    "cross_entropy sequences": (
        lambda z, y: F.cross_entropy(z.movedim(-1, 1), y),
        SCORES.reshape(2, 3, 4),
        LABELS.reshape(2, 3),
    ),
    "binary_cross_entropy": (F.binary_cross_entropy_with_logits, SCORES, (OTHER > 0.0).astype(float)),
    "binary_cross_entropy soft": (F.binary_cross_entropy_with_logits, SCORES, 1.0 / (1.0 + np.exp(-OTHER))),
    "binary_cross_entropy large": (F.binary_cross_entropy_with_logits, SCORES * 1000.0, (OTHER > 0.0).astype(float)),
    "hinge_loss": (
        lambda z, y: torch.clamp(1.0 - y * z, min=0.0).mean(),
        SCORES,
        np.where(OTHER > 0.0, 1.0, -1.0),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    torch_loss, scores, truth = LOSSES[name]
    ours, theirs = wb.Value(scores), torch.tensor(scores, requires_grad=True)
    loss = getattr(wb, name.split()[0])(ours, truth)
    expected = torch_loss(theirs, torch.from_numpy(truth))
    close(loss.data, expected)
    loss.backward()
    expected.backward()
    close(ours.grad, theirs.grad)


# -- optimizers -----------------------------------------------------------------------------------------------------

optim = torch.optim
OPTIMIZERS = {
    "SGD": (wb.SGD, {}, optim.SGD, {}),
    "SGD momentum": (wb.SGD, {"momentum": 0.9}, optim.SGD, {"momentum": 0.9}),
    "SGD nesterov": (
        wb.SGD,
        {"momentum": 0.9, "nesterov": True},
        optim.SGD,
        {"momentum": 0.9, "nesterov": True},
    ),
    "SGD weight decay": (wb.SGD, {"weight_decay": 0.1}, optim.SGD, {"weight_decay": 0.1}),
    "SGD everything": (
        wb.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
        optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "SGD clip": (wb.SGD, {"clip_norm": 0.3}, optim.SGD, {}),
    "SGD clip, momentum": (wb.SGD, {"clip_norm": 0.3, "momentum": 0.9}, optim.SGD, {"momentum": 0.9}),
    "Adam": (wb.Adam, {}, optim.Adam, {}),
    "Adam options": (
        wb.Adam,
        {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
        optim.Adam,
        {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ),
    "Adam clip": (wb.Adam, {"clip_norm": 0.3, "epsilon": 1e-3}, optim.Adam, {"eps": 1e-3}),
    "AdamW": (wb.AdamW, {}, optim.AdamW, {}),
    "AdamW decay": (wb.AdamW, {"weight_decay": 0.3, "beta1": 0.7}, optim.AdamW, {"weight_decay": 0.3, "betas": (0.7, 0.999)}),
    "RMSprop": (wb.RMSprop, {}, optim.RMSprop, {}),
    "RMSprop momentum": (
        wb.RMSprop,
        {"momentum": 0.9, "decay": 0.9, "epsilon": 1e-3},
        optim.RMSprop,
        {"momentum": 0.9, "alpha": 0.9, "eps": 1e-3},
    ),
    "RMSprop weight decay": (wb.RMSprop, {"weight_decay": 0.1}, optim.RMSprop, {"weight_decay": 0.1}),
    "Adagrad": (wb.Adagrad, {}, optim.Adagrad, {}),
    "Adagrad options": (
        wb.Adagrad,
        {"weight_decay": 0.1, "epsilon": 1e-3},
        optim.Adagrad,
        {"weight_decay": 0.1, "eps": 1e-3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_go_the_same_way(name):
    ours, our_options, theirs, their_options = OPTIMIZERS[name]
    model = wb.MLP(5, [8], 3, activation="tanh", seed=0)
    twins = [linear(layer) for layer in model]
    network = torch.nn.Sequential(twins[0], torch.nn.Tanh(), twins[1])
    optimizer = ours(model.parameters(), learning_rate=0.1, **our_options)
    reference = theirs(network.parameters(), lr=0.1, **their_options)
    clip = our_options.get("clip_norm")

    rng = np.random.default_rng(1)
    clipped = 0
    for _ in range(10):
        x, labels = rng.normal(size=(6, 5)), rng.integers(0, 3, 6)
        optimizer.zero_grad()
        loss = wb.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()

        reference.zero_grad()
        expected = F.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(labels))
        expected.backward()
        compare_gradients(model, twins)
        if clip:
            clipped += torch.nn.utils.clip_grad_norm_(network.parameters(), clip).item() > clip
        reference.step()

        close(loss.data, expected)
        for layer, twin in zip(model, twins, strict=True):
            close(layer.weight.data.T, twin.weight)
            close(layer.bias.data, twin.bias)
    assert not clip or clipped > 5, "the clipping was put to the test"


def test_every_optimizer_is_compared():
    every = {c for c in vars(wb).values() if isinstance(c, type) and issubclass(c, wb.Optimizer)} - {wb.Optimizer}
    assert every == {row[0] for row in OPTIMIZERS.values()}


# -- schedules ------------------------------------------------------------------------------------------------------

schedulers = optim.lr_scheduler
SCHEDULES = {
    "StepDecay": (wb.StepDecay(0.5, every=3, factor=0.2), lambda o: schedulers.StepLR(o, step_size=3, gamma=0.2)),
    "CosineDecay": (wb.CosineDecay(0.5, steps=20), lambda o: schedulers.CosineAnnealingLR(o, T_max=20)),
    "CosineDecay to a floor": (
        wb.CosineDecay(0.5, steps=20, final=0.1),
        lambda o: schedulers.CosineAnnealingLR(o, T_max=20, eta_min=0.1),
    ),
    "WarmUp": (
        wb.WarmUp(5, then=0.5),
        lambda o: schedulers.LinearLR(o, start_factor=1 / 5, end_factor=1.0, total_iters=4),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    schedule, make = SCHEDULES[name]
    reference = optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(reference)
    for step in range(20):  # after T_max PyTorch's cosine rises again and ours stays
        assert schedule(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9, abs=1e-12), step
        reference.step()
        scheduler.step()
