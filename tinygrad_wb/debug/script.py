"""`python -m tinygrad_wb step SCRIPT` runs a script unchanged and steps through its backward passes.

The script runs as `python SCRIPT` would run it: as ``__main__``, with its own arguments, path, exit status,
tracebacks.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import io
import runpy
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_wb.debug.passes import passes_replaced
from tinygrad_wb.debug.stops import Stops
from tinygrad_wb.debug.terminal import Kept, stepped
from tinygrad_wb.recording import frames_kept

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import CodeType, TracebackType

    from tinygrad_wb.debug.passes import Pass
    from tinygrad_wb.debug.stepper import Stepper

__all__ = ["not_stopped", "run", "run_script", "stopping_in_passes"]


def run(options: argparse.Namespace) -> int:
    """Run the command ``step``; returns the exit status."""
    given = options.module or options.script
    if not given:
        sys.stderr.write("step: give a script to run, as in: python -m tinygrad_wb step train.py\n")
        return 2
    stops = Stops(options.at, options.line or "", options.when or "")
    if options.dap is not None:
        from tinygrad_wb.debug.dap.server import debugged

        with frames_kept():
            return debugged(options.dap, stops, lambda: run_script(given[0], given[1:], as_module=bool(options.module)))
    with frames_kept(), stopping_in_passes(stops) as calls:
        status = run_script(given[0], given[1:], as_module=bool(options.module))
    if status == 0 and not calls.stopped:
        sys.stderr.write(f"step: {not_stopped(calls.number, stops)}\n")
    return status


@dataclass
class Calls:
    """The backward passes so far, and whether one of them was stopped in."""

    number: int = 0
    stopped: bool = False


def not_stopped(number: int, stops: Stops) -> str:
    """Why none of ``number`` backward passes was stopped in."""
    if not number:
        return "neither backward() nor wb.grad (value_and_grad, jacobian, hessian, hvp) was called"
    asked = ", ".join(f"--{name} {value}" for name, value in stops._asdict().items() if value)
    return (
        f"there {'was 1 backward pass' if number == 1 else f'were {number} backward passes'}, never as asked ({asked})"
    )


@contextlib.contextmanager
def stopping_in_passes(stops: Stops) -> Iterator[Calls]:
    """For a block, backward passes open a session where ``stops`` say so, or the breakpoints of an earlier one."""
    calls, kept = Calls(), Kept()

    def stopping(now: Pass) -> Stepper | None:
        calls.number = now.number
        wanted = kept.stop_next or stops.wanted(now.number, now.frame, now.result)
        if not wanted and not kept.breaks:
            return None
        calls.stopped = calls.stopped or wanted
        return stepped(now.stepper(), now.frame, kept, stopping=wanted, note=now.note)

    with passes_replaced(stopping):
        yield calls


# -- a script, as Python runs it --------------------------------------------------------------------------------------


def run_script(target: str, arguments: list[str], as_module: bool = False) -> int:
    """Run a script, or a module, as ``__main__``; returns the exit status. ``SystemExit`` passes through."""
    sys.argv[:] = [target, *arguments]
    try:
        main, code = _module(target) if as_module else _script(target)
    except (OSError, ImportError) as error:
        sys.stderr.write(f"can't run {target!r}: {error}\n")
        return 2
    except SyntaxError as error:
        return _failed(error)
    sys.modules["__main__"] = main
    try:
        exec(code, vars(main))  # noqa: S102 - it is what was asked for
    except SystemExit as error:
        error.with_traceback(None)
        raise
    except BaseException as error:  # noqa: BLE001 - it is told as Python would
        return _failed(error)
    return 0


def _script(file: str) -> tuple[types.ModuleType, CodeType]:
    if Path(file).is_dir():
        raise IsADirectoryError(f"{file} is a folder")
    whole = str(Path(file).absolute())
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(file).resolve().parent)
    with io.open_code(whole) as source:
        code = compile(source.read(), whole, "exec", dont_inherit=True)
    main = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", whole)
    vars(main).update(__file__=whole, __loader__=loader, __cached__=None, __builtins__=__builtins__)
    return main, code


def _module(name: str) -> tuple[types.ModuleType, CodeType]:
    _, spec, code = runpy._get_module_details(name)  # type: ignore[attr-defined]
    main = types.ModuleType("__main__")
    sys.argv[0] = spec.origin
    vars(main).update(
        __file__=spec.origin, __cached__=spec.cached, __loader__=spec.loader, __package__=spec.parent, __spec__=spec,
        __builtins__=__builtins__,
    )  # fmt: skip
    return main, code


def _failed(error: BaseException) -> int:
    """Tell of an error as Python does, with none of our frames in the traceback; returns the exit status."""
    told: BaseException | None = error
    seen: set[int] = set()
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        told.__traceback__ = _without_ours(told.__traceback__)
        told = told.__cause__ or told.__context__
    sys.excepthook(type(error), error, error.__traceback__)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


DEBUG = str(Path(__file__).parent)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Without the frames of the debugger; those of the engine stay, as in any traceback."""
    first = last = None
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(DEBUG):
            if last is None:
                first = traceback
            else:
                last.tb_next = traceback
            last = traceback
        traceback = traceback.tb_next
    if last is not None:
        last.tb_next = None
    return first
