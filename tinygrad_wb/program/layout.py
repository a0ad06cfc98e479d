"""How the lines of a program are laid out as a module: imports, helpers, functions, comments in a column."""

from __future__ import annotations

import itertools
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.names import sanitised
from tinygrad_wb.program.pasting import pasted
from tinygrad_wb.program.source import FUNCTION, LARGE, WIDEST, Line, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["laid_out", "script"]

IMPORTS = {"math": "import math", "np": "import numpy as np"}
WIDTH = 110  # of a list of names, or of a literal's lines
NO_PLACES = """

Which lines of your code these come from was not recorded: record it under `with wb.source_lines():` to see them here.
"""


def laid_out(source: Source) -> str:
    """The whole module."""
    forward, backward = source.lines[: source.forward_lines], source.lines[source.forward_lines :]
    result, returned = source.result, source.returned()
    functions: list[str] = []
    keep = {result, *returned.values()}
    apart = len(source.lines) > LARGE and len({line.module for line in source.lines}) > 1
    body: list[str] = []
    for way, lines in (("forward", forward), ("backward", backward)):
        if lines:
            body += [f"# {way}", *_sections(lines, way, source, functions, keep, apart), ""]
    gradients = [f'"{name}": {d}' for name, d in returned.items()]
    body += _listed(f"return {result}, {{", gradients, "}", each=True)
    functions.append(_function(FUNCTION, list(source.arrays), body))
    title = f"{result} and its gradients, forward and backward." if backward else f"{result}, forward."
    code = "\n\n\n".join([*pasted(source.helpers.values()).values(), *functions])
    imports = [f"{line}\n" for name, line in IMPORTS.items() if f"{name}." in code and re.search(rf"\b{name}\.", code)]
    return "\n".join([f'"""{title}{"" if source.has_places() else NO_PLACES}"""\n', *imports, "", f"{code}\n"])


def _function(name: str, arguments: Sequence[str], body: Sequence[str]) -> str:
    return "\n".join([*_listed(f"def {name}(", arguments, "):"), *(f"    {line}" if line else "" for line in body)])


def _listed(opening: str, items: Sequence[str], closing: str, each: bool = False) -> list[str]:
    """Items between brackets: in one line, or else indented, as many as fit or ``each`` in a line of its own."""
    line = f"{opening}{', '.join(items)}{closing}"
    if len(line) <= WIDTH or not items:
        return [line]
    rows = [f"{item}," for item in items] if each else textwrap.wrap(f"{', '.join(items)},", WIDTH)
    return [opening, *(f"    {row}" for row in rows), closing]


def _several(before: str, names: Sequence[str], after: str = "") -> list[str]:
    """Names without brackets, if they fit into one line."""
    line = f"{before}{', '.join(names)}{after}"
    return [line] if len(line) <= WIDTH else _listed(f"{before}(", names, f"){after}")


def _commented(lines: Sequence[Line]) -> list[str]:
    """Each line with its comment, in a column as far as ``WIDEST``."""
    texts = [f"{line.name} = {line.text}" for line in lines]
    column = max((len(text) for text in texts if len(text) <= WIDEST), default=0)
    laid: list[str] = []
    for text, line in zip(texts, lines, strict=True):
        *above, last = [text.ljust(column)] if len(text) <= WIDTH else _folded(line)
        laid += [*above, f"{last}  # {line.comment}"]
    return laid


def _folded(line: Line) -> list[str]:
    """A long line, in brackets; where there is a string in it, it can't be broken just anywhere."""
    rows = [line.text] if {"'", '"'} & {*line.text} else textwrap.wrap(line.text, WIDTH, break_long_words=False)
    return [f"{line.name} = (", *(f"    {row}" for row in rows), ")"]


def _sections(
    lines: Sequence[Line], way: str, source: Source, functions: list[str], keep: set[str], apart: bool
) -> list[str]:
    """The lines; those of each Module, if they stand ``apart``, as a call of a function of their own."""
    if not apart:
        return _commented(lines)
    read_last = {name: line.number for line in source.lines for name in line.reads}
    body: list[str] = []
    for module, section in itertools.groupby(lines, lambda line: line.module):
        block = list(section)
        made = [line.name for line in block]
        gives = [name for name in made if name in keep or read_last.get(name, -1) > block[-1].number]
        if not module or len(block) < 2 or not gives:
            body += _commented(block)
            continue
        reads = dict.fromkeys(name for line in block for name in line.reads if name not in made)
        name = source.names.new(f"{sanitised(module)}_{way}")
        functions.append(_function(name, list(reads), [*_commented(block), *_several("return ", gives)]))
        *targets, call = _several("", gives, f" = {name}(")
        body += [*targets, *_listed(call, list(reads), ")")]
    return body


def script(result: str, text: str, arguments: Mapping[str, Any]) -> str:
    """The module with its numbers, and a main part that runs it and prints what it finds."""
    numbers = "\n".join(f"{name} = {_number(x)}" for name, x in arguments.items())
    call = "\n".join(f"    {line}" for line in _listed(f"value, gradients = {FUNCTION}(", list(arguments), ")"))
    if "np." in numbers and "\nimport numpy as np\n" not in text:
        numbers = f"import numpy as np\n\n{numbers}"
    return f"""{text}

# The numbers it starts from.

{numbers}


if __name__ == "__main__":
{call}
    print("{result} =", value)
    for name, gradient in gradients.items():
        print(f"gradient of {{name}}:", gradient)
"""


def _number(x: Any) -> str:
    if isinstance(x, (bool, float)):
        return repr(x) if np.isfinite(x) else f'float("{x}")'
    if 0 < x.size <= 8 and np.isfinite(x).all():
        return f"np.array({x.tolist()}, np.{x.dtype.name})"
    if not x.size:
        return f"np.zeros({x.shape}, np.{x.dtype.name})"
    little = x.astype(x.dtype.newbyteorder("<"))
    digits = [f'    "{part}"' for part in textwrap.wrap(little.tobytes().hex(), WIDTH)]
    shaped = f'), "{little.dtype.str}").reshape({x.shape}).copy()'
    return "\n".join(["np.frombuffer(bytes.fromhex(", *digits, shaped])
