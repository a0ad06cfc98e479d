"""micrograd's moons demo, written once, for every library that has a scalar ``Value``.

The network, the loss and the order of the additions are those of the demo (github.com/karpathy/micrograd, MIT).
"""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = (2, 16, 16, 1)
SAMPLES = 100
L2 = 1e-4


def learning_rates() -> Iterator[float]:
    """The demo's: from 1 down to 0.1 over 100 steps."""
    k = 0
    while True:
        yield 1.0 - 0.9 * min(k, 100) / 100
        k += 1


def make_moons(samples: int = SAMPLES) -> tuple[list[list[float]], list[float]]:
    """Two half circles that reach into one another, with a little noise; classes -1 and 1."""
    rng = random.Random(1)
    half = samples // 2
    angles = [math.pi * i / (half - 1) for i in range(half)]
    points = [(math.cos(t), math.sin(t)) for t in angles] + [(1.0 - math.cos(t), 0.5 - math.sin(t)) for t in angles]
    return [[x + rng.gauss(0.0, 0.1) for x in point] for point in points], [-1.0] * half + [1.0] * half


def start() -> list[list[tuple[list[float], float]]]:
    """For each layer, the weights and the bias of each neuron."""
    rng = random.Random(1337)
    return [
        [([rng.uniform(-1.0, 1.0) for _ in range(inputs)], 0.0) for _ in range(outputs)]
        for inputs, outputs in pairwise(SIZES)
    ]


def make_loss(peer: Any, samples: int = SAMPLES) -> tuple[Callable[[], Any], list[Any]]:
    """The loss over all samples as a function of nothing, compiled if the peer does that; and the parameters.

    The numbers are ``peer.Value``; ``peer.row`` prepares a sample.
    """
    points, classes = make_moons(samples)
    layers = [[([peer.Value(w) for w in weights], peer.Value(b)) for weights, b in layer] for layer in start()]
    parameters = [p for layer in layers for weights, b in layer for p in (*weights, b)]

    def score(x: list[Any]) -> Any:
        for layer in layers:
            x = [sum((wi * xi for wi, xi in zip(weights, x)), b) for weights, b in layer]
            if layer is not layers[-1]:
                x = [z.relu() for z in x]
        return x[0]

    def loss_of() -> Any:
        scores = [score(row) for row in map(peer.row, points)]
        losses = [(1.0 + -c * s).relu() for c, s in zip(classes, scores)]
        return sum(losses) * (1.0 / len(losses)) + L2 * sum(p * p for p in parameters)

    return peer.compile(loss_of) if hasattr(peer, "compile") else loss_of, parameters


def make_step(peer: Any, loss_of: Callable[[], Any], parameters: list[Any]) -> Callable[[], float]:
    """One step over all samples; ``peer.NO_GRADIENT`` resets a gradient."""
    rates = learning_rates()

    def step() -> float:
        loss = loss_of()
        for p in parameters:
            p.grad = peer.NO_GRADIENT
        loss.backward()
        rate = next(rates)
        for p in parameters:
            p.data -= rate * p.grad
        return loss.data

    return step


def operations(samples: int) -> int:
    """How many operations on numbers the loss takes: a product and a sum for each weight, and what else is above."""
    neurons = sum(SIZES[1:])
    weights = sum(inputs * outputs for inputs, outputs in pairwise(SIZES))
    relus = neurons - SIZES[-1] + 1
    return samples * (2 * weights + relus + 2 + 1) + 2 * (weights + neurons) + 3


def reference(count: int, samples: int = SAMPLES) -> list[float]:
    """The losses of the first steps, by NumPy."""
    points, classes = make_moons(samples)
    x, c = np.array(points), np.array(classes)[:, None]
    layers = [(np.array([w for w, _ in layer]).T, np.array([b for _, b in layer])) for layer in start()]
    losses = []
    for _, rate in zip(range(count), learning_rates()):
        inputs = [x]
        for i, (w, b) in enumerate(layers):
            z = inputs[-1] @ w + b
            inputs.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
        margin = 1.0 - c * z
        squares = sum(np.sum(w * w) + np.sum(b * b) for w, b in layers)
        losses.append(float(np.mean(np.maximum(margin, 0.0)) + L2 * squares))
        g = -c * (margin > 0.0) / samples
        for i in reversed(range(len(layers))):
            (w, b), a = layers[i], inputs[i]
            layers[i] = w - rate * (a.T @ g + 2.0 * L2 * w), b - rate * (g.sum(0) + 2.0 * L2 * b)
            g = g @ w.T * (a > 0.0)
    return losses
