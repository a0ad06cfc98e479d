"""Every layer but Dense against PyTorch's: the same weights in, the same numbers out."""

import copy

import numpy as np
import pytest

import tinygrad_wb as wb

torch = pytest.importorskip("torch", reason="PyTorch is not installed; these tests compare with it")
torch.set_num_threads(1)  # work as small as this is done before a second thread is there

RNG = np.random.default_rng(0)
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}  # well inside the 1e-5 that is promised; single precision rounds


def pictures(*shape):
    return lambda rng: rng.normal(size=shape)


def words(*shape):
    return lambda rng: rng.integers(0, 7, shape)


PICTURES, SIGNALS = pictures(6, 2, 8, 7), pictures(6, 2, 9)
conv1d, conv2d, nn = torch.nn.Conv1d, torch.nn.Conv2d, torch.nn
STEPS = pictures(6, 4, 3)  # sequences of 4 steps with 3 numbers each
PLACES = pictures(6, 5, 8)


def outputs_of(layer):
    """PyTorch's recurrent layer that gives its outputs alone, and goes by (batch, steps, …)."""
    return lambda *args, **options: type(
        layer.__name__, (layer,), {"forward": lambda self, x: layer.forward(self, x)[0]}
    )(*args, batch_first=True, **options)


class SelfAttention(nn.MultiheadAttention):
    def __init__(self, *args, causal=False, **options):
        super().__init__(*args, batch_first=True, **options)
        self.causal = causal

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype) if self.causal else None
        return super().forward(x, x, x, attn_mask=mask, is_causal=self.causal, need_weights=False)[0]


class Block(nn.TransformerEncoderLayer):
    def __init__(self, *args, causal=False, **options):
        super().__init__(*args, dropout=0.0, batch_first=True, norm_first=True, **options)
        self.causal = causal

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype) if self.causal else None
        return super().forward(x, src_mask=mask, is_causal=self.causal)


class Around(nn.Sequential):
    """A residual connection around layers, written out."""

    def forward(self, x):
        return x + super().forward(x)


# Our layer, PyTorch's, and what goes in.
LAYERS = {
    "Conv1d": (lambda **o: wb.Conv1d(2, 4, 3, **o), lambda: conv1d(2, 4, 3), SIGNALS),
    "Conv1d everything": (
        lambda **o: wb.Conv1d(2, 4, 3, stride=2, padding=2, dilation=2, groups=2, **o),
        lambda: conv1d(2, 4, 3, stride=2, padding=2, dilation=2, groups=2),
        SIGNALS,
    ),
    "Conv2d": (lambda **o: wb.Conv2d(2, 4, 3, **o), lambda: conv2d(2, 4, 3), PICTURES),
    "Conv2d same": (lambda **o: wb.Conv2d(2, 3, (3, 5), padding="same", **o), lambda: conv2d(2, 3, (3, 5), padding="same"), PICTURES),
    "Conv2d everything": (
        lambda **o: wb.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2, bias=False, **o),
        lambda: conv2d(2, 4, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2), groups=2, bias=False),
        PICTURES,
    ),
    "MaxPool": (lambda **o: wb.MaxPool(2), lambda: nn.MaxPool2d(2), PICTURES),
    "MaxPool everything": (lambda **o: wb.MaxPool((3, 2), 1, (1, 0)), lambda: nn.MaxPool2d((3, 2), 1, (1, 0)), PICTURES),
    "MaxPool signals": (lambda **o: wb.MaxPool(3, 2, 1), lambda: nn.MaxPool1d(3, 2, 1), SIGNALS),
    "AveragePool": (lambda **o: wb.AveragePool(2), lambda: nn.AvgPool2d(2), PICTURES),
    "AveragePool everything": (lambda **o: wb.AveragePool((3, 2), 1, (1, 0)), lambda: nn.AvgPool2d((3, 2), 1, (1, 0)), PICTURES),
    "AveragePool signals": (lambda **o: wb.AveragePool(3, 2, 1), lambda: nn.AvgPool1d(3, 2, 1), SIGNALS),
    "Flatten": (lambda **o: wb.Flatten(), nn.Flatten, PICTURES),
    "LayerNorm": (lambda **o: wb.LayerNorm(7, dtype=o["dtype"]), lambda: nn.LayerNorm(7), PICTURES),
    "LayerNorm of pictures": (
        lambda **o: wb.LayerNorm((8, 7), epsilon=0.1, dtype=o["dtype"]), lambda: nn.LayerNorm((8, 7), eps=0.1), PICTURES
    ),
    "BatchNorm": (lambda **o: wb.BatchNorm(5, dtype=o["dtype"]), lambda: nn.BatchNorm1d(5), pictures(6, 5)),
    "BatchNorm of signals": (lambda **o: wb.BatchNorm(2, dtype=o["dtype"]), lambda: nn.BatchNorm1d(2), SIGNALS),
    "BatchNorm of pictures": (
        lambda **o: wb.BatchNorm(2, momentum=0.3, epsilon=0.01, dtype=o["dtype"]),
        lambda: nn.BatchNorm2d(2, momentum=0.3, eps=0.01),
        PICTURES,
    ),
    "Embedding": (lambda **o: wb.Embedding(7, 4, **o), lambda: nn.Embedding(7, 4), words(6, 3)),
    "RNN": (lambda **o: wb.RNN(3, 5, **o), lambda: outputs_of(nn.RNN)(3, 5), STEPS),
    "RNN relu": (lambda **o: wb.RNN(3, 4, "relu", **o), lambda: outputs_of(nn.RNN)(3, 4, nonlinearity="relu"), STEPS),
    "LSTM": (lambda **o: wb.LSTM(3, 5, **o), lambda: outputs_of(nn.LSTM)(3, 5), STEPS),
    "LSTM square": (lambda **o: wb.LSTM(3, 3, **o), lambda: outputs_of(nn.LSTM)(3, 3), STEPS),
    "GRU": (lambda **o: wb.GRU(3, 5, **o), lambda: outputs_of(nn.GRU)(3, 5), STEPS),
    "MultiHeadAttention": (lambda **o: wb.MultiHeadAttention(8, 2, **o), lambda: SelfAttention(8, 2), PLACES),
    "MultiHeadAttention causal": (
        lambda **o: wb.MultiHeadAttention(8, 4, causal=True, bias=False, **o),
        lambda: SelfAttention(8, 4, causal=True, bias=False),
        PLACES,
    ),
    "TransformerBlock": (
        lambda **o: wb.TransformerBlock(8, 2, 6, "relu", **o), lambda: Block(8, 2, 6, activation="relu"), PLACES
    ),
    "TransformerBlock causal": (
        lambda **o: wb.TransformerBlock(8, 4, causal=True, **o),
        lambda: Block(8, 4, 32, activation="gelu", causal=True),
        PLACES,
    ),
    "Residual": (
        lambda **o: wb.Residual(wb.LayerNorm(8, dtype=o["dtype"]), wb.Dense(8, 8, "tanh", **o), wb.Dense(8, 8, **o)),
        lambda: Around(nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)),
        PLACES,
    ),
}  # fmt: skip


def twins(name, dtype="float64"):
    """Our layer and PyTorch's with the same random weights, and what draws an input."""
    ours, theirs, draw = LAYERS[name]
    layer, twin = ours(seed=0, dtype=dtype), theirs().to(getattr(torch, dtype))
    copied(layer, twin)
    return layer, twin, lambda rng: (x := draw(rng)).astype(dtype if x.dtype.kind == "f" else x.dtype)


def copied(layer, twin):
    rng = np.random.default_rng(3)
    for v in layer.parameters():
        v.data = rng.normal(size=v.shape, scale=0.3).astype(v.dtype)
    twin.load_state_dict(wb.to_torch(layer), strict=not isinstance(layer, wb.BatchNorm))  # which counts its batches


def gradients(layer):
    """The layer's gradients as PyTorch's tensors, laid out and called as there."""
    twin = copy.deepcopy(layer)
    for v, original in zip(twin.parameters(), layer.parameters(), strict=True):
        v.data = original.grad
    return wb.to_torch(twin)


def compare(ours, theirs, what, dtype="float64"):
    """Two state dictionaries, of weights or gradients; ``theirs`` holds parameters."""
    for name, parameter in theirs.named_parameters():
        close(ours[name].numpy(), what(parameter), dtype)


def close(ours, theirs, dtype="float64"):
    theirs = theirs.detach().numpy()
    assert np.shape(ours) == theirs.shape
    assert np.asarray(ours).dtype == theirs.dtype
    np.testing.assert_allclose(
        ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * max(1.0, np.abs(theirs).max())
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", LAYERS)
def test_forward_and_gradients(name, dtype):
    layer, twin, draw = twins(name, dtype)
    x = draw(RNG)
    differentiable = x.dtype.kind == "f"
    v, t = (wb.Value(x), torch.tensor(x, requires_grad=True)) if differentiable else (x, torch.tensor(x))
    y, z = layer(v), twin(t)
    close(y.data, z, dtype)
    g = RNG.normal(size=y.shape).astype(dtype)
    y.backward(seed=g)
    z.backward(torch.tensor(g))
    if differentiable:
        close(v.grad, t.grad, dtype)
    compare(gradients(layer), twin, lambda p: p.grad, dtype)


@pytest.mark.parametrize("compiled", [False, True], ids=["", "compiled"])
@pytest.mark.parametrize("name", LAYERS)
def test_ten_steps_go_the_same_way(name, compiled):
    layer, twin, draw = twins(name)
    size = wb.Flatten()(layer.eval()(draw(RNG))).shape[1]
    layer.train()
    model = wb.Sequential(layer, wb.Flatten(), wb.Dense(size, 3, seed=1))
    dense = nn.Linear(size, 3, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(torch.tensor(model[2].weight.data.T))
        dense.bias.copy_(torch.tensor(model[2].bias.data))
    network = nn.Sequential(twin, nn.Flatten(), dense)
    optimizer = wb.SGD(model.parameters(), 0.05, momentum=0.9)
    reference = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    loss_of = lambda x, y: wb.cross_entropy(model(x), y)
    if compiled:
        loss_of = wb.compile(loss_of)
    rng = np.random.default_rng(1)
    for _ in range(10):
        x, labels = draw(rng), rng.integers(0, 3, 6)
        optimizer.zero_grad()
        loss = loss_of(x, labels)
        loss.backward()
        optimizer.step()
        reference.zero_grad()
        expected = torch.nn.functional.cross_entropy(network(torch.tensor(x)), torch.tensor(labels))
        expected.backward()
        reference.step()
        close(loss.data, expected)
        compare(wb.to_torch(layer), twin, lambda p: p)
        close(model[2].weight.data.T, dense.weight)
    assert not compiled or loss_of.replaying
    model.eval()
    network.eval()
    x = draw(rng)
    close(model(x).data, network(torch.tensor(x)))
    if name.startswith("BatchNorm"):
        close(layer.running_mean, twin.running_mean)
        close(layer.running_var, twin.running_var)


def test_a_convolutional_network():
    make = lambda: wb.Sequential(
        wb.Conv2d(1, 4, 3, padding="same", seed=0), wb.BatchNorm(4), wb.relu, wb.MaxPool(2),
        wb.Conv2d(4, 6, 3, "relu", padding=1, seed=1), wb.AveragePool(2), wb.Flatten(), wb.Dense(24, 10, seed=2),
    )  # fmt: skip
    model = make()
    network = nn.Sequential(
        conv2d(1, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 10),
    ).double()  # fmt: skip
    with torch.no_grad():
        for v, p in zip(model.parameters(), network.parameters(), strict=True):
            p.copy_(torch.tensor(v.data.T if p.shape != v.shape else v.data))
    x, y, *_ = wb.datasets.digits()
    x = x.reshape(-1, 1, 8, 8)
    optimizer, reference = wb.Adam(model.parameters(), 0.01), torch.optim.Adam(network.parameters(), lr=0.01)
    for i in range(10):
        batch, labels = x[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32]
        optimizer.zero_grad()
        loss = wb.cross_entropy(model(batch), labels)
        loss.backward()
        optimizer.step()
        reference.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            network(torch.tensor(batch, dtype=torch.float64)), torch.tensor(labels, dtype=torch.long)
        )
        expected.backward()
        reference.step()
        np.testing.assert_allclose(loss.data, expected.item(), rtol=1e-5)


def test_every_layer_is_compared():
    here = {name.split()[0] for name in LAYERS}
    elsewhere = {
        "Dense",
        "Activation",
        "Dropout",
        "MLP",
        "Sequential",
        "Module",
    }  # by test_torch_networks.py and test_layers.py
    assert here | elsewhere == set(wb.nn.__all__)
