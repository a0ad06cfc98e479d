"""Texts beside the picture: the program that `Value.program` prints and the user's own source, line by line."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_wb.debug.trace import Line
from tinygrad_wb.draw.wording import cropped, printable
from tinygrad_wb.program.layout import laid_out
from tinygrad_wb.program.source import Source
from tinygrad_wb.program.trace import Trace as ProgramTrace
from tinygrad_wb.value import traced

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tinygrad_wb.debug.stepper import Stepper

__all__ = ["Listing", "program_listing", "source_listings"]

LONGEST_PROGRAM = 5000  # steps; printing more takes long
WHOLE = 240  # lines of a program that are shown; of a longer one, and of the user's files, those around the needed ones
AROUND = 3
WIDTH = 200  # letters


class Listing(NamedTuple):
    """Numbered lines under a ``title``, None where some were left out; ``at`` has each step's lines, by number."""

    title: str
    lines: list[tuple[int, str] | None]
    at: list[list[int]]


def program_listing(stepper: Stepper, count: int) -> Listing | str:
    """The program of a loss, with the lines of its first ``count`` steps; or why there is none."""
    trace = stepper.trace
    if stepper.loss.shape:
        return "the loss is not one number"
    if len(trace) > LONGEST_PROGRAM:
        return "it is too long"
    try:
        source = Source(ProgramTrace(stepper.loss, traced(1.0)), trace.variables)
    except TypeError as error:  # of operations that can't be printed, such as a compiled function
        return cropped(printable(error), WIDTH)
    lines = laid_out(source).splitlines()
    number = {name[1]: n for n, line in enumerate(lines, 1) if (name := re.match(r"\s*(\w+) = ", line))}
    at = []
    for index in range(count):
        node, rank = trace.steps[index][0], trace.rank(index)
        names = source.partial_names.get(node, [])[rank : rank + 1]
        x = trace.input(index)
        if len(trace.to[x]) > 1 and trace.to[x][-1] == index and x in source.gradient_names:
            names = [*names, source.gradient_names[x]]  # the sum, which is complete now
        at.append([number[name] for name in names if name in number])
    return _listing("program", lines, at, whole=len(lines) <= WHOLE)


def source_listings(stepper: Stepper, count: int) -> list[Listing]:
    """The user's source, file by file, around what the first ``count`` steps come from; as far as it was recorded."""
    places = [stepper.trace.line(stepper.trace.steps[index][0]) for index in range(count)]
    listings = []
    for file in dict.fromkeys(place.file for place in places if place is not None):
        at = [[place.number] if place is not None and place.file == file else [] for place in places]
        last = max(itertools.chain(*at)) + AROUND
        lines = [Line(file, number).whole.rstrip() for number in range(1, last + 1)]
        while lines and not lines[-1]:
            lines.pop()
        if lines:
            listings.append(_listing(Line(file, 1).short.removesuffix(":1"), lines, at, whole=False))
    return listings


def _listing(title: str, lines: Sequence[str], at: list[list[int]], whole: bool) -> Listing:
    needed = set(itertools.chain(*at))
    shown: list[tuple[int, str] | None] = []
    for number, line in enumerate(lines, 1):
        if whole or _near(number, needed):
            shown.append((number, cropped(printable(line.expandtabs(4)), WIDTH)))
        elif shown and shown[-1] is not None:
            shown.append(None)
    return Listing(title, shown, at)


def _near(number: int, needed: Collection[int]) -> bool:
    return any(n in needed for n in range(number - AROUND, number + AROUND + 1))
