"""pdb, or our own stepper, at a terminal: commands are typed, what pdb prints is read up to its next prompt. For POSIX: it takes a pty."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import site
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

# `((Pdb)) ` is the prompt within pdb's own `debug` command, `(com) ` the one within `commands`; `(backprop) ` is ours.
PROMPT = re.compile(r"\(+(?:Pdb|com|backprop)\)+ \Z")

# So wide that readline, on a terminal that cannot move its cursor, scrolls no typed line sideways.
ROWS, COLUMNS = 200, 4000

# What would change what pdb prints, or take its trace function: colours, another debugger, coverage of subprocesses.
UNSET = re.compile(r"PYTHONBREAKPOINT|PYTHON_COLORS|FORCE_COLOR|LINES|COLUMNS|COVERAGE_PROCESS_\w+|COV_CORE_\w+")


class PdbError(AssertionError):
    """pdb did not do what it was waited for; the message ends with the transcript so far."""


class PdbSession:
    """``python -m pdb script args`` in a terminal, stopped at its first prompt.

    Args:
        script: the script to debug.
        args: its arguments.
        python: the Python to run it with; by default this one.
        under_pdb: False runs the plain script, which is to call ``breakpoint()`` (or what a test is about) by itself.
        cwd: the folder to run in; by default the script's.
        env: variables to set besides this process's own, such as PYTHONPATH.
        timeout: the seconds to wait, at most, for each prompt.

    ``opening`` is what was printed before the first prompt, ``transcript`` what a person would have seen so far
    (prompts, commands and all that was printed), ``exit_code`` the process's once it has ended.
    """

    def __init__(
        self,
        script: str | os.PathLike[str],
        args: Sequence[str] = (),
        *,
        python: str = sys.executable,
        under_pdb: bool = True,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 20.0,
    ) -> None:
        import fcntl
        import termios

        self.timeout = timeout
        self.transcript = ""
        self.exit_code: int | None = None
        self._unread = b""
        folder = Path(script).resolve().parent if cwd is None else Path(cwd)
        # openpty and Popen, not pty.fork: a fork of a process with threads is a DeprecationWarning from 3.12 on.
        self._terminal, theirs = os.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            self._process = subprocess.Popen(
                [python, *(["-m", "pdb"] if under_pdb else []), str(script), *args],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=folder,
                env=_environment(folder, env or {}),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._terminal)
            raise
        finally:
            os.close(theirs)
        try:
            self.opening = self._read(None)
        except BaseException:
            self.close()
            raise

    def send(self, command: str) -> str:
        """What was printed, without the echo, between ``command`` and the next prompt or the end of the process."""
        if self.exit_code is not None:
            self._fail(f"{command!r} was to be sent, but the process has ended with exit code {self.exit_code}")
        os.write(self._terminal, f"{command}\n".encode())
        return self._read(command)

    def typed(self, keys: str) -> str:
        """The same of single keys, such as Tab; the echo is in what comes back, as it is edited on the way."""
        os.write(self._terminal, keys.encode())
        return self._read(None)

    def _read(self, command: str | None) -> str:
        """All up to the next prompt or the end, less the echo of ``command``; the transcript gets echo and prompt."""
        deadline = time.monotonic() + self.timeout
        ended = False
        while not ended and not _prompted(self._text(), command):
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self._take()
                self._fail(f"no prompt after {self.timeout} s")
            try:
                chunk = os.read(self._terminal, 65536)
            except OSError as error:  # Linux's way of telling that nobody holds the other end
                if error.errno != errno.EIO:
                    raise
                chunk = b""
            ended = not chunk
            self._unread += chunk
        text = self._take()
        if ended:
            try:
                self.exit_code = self._process.wait(max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._fail("the process closed its terminal, but did not end")
        if command is not None:
            echo, newline, text = text.partition("\n")
            if (echo, newline) != (command, "\n"):
                self._fail(f"{command!r} was echoed as {echo!r}")
        return PROMPT.sub("", text)

    def _text(self) -> str:
        return self._unread.decode(errors="replace").replace("\r\n", "\n")

    def _take(self) -> str:
        text = self._text()
        self.transcript += text
        self._unread = b""
        return text

    def _fail(self, what: str) -> None:
        raise PdbError(f"{what}. The transcript so far:\n{self.transcript}")

    def close(self) -> None:
        """End the process, if it runs still."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        if self.exit_code is None:
            self.exit_code = code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _prompted(text: str, command: str | None) -> bool:
    """Whether a prompt ends the text; not one within the echo, which is its first line and comes letter by letter."""
    return PROMPT.search(text, 0 if command is None else text.find("\n") + 1 or len(text)) is not None


def _environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, less what would change pdb's output; ``home`` hides the person's own .pdbrc."""
    env = {name: value for name, value in os.environ.items() if not UNSET.fullmatch(name)}
    with contextlib.suppress(AttributeError):
        env["PYTHONUSERBASE"] = site.getuserbase()  # packages that live under the real HOME are still found
    plain = {"TERM": "dumb", "NO_COLOR": "1", "INPUTRC": os.devnull, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
    return {**env, **plain, "HOME": str(home), **more}
