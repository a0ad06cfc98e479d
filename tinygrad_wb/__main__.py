"""The command line, ``python -m tinygrad_wb``: each command is a row of `COMMANDS`, and its room is loaded on use."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "Command", "main"]


class Command(NamedTuple):
    """A command: what it is for, in a line; what runs it and returns the exit status; what adds its arguments."""

    summary: str
    run: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], object] | None = None


def doctor(options: argparse.Namespace) -> int:
    from tinygrad_wb.doctor import show

    show()
    return 0


def step(options: argparse.Namespace) -> int:
    from tinygrad_wb.debug.script import run

    return run(options)


def step_arguments(parser: argparse.ArgumentParser) -> None:
    from tinygrad_wb.debug.stops import add_arguments

    add_arguments(parser)


def page(options: argparse.Namespace) -> int:
    from tinygrad_wb.debug.page_script import run

    return run(options)


def page_arguments(parser: argparse.ArgumentParser) -> None:
    from tinygrad_wb.debug.page_script import add_arguments

    add_arguments(parser)


COMMANDS = {
    "step": Command("run a script unchanged, and step through its backward()", step, step_arguments),
    "page": Command("run a script unchanged, and write its backward() as a page to step through", page, page_arguments),
    "doctor": Command("what this machine could do and does not, measured, and what would help", doctor),
}


def build_parser() -> argparse.ArgumentParser:
    from tinygrad_wb import __version__

    parser = argparse.ArgumentParser(prog="python -m tinygrad_wb", description="Every partial derivative in sight.")
    parser.add_argument("--version", action="version", version=f"tinygrad_wb {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.summary, description=command.summary)
        if command.arguments is not None:
            command.arguments(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (those of the process, if None) name, and return the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    return COMMANDS[options.command].run(options)


if __name__ == "__main__":
    sys.exit(main())
