"""Programs as files: a debugger needs a real one, with a name that stays the same as long as the text does.

The folder has a name that is known beforehand. So another user, or a checkout of a hostile project, may have put
something there already. Only a folder of this user is written to, and no link in it is written through.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import io
import itertools
import operator
import os
import stat
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
        there = os.path.lexists(folder)
        if os.access(folder if there else folder.parent, os.W_OK | os.X_OK) and (not there or _is_ours(folder)):
            return folder
    return Path(tempfile.gettempdir()) / f"{FOLDER[1:]}_{getattr(os, 'getuid', int)()}"


def _is_ours(folder: Path) -> bool:
    return all(holds() for holds in _what_ours_is(folder))


def _tidied(folder: Path) -> None:
    """Delete the oldest programs beyond the number that is kept."""
    with contextlib.suppress(OSError):
        if not _is_ours(folder):
            return
        programs = sorted(folder.glob("*_??????????.py"), key=lambda program: program.lstat().st_mtime)
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
        *(_demanded(holds, folder) for holds in _what_ours_is(path.parent)),
        *_writing(os.path.join(folder, ".gitignore"), "*\n"),  # noqa: PTH118
        *_writing(file, source),
        partial(print, file),
        run,
    ]
    return _after(_after(partial(map, operator.call, steps), list), operator.itemgetter(-1))


def _what_ours_is(folder: Path) -> list[Callable[[], bool]]:
    """What must hold of a folder to write there: it is a folder, no link, and belongs to this user.

    It may also belong to whoever has the folder around it, and so could do anything there: on some file systems all
    files have one owner.
    """
    owners = {getattr(os, "getuid", int)()}
    with contextlib.suppress(OSError):
        owners.add(folder.parent.stat().st_uid)
    found = partial(os.lstat, str(folder))
    return [
        _after(_after(found, operator.attrgetter("st_mode")), stat.S_ISDIR),
        _after(_after(found, operator.attrgetter("st_uid")), partial(operator.contains, owners)),
    ]


def _demanded(holds: Callable[[], bool], folder: str) -> Callable[[], Any]:
    """A step that raises ``PermissionError`` unless something holds."""
    text = f"{folder} is a link or another user's, so nothing is written there; remove it, or set TMPDIR to your own"
    texts = {True: (), False: (text,)}
    errors = _after(_after(holds, texts.__getitem__), partial(map, PermissionError))
    return _after(_after(errors, partial(map, codecs.strict_errors)), list)  # which raises what it is called with


def _writing(file: str, text: str) -> list[Callable[[], Any]]:
    """Steps that write a new file beside it, and rename that: a link of that name is replaced, not followed."""
    names: list[str] = []
    opened: list[Any] = []
    beside = partial(operator.add, os.path.join(os.path.dirname(file), "."))  # noqa: PTH118, PTH120
    return [
        _after(_after(_after(partial(os.urandom, 8), bytes.hex), beside), names.append),
        _after(_after(partial(operator.getitem, names, -1), partial(io.FileIO, mode="x")), opened.append),
        _after(partial(operator.getitem, opened, -1), operator.methodcaller("write", text.encode())),
        _after(opened.pop, operator.methodcaller("close")),
        _after(names.pop, partial(os.replace, dst=file)),
    ]


def _after(first: Callable[[], Any], then: Callable[[Any], Any]) -> Callable[[], Any]:
    """``then(first())`` as a function, without a frame of its own."""
    return map(then, iter(first, object())).__next__
