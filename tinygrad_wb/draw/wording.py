"""How numbers, arrays, options and names are put into a few words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.value import raw

__all__ = [
    "NOT_COMPUTED",
    "amount",
    "constant_text",
    "count_text",
    "cropped",
    "in_full",
    "number",
    "option_text",
    "printable",
    "shape_text",
    "value_text",
]

NOT_COMPUTED = "not computed"
LARGEST_COUNT = 10**24  # that is written with all its digits


def number(x: Any, digits: int = 6) -> str:
    """A number with as many digits as a picture has room for."""
    return f"{float(x) + 0.0:.{digits}g}"  # -0 is 0


def value_text(data: Any) -> str:
    """What plain data holds: a number, or an array's range and norm."""
    data = raw(data)
    if np.ndim(data) == 0:
        return number(data)
    finite = data[np.isfinite(data)]
    words = []
    if finite.size:
        low, high = number(finite.min(), 3), number(finite.max(), 3)
        words.append(low if low == high else f"{low} … {high}")
    if finite.size < data.size:
        words.append(f"{data.size - finite.size:,} not finite")
    elif finite.size:
        words.append(f"norm {number(amount(data), 3)}")
    return ", ".join(words) or "empty"


def shape_text(data: Any) -> str:
    """An array's shape and dtype."""
    return f"{np.shape(data)} {data.dtype}"


def amount(data: Any) -> float:
    """How large plain data is: a number without its sign, the norm of an array."""
    data = raw(data)
    if type(data) is float:
        return abs(data)
    sizes = np.abs(np.asarray(data, np.float64))
    largest = float(sizes.max(initial=0.0))
    if not 0.0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(sizes / largest))  # squares of large or small numbers leave the range


def constant_text(data: Any) -> str:
    """A constant inside a statement: a number, an array by its shape."""
    return number(data) if np.ndim(data) == 0 else f"array{np.shape(data)}"


def in_full(data: Any) -> str:
    """A number with all its digits, a small array with all its numbers."""
    data = raw(data)
    if np.ndim(data) == 0:
        return repr(float(data)) if math.isfinite(data) else number(data)
    return np.array2string(data, precision=5, threshold=64, edgeitems=2, max_line_width=44, separator=", ")


def option_text(option: Any, in_brackets: bool = False) -> str:
    """An option as its user would write it; an index stands in brackets already."""
    option = raw(option)
    if isinstance(option, slice) and in_brackets:
        ends = ["" if end is None else str(end) for end in (option.start, option.stop, option.step)]
        return ":".join(ends if option.step is not None else ends[:2])
    if isinstance(option, tuple):
        bare = in_brackets and (len(option) > 1 or any(isinstance(part, slice) for part in option))
        words = ", ".join(option_text(part, bare) for part in option)
        return words if bare else f"({words}{',' * (len(option) == 1)})"
    if isinstance(option, np.ndarray):
        return constant_text(option)
    if option is ...:
        return "..."
    if isinstance(option, (type, np.dtype)):
        return option.name if isinstance(option, np.dtype) else option.__name__
    return printable(str(option) if isinstance(option, np.generic) else repr(option))


def printable(text: Any) -> str:
    r"""One line that can be printed: newlines, control and bidirectional marks become escapes such as ``\n``."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def count_text(n: int) -> str:
    """A count: ``1,024``; a very large one by its power of ten, as a graph may have 2 to the 50,000 ways through it."""
    return f"{n:,}" if n < LARGEST_COUNT else f"about 10^{math.log10(n):.0f}"


def cropped(text: str, length: int) -> str:
    """At most ``length`` characters, ``…`` for the rest."""
    return text if len(text) <= length else text[: length - 1] + "…"
