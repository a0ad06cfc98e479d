"""Networks of more than Dense layers: what each is, its data, and what its losses must be, from NumPy in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from timing import QUICK, Measured, timed


def cross_entropy(z: Any, targets: Any) -> tuple[float, Any]:
    """The loss of scores (batch, classes), and its gradient by them."""
    log_p = z - z.max(1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    share = np.eye(z.shape[1])[targets] / len(z)
    return -float(np.sum(log_p * share)), np.exp(log_p) / len(z) - share


@dataclass(frozen=True)
class Layered:
    """One training step in float32: forward, backward by cross-entropy, SGD update.

    A kind has ``data()``, inputs and labels; ``weights()``, fresh ones in the order of the layers and laid out as this
    package has them; ``description``; and ``learn``, one step of the reference, which changes the weights.
    """

    steps: int  # timed in a round
    batch: int = 32

    learning_rate = 0.05
    criterion = "cross_entropy"
    binary = False
    unit = "µs"
    scale = 1e6
    rounds = 5

    def run(self, peer: Any, quick: bool) -> Measured:
        return timed(peer.make_step(self), self.steps // QUICK if quick else self.steps)

    def reference(self, count: int) -> list[float]:
        x, targets = self.data()
        weights = [w.astype(np.float64) for w in self.weights()]
        losses = []
        for _ in range(count):
            loss, gradients = self.backward(x, targets, *weights)
            losses.append(loss)
            weights = [w - self.learning_rate * g for w, g in zip(weights, gradients, strict=True)]
        return losses

    def normal(self, *shapes: tuple[int, ...]) -> list[Any]:
        """Weights of He's size for an (out, …) or (inputs, outputs) shape; of one axis, near 0."""
        rng = np.random.default_rng(2)
        inputs = [np.prod(s[1:]) if len(s) == 4 else s[0] if len(s) == 2 else 200.0 for s in shapes]
        return [rng.normal(0.0, np.sqrt(2.0 / n), s).astype(np.float32) for s, n in zip(shapes, inputs)]


def windows(x: Any) -> Any:
    """What a 3 × 3 filter sees: (batch, channels, height, width, 3, 3), zeros around."""
    return sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))


@dataclass(frozen=True)
class Convolution(Layered):
    """The network of examples/convolution.py: two Conv2d with relu, MaxPool, Dense; no Dropout."""

    @property
    def name(self) -> str:
        return f"convolutional digits, batch {self.batch}"

    description = "Digits of 8 × 8: Conv2d(1 → 16, 3×3), relu, Conv2d(16 → 32, 3×3), relu, MaxPool(2), Dense(512 → 10)"

    def data(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(1)
        return rng.random((self.batch, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, self.batch)

    def weights(self) -> list[Any]:
        return self.normal((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (512, 10), (10,))

    def backward(self, x: Any, targets: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> tuple[Any, Any]:
        convolved, by_w = "ncijkl,ockl->noij", "ncijkl,noij->ockl"
        h1 = np.maximum(np.einsum(convolved, windows(x.astype(np.float64)), w1) + b1[:, None, None], 0.0)
        h2 = np.maximum(np.einsum(convolved, windows(h1), w2) + b2[:, None, None], 0.0)
        fours = h2.reshape(len(x), 32, 4, 2, 4, 2)
        pooled = fours.max((3, 5), keepdims=True)
        flat = pooled.reshape(len(x), -1)
        loss, g = cross_entropy(flat @ w3 + b3, targets)
        g2 = ((g @ w3.T).reshape(pooled.shape) * (fours == pooled)).reshape(h2.shape) * (h2 > 0.0)
        back = w2[:, :, ::-1, ::-1].swapaxes(0, 1)
        g1 = np.einsum(convolved, windows(g2), back) * (h1 > 0.0)
        of_first = np.einsum(by_w, windows(x), g1), g1.sum((0, 2, 3))
        of_second = np.einsum(by_w, windows(h1), g2), g2.sum((0, 2, 3))
        return loss, [*of_first, *of_second, flat.T @ g, g.sum(0)]


@dataclass(frozen=True)
class Letters(Layered):
    """The network of examples/makemore.py: what letter follows three."""

    @property
    def name(self) -> str:
        return f"makemore MLP, batch {self.batch}"

    description = (
        "Three letters of 27: Embedding(27 → 10), Dense(30 → 200) without bias, BatchNorm(200), tanh, Dense(200 → 27)"
    )

    def data(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(1)
        return rng.integers(0, 27, (self.batch, 3)), rng.integers(0, 27, self.batch)

    def weights(self) -> list[Any]:
        return self.normal((27, 10), (30, 200), (200,), (200,), (200, 27), (27,))

    def backward(
        self, x: Any, targets: Any, rows: Any, w1: Any, gain: Any, shift: Any, w2: Any, b2: Any
    ) -> tuple[Any, Any]:
        flat = rows[x].reshape(len(x), -1)
        z = flat @ w1
        scale = 1.0 / np.sqrt(z.var(0) + 1e-5)
        z = (z - z.mean(0)) * scale
        h = np.tanh(gain * z + shift)
        loss, g = cross_entropy(h @ w2 + b2, targets)
        of_last = h.T @ g, g.sum(0)
        g = g @ w2.T * (1.0 - h * h)
        of_norm = (g * z).sum(0), g.sum(0)
        g = gain * g
        g = scale * (g - g.mean(0) - z * (g * z).mean(0))
        of_rows = np.zeros_like(rows)
        np.add.at(of_rows, x, (g @ w1.T).reshape(*x.shape, -1))
        return loss, [of_rows, flat.T @ g, *of_norm, *of_last]
