"""How windows are written into memory that is there already: `unfold` and `fold`, with every view made once.

Padding lies in a place of its own, so that only what is inside of it is written anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.operations.windows import all_windows, middle, positions, side_by_side, widened
from tinygrad_wb.program.plan import data_of

if TYPE_CHECKING:
    from tinygrad_wb.program.fast import FastForm
    from tinygrad_wb.program.plan import Step

__all__ = ["fold", "unfold"]

MOST = 32  # numbers in a window that are added up in lines of their own


def unfold(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    data, how = data_of(a), dict(step.options)
    fill = how.pop("fill")
    if data.dtype != step.data.dtype:
        return False
    _, view, inside = _windows(form, data.shape[:2], data.shape[2:], data.dtype, how, fill)
    copyto = form._function("copyto", np.copyto)
    form.lines.append(f"{copyto}({inside}, {form._text(a)})")
    rows = _seen_as(form, form._place(step), view.shape)
    form.lines.append(f"{copyto}({rows}, {_named(form, view)})")
    return True


def fold(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    how = dict(step.options)
    sizes = how.pop("sizes")
    window = how["window"]
    if math.prod(window) > MOST or data_of(a).dtype != step.data.dtype:
        return False
    padded, view, inside = _windows(form, step.data.shape[:2], sizes, step.data.dtype, how, 0.0)
    rows = _seen_as(form, form._text(a), view.shape)
    copyto = form._function("copyto", np.copyto)
    if side_by_side(window, how["stride"], how["dilation"]):
        form.lines.append(f"{copyto}({_named(form, view)}, {rows})")
    else:
        add = form._function("add", np.add)
        form.lines.append(f"{_named(form, padded)}.fill(0.0)")
        for at in np.ndindex(*window):
            y, row = _named(form, view[..., *at, :]), f"{rows}[..., {', '.join(map(str, at))}, :]"
            if rows in form.namespace:
                row = _named(form, form.namespace[rows][..., *at, :])
            form.lines.append(f"{add}({y}, {row}, {y})")
    form.lines.append(f"{copyto}({form._place(step)}, {inside})")
    return True


def _windows(form: FastForm, head: Any, sizes: Any, dtype: Any, how: Any, fill: float) -> tuple[Any, Any, str]:
    """Memory for an array and its padding, all windows of it, and the name of what is inside the padding."""
    batch, channels = head
    padded = np.full((batch, *widened(sizes, how["padding"]), channels), fill, dtype)
    view = all_windows(padded, how["window"], how["stride"], how["dilation"], positions(sizes, **how))
    return padded, view, _named(form, middle(padded, sizes, how["padding"]))


def _named(form: FastForm, array: Any) -> str:
    """A name for an array, or a view, that never moves."""
    name = form.names.numbered("window")
    form.namespace[name] = array
    return name


def _seen_as(form: FastForm, text: str, shape: tuple[int, ...]) -> str:
    """What is called ``text``, in another shape: made once, if its memory never moves."""
    if text in form.namespace and form.namespace[text].flags.c_contiguous:
        return _named(form, form.namespace[text].reshape(shape))
    name = form.names.numbered("a")
    form.lines.append(f"{name} = {text}.reshape({shape})")
    return name
