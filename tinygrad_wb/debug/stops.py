"""In which backward pass a script that is run is to be stopped, and how the command line says so."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from types import FrameType

    from tinygrad_wb.value import Value

__all__ = ["Stops", "add_arguments", "is_file"]


class Stops(NamedTuple):
    """Which backward passes to stop in: all that was asked for must hold. If nothing was, the first."""

    at: int | None = None  # the number of the pass, from 1
    line: str = ""  # train.py:20, or 20 for a line of the script
    when: str = ""  # an expression, in the caller's variables and ``loss``

    def wanted(self, number: int, frame: FrameType, loss: Value) -> bool:
        at = self.at if self.at or self.line or self.when else 1
        return at in (None, number) and self._is_there(frame) and self._holds(frame, loss)

    def _is_there(self, frame: FrameType | None) -> bool:
        """Whether the line is that of the call, or of one that led to it."""
        file, _, number = self.line.rpartition(":")
        while self.line and frame is not None:
            name = frame.f_code.co_filename
            here = is_file(name, file) if file else frame.f_globals.get("__name__") == "__main__"
            if here and not inside[name] and frame.f_lineno == int(number):
                return True
            frame = frame.f_back
        return not self.line

    def _holds(self, frame: FrameType, loss: Value) -> bool:
        if not self.when:
            return True
        try:
            return bool(eval(self.when, {**frame.f_globals, **frame.f_locals, "loss": loss}))  # noqa: S307 - the user's own
        except Exception as error:  # noqa: BLE001 - as pdb does, rather stop once too often
            sys.stderr.write(f"--when {self.when!r}: {type(error).__name__}: {error}; so it stops here\n")
            return True


def is_file(path: str, asked: str) -> bool:
    """Whether ``asked`` is the file, by its name or by the end of its path."""
    wanted = Path(asked).parts
    return Path(path).parts[-len(wanted) :] == wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "python -m tinygrad_wb step [--at N] [--line FILE:LINE] [--when CONDITION] [--dap PORT] "
        "(SCRIPT | -m MODULE) [ARGS ...]"
    )
    parser.add_argument(
        "--at", type=_positive, metavar="N", help="stop in the Nth backward pass (without any option: the first)"
    )
    parser.add_argument(
        "--line", type=_line, metavar="FILE:LINE", help="stop in a backward pass that is asked for there"
    )
    parser.add_argument("--when", type=_expression, metavar="CONDITION", help="stop when it holds, as 'loss > 10'")
    parser.add_argument("--dap", type=_port, metavar="PORT", help="be stepped by an editor, at this port (0: any free)")
    parser.add_argument(
        "-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE", help="a module to run, and its arguments"
    )
    parser.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT", help="a script to run, and its arguments")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) < 2**16:
        raise ValueError(text)
    return port


def _line(text: str) -> str:
    if not text.rpartition(":")[2].isdigit():
        raise ValueError(text)
    return text


def _expression(text: str) -> str:
    try:
        compile(text, "--when", "eval")
    except SyntaxError as error:
        raise ValueError(text) from error
    return text
