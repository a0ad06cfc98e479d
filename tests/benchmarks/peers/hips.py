"""HIPS autograd: value_and_grad of a function on a list of arrays."""

import autograd
import autograd.numpy as np


def make_step(net):
    x, targets = net.data()
    layers = net.layers()
    rows = np.arange(net.batch)

    def loss_of(layers):
        h = x
        for i, (w, b) in enumerate(layers):
            h = np.dot(h, w) + b
            if i < len(layers) - 1:
                h = np.maximum(h, 0.0)
        if net.binary:
            return np.mean(np.logaddexp(0.0, h) - h * targets)
        h = h - np.max(h, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(h), axis=1)) - h[rows, targets])

    slope = autograd.value_and_grad(loss_of)

    def step():
        loss, gradients = slope(layers)
        for (w, b), (dw, db) in zip(layers, gradients):
            w[...] -= net.learning_rate * dw
            b[...] -= net.learning_rate * db
        return loss

    return step
