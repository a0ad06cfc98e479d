"""`python -m tinygrad_wb page SCRIPT`: somebody's script, unchanged, and the page of one of its backward passes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_wb.backprop import backward
from tinygrad_wb.debug.page import save_page
from tinygrad_wb.debug.script import backward_replaced, run_script
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.debug.stops import Stops
from tinygrad_wb.debug.stops import add_arguments as add_stops
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.recording import outside, source_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tinygrad_wb.value import Value

__all__ = ["add_arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Run the command ``page``; returns the exit status: the script's, or 1 where there is no page."""
    given = options.module or options.script
    if not given:
        sys.stderr.write("page: give a script to run, as in: python -m tinygrad_wb page train.py\n")
        return 2
    page = Path(options.output).absolute()  # the script may go to another folder
    stops = Stops(options.at, options.line or "", options.when or "")
    with source_lines(), writing_in_backward(stops, page) as pages:
        status = run_script(given[0], given[1:], as_module=bool(options.module))
    if not pages:
        sys.stderr.write("page: backward() was never called" + " as asked" * any(stops) + ", so there is no page\n")
    return status or int(not pages)


@contextlib.contextmanager
def writing_in_backward(stops: Stops, page: Path) -> Iterator[list[Path]]:
    """For a block, `Value.backward` first writes the page where ``stops`` say so, once: then the list has its path."""
    number = 0
    pages: list[Path] = []

    def writing(self: Value, seed: Any, record: bool) -> None:
        nonlocal number
        number += 1
        frame = outside(sys._getframe(1))
        if not pages and stops.wanted(number, frame, self):
            stepper = Stepper(self, seed, variables=variables_in(frame))
            pages.append(save_page(stepper, page))
            sys.stderr.write(f"page: {len(stepper)} steps are written to {page}; the script goes on\n")
        backward(self, seed, record)

    with backward_replaced(writing):
        yield pages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", dest="output", default="run.html", metavar="FILE", help="where the page goes (run.html)")
    add_stops(parser)
    asked = "[-o FILE] [--at N] [--line FILE:LINE] [--when CONDITION]"
    parser.usage = f"python -m tinygrad_wb page {asked} (SCRIPT | -m MODULE) [ARGS ...]"
