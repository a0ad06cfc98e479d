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
    from tinygrad_wb.compiling.codegen import FastForm
    from tinygrad_wb.compiling.plan import Step

__all__ = ["fold", "unfold"]

MOST = 32  # numbers in a window that are added up in lines of their own


def unfold(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    data, how = data_of(a), dict(step.options)
    fill, _ = how.pop("fill"), how.pop("apart")  # the latter is seen in how the data lie
    if data.dtype != step.data.dtype:
        return False
    copyto, text = form._function("copyto", np.copyto), form._text(a)
    padded = _channels_last(form.namespace.get(text), how["padding"])
    if padded is None:
        padded = np.full((len(data), *widened(data.shape[2:], how["padding"]), data.shape[1]), fill, data.dtype)
        form.lines.append(f"{copyto}({form._kept(middle(padded, data.shape[2:], how['padding']))}, {text})")
    view = _windows(padded, data.shape[2:], how)
    rows = form._seen_as(form._place(step, as_numpy=True), view.shape)
    form.lines.append(f"{copyto}({rows}, {form._kept(view)})")
    return True


def fold(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    how = dict(step.options)
    sizes = how.pop("sizes")
    window = how["window"]
    if math.prod(window) > MOST or data_of(a).dtype != step.data.dtype:
        return False
    place = form._place(step, as_numpy=True)
    padded = _channels_last(form.namespace.get(place), how["padding"])
    aside = padded is None
    if aside:
        padded = np.zeros((len(step.data), *widened(sizes, how["padding"]), step.data.shape[1]), step.data.dtype)
    view = _windows(padded, sizes, how)
    rows = form._seen_as(form._text(a), view.shape)
    copyto = form._function("copyto", np.copyto)
    apart = side_by_side(window, how["stride"], how["dilation"])
    if not apart or not (aside or view.size == padded.size):
        form.lines.append(f"{form._kept(padded)}.fill(0.0)")
    if apart:
        form.lines.append(f"{copyto}({form._kept(view)}, {rows})")
    else:
        add = form._function("add", np.add)
        for at in np.ndindex(*window):
            y, row = form._kept(view[..., *at, :]), f"{rows}[..., {', '.join(map(str, at))}, :]"
            if rows in form.namespace:
                row = form._kept(form.namespace[rows][..., *at, :])
            form.lines.append(f"{add}({y}, {row}, {y})")
    if aside:
        form.lines.append(f"{copyto}({place}, {form._kept(middle(padded, sizes, how['padding']))})")
    return True


def _channels_last(memory: Any, padding: Any) -> Any:
    """Memory that never moves, if it can be taken for an array with its padding: (batch, *sizes, channels)."""
    if memory is None or any(map(any, padding)):
        return None
    turned = np.moveaxis(memory, 1, -1)
    return turned if turned.flags.c_contiguous else None


def _windows(padded: Any, sizes: Any, how: Any) -> Any:
    return all_windows(padded, how["window"], how["stride"], how["dilation"], positions(sizes, **how))
