"""This package, eager."""

import numpy as np

import tinygrad_wb as wb
from tinygrad_wb.recording import frames_kept  # noqa: F401 - what the command `step` runs a script in

Value = array = wb.Value
NO_GRADIENT = None
inference = wb.no_grad
source_lines, detect_anomaly = wb.source_lines, wb.detect_anomaly


def row(numbers):
    return numbers


def net(work):
    return wb.MLP(work.sizes[0], work.sizes[1:-1], work.sizes[-1], dtype="float32")


def convolution(work):
    kind = {"padding": "same", "activation": "relu", "dtype": "float32"}
    return wb.Sequential(
        wb.Conv2d(1, 16, 3, **kind),
        wb.Conv2d(16, 32, 3, **kind),
        wb.MaxPool(2),
        wb.Flatten(),
        wb.Dense(512, 10, dtype="float32"),
    )


def letters(work):
    kind = {"dtype": "float32"}
    return wb.Sequential(
        wb.Embedding(27, 10, **kind),
        wb.Flatten(),
        wb.Dense(30, 200, bias=False, **kind),
        wb.BatchNorm(200, **kind),
        wb.Activation("tanh"),
        wb.Dense(200, 27, **kind),
    )


class GPT(wb.Module):
    def __init__(self):
        kind = {"dtype": "float32"}
        self.letters, self.places = wb.Embedding(27, 32, **kind), wb.Embedding(16, 32, **kind)
        self.blocks = [wb.TransformerBlock(32, 4, activation="relu", causal=True, **kind) for _ in range(2)]
        self.norm, self.scores = wb.LayerNorm(32, **kind), wb.Dense(32, 27, **kind)

    def forward(self, x):
        h = self.letters(x) + self.places(np.arange(16))
        for block in self.blocks:
            h = block(h)
        return self.scores(self.norm(h)).reshape(-1, 27)


def transformer(work):
    return GPT()


MODELS = {"Net": net, "OwnNet": net, "Convolution": convolution, "Letters": letters, "Transformer": transformer}


def build(net):
    model = MODELS[type(net).__name__](net)
    for p, w in zip(model.parameters(), net.weights(), strict=True):
        p.data = w
    optimizer = wb.SGD(model.parameters(), learning_rate=net.learning_rate)
    return model, getattr(wb, net.criterion), optimizer


def make_step(net, wrap=lambda loss_of, *roots: loss_of):
    x, targets = net.data()
    model, measure, optimizer = build(net)
    loss_of = wrap(lambda x, targets: measure(model(x), targets), model, measure)

    def step():
        optimizer.zero_grad()
        loss = loss_of(x, targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


def make_product(work):
    x, targets = work.net.data()
    point = work.point()

    def loss_of(flat):
        *hidden, (w_out, b_out) = work.layers(flat)
        h = x
        for w, b in hidden:
            h = wb.relu(h @ w + b)
        return wb.cross_entropy(h @ w_out + b_out, targets)

    product = wb.hvp(loss_of)
    return lambda v: product(point, v.data)  # of a Value, the derivative by it would be wanted too


def fit(net, x, y, epochs, on_epoch=lambda: None, compile=False):
    model, measure, optimizer = build(net)
    history = wb.fit(
        model,
        x,
        y,
        loss=measure,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=net.batch,
        seed=0,
        progress=False,
        callbacks=[lambda training: on_epoch()],
        compile=compile,
    )
    return history["loss"]


def make_chain(chain):
    return lambda x: chain(x, wb).data


def make_predict(net, wrap=lambda model: model):
    model = wrap(build(net)[0])
    return lambda x: model(x).data
