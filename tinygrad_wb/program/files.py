"""Programs as files: a debugger needs a real one, with a name that stays the same as long as the text does."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import operator
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOLDER", "KEPT", "path_of", "written_then_run"]

FOLDER = ".tinygrad_wb"
KEPT = 50  # programs; of more, those that were written longest ago are deleted


def path_of(source: str, name: str) -> Path:
    """Where a program is to be written: below the working directory, or the temporary one where that can't be."""
    folder = _folder()
    _tidied(folder)
    return folder / f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:10]}.py"


def _folder() -> Path:
    """It need not be there yet: `written_then_run` makes it."""
    with contextlib.suppress(OSError):  # the working directory may have been deleted
        folder = Path.cwd() / FOLDER
        if os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK):
            return folder
    return Path(tempfile.gettempdir()) / f"{FOLDER[1:]}_{getattr(os, 'getuid', int)()}"


def _tidied(folder: Path) -> None:
    """Delete the oldest programs beyond the number that is kept."""
    with contextlib.suppress(OSError):
        programs = sorted(folder.glob("*_??????????.py"), key=lambda program: program.stat().st_mtime)
        for program in programs[: 1 - KEPT]:
            program.unlink()


def written_then_run(path: Path, source: str, run: Callable[[], Any]) -> Callable[[], Any]:
    """What writes ``source`` to ``path``, prints where, calls ``run``, and returns what that returns.

    A debugger that steps into it must land in the program, with no frame of ours before. So what goes before is done by
    functions that are written in C, which debuggers pass through, one after another, as often as it is called.
    """
    file, folder = str(path), str(path.parent)  # a Path is Python itself
    is_there = partial(os.access, mode=os.F_OK)
    missing = _after(partial(itertools.filterfalse, is_there, [folder]), partial(map, partial(os.mkdir, mode=0o700)))
    steps = [
        _after(missing, list),
        *_writing(os.path.join(folder, ".gitignore"), "*\n"),  # noqa: PTH118
        *_writing(file, source),
        partial(print, file),
        run,
    ]
    return _after(_after(partial(map, operator.call, steps), list), operator.itemgetter(-1))


def _writing(file: str, text: str) -> list[Callable[[], Any]]:
    """Steps that open a file, write the text, and close it."""
    opened: list[Any] = []
    return [
        _after(partial(io.FileIO, file, "w"), opened.append),
        _after(partial(operator.getitem, opened, -1), operator.methodcaller("write", text.encode())),
        _after(opened.pop, operator.methodcaller("close")),
    ]


def _after(first: Callable[[], Any], then: Callable[[Any], Any]) -> Callable[[], Any]:
    """``then(first())`` as a function, without a frame of its own."""
    return map(then, iter(first, object())).__next__
