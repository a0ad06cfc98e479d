"""The work that every framework does: what it is, its data, and what its losses must be.

A kind of work is a class with a ``name``, a ``unit``, the number of ``rounds`` it is worth, and

- ``run(peer, quick)``, called in the peer's own process: how long one step took, in seconds (or whatever ``unit`` is),
  and the losses of the first steps;
- ``reference(count)``: what those losses must be, from plain NumPy in float64.

A new workload is one more row in ``WORK``, at the end.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import moons
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 2
CHECKED = 5  # first steps, whose losses are held against the reference
QUICK = 4  # a short run times this fraction of the steps


@dataclass(frozen=True)
class Measured:
    """What one turn of one framework gave."""

    value: float
    losses: list[float]


def timed(step: Callable[[], Any], steps: int) -> Measured:
    """The median time of one of ``steps`` steps, after the checked ones and a warm-up, which are not counted."""
    losses = [float(step()) for _ in range(CHECKED)]
    for _ in range(steps // 5):
        step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return Measured(statistics.median(times), losses)


# -- networks of arrays -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Net:
    """One training step in float32: forward, backward, SGD update; relu between layers.

    One output learns by binary cross-entropy with logits, several by cross-entropy.
    """

    sizes: tuple[int, ...]
    batch: int
    steps: int  # timed in a round

    learning_rate = 0.05
    unit = "µs"
    scale = 1e6
    rounds = 5

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"

    @property
    def binary(self) -> bool:
        return self.sizes[-1] == 1

    def data(self) -> tuple[Any, Any]:
        """Inputs, and targets (batch, 1) of 0 and 1 or labels (batch)."""
        rng = np.random.default_rng(1)
        x = rng.standard_normal((self.batch, self.sizes[0])).astype(np.float32)
        if self.binary:
            return x, rng.integers(0, 2, (self.batch, 1)).astype(np.float32)
        return x, rng.integers(0, self.sizes[-1], self.batch)

    def layers(self) -> list[tuple[Any, Any]]:
        """Fresh weights (inputs, outputs) and biases (outputs) to start from."""
        rng = np.random.default_rng(2)
        return [
            (
                rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs)).astype(np.float32),
                np.zeros(outputs, np.float32),
            )
            for inputs, outputs in pairwise(self.sizes)
        ]

    def run(self, peer: Any, quick: bool) -> Measured:
        return timed(peer.make_step(self), max(3, self.steps // QUICK) if quick else self.steps)

    def reference(self, count: int) -> list[float]:
        x, targets = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in self.data())
        layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers()]
        rows = np.arange(self.batch)
        losses = []
        for _ in range(count):
            inputs = [x]
            for i, (w, b) in enumerate(layers):
                z = inputs[-1] @ w + b
                inputs.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
            if self.binary:
                losses.append(np.mean(np.logaddexp(0.0, z) - z * targets))
                g = (1.0 / (1.0 + np.exp(-z)) - targets) / self.batch
            else:
                log_p = z - z.max(1, keepdims=True)
                log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
                losses.append(-np.mean(log_p[rows, targets]))
                g = (np.exp(log_p) - np.eye(self.sizes[-1])[targets]) / self.batch
            for i in reversed(range(len(layers))):
                (w, b), a = layers[i], inputs[i]
                layers[i] = w - self.learning_rate * a.T @ g, b - self.learning_rate * g.sum(0)
                g = g @ w.T * (a > 0.0)
        return [float(loss) for loss in losses]


# -- graphs of numbers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moons:
    """micrograd's demo, one scalar Value per number: 2-16-16-1, 100 samples, hinge loss and L2."""

    steps: int

    name = "moons, scalar by scalar"
    unit = "ms"
    scale = 1e3
    rounds = 5

    def run(self, peer: Any, quick: bool) -> Measured:
        return timed(moons.make_step(peer), max(2, self.steps // QUICK) if quick else self.steps)

    def reference(self, count: int) -> list[float]:
        return moons.reference(count)


@dataclass(frozen=True)
class ScalarMemory:
    """Bytes that one operation on scalars holds while its graph is alive."""

    operations: int

    name = "memory of a scalar operation"
    unit = "bytes"
    scale = 1.0
    rounds = 1

    def run(self, peer: Any, quick: bool) -> Measured:
        y, factor, shift = peer.Value(1.0), peer.Value(0.999), peer.Value(0.5)
        tracemalloc.start()
        for _ in range(self.operations // 2):
            y = y * factor + shift
        held, _ = tracemalloc.get_traced_memory()
        return Measured(held / self.operations, [y.data])

    def reference(self, count: int) -> list[float]:
        y = 1.0
        for _ in range(self.operations // 2):
            y = y * 0.999 + 0.5
        return [y]


WORK = (
    Net((2, 16, 16, 1), batch=100, steps=2000),
    Net((64, 128, 10), batch=32, steps=2000),
    Net((784, 128, 10), batch=128, steps=400),
    Net((1024, 1024, 1024, 10), batch=512, steps=15),
    Moons(steps=6),
    ScalarMemory(operations=20_000),
)
