"""How long drawing takes, and how large a page is: `python tests/benchmarks/drawing.py`."""

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


def main() -> None:
    print(
        f"tinygrad_wb {wb.__version__}, Python {platform.python_version()}, NumPy {np.__version__}; medians, in seconds"
    )
    loss = scalar_moons()
    drawing = wb.draw(loss)
    print(f"moons, {moons.operations(moons.SAMPLES):,} operations, drawn as {len(drawing.graph.nodes)} nodes:")
    print(f"  DOT {seconds(lambda: wb.draw(loss).dot, 5):.2f}, SVG {seconds(lambda: wb.draw(loss).svg, 5):.2f}")
    million = chain(1_000_000)
    print(f"a chain of 1,000,000 operations: text {seconds(lambda: str(wb.draw(million)), 1):.1f}")
    loss, _model = digits()
    with tempfile.TemporaryDirectory() as folder:
        size = wb.draw(loss).save(Path(folder) / "net.html").stat().st_size
    print(f"64-128-10 with batch 32: DOT {seconds(lambda: wb.draw(loss).dot, 9):.3f}; its page has {size:,} bytes")


if __name__ == "__main__":
    main()
