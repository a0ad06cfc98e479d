"""How numbers, arrays, options and names are put into a few words."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.value import raw

__all__ = ["constant_text", "cropped", "facts", "option_text", "printable"]

NOT_COMPUTED = "not computed"


def facts(data: Any, gradient: Any) -> tuple[tuple[str, str], ...]:
    """What is told about a Value, as (word, text) pairs; an array is told by its shape, range and norm."""
    gradient = raw(gradient)
    if gradient is None:
        slope = NOT_COMPUTED
    else:
        slope = _number(gradient) if np.ndim(gradient) == 0 else f"norm {_norm(gradient)}"
    return (*constant_facts(data), ("gradient", slope))


def constant_facts(data: Any) -> tuple[tuple[str, str], ...]:
    """The same for plain data, which has no gradient."""
    if np.ndim(data) == 0:
        return (("value", _number(data)),)
    return ("shape", str(np.shape(data))), ("value", _range(data))


def constant_text(data: Any) -> str:
    """A constant inside a statement: a number in full, an array by its shape."""
    return _number(data) if np.ndim(data) == 0 else f"array{np.shape(data)}"


def _number(x: Any) -> str:
    return f"{float(x):.4g}"


def _range(array: Any) -> str:
    finite = array[np.isfinite(array)]
    words = []
    if finite.size:
        low, high = _number(finite.min()), _number(finite.max())
        words.append(low if low == high else f"{low} … {high}")
    if finite.size < array.size:
        words.append(f"{array.size - finite.size:,} not finite")
    return ", ".join(words) or "empty"


def _norm(array: Any) -> str:
    with np.errstate(all="ignore"):
        return _number(np.linalg.norm(np.asarray(array, np.float64)))


def option_text(option: Any, in_brackets: bool = False) -> str:
    """An option as its user would write it; the outer tuple of an index stands in brackets already."""
    option = raw(option)
    if isinstance(option, slice):
        ends = ["" if end is None else str(end) for end in (option.start, option.stop, option.step)]
        return ":".join(ends if option.step is not None else ends[:2])
    if isinstance(option, tuple):
        words = ", ".join(map(option_text, option))
        return words if in_brackets and len(option) > 1 else f"({words}{',' * (len(option) == 1)})"
    if isinstance(option, np.ndarray):
        return constant_text(option)
    if option is ...:
        return "..."
    if isinstance(option, type):
        return option.__name__
    return printable(str(option) if isinstance(option, np.generic) else repr(option))


def printable(text: Any) -> str:
    r"""One line that can be printed: newlines, control and bidirectional marks become escapes such as ``\n``."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def cropped(text: str, length: int) -> str:
    """At most ``length`` characters, ``…`` for the rest."""
    return text if len(text) <= length else text[: length - 1] + "…"
