"""Programs as files: a debugger needs a real one, with a name that stays the same as long as the text does."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import operator
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    user = getattr(os, "getuid", int)()
    for folder in (Path.cwd() / FOLDER, Path(tempfile.gettempdir()) / f"{FOLDER[1:]}_{user}"):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return Path(tempfile.mkdtemp(prefix=FOLDER[1:]))


def _tidied(folder: Path) -> None:
    """Delete the oldest programs beyond the number that is kept, and tell git to look away."""
    with contextlib.suppress(OSError):
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        programs = sorted(folder.glob("*_??????????.py"), key=lambda program: program.stat().st_mtime)
        for program in programs[: -KEPT + 1]:
            program.unlink()


def written_then_run(path: Path, source: str, run: Callable[[], Any]) -> Callable[[], Any]:
    """What writes ``source`` to ``path``, prints where, calls ``run``, and returns what that returns.

    A debugger that steps into it must land in the program, with no frame of ours before. So what goes before is done by
    functions that are written in C, which debuggers pass through, one after another, as often as it is called.
    """
    text = np.frombuffer(source.encode(), np.uint8)
    steps = itertools.cycle((partial(text.tofile, path), partial(print, path), run))
    one_after_another = zip(steps_called := map(operator.call, steps), steps_called, steps_called, strict=False)
    return partial(next, map(operator.itemgetter(2), one_after_another))
