"""This package, eager."""

import tinygrad_wb as wb

Value = wb.Value
NO_GRADIENT = None


def row(numbers):
    return numbers


def make_step(net, wrap=lambda loss_of: loss_of):
    x, targets = net.data()
    layers = []
    for w, b in net.layers():
        layer = wb.Dense(*w.shape, activation="relu" if len(layers) < len(net.sizes) - 2 else None)
        layer.weight.data, layer.bias.data = w, b
        layers.append(layer)
    model = wb.Sequential(*layers)
    optimizer = wb.SGD(model.parameters(), learning_rate=net.learning_rate)
    measure = wb.binary_cross_entropy if net.binary else wb.cross_entropy
    loss_of = wrap(lambda x, targets: measure(model(x), targets))

    def step():
        optimizer.zero_grad()
        loss = loss_of(x, targets)
        loss.backward()
        optimizer.step()
        return loss

    return step
