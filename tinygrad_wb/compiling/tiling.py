"""Elementwise work on large arrays, block by block: each block goes through all of it while it is in the cache."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.lowering.rules import ELEMENTWISE
from tinygrad_wb.compiling.plan import Step, data_of
from tinygrad_wb.program.trace import is_scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinygrad_wb.compiling.codegen import FastForm

__all__ = ["stretches", "write_in_blocks"]

BLOCK = 1 << 16  # elements: what is computed from so many is still in the processor's cache when it is used


def stretches(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps, one by one, and stretches of elementwise ones on large arrays of one shape together."""
    out: list[list[Step]] = []
    for step in steps:
        if _in_blocks(step) and out and _in_blocks(out[-1][0]) and out[-1][0].data.shape == step.data.shape:
            out[-1].append(step)
        else:
            out.append([step])
    return out


def _in_blocks(step: Step) -> bool:
    """Whether a step can be done block by block of rows."""
    if step.number or step.op.name not in ELEMENTWISE or step.data.size < 8 * BLOCK or len(step.data) < 8:
        return False
    return all(
        type(x) is float or is_scalar(data := data_of(x)) or data.shape == step.data.shape or data.ndim < step.data.ndim
        for x in step.inputs
    )


def write_in_blocks(form: FastForm, stretch: Sequence[Step]) -> None:
    """A loop over blocks of rows, each of which goes through all steps while it is in the cache.

    What only these steps need is never larger than a block. An array from outside is free, or written over, only when
    no other step reads it: all steps run again for the next block, and may read it in other places (it, and it turned).
    """
    shape = stretch[0].data.shape
    rows = shape[0]
    size = _block_rows(rows, max(1, BLOCK // (stretch[0].data.size // rows)))
    even = rows % size == 0
    uses = Counter(x for step in stretch for x in step.inputs if type(x) is Step)
    last = {x: step for step in stretch for x in step.inputs if type(x) is Step}
    blocks: dict[Step, str] = {}  # what exists for one block only
    spare: dict[Any, list[str]] = defaultdict(list)
    body: list[str] = []
    parts: dict[str, str] = {}  # the present block of whole arrays

    def part(whole: str) -> str:
        if whole not in parts:
            parts[whole] = name = form.names.numbered("part")
            body.append(f"{name} = {whole}[i:j]")
        return parts[whole]

    def text(x: Any, step: Step) -> str:
        if x in blocks:
            return blocks[x]
        if type(x) is float:
            return (
                _block_constant(form, x, step, size) if step.op.name in ("maximum", "minimum") else form._weak(x, step)
            )
        whole = form._text(x)
        return part(whole) if np.shape(data_of(x)) == shape else whole

    for step in stretch:
        name = form._function(step.op.name, getattr(np, step.op.name))
        operands = [text(x, step) for x in step.inputs]
        dtype = step.data.dtype
        if uses[step] == form._uses[step] and step not in form._targets and id(step) not in form._escaping:
            dying = [x for x in step.inputs if x in blocks and last[x] is step and x.data.dtype == dtype]
            free = blocks[dying[0]] if dying else spare[dtype].pop() if spare[dtype] else ""
            if not free:
                free = form._kept(np.empty((size, *shape[1:]), dtype), "block")
                free += "" if even else "[:j - i]"
            blocks[step] = place = free
        elif id(step) in form._escaping:
            form.called[step] = whole = form.names.numbered("a")
            form.lines.append(f"{whole} = {form._function('empty', np.empty)}({shape}, '{dtype.str}')")
            place = part(whole)
        else:
            place = part(form._place(step, step.inputs, as_numpy=True))
        body.append(f"{name}({', '.join(operands)}, out={place})")
        for x in dict.fromkeys(x for x in step.inputs if type(x) is Step):
            if x in blocks and last[x] is step and blocks[x] != place:
                spare[x.data.dtype].append(blocks[x])
    end = f"i + {size}" if even else f"min(i + {size}, {rows})"
    inner = "".join(f"\n        {line}" for line in body)
    for x in [x for step in stretch for x in step.inputs]:
        if type(x) is Step and not x.number and x not in blocks:
            form._release(x)
    form.lines.append(f"for i in range(0, {rows}, {size}):\n        j = {end}{inner}")


def _block_rows(rows: int, most: int) -> int:
    """How many rows a block has: if possible, so many that the last block is as large as the others."""
    return next((n for n in range(min(most, rows), most // 2, -1) if rows % n == 0), most)


def _block_constant(form: FastForm, x: float, step: Step, size: int) -> str:
    """A constant of a block's shape: NumPy's maximum and minimum are quicker with an array than with a number."""
    dtype, shape = step.data.dtype, (size, *step.data.shape[1:])
    key = ("block", repr(x), dtype, shape)
    if key not in form._constants:
        form._constants[key] = form._kept(np.full(shape, x, dtype), "c")
    return form._constants[key] + ("" if step.data.shape[0] % size == 0 else "[:j - i]")
