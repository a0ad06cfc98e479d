"""HIPS autograd: value_and_grad of a function on a list of arrays."""

import autograd
import autograd.numpy as np

array = np.asarray


def loss_of_layers(net):
    x, targets = net.data()
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

    return loss_of


def make_step(net):
    layers = net.layers()
    slope = autograd.value_and_grad(loss_of_layers(net))

    def step():
        loss, gradients = slope(layers)
        for (w, b), (dw, db) in zip(layers, gradients):
            w[...] -= net.learning_rate * dw
            b[...] -= net.learning_rate * db
        return loss

    return step


def make_product(work):
    point, loss_of = work.point(), loss_of_layers(work.net)
    product = autograd.hessian_vector_product(lambda flat: loss_of(work.layers(flat)))
    return lambda v: product(point, v)
