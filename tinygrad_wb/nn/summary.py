"""`Summary`: the table that ``model.summary()`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygrad_wb.value import Value

__all__ = ["Summary", "size_text", "table"]


def size_text(parameter: Value) -> str:
    """The shape of a parameter, as `summary` and pictures tell it: ``64×128``."""
    return "×".join(map(str, parameter.shape)) or "number"


class Summary(str):
    """A text that shows itself as it is, without quotes, at a prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]], foot: tuple[str, ...]) -> str:
    widths = [max(len(row[i]) for row in (heads, *rows, foot)) for i in range(len(heads))]
    rule = tuple("-" * width for width in widths)

    def line(cells: tuple[str, ...]) -> str:
        *words, number = cells
        left = [word.ljust(width) for word, width in zip(words, widths, strict=False)]
        return "  ".join([*left, number.rjust(widths[-1])])

    return "\n".join(map(line, [heads, rule, *rows, rule, foot]))
