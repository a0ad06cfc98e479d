"""How work with labels, and with the first of several equal numbers, is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.plan import Step, data_of

if TYPE_CHECKING:
    from tinygrad_wb.compiling.buffers import Memory
    from tinygrad_wb.compiling.emitter import Emitter

__all__ = ["first_equal", "fits_first_equal", "fits_one_hot", "fits_pick", "one_hot", "pick"]


def fits_one_hot(step: Step, memory: Memory) -> bool:
    return bool(np.ndim(data_of(step.inputs[0])) == 1 and step.data.size)


def one_hot(emitter: Emitter, step: Step) -> None:
    (labels,) = step.inputs
    classes, dtype = step.options["classes"], np.dtype(step.options["dtype"])
    rows = emitter.function(f"rows_{classes}_{dtype.name}", np.eye(classes, dtype=dtype).take)
    _refuse_negative(emitter, labels)
    emitter.line(f"{rows}({emitter.text(labels)}, 0, {emitter.place(step)})")  # which refuses what is too large


def fits_pick(step: Step, memory: Memory) -> bool:
    a, labels = step.inputs
    whole = type(a) is Step and a.data.flags.c_contiguous
    return bool(whole and data_of(labels).dtype == np.intp and step.data.size)


def pick(emitter: Emitter, step: Step) -> None:
    """Entries of rows, by their place in all rows laid end to end."""
    a, labels = step.inputs
    (rows, classes), text = data_of(a).shape, emitter.text(labels)
    _refuse_negative(emitter, labels)
    if not any(x.op.name == "one_hot" and x.inputs[0] is labels for x in emitter.plan.steps):  # which refuses them too
        greatest = emitter.function("maximum_reduce", np.maximum.reduce)
        emitter.line(f"if {greatest}({text}) >= {classes}: raise IndexError")
    places = emitter.keep(np.empty(rows, np.intp), "places")
    starts = emitter.keep(np.arange(0, rows * classes, classes), "starts")
    emitter.line(f"{emitter.function('add', np.add)}({starts}, {text}, {places})")
    emitter.line(f"{emitter.text(a)}.take({places}, None, {emitter.place(step)}, 'clip')")


def _refuse_negative(emitter: Emitter, labels: Any) -> None:
    """NumPy would take a negative label from the end. Refused, the function itself is run, and says what is wrong."""

    def check() -> str:
        text = emitter.text(labels)
        emitter.line(f"if {emitter.function('minimum_reduce', np.minimum.reduce)}({text}) < 0: raise IndexError")
        return text

    emitter.once(("labels", labels), check)


def fits_first_equal(step: Step, memory: Memory) -> bool:
    a, b = step.inputs
    return bool(data_of(a).size and data_of(a).shape == step.data.shape and type(a) is type(b) is Step)


def first_equal(emitter: Emitter, step: Step) -> None:
    """Along the axis, what is equal and has not been found before."""
    (a, b), axis = step.inputs, step.options["axis"]
    left, right, place = emitter.text(a), emitter.text(b), emitter.place(step)
    emitter.line(f"{emitter.function('equal', np.equal)}({left}, {right}, {place})")
    differs, either = emitter.function("not_equal", np.not_equal), emitter.function("logical_or", np.logical_or)
    emitter.line(f"if {differs}({right}, {right}).any(): {either}({place}, {differs}({left}, {left}), {place})")
    first, *later = np.moveaxis(emitter.memory.of(step), axis, 0)
    unfound = emitter.keep(np.empty_like(first), "unfound")
    emitter.line(f"{emitter.function('logical_not', np.logical_not)}({emitter.keep(first, 'part')}, {unfound})")
    for part in later:
        name = emitter.keep(part, "part")
        emitter.line(f"{emitter.function('logical_and', np.logical_and)}({name}, {unfound}, {name})")
        emitter.line(f"{emitter.function('greater', np.greater)}({unfound}, {name}, {unfound})")
