"""How a group of elementwise steps on large arrays is written: a loop, each tile of which goes through all steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.lowering.elementwise import call, number_as_array
from tinygrad_wb.compiling.plan import Step, data_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinygrad_wb.compiling.emitter import Emitter
    from tinygrad_wb.compiling.tiling import Tiles

__all__ = ["write_tiles"]


def write_tiles(emitter: Emitter, group: Sequence[Step], tiles: Tiles) -> None:
    """The loop over the tiles of a group."""
    shape = group[0].data.shape
    end = "" if tiles.even else "[:j - i]"  # of what is as large as a tile, where the last tile is smaller
    body: list[str] = []
    parts: dict[str, str] = {}  # the present tile of whole arrays
    blocks: dict[int, str] = {}  # names of the tiles' memory, by identity

    def part(whole: str) -> str:
        if whole not in parts:
            parts[whole] = name = emitter.numbered("part")
            body.append(f"{name} = {whole}[i:j]")
        return parts[whole]

    def block(array: Any) -> str:
        if id(array) not in blocks:
            blocks[id(array)] = emitter.keep(array, "block") + end
        return blocks[id(array)]

    def constant(x: float, step: Step) -> str:
        if step.op.name not in ("maximum", "minimum"):
            return number_as_array(emitter, x, step)
        dtype, like = step.data.dtype, (tiles.size, *shape[1:])
        return emitter.once(("tile", repr(x), dtype, like), lambda: emitter.keep(np.full(like, x, dtype), "c")) + end

    def operand(x: Any, step: Step) -> str:
        if type(x) is float:
            return constant(x, step)
        if x in tiles.memory:
            return block(tiles.memory[x])
        whole = emitter.text(x)
        return part(whole) if np.shape(data_of(x)) == shape else whole

    def place(step: Step) -> str:
        if step in tiles.memory:
            return block(tiles.memory[step])
        if step not in emitter.live.results:
            return part(emitter.place(step))
        whole = emitter.assign(f"{emitter.function('empty', np.empty)}({shape}, '{step.data.dtype.str}')")
        emitter.stands_for(step, whole)
        return part(whole)

    for step in group:
        operands = [operand(x, step) for x in step.inputs]
        body.append(call(emitter, step, operands, f"out={place(step)}"))
    stop = f"i + {tiles.size}" if tiles.even else f"min(i + {tiles.size}, {tiles.rows})"
    inner = "".join(f"\n        {line}" for line in body)
    emitter.line(f"for i in range(0, {tiles.rows}, {tiles.size}):\n        j = {stop}{inner}")
