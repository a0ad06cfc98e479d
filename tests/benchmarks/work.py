"""The work that every framework does: what it is, its data, and what its losses must be.

A kind of work is a class with a ``name``, a ``unit``, the number of ``rounds`` it is worth, and

- ``run(peer, quick)``, called in the peer's own process: how long one step took, in seconds (or whatever ``unit`` is),
  and the losses of the first steps, or other numbers that show what was computed;
- ``reference(count)``: what those losses must be, from plain NumPy in float64.

A new workload is one more row in ``WORK``, a new kind is named in ``peers/__init__.py`` beside who takes part.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import sys
import time
import tracemalloc
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moons
import numpy as np
from layered import Convolution, Letters, cross_entropy
from timing import CHECKED, QUICK, Measured, distance, median_time, timed
from transformer import Transformer

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 2

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

    @property
    def criterion(self) -> str:
        """The name of the loss."""
        return "binary_cross_entropy" if self.binary else "cross_entropy"

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

    def weights(self) -> list[Any]:
        """The same one after another."""
        return [p for layer in self.layers() for p in layer]

    def run(self, peer: Any, quick: bool) -> Measured:
        return timed(peer.make_step(self), max(3, self.steps // QUICK) if quick else self.steps)

    def scores(self, x: Any) -> Any:
        """Of some rows, before training, in float64."""
        *hidden, (w_out, b_out) = self.layers()
        for w, b in hidden:
            x = np.maximum(x.astype(np.float64) @ w + b, 0.0)
        return x @ w_out + b_out

    def reference(self, count: int) -> list[float]:
        x, targets = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in self.data())
        layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers()]
        losses = []
        for _ in range(count):
            inputs = [x]
            for i, (w, b) in enumerate(layers):
                z = inputs[-1] @ w + b
                inputs.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
            loss, g = self.measured(z, targets)
            losses.append(loss)
            for i in reversed(range(len(layers))):
                (w, b), a = layers[i], inputs[i]
                layers[i] = w - self.learning_rate * a.T @ g, b - self.learning_rate * g.sum(0)
                g = g @ w.T * (a > 0.0)
        return [float(loss) for loss in losses]

    def measured(self, z: Any, targets: Any) -> tuple[float, Any]:
        """The loss of scores, and its gradient by them."""
        if not self.binary:
            return cross_entropy(z, targets)
        return np.mean(np.logaddexp(0.0, z) - z * targets), (1.0 / (1.0 + np.exp(-z)) - targets) / self.batch


@dataclass(frozen=True)
class OwnNet(Net):
    """What this package trains in each of its ways. One output learns by the mean squared error."""

    @property
    def criterion(self) -> str:
        return "mean_squared_error" if self.binary else "cross_entropy"

    def measured(self, z: Any, targets: Any) -> tuple[float, Any]:
        if not self.binary:
            return cross_entropy(z, targets)
        return np.mean(np.square(z - targets)), 2.0 * (z - targets) / self.batch


@dataclass(frozen=True)
class Curvature:
    """The Hessian of a net's loss by all its weights, times a direction; nothing is kept from one product to the next."""

    net: Net
    steps: int

    unit = "µs"
    scale = 1e6
    rounds = 5

    @property
    def name(self) -> str:
        return f"Hessian times vector, {self.net.name}"

    def layers(self, flat: Any) -> list[tuple[Any, Any]]:
        """Weights (inputs, outputs) and biases (outputs), cut out of one flat array of any framework."""
        found, start = [], 0
        for inputs, outputs in pairwise(self.net.sizes):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            found.append((flat[start:middle].reshape(inputs, outputs), flat[middle:end]))
            start = end
        return found

    def point(self) -> Any:
        """All weights and biases, flat."""
        return np.concatenate([p.ravel() for p in self.net.weights()])

    def directions(self, count: int) -> list[Any]:
        return list(np.random.default_rng(3).standard_normal((count, self.point().size)).astype(np.float32))

    def run(self, peer: Any, quick: bool) -> Measured:
        product = peer.make_product(self)
        directions = [peer.array(v) for v in self.directions(CHECKED)]
        seen = [distance(product(v)) for v in directions]
        steps = self.steps // QUICK if quick else self.steps
        return Measured(median_time(lambda: product(directions[-1]), steps), seen)

    def reference(self, count: int) -> list[float]:
        """How loss and gradient change along the direction: each number on the way (a) beside its change (da)."""
        x, targets = self.net.data()
        layers = self.layers(self.point().astype(np.float64))
        seen = []
        for direction in self.directions(count):
            changes = self.layers(direction.astype(np.float64))
            a, da, inputs = x.astype(np.float64), np.zeros(x.shape), []
            for i, ((w, b), (dw, db)) in enumerate(zip(layers, changes)):
                inputs.append((a, da))
                a, da = a @ w + b, da @ w + a @ dw + db
                if i < len(layers) - 1:
                    a, da = np.maximum(a, 0.0), da * (a > 0.0)
            _, g = cross_entropy(a, targets)
            p = g + np.eye(self.net.sizes[-1])[targets] / self.net.batch  # softmax, divided by the batch
            dg = p * (da - self.net.batch * (p * da).sum(1, keepdims=True))
            products: list[Any] = []
            for (w, _), (dw, _), (a, da) in zip(layers[::-1], changes[::-1], inputs[::-1]):
                products = [(da.T @ g + a.T @ dg).ravel(), dg.sum(0), *products]
                g, dg = g @ w.T * (a > 0.0), (dg @ w.T + g @ dw.T) * (a > 0.0)
            seen.append(distance(np.concatenate(products)))
        return seen


@dataclass(frozen=True)
class Row:
    """Scores of one row by a net that is not being trained, nothing recorded."""

    net: Net
    steps: int

    unit = "µs"
    scale = 1e6
    rounds = 5

    @property
    def name(self) -> str:
        return f"one row through {'-'.join(map(str, self.net.sizes))}"

    def rows(self, count: int) -> list[Any]:
        x, _ = replace(self.net, batch=count).data()
        return [x[i : i + 1] for i in range(count)]

    def run(self, peer: Any, quick: bool) -> Measured:
        predict = peer.make_predict(self.net)
        with peer.inference():
            rows = [peer.array(row) for row in self.rows(CHECKED)]
            seen = [distance(predict(row)) for row in rows]
            steps = self.steps // QUICK if quick else self.steps
            return Measured(median_time(lambda: predict(rows[-1]), steps), seen)

    def reference(self, count: int) -> list[float]:
        return [distance(self.net.scores(row)) for row in self.rows(count)]


@dataclass(frozen=True)
class Fit:
    """What `fit` takes for a batch, shuffling and gathering it included, beyond a training step by hand on one batch.

    Epoch by epoch, in turn with as many steps. The first epochs, in which what compiles is compiled, are not counted.
    """

    net: Net
    batches: int  # in an epoch
    epochs: int

    name = "fit, per batch beyond the step"
    unit = "µs"
    scale = 1e6
    rounds = 5

    def run(self, peer: Any, quick: bool) -> Measured:
        # Of one batch, its order does not matter: these losses are known.
        losses = peer.fit(self.net, *self.net.data(), CHECKED)
        x, targets = replace(self.net, batch=self.net.batch * self.batches).data()
        step = peer.make_step(self.net)
        for _ in range(CHECKED):
            step()
        beyond: list[float] = []
        start = 0.0

        def on_epoch() -> None:
            nonlocal start
            end = time.perf_counter()
            for _ in range(self.batches):
                step()
            beyond.append((end - start - (time.perf_counter() - end)) / self.batches)
            start = time.perf_counter()

        warm_up, epochs = 3, self.epochs // QUICK if quick else self.epochs
        start = time.perf_counter()
        peer.fit(self.net, x, targets, warm_up + epochs, on_epoch)
        return Measured(statistics.median(beyond[warm_up:]), losses)

    def reference(self, count: int) -> list[float]:
        return self.net.reference(count)


@dataclass(frozen=True)
class StepMemory:
    """By how much the process grows, at its largest, in the first steps of training; data and model are there before."""

    net: Net
    steps: int = 10

    unit = "MB"
    scale = 1e-6
    rounds = 3

    @property
    def name(self) -> str:
        return f"peak memory of training {'-'.join(map(str, self.net.sizes))}"

    def run(self, peer: Any, quick: bool) -> Measured:
        step = peer.make_step(self.net)
        # What came before may have needed more for a moment. Where the system can, it forgets that.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = peak_resident()
        losses = [float(step()) for _ in range(self.steps)]
        return Measured(peak_resident() - before, losses)

    def reference(self, count: int) -> list[float]:
        return self.net.reference(count)


def peak_resident() -> float:
    """The most memory that this process has had, in bytes.

    What Linux says in ``ru_maxrss`` may be the peak of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


# -- elementwise operations -------------------------------------------------------------------------------------


def chain(x: Any, lib: Any) -> Any:
    """20 cheap operations, one after another; ``lib`` has a framework's functions."""
    y = x * 1.5
    y = y + 0.25
    y = abs(y)
    y = lib.sqrt(y)
    y = lib.maximum(y, 0.5)
    y = y - 0.75
    y = y * y
    y = y + 1.0
    y = 2.0 / y
    y = lib.minimum(y, 1.75)
    y = y * 0.5
    y = y - 0.5
    y = -y
    y = abs(y)
    y = y + 0.125
    y = lib.sqrt(y)
    y = lib.maximum(y, 0.4)
    y = y * 3.0
    y = y - 1.0
    return y / 1.25


@dataclass(frozen=True)
class Chain:
    """`chain`, forward only, on an array that does not fit into the processor's nearer caches."""

    steps: int
    size: int = 1_000_000

    unit = "ms"
    scale = 1e3
    rounds = 5

    @property
    def name(self) -> str:
        return f"a chain of 20 elementwise operations on {self.size:,} float32"

    def inputs(self, count: int) -> list[Any]:
        x = np.random.default_rng(1).standard_normal(self.size, np.float32)
        return [x * np.float32(1.0 + i / 4) for i in range(count)]

    def run(self, peer: Any, quick: bool) -> Measured:
        function = peer.make_chain(chain)
        with peer.inference():
            inputs = [peer.array(x) for x in self.inputs(CHECKED)]
            seen = [distance(function(x)) for x in inputs]
            steps = self.steps // QUICK if quick else self.steps
            return Measured(median_time(lambda: function(inputs[-1]), steps), seen)

    def reference(self, count: int) -> list[float]:
        return [distance(chain(x.astype(np.float64), np)) for x in self.inputs(count)]


@dataclass(frozen=True)
class ChainMemory:
    """Memory that the chain needs beyond its input, as NumPy reports it: at the most during a call, and what is kept."""

    chain: Chain

    name = "peak memory of that chain beyond its input"
    unit = "arrays"
    scale = 1.0
    rounds = 1

    def run(self, peer: Any, quick: bool) -> Measured:
        function = peer.make_chain(chain)
        with peer.inference():
            x = peer.array(self.chain.inputs(1)[0])
            tracemalloc.start()
            seen = [distance(function(x)) for _ in range(CHECKED)]
            tracemalloc.reset_peak()
            function(x)
            _, peak = tracemalloc.get_traced_memory()
        return Measured(peak / (4 * self.chain.size), seen)

    def reference(self, count: int) -> list[float]:
        return self.chain.reference(1) * count


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
        step = moons.make_step(peer, *moons.make_loss(peer))
        return timed(step, max(3, self.steps // QUICK) if quick else self.steps, 0.2 if quick else 1.0)

    def reference(self, count: int) -> list[float]:
        return moons.reference(count)


@dataclass(frozen=True)
class Compiling:
    """All the steps that come before the first one of a compiled loss; of who compiles nothing, one step."""

    samples: int = moons.SAMPLES

    unit = "s"
    scale = 1.0
    rounds = 3

    @property
    def name(self) -> str:
        return f"compiling the moons program, {self.samples} samples"

    def run(self, peer: Any, quick: bool) -> Measured:
        loss_of, parameters = moons.make_loss(peer, self.samples)
        step = moons.make_step(peer, loss_of, parameters)
        if not hasattr(peer, "compile"):
            losses = [step()]
            return Measured(median_time(lambda: losses.append(step()), 1 if quick else 3), losses)
        losses = []
        start = time.perf_counter()
        while not peer.replays(loss_of):
            losses.append(step())
        took = time.perf_counter() - start
        return Measured(took, losses + [step() for _ in range(CHECKED)])

    def reference(self, count: int) -> list[float]:
        return moons.reference(count, self.samples)


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


@dataclass(frozen=True)
class Looking:
    """How many times as long a forward pass takes in a block in which somebody looks on, with and without in turn."""

    block: str
    of: Net | Moons
    steps: int

    unit = "×"
    scale = 1.0
    rounds = 3

    @property
    def name(self) -> str:
        return f"{self.block.replace('_', ' ')}, {self.of.name}"

    def run(self, peer: Any, quick: bool) -> Measured:
        if isinstance(self.of, Net):
            predict, (x, _) = peer.make_predict(self.of), self.of.data()
            forward, seen = lambda: predict(x), [distance(predict(x))]
        else:
            forward, _ = moons.make_loss(peer)
            seen = [forward().data]
        ratios = []
        for _ in range(5 if quick else 15):
            plain = median_time(forward, self.steps)
            with getattr(peer, self.block)():
                ratios.append(median_time(forward, self.steps) / plain)
        return Measured(statistics.median(ratios), seen)

    def reference(self, count: int) -> list[float]:
        if isinstance(self.of, Moons):
            return self.of.reference(1)
        return [distance(self.of.scores(self.of.data()[0]))]


# -- what compiling costs beside the arithmetic ----------------------------------------------------------------


def many_arrays() -> Callable[[], Any]:
    arrays = list(np.full((1_000, 3), 2.0))
    return lambda: arrays[500]


def dictionary() -> Callable[[], Any]:
    table = dict.fromkeys(range(100_000), 2.0)
    return lambda: table[500]


def large_array() -> Callable[[], Any]:
    array = np.full(100 * 2**20 // 8, 2.0)
    return lambda: array[500:503]


def transposed_array() -> Callable[[], Any]:
    array = np.full((3_000, 3_000), 2.0).T
    return lambda: array[500:503, 500]


@dataclass(frozen=True)
class Around:
    """How much longer a compiled call takes than the function as it is, in turn, if there is much around the function.

    ``make`` gives what takes a piece out of that: three numbers, or one.
    """

    what: str
    make: Callable[[], Callable[[], Any]]
    steps: int = 400

    unit = "µs"
    scale = 1e6
    rounds = 5

    @property
    def name(self) -> str:
        return f"a function around {self.what}"

    def run(self, peer: Any, quick: bool) -> Measured:
        eager, compiled = peer.make_both(self.make())
        seen = [compiled().data for _ in range(CHECKED)]
        turns = range(5 if quick else 15)
        beyond = [median_time(compiled, self.steps) - median_time(eager, self.steps) for _ in turns]
        return Measured(statistics.median(beyond), seen)

    def reference(self, count: int) -> list[float]:
        return [6.0] * count


@dataclass(frozen=True)
class Guarding:
    """The look at a Sequential, in each call of the known way, whether it is as it was."""

    layers: int = 100
    steps: int = 4000

    unit = "µs"
    scale = 1e6
    rounds = 5

    @property
    def name(self) -> str:
        return f"the guard of a Sequential of {self.layers} layers"

    def run(self, peer: Any, quick: bool) -> Measured:
        guard = peer.make_guard(self.layers)
        return timed(guard, self.steps // QUICK if quick else self.steps)

    def reference(self, count: int) -> list[float]:
        return [1.0] * count  # it is


SMALL = Net((2, 16, 16, 1), batch=100, steps=2000)
LABELS = Net((64, 128, 10), batch=32, steps=2000)
DIGITS = Net((784, 128, 10), batch=128, steps=400)
WIDE = Net((1024, 1024, 1024, 10), batch=512, steps=15)
OWN = (
    OwnNet((3, 16, 16, 1), batch=96, steps=2000),
    OwnNet((64, 96, 10), batch=48, steps=2000),
    OwnNet((784, 160, 10), batch=128, steps=400),
)
MOONS = Moons(steps=6)
SCALAR_MEMORY = ScalarMemory(operations=20_000)
COMPILING = Compiling()
CHAIN = Chain(steps=200)
CHAIN_MEMORY = ChainMemory(CHAIN)
FIT = Fit(SMALL, batches=50, epochs=60)
CONVOLUTION, LETTERS, TRANSFORMER = Convolution(steps=300), Letters(steps=1500), Transformer(steps=200)
CURVATURE = Curvature(LABELS, steps=1000)
ROW = Row(LABELS, steps=4000)
STEP_MEMORY = StepMemory(WIDE)
LOOKING = tuple(
    Looking(block, of, steps)
    for block in ("source_lines", "frames_kept", "detect_anomaly")  # the second is `step`'s
    for of, steps in ((SMALL, 200), (MOONS, 1))
)
AROUND = tuple(
    Around(what, make)
    for what, make in (
        ("a list of 1,000 arrays", many_arrays),
        ("a dictionary of 100,000 numbers", dictionary),
        ("an array of 100 MB", large_array),
        ("a transposed array of 72 MB", transposed_array),
    )
)
GUARDING = Guarding()

WORK = (
    SMALL,
    LABELS,
    DIGITS,
    WIDE,
    CONVOLUTION,
    LETTERS,
    TRANSFORMER,
    CURVATURE,
    STEP_MEMORY,
    FIT,
    ROW,
    CHAIN,
    CHAIN_MEMORY,
    MOONS,
    SCALAR_MEMORY,
    *LOOKING,
    Compiling(samples=24),
    COMPILING,
    Compiling(samples=400),
    *OWN,
    *AROUND,
    GUARDING,
)
