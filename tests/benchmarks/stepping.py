"""How soon a long backward pass can be stepped, and what that takes: `python tests/benchmarks/stepping.py`."""

from __future__ import annotations

import platform
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import moons
import numpy as np
from peers import ours

import tinygrad_wb as wb

if TYPE_CHECKING:
    from collections.abc import Callable


def timed(what: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    print(f"  {what:<44} {time.perf_counter() - start:8.4f} s")
    return result


def main() -> None:
    print(f"tinygrad_wb {wb.__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    loss_of, parameters = moons.make_loss(ours)
    with wb.source_lines():
        loss = loss_of()
    loss.backward()
    print(f"moons, {moons.operations(moons.SAMPLES):,} operations:")
    stepper = timed("Stepper(loss)", lambda: wb.Stepper(loss))
    print(f"  of {len(stepper):,} steps")
    timed("the first step, printed, with all names", lambda: str(stepper.step()))
    timed("the next, printed", lambda: str(stepper.step()))
    timed("finish(): all that are left", stepper.finish)
    timed("the last step, printed", lambda: str(stepper.current))
    timed("back(), printed", lambda: str(stepper.back()))
    timed("back to the start", lambda: stepper.go_to(0))
    timed("until(the first parameter), printed", lambda: str(stepper.until(parameters[0])))
    timed("explain(loss, the first parameter)", lambda: str(wb.explain(loss, parameters[0])))
    tracemalloc.start()
    another = wb.Stepper(loss)
    another.finish()
    held, _ = tracemalloc.get_traced_memory()
    print(f"  a stepper at its end holds {held / len(another):.0f} bytes for each step")


if __name__ == "__main__":
    main()
