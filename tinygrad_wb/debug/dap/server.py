"""`python -m tinygrad_wb step --dap PORT SCRIPT`: wait for an editor at a port of this machine, then run the script."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.dap.clients import first_with
from tinygrad_wb.debug.dap.walk import Walk
from tinygrad_wb.debug.passes import passes_replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from tinygrad_wb.debug.dap.session import Session
    from tinygrad_wb.debug.passes import Pass
    from tinygrad_wb.debug.stepper import Stepper
    from tinygrad_wb.debug.stops import Stops

__all__ = ["debugged"]

HOST = "127.0.0.1"  # this machine only
VARIABLE = "TINYGRAD_WB_TOKEN"  # of the environment: other users can read a command line, but not that
PATIENCE = 5.0  # seconds, for a client to say good bye once the script has ended
INTERRUPTED = 130  # the exit status of what Ctrl-C has ended


def debugged(port: int, stops: Stops, script: Callable[[], int]) -> int:
    """Run ``script`` for the first client at ``port`` (0: any that is free) with the token; returns its exit status."""
    try:
        listener = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"step: can't listen at {HOST}:{port}: {error}\n")
        return 2
    with listener:
        chosen = os.environ.get(VARIABLE)
        token = chosen or secrets.token_urlsafe(16)
        _announce(listener.getsockname()[1], f"${{env:{VARIABLE}}}" if chosen else token)
        client = first_with(token, listener)
    with client.connection:
        session = client.session
        session.ready.wait()
        if session.ended_early:
            status = INTERRUPTED
            session.finished(status)
        else:
            status = _run(session, stops, script)
        session.left.wait(PATIENCE)
        return status


def _announce(port: int, token: str) -> None:
    sys.stderr.write(f"step: waiting for a debugger at {HOST}:{port}\n")
    sys.stderr.write(f'step: its launch configuration has "debugServer": {port}, "token": "{token}"\n')
    sys.stderr.flush()


# -- the script -------------------------------------------------------------------------------------------------------


def _run(session: Session, stops: Stops, script: Callable[[], int]) -> int:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so shells start what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # by which the client ends the script
    try:
        with stopping(session, stops), _told(sys.stdout, "stdout", session), _told(sys.stderr, "stderr", session):
            status = script()
    except SystemExit as end:
        if not isinstance(end.code, int | None):  # Python writes it to stderr as it ends
            session.event("output", category="stderr", output=f"{end.code}\n")
        session.finished(_status(end.code))
        session.left.wait(PATIENCE)
        raise
    session.finished(status)
    return status


def _status(code: Any) -> int:
    """The exit status that Python makes of the argument of `sys.exit`."""
    if not isinstance(code, int):
        return int(code is not None)
    return code & 0xFF if os.name == "posix" else code


@contextlib.contextmanager
def stopping(session: Session, stops: Stops) -> Iterator[None]:
    """For the length of a block, each backward pass is gone through as the client wants."""
    busy = threading.Lock()  # one pass at a time: what else is computed meanwhile runs free

    def stopping(now: Pass) -> Stepper | None:
        wanted = session.wants(stops.wanted(now.number, now.frame, now.result))
        if session.free or not (wanted or session.all_breakpoints()) or not busy.acquire(blocking=False):
            return None
        try:
            stepper = now.stepper()
            walk = Walk(
                stepper, now.frame, session.all_breakpoints, lambda: session.pausing, session.looked_up, now.note
            )
            session.go(walk, wanted)
        finally:
            busy.release()
        return stepper

    with passes_replaced(stopping):
        yield


@contextlib.contextmanager
def _told(stream: TextIO | None, category: str, session: Session) -> Iterator[None]:
    """For the length of a block, what is written to ``stream`` is told to the client as well."""
    if stream is None:
        yield
        return
    write = stream.write

    def both(text: str) -> int:
        written = write(text)
        if text:
            session.event("output", category=category, output=text)
        return written

    stream.write = both  # type: ignore[method-assign]
    try:
        yield
    finally:
        del stream.write
