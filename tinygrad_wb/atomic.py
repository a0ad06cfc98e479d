"""Files written whole or not at all: at any moment a path is the old file or the new one."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

__all__ = ["write"]

KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # O_EXCL follows no link


def write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write ``content`` to a file, and return its path. An old file of that name is replaced, and its permissions stay.

    The content goes to a hidden file beside it. That is forced to the disk and renamed, and then the folder, which
    holds the name, is forced to the disk too. A link stays: the file that it points to is replaced. What is not a
    file, such as a device, and a file that may not be written to are refused.
    """
    path = Path(path)
    target = path.resolve()
    permissions = _permissions(path, target)
    try:
        _replace(target, content, permissions)
    except OSError as error:  # it names the hidden file
        raise OSError(error.errno, error.strerror, str(path)) from None
    return path


def _permissions(path: Path, target: Path) -> int | None:
    """The permissions of the file that is there, None if there is none; an error where none can be written."""
    if not target.parent.is_dir():
        folder = str(target.parent)
        raise FileNotFoundError(f"{str(path)!r} can't be written: there is no folder {folder!r}; make it first")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(f"{str(path)!r} can't be written: it is {kind}, not a file")
    if not os.access(target, os.W_OK):
        raise PermissionError(f"{str(path)!r} can't be written: its permissions are for reading only")
    return stat.S_IMODE(mode)


def _replace(target: Path, content: bytes, permissions: int | None) -> None:
    unfinished = target.with_name(f".{secrets.token_hex(8)}.unfinished")  # short, as a name may be as long as can be
    handle = os.open(unfinished, NEW, 0o666 if permissions is None else permissions)
    try:
        with os.fdopen(handle, "wb") as file:
            if permissions not in (None, stat.S_IMODE(os.fstat(handle).st_mode)):
                unfinished.chmod(permissions)  # the umask took some away
            file.write(content)
            file.flush()
            os.fsync(handle)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # Windows has no handle for a folder
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
