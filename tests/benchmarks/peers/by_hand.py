"""NumPy written by hand: the chain rule on paper, in place where that is natural, the loss included."""

import contextlib

import numpy as np

array = np.asarray
inference = contextlib.nullcontext


def make_step(net):
    x, targets = net.data()
    layers = net.layers()
    last = len(layers) - 1
    rows = np.arange(net.batch)
    share, rate = 1.0 / net.batch, net.learning_rate

    def binary(z):
        e = np.exp(-z)
        loss = np.add.reduce(np.log1p(e) + (1.0 - targets) * z, None) * share
        e += 1.0
        g = 1.0 / e
        g -= targets
        return loss, g

    def several(z):
        z -= np.maximum.reduce(z, 1, keepdims=True)
        g = np.exp(z)
        total = np.add.reduce(g, 1, keepdims=True)
        loss = (np.add.reduce(np.log(total), None) - np.add.reduce(z[rows, targets])) * share
        g /= total
        g[rows, targets] -= 1.0
        return loss, g

    loss_of = binary if net.binary else several

    def step():
        inputs = [x]
        for i, (w, b) in enumerate(layers):
            h = inputs[-1] @ w
            h += b
            if i < last:
                np.maximum(h, 0.0, out=h)
            inputs.append(h)
        loss, g = loss_of(inputs[-1])
        g *= share
        for i in range(last, -1, -1):
            w, b = layers[i]
            dw = inputs[i].T @ g
            db = np.add.reduce(g, 0)
            if i:
                g = g @ w.T
                g *= inputs[i] > 0.0
            dw *= rate
            db *= rate
            w -= dw
            b -= db
        return loss

    return step


def make_chain(chain):
    return lambda x: chain(x, np)


def make_predict(net):
    *hidden, (w_out, b_out) = net.layers()

    def predict(x):
        for w, b in hidden:
            x = x @ w
            x += b
            np.maximum(x, 0.0, out=x)
        x = x @ w_out
        x += b_out
        return x

    return predict
