"""This package, eager."""

import tinygrad_wb as wb
from tinygrad_wb.recording import frames_kept  # noqa: F401 - what the command `step` runs a script in

Value = array = wb.Value
NO_GRADIENT = None
inference = wb.no_grad
source_lines, detect_anomaly = wb.source_lines, wb.detect_anomaly


def row(numbers):
    return numbers


def build(net):
    layers = []
    for w, b in net.layers():
        layer = wb.Dense(*w.shape, activation="relu" if len(layers) < len(net.sizes) - 2 else None)
        layer.weight.data, layer.bias.data = w, b
        layers.append(layer)
    model = wb.Sequential(*layers)
    optimizer = wb.SGD(model.parameters(), learning_rate=net.learning_rate)
    return model, wb.binary_cross_entropy if net.binary else wb.cross_entropy, optimizer


def make_step(net, wrap=lambda loss_of: loss_of):
    x, targets = net.data()
    model, measure, optimizer = build(net)
    loss_of = wrap(lambda x, targets: measure(model(x), targets))

    def step():
        optimizer.zero_grad()
        loss = loss_of(x, targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


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
