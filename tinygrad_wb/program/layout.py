"""How the lines of a program are laid out as a module: imports, helpers, functions, comments in a column."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.names import sanitised
from tinygrad_wb.program.source import LARGE, WIDEST, Line, Source, helpers_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FUNCTION", "laid_out", "script"]

FUNCTION = "forward_and_backward"
WIDTH = 110  # of a literal's lines


def laid_out(source: Source) -> str:
    """The whole module."""
    helpers = helpers_source(source.helpers)
    forward, backward = source.lines[: source.forward_lines], source.lines[source.forward_lines :]
    functions: list[str] = []
    result = source.called.get(source.trace.result, "result")
    returned = source.returned()
    keep = {result, *returned.values()}
    apart = len(source.lines) > LARGE and len({line.module for line in source.lines}) > 1
    body = ["# forward", *_sections(forward, "forward", source, functions, keep, apart)]
    if backward:
        body += ["", "# backward", *_sections(backward, "backward", source, functions, keep, apart)]
    gradients = ", ".join(f"{name!r}: {d}" for name, d in returned.items())
    body += ["", *_wrapped(f"return {result}, {{{gradients}}}")]
    text = "\n".join([*functions, *_function(FUNCTION, list(source.arrays), body)])
    imports = [
        line
        for line, used in (("import math", "math."), ("", ""), ("import numpy as np", "np."))
        if used and used in helpers + text
    ]
    title = f'"""{result} and its gradients, forward and backward."""'
    return "\n".join([title, "", *imports, "", "", *([helpers, ""] if helpers else []), text]).replace(
        "\n\n\n\n", "\n\n\n"
    )


def _function(name: str, arguments: Sequence[str], body: Sequence[str]) -> list[str]:
    head = f"def {name}({', '.join(arguments)}):"
    heads = [head] if len(head) <= WIDTH else _wrapped(head)
    return [*heads, *(f"    {line}" if line else "" for line in body), "", ""]


def _wrapped(text: str) -> list[str]:
    """A line with brackets, continued on more lines where it is long."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _commented(lines: Sequence[Line]) -> list[str]:
    texts = [f"{line.name} = {line.text}" for line in lines]
    column = max((len(text) for text in texts if len(text) <= WIDEST), default=0)
    return [f"{text:<{column}}  # {line.comment}" for text, line in zip(texts, lines, strict=True)]


def _sections(
    lines: Sequence[Line], way: str, source: Source, functions: list[str], keep: set[str], apart: bool
) -> list[str]:
    """The lines; those of each Module, if they stand ``apart``, as a call of a function of their own."""
    if not apart:
        return _commented(lines)
    later_reads = _read_later(source.lines)
    body: list[str] = []
    for module, section in itertools.groupby(lines, lambda line: line.module):
        block = list(section)
        if not module or len(block) < 2:
            body += _commented(block)
            continue
        made = [line.name for line in block]
        reads = dict.fromkeys(name for line in block for name in line.reads if name not in made)
        gives = [name for name in made if name in keep or later_reads.get(name, -1) > block[-1].number]
        name = source.names.new(f"{sanitised(module)}_{way}")
        functions += _function(name, list(reads), [*_commented(block), *_wrapped(f"return {', '.join(gives)}")])
        body += _wrapped(f"{', '.join(gives)} = {name}({', '.join(reads)})")
    return body


def _read_later(lines: Sequence[Line]) -> dict[str, int]:
    """For each name, the number of the last line that reads it."""
    return {name: line.number for line in lines for name in line.reads}


def script(source: Source, text: str, arguments: Mapping[str, Any]) -> str:
    """The module with its numbers, and a main part that runs it and prints what it finds."""
    numbers = "\n".join(f"{name} = {_number(x)}" for name, x in arguments.items())
    call = "\n".join(_wrapped(f"    value, gradients = {FUNCTION}({', '.join(arguments)})"))
    imports = "" if "import numpy as np" in text else "\nimport numpy as np\n"
    return (
        f'{text.rstrip()}\n\n\n# The numbers it starts from.\n{imports}\n{numbers}\n\n\nif __name__ == "__main__":\n{call}\n'
        f'    print("{source.called.get(source.trace.result, "result")} =", value)\n'
        "    for name, gradient in gradients.items():\n"
        '        print(f"gradient of {name}:", gradient)\n'
    )


def _number(x: Any) -> str:
    if isinstance(x, (bool, float)):
        return repr(x) if np.isfinite(x) else f'float("{x}")'
    plain = np.ascontiguousarray(x)
    if x.size <= 12 and np.isfinite(x).all():
        return f"np.array({x.tolist()}, np.{x.dtype.name})"
    little = plain.astype(plain.dtype.newbyteorder("<"))
    digits = "\n".join(f'    "{part}"' for part in textwrap.wrap(little.tobytes().hex(), WIDTH))
    return f'np.frombuffer(bytes.fromhex(\n{digits}\n), "{little.dtype.str}").reshape({x.shape}).copy()'
