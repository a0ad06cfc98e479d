"""What it costs to look on while a network predicts: `python tests/benchmarks/looking.py`.

Each round takes the forward pass as it is, with its source lines, and under `detect_anomaly`; shown are the medians of
the rounds' ratios.
"""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import tinygrad_wb as wb

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, PASSES = 15, 200
NETWORKS = {"2-16-16-1, batch 100": ([2, 16, 16, 1], 100), "64-128-10, batch 32": ([64, 128, 10], 32)}
WAYS: dict[str, Callable[[], Any]] = {
    "as it is": contextlib.nullcontext,
    "source_lines": wb.source_lines,
    "detect_anomaly": wb.detect_anomaly,
}


def forward(sizes: list[int], batch: int) -> Callable[[], Any]:
    """One forward pass in float32: the network, and its loss."""
    rng = np.random.default_rng(0)
    model = wb.MLP(sizes[0], sizes[1:-1], sizes[-1], seed=0, dtype="float32")
    x = rng.normal(size=(batch, sizes[0])).astype("f")
    if sizes[-1] == 1:
        y = rng.integers(0, 2, (batch, 1)).astype("f")
        return lambda: wb.binary_cross_entropy(model(x), y)
    labels = rng.integers(0, sizes[-1], batch)
    return lambda: wb.cross_entropy(model(x), labels)


def median_time(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(PASSES):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    print(f"tinygrad_wb {wb.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    for name, (sizes, batch) in NETWORKS.items():
        work = forward(sizes, batch)
        rounds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, block in WAYS.items():
                with block():
                    rounds[way].append(median_time(work))
        plain = rounds.pop("as it is")
        ratios = {way: statistics.median(a / b for a, b in zip(times, plain)) for way, times in rounds.items()}
        print(f"{name}: a forward pass takes " + ", ".join(f"{ratio:.2f} with {way}" for way, ratio in ratios.items()))


if __name__ == "__main__":
    main()
