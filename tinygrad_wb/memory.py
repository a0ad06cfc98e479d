"""Memory: what training frees and asks for again at every step, building without the collector, and sizes."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["bytes_of", "keep_freed_memory", "without_collection"]


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 60 MB of freed memory, instead of handing it back to the system at once.

    Each step of a wide network frees several large arrays, and getting their pages anew costs thousands of page faults.
    glibc raises its limits (``M_MMAP_THRESHOLD`` and, to twice that, ``M_TRIM_THRESHOLD``) to the size of a large block
    that it sees freed, up to 32 MB; so it is shown one. The block's pages are never touched. Elsewhere it does nothing.
    """
    np.empty(30 << 20, np.uint8)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Without the cyclic garbage collector, which would look again and again through what is still being built."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def bytes_of(x: Any) -> int:
    """How much memory a number or array takes; None takes none."""
    return 0 if x is None else x.nbytes if isinstance(x, np.ndarray) else sys.getsizeof(x)
