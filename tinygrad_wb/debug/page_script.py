"""`python -m tinygrad_wb page SCRIPT`: somebody's script, unchanged, and the page of one of its backward passes."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_wb.debug.page import save_page
from tinygrad_wb.debug.passes import passes_replaced
from tinygrad_wb.debug.script import not_stopped, run_script
from tinygrad_wb.debug.stops import Stops
from tinygrad_wb.debug.stops import add_arguments as add_stops
from tinygrad_wb.recording import frames_kept

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tinygrad_wb.debug.passes import Pass

__all__ = ["add_arguments", "run"]


def run(options: argparse.Namespace) -> int:
    """Run the command ``page``; returns the exit status: the script's, or 1 where there is no page."""
    given = options.module or options.script
    if not given:
        sys.stderr.write("page: give a script to run, as in: python -m tinygrad_wb page train.py\n")
        return 2
    page = Path(options.output).absolute()  # the script may go to another folder
    stops = Stops(options.at, options.line or "", options.when or "")
    with frames_kept(), writing_in_passes(stops, page) as written:
        status = run_script(given[0], given[1:], as_module=bool(options.module))
    if not written.pages:
        sys.stderr.write(f"page: {not_stopped(written.number, stops)}, so there is no page\n")
    return status or int(not written.pages)


@dataclass
class Written:
    """The backward passes so far, and the page of one of them, once it is written."""

    number: int = 0
    pages: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def writing_in_passes(stops: Stops, page: Path) -> Iterator[Written]:
    """For a block, a backward pass first writes the page where ``stops`` say so, once."""
    written = Written()

    def writing(now: Pass) -> None:
        written.number = now.number
        if not written.pages and stops.wanted(now.number, now.frame, now.result):
            stepper = now.stepper()
            written.pages.append(save_page(stepper, page))
            note = f" ({now.note})" if now.note else ""
            sys.stderr.write(f"page: {len(stepper)} steps are written to {page}; the script goes on{note}\n")

    with passes_replaced(writing):
        yield written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", dest="output", default="run.html", metavar="FILE", help="where the page goes (run.html)")
    add_stops(parser)
    asked = "[-o FILE] [--at N] [--line FILE:LINE] [--when CONDITION]"
    parser.usage = f"python -m tinygrad_wb page {asked} (SCRIPT | -m MODULE) [ARGS ...]"
