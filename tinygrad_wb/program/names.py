"""Names for the variables of a program: the user's own where there are any, made safe, each used once."""

from __future__ import annotations

import builtins
import dis
import functools
import keyword
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType, FrameType

    from tinygrad_wb.recording import Place
    from tinygrad_wb.value import Value

__all__ = ["Names", "assigned_name", "line_of", "sanitised", "variables_in"]

LONGEST = 48
PLAIN = re.compile(r"[a-zA-Z](_?[a-zA-Z0-9])*")  # nearly every name, so that a long program is written quickly
RESERVED = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "math", "numpy", "self"}


def sanitised(name: str) -> str:
    """A user's name as a Python variable: ``hidden.weight`` is ``hidden_weight``; "" if nothing of it is left.

    >>> sanitised("x; import os"), sanitised("0.weight"), sanitised("∂L"), sanitised("class")
    ('x_import_os', 'layer_0_weight', 'L', 'class_')
    """
    if not PLAIN.fullmatch(name):
        name = unicodedata.normalize("NFKC", name)  # as Python reads it
        name = re.sub(r"_{2,}", "_", re.sub(r"\W", "_", name)).strip("_")
    name = name[:LONGEST].rstrip("_")
    if name[:1].isdigit():
        name = f"layer_{name}"
    if not name.isidentifier():  # such as a digit of another script
        name = re.sub(r"[^a-zA-Z0-9_]", "", name).lstrip("_0123456789").rstrip("_")
    return f"{name}_" if name in RESERVED else name


class Names:
    """Hands out every name once: the second ``h`` is ``h_2``."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = {*RESERVED, *taken}
        self._count: dict[str, int] = {}

    def new(self, wanted: str, fallback: str = "v") -> str:
        base = sanitised(wanted) or fallback
        name = base
        while name in self.taken:
            self._count[base] = count = self._count.get(base, 1) + 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name

    def numbered(self, base: str) -> str:
        """``tanh_1``, ``tanh_2`` …"""
        self._count[f"{base} "] = count = self._count.get(f"{base} ", 0) + 1
        return self.new(f"{base}_{count}")


# Also two instructions in one, such as STORE_FAST_LOAD_FAST, which have both names.
STORING = ("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF")


@functools.lru_cache(maxsize=1024)
def _assignments(code: CodeType) -> Mapping[int, str]:
    """For each instruction of ``code`` whose result goes straight into a variable: its name."""
    found: dict[int, str] = {}
    before = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith(STORING):
            variable = instruction.argval if isinstance(instruction.argval, str) else instruction.argval[0]
            # A frame may also stand in the cache entries that follow its instruction.
            found |= dict.fromkeys(range(before, instruction.offset, 2), variable)
        if instruction.opname != "COPY":  # of a result that goes into several
            before = instruction.offset
    return found


def assigned_name(place: Place) -> str:
    """The variable that the result of the operation at ``place`` was assigned to; "" if there is none."""
    return _assignments(place.code).get(place.instruction, "")


@functools.lru_cache(maxsize=1024)
def _lines(code: CodeType) -> Mapping[int, int]:
    lines, line = {}, code.co_firstlineno
    starts = dict(dis.findlinestarts(code))
    for offset in range(0, len(code.co_code), 2):
        line = starts.get(offset, line) or line
        lines[offset] = line
    return lines


def line_of(place: Place) -> int:
    """The line of the source."""
    return _lines(place.code)[place.instruction]


def variables_in(frame: FrameType | None) -> dict[int, str]:
    """What the user's variables in ``frame`` and those that called it are called, by the identity of their contents."""
    found: dict[int, str] = {}
    while frame is not None:
        ours = inside[frame.f_code.co_filename]
        for variables in () if ours else (frame.f_locals, frame.f_globals):
            for name, content in list(variables.items()):
                if name.isidentifier() and name[0] != "_":  # tools keep things under other names
                    found.setdefault(id(content), name)
        frame = frame.f_back
    return found


def name_given(x: Value, variables: Mapping[int, str]) -> str:
    """The user's own name of a Value, or "": ``name=``, its path in a model, or a variable."""
    return x.name or variables.get(id(x), "")


def array_name(x: Any, variables: Mapping[int, str]) -> str:
    return variables.get(id(x), "")
