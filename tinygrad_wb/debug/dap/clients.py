"""Who connects to the port: the first client that gives the token gets the script, and all others are dropped.

Any user of the machine can connect, and so can a web page in a browser on it; whoever gets the script may evaluate
anything in it. Until a client has given the token, its session is its own, and the script knows nothing of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.dap.protocol import FramingError, MessageError, framed, read
from tinygrad_wb.debug.dap.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Client", "first_with"]

PATIENCE = 10.0  # seconds, for a client to give the token
SENDING = 10.0  # seconds, for one that has given it to take in what it is sent
MOST = 16  # clients that have not given it yet; others wait to be accepted
POLL = 0.05  # seconds


class Client:
    """A connection, the session of the client there, and the thread that takes its messages in."""

    def __init__(self, connection: socket.socket, token: str) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + PATIENCE
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds, rest = divmod(SENDING, 1.0)
        timeout = struct.pack("ll", int(seconds), int(rest * 1e6)) if os.name == "posix" else int(SENDING * 1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)  # reading has none
        self._numbers, self._sending, self._closed = itertools.count(1), threading.RLock(), False
        self.session = Session(self.send, self.close, token)
        threading.Thread(target=self._listen, name="step --dap", daemon=True).start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. A client that takes nothing in is dropped, so that it can't hold up the script."""
        with self._sending:
            if self._closed:
                return
            try:
                self.connection.sendall(framed({"seq": next(self._numbers), **message}))
            except (BlockingIOError, TimeoutError):
                self.close()
                sys.stderr.write(f"step: dropped the debugger: it took nothing in for {SENDING:g} seconds\n")
            except OSError:  # it has gone
                self.close()

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        session = self.session
        with contextlib.suppress(OSError), self.connection.makefile("rb") as stream:
            while not session.left.is_set():
                try:
                    message = read(stream)
                except MessageError as error:
                    session.complain(str(error))
                    continue
                except FramingError as error:
                    session.complain(f"{error}; so the connection ends here, and the script goes on")
                    break
                if message is None:
                    break
                session.take(message)
        session.gone()


def first_with(token: str, listener: socket.socket) -> Client:
    """The first client that gives the token; of each that is dropped a word is written to stderr."""
    listener.settimeout(POLL)
    waiting: list[Client] = []
    while True:
        if len(waiting) == MOST:
            time.sleep(POLL)
        else:
            with contextlib.suppress(OSError):  # no client yet, or it has disconnected
                waiting.append(Client(listener.accept()[0], token))
        for client in [*waiting]:
            if client.session.known:
                waiting.remove(client)
                for other in waiting:
                    _drop(other, "another client has given the token")
                return client
            if client.session.left.is_set() or time.monotonic() > client.deadline:
                waiting.remove(client)
                _drop(client, f"it gave no token for {PATIENCE:g} seconds")


def _drop(client: Client, why: str) -> None:
    """Drop a client; ``why``, unless it has left, or was refused."""
    why = client.session.refused or ("it left and gave no token" if client.session.left.is_set() else why)
    client.session.gone()
    client.connection.close()
    sys.stderr.write(f"step: dropped a client: {why}\n")
    sys.stderr.flush()
