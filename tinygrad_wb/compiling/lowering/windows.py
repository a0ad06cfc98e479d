"""How windows are written into memory that is there already: `unfold` and `fold`, with every view made once.

Padding lies in a place of its own, so that only what is inside of it is written anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.plan import data_of
from tinygrad_wb.operations.windows import all_windows, middle, positions, side_by_side, widened

if TYPE_CHECKING:
    from tinygrad_wb.compiling.buffers import Memory
    from tinygrad_wb.compiling.emitter import Emitter
    from tinygrad_wb.compiling.plan import Step

__all__ = ["fits_fold", "fits_unfold", "fold", "unfold"]

MOST = 32  # numbers in a window that are added up in lines of their own


def fits_unfold(step: Step, memory: Memory) -> bool:
    return bool(data_of(step.inputs[0]).dtype == step.data.dtype)


def unfold(emitter: Emitter, step: Step) -> None:
    (a,) = step.inputs
    data, how = data_of(a), dict(step.options)
    fill, _ = how.pop("fill"), how.pop("apart")  # the latter is seen in how the data lie
    copyto, text = emitter.function("copyto", np.copyto), emitter.text(a)
    padded = _channels_last(emitter.memory.of(a), how["padding"])
    if padded is None:
        padded = np.full((len(data), *widened(data.shape[2:], how["padding"]), data.shape[1]), fill, data.dtype)
        emitter.line(f"{copyto}({emitter.keep(middle(padded, data.shape[2:], how['padding']))}, {text})")
    view = _windows(padded, data.shape[2:], how)
    rows = emitter.seen_as(emitter.place(step), view.shape)
    emitter.line(f"{copyto}({rows}, {emitter.keep(view)})")


def fits_fold(step: Step, memory: Memory) -> bool:
    return math.prod(step.options["window"]) <= MOST and bool(data_of(step.inputs[0]).dtype == step.data.dtype)


def fold(emitter: Emitter, step: Step) -> None:
    (a,) = step.inputs
    how = dict(step.options)
    sizes = how.pop("sizes")
    window = how["window"]
    place = emitter.place(step)
    padded = _channels_last(emitter.memory.of(step), how["padding"])
    aside = padded is None
    if aside:
        padded = np.zeros((len(step.data), *widened(sizes, how["padding"]), step.data.shape[1]), step.data.dtype)
    view = _windows(padded, sizes, how)
    rows = emitter.seen_as(emitter.text(a), view.shape)
    copyto = emitter.function("copyto", np.copyto)
    apart = side_by_side(window, how["stride"], how["dilation"])
    if not apart or not (aside or view.size == padded.size):
        emitter.line(f"{emitter.keep(padded)}.fill(0.0)")
    if apart:
        emitter.line(f"{copyto}({emitter.keep(view)}, {rows})")
    else:
        add = emitter.function("add", np.add)
        for at in np.ndindex(*window):
            y, row = emitter.keep(view[..., *at, :]), f"{rows}[..., {', '.join(map(str, at))}, :]"
            if rows in emitter.namespace:
                row = emitter.keep(emitter.namespace[rows][..., *at, :])
            emitter.line(f"{add}({y}, {row}, {y})")
    if aside:
        emitter.line(f"{copyto}({place}, {emitter.keep(middle(padded, sizes, how['padding']))})")


def _channels_last(memory: Any, padding: Any) -> Any:
    """Memory that never moves, if it can be taken for an array with its padding: (batch, *sizes, channels)."""
    if memory is None or any(map(any, padding)):
        return None
    turned = np.moveaxis(memory, 1, -1)
    return turned if turned.flags.c_contiguous else None


def _windows(padded: Any, sizes: Any, how: Any) -> Any:
    return all_windows(padded, how["window"], how["stride"], how["dilation"], positions(sizes, **how))
