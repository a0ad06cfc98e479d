"""How long drawing, explaining and printing take, and how large a page is: `python tests/benchmarks/drawing.py`."""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moons
import numpy as np
from peers import ours

import tinygrad_wb as wb

if TYPE_CHECKING:
    from collections.abc import Callable


def scalar_moons() -> Any:
    """micrograd's demonstration: every number a Value."""
    loss_of, _ = moons.make_loss(ours)
    loss = loss_of()
    loss.backward()
    return loss


def chain(length: int) -> Any:
    y = wb.Value(1.0)
    for _ in range(length):
        y = y * 1.0
    return y


def wide_sum(length: int) -> Any:
    y = wb.Value(0.0)
    for i in range(length // 2):
        y = y + wb.Value(float(i)) * 2.0
    return y


def many_ways(length: int) -> Any:
    """Every second operation doubles the number of ways through it."""
    y = wb.Value(1.0)
    for i in range(length):
        y = y + y if i % 2 else y * 0.5
    return y


def arrays(length: int) -> Any:
    y = wb.Value(np.ones((2, 3)))
    for i in range(length):
        y = y * 1.0001 if i % 2 else wb.tanh(y)
    return wb.sum(y)


def recurrent(length: int) -> Any:
    """One layer, called again and again; `cells` keeps it, as Values do not."""
    cells.append(wb.Dense(2, 2, "tanh", seed=0))
    y = np.ones((1, 2))
    for _ in range(length // 3):
        y = cells[-1](y)
    return wb.sum(y)


cells: list[Any] = []
SHAPES = {"a chain": chain, "a wide sum": wide_sum, "many ways": many_ways, "arrays": arrays, "a layer": recurrent}


def first_leaf(loss: Any) -> Any:
    """The leaf that is farthest back."""
    while loss.inputs:
        loss = next(x for x in loss.inputs if type(x) is wb.Value)
    return loss


def digits() -> tuple[Any, Any]:
    """A two-layer net's loss, and the model, without which its layers would be forgotten."""
    x, labels, _, _ = wb.datasets.digits()
    model = wb.MLP(64, [128], 10, seed=0)
    with wb.source_lines():
        loss = wb.cross_entropy(model(x[:32]), labels[:32])
    loss.backward()
    return loss, model


def seconds(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_large_graphs() -> None:
    for shape, make in SHAPES.items():
        large = make(50_000)
        large.backward()
        work = {
            "explain": lambda loss=large: str(wb.explain(loss, first_leaf(loss))),
            "program": lambda loss=large: loss.program(),
            "draw": lambda loss=large: str(wb.draw(loss)),
        }
        print(f"{shape} of 50,000 operations: " + ", ".join(f"{n} {seconds(f, 3):.1f}" for n, f in work.items()))
    million = chain(1_000_000)
    work = {
        "text": lambda: str(wb.draw(million)),
        "folded SVG": lambda: wb.draw(million).svg,
        "backward(record=True)": lambda: million.backward(record=True),
    }
    print("a chain of 1,000,000 operations: " + ", ".join(f"{n} {seconds(f, 1):.1f}" for n, f in work.items()))


def main() -> None:
    print(
        f"tinygrad_wb {wb.__version__}, Python {platform.python_version()}, NumPy {np.__version__}; medians, in seconds"
    )
    loss = scalar_moons()
    drawing = wb.draw(loss)
    print(f"moons, {moons.operations(moons.SAMPLES):,} operations, drawn as {len(drawing.graph.nodes)} nodes:")
    print(f"  DOT {seconds(lambda: wb.draw(loss).dot, 5):.2f}, SVG {seconds(lambda: wb.draw(loss).svg, 5):.2f}")
    time_large_graphs()
    loss, _model = digits()
    with tempfile.TemporaryDirectory() as folder:
        size = wb.draw(loss).save(Path(folder) / "net.html").stat().st_size
    print(f"64-128-10 with batch 32: DOT {seconds(lambda: wb.draw(loss).dot, 9):.3f}; its page has {size:,} bytes")


if __name__ == "__main__":
    main()
