"""How windows are written into memory that is there already: `unfold` and `fold`, with every view made once.

Padding lies in a place of its own, so that only what is inside of it is written anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.operations.windows import middle, positions, seen, widened
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
    head, sizes = data.shape[:2], data.shape[2:]
    padded: Any = np.full((*head, *widened(sizes, how["padding"])), fill, data.dtype)
    window, places = how["window"], positions(sizes, **how)
    shape = (*head, *window, *places)
    steps = padded.strides[2:]
    within = [d * n for d, n in zip(how["dilation"], steps)]
    between = [s * n for s, n in zip(how["stride"], steps)]
    view: Any = np.ndarray(shape, data.dtype, padded, 0, (*padded.strides[:2], *within, *between))
    copyto = form._function("copyto", np.copyto)
    inside = _named(form, padded[middle(sizes, how["padding"])])
    form.lines.append(f"{copyto}({inside}, {form._text(a)})")
    place = form._place(step)
    form.lines.append(f"{copyto}({_seen_as(form, place, shape)}, {_named(form, view)})")
    return True


def fold(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    how = dict(step.options)
    sizes = how.pop("sizes")
    window, places = how["window"], positions(sizes, **how)
    if math.prod(window) > MOST or data_of(a).dtype != step.data.dtype:
        return False
    head = step.data.shape[:2]
    padded: Any = np.zeros((*head, *widened(sizes, how["padding"])), step.data.dtype)
    columns = _seen_as(form, form._text(a), (*head, *window, *places))
    form.lines.append(f"{_named(form, padded)}.fill(0.0)")
    add = form._function("add", np.add)
    for at in np.ndindex(*window):
        y = _named(form, padded[seen(at, how["stride"], how["dilation"], places)])
        index = (slice(None), slice(None), *at)
        column = (
            _named(form, form.namespace[columns][index])
            if columns in form.namespace
            else f"{columns}[:, :, {', '.join(map(str, at))}]"
        )
        form.lines.append(f"{add}({y}, {column}, {y})")
    inside = _named(form, padded[middle(sizes, how["padding"])])
    form.lines.append(f"{form._function('copyto', np.copyto)}({form._place(step)}, {inside})")
    return True


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
