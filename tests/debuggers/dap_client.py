"""A small client of the Debug Adapter Protocol: what an editor is to debugpy, over stdio, and to our own, over a socket."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

Message = dict[str, Any]

# What would take the debuggee's trace function from the debugger.
UNSET = re.compile(r"PYTHONBREAKPOINT|COVERAGE_PROCESS_\w+|COV_CORE_\w+")


class DapError(AssertionError):
    """The adapter refused, or did not do what it was waited for; the message ends with the log of all messages."""


class DapClient:
    """``python -m debugpy.adapter``, spoken to over its stdin and stdout.

    The order of a session is the protocol's: ``launch``, ``set_breakpoints``, ``configuration_done``, ``wait_stopped``;
    then ``stack`` and ``variables``, ``next``, ``step_in``, ``goto`` or ``continue_``, each of the latter four with a
    ``wait_stopped`` after it; in the end ``wait_terminated``.

    Args:
        python: the Python that the debuggee runs in.
        adapter_python: the Python, with debugpy, that the adapter runs in; by default this one.
        timeout: the seconds to wait, at most, for each response or event.

    ``log`` holds every message sent (``->``) and received (``<-``), ``output`` what the debuggee printed,
    ``stopped_thread`` the number of the thread that stopped last, ``capabilities`` what the adapter can do.
    """

    def __init__(
        self, python: str = sys.executable, *, adapter_python: str = sys.executable, timeout: float = 20.0
    ) -> None:
        self.python = python
        self.timeout = timeout
        self.log: list[str] = []
        self.output = ""
        self.stopped_thread = 0
        self._sequence = 0
        self._responses: dict[int, Message] = {}  # by the request's number
        self._events: list[Message] = []  # in order of arrival, less those that were waited for
        self._ended = False  # the adapter's stdout
        self._changed = threading.Condition()  # guards all of the above
        self._errors = tempfile.TemporaryFile()
        self._adapter, self._to, self._from = self._start(adapter_python)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.capabilities = self.request(
                "initialize",
                clientID="tests",
                adapterID=self.adapter,
                pathFormat="path",
                linesStartAt1=True,
                columnsStartAt1=True,
                supportsVariableType=True,
                supportsRunInTerminalRequest=False,
            )
        except BaseException:
            self.close()
            raise

    adapter = "debugpy"

    def _start(self, python: str) -> tuple[subprocess.Popen[bytes], BinaryIO, BinaryIO]:
        """The adapter's process, and the streams to it and from it."""
        process = subprocess.Popen(
            [python, "-m", "debugpy.adapter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        return process, process.stdin, process.stdout

    # -- a session, in its order --

    def launch(
        self,
        script: str | os.PathLike[str],
        cwd: str | os.PathLike[str] | None = None,
        just_my_code: bool | None = None,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        """Start ``script``, and wait until breakpoints can be set; ``just_my_code=None`` leaves it to the adapter.

        ``more`` are debugpy's other settings, such as ``stopOnEntry=True``, by the protocol's names.
        """
        settings: Message = {
            "name": "tests",
            "type": "debugpy",
            "request": "launch",
            "program": str(script),
            "python": [self.python],
            "args": list(args),
            "cwd": str(Path(script).resolve().parent if cwd is None else cwd),
            "console": "internalConsole",
            "env": {"PYTHONIOENCODING": "utf-8", **(env or {})},
            **more,
        }
        if just_my_code is not None:
            settings["justMyCode"] = just_my_code
        self._launched = self._send("launch", settings)  # is answered after configurationDone only
        self.wait_event("initialized", or_response=self._launched)

    def set_breakpoints(self, path: str | os.PathLike[str], lines: Sequence[int], **words: str) -> list[Message]:
        """Make ``lines`` the file's breakpoints, instead of those it had; for each, what the adapter says of it.

        ``words`` are theirs, such as ``condition``.
        """
        places = [{"line": line, **words} for line in lines]
        body = self.request("setBreakpoints", source={"path": str(path)}, breakpoints=places, lines=[*lines])
        return list(body["breakpoints"])

    def configuration_done(self) -> None:
        """Let the debuggee run, with the exception breakpoints that the adapter has on by default, as editors do."""
        filters = self.capabilities.get("exceptionBreakpointFilters", ())
        self.request("setExceptionBreakpoints", filters=[one["filter"] for one in filters if one.get("default")])
        self.request("configurationDone")
        self._response(self._launched, "launch")

    def wait_stopped(self) -> Message:
        """The body of the next ``stopped`` event: its ``reason`` (breakpoint, step, goto …), its ``threadId``."""
        body = self.wait_event("stopped", unless="terminated")
        self.stopped_thread = body["threadId"]
        return body

    def wait_terminated(self) -> int:
        """The debuggee's exit code."""
        code = self.wait_event("exited", unless="stopped")["exitCode"]
        self.wait_event("terminated")
        return int(code)

    # -- where it stands --

    def stack(self, thread: int | None = None) -> list[Message]:
        """The frames, innermost first: ``id``, ``name``, ``line``, and ``source`` with its ``path``."""
        return list(self.request("stackTrace", threadId=self._thread(thread))["stackFrames"])

    def where(self) -> tuple[str, int, str]:
        """The innermost frame's file name, line and function."""
        frame = self.stack()[0]
        return Path(frame["source"]["path"]).name, frame["line"], frame["name"]

    def variables(self, frame_id: int, scope: str = "Locals") -> dict[str, str]:
        """Each variable's value as the debugger shows it, and debugpy's own groups, ``function variables`` …"""
        scopes = self.request("scopes", frameId=frame_id)["scopes"]
        (reference,) = (one["variablesReference"] for one in scopes if one["name"] == scope)
        rows = self.request("variables", variablesReference=reference)["variables"]
        return {row["name"]: row["value"] for row in rows}

    def evaluate(self, expression: str, frame: int, context: str = "repl") -> str:
        """What the debug console prints; statements run too. ``context="watch"`` is the watch window's."""
        return str(self.request("evaluate", expression=expression, frameId=frame, context=context)["result"])

    # -- on --

    def next(self, thread: int | None = None) -> None:
        """Step over."""
        self.request("next", threadId=self._thread(thread))

    def step_in(self, thread: int | None = None) -> None:
        self.request("stepIn", threadId=self._thread(thread))

    def step_out(self, thread: int | None = None) -> None:
        self.request("stepOut", threadId=self._thread(thread))

    def continue_(self, thread: int | None = None) -> None:
        self.request("continue", threadId=self._thread(thread))

    def goto(self, path: str | os.PathLike[str], line: int, thread: int | None = None) -> None:
        """Set next statement. Where the debugger cannot, DapError tells why; else a ``stopped`` event follows.

        As in an editor, it is the innermost frame whose next line is set; debugpy does not look at ``path``.
        """
        targets = self.request("gotoTargets", source={"path": str(path)}, line=line)["targets"]
        if not targets:
            self._fail(f"line {line} of {path} is no goto target")
        self.request("goto", threadId=self._thread(thread), targetId=targets[0]["id"])

    def _thread(self, thread: int | None) -> int:
        return self.stopped_thread if thread is None else thread

    # -- messages --

    def request(self, command: str, **arguments: object) -> Message:
        """The body of the response to a request of any kind."""
        return self._response(self._send(command, arguments), command)

    def wait_event(self, name: str, unless: str | None = None, or_response: int | None = None) -> Message:
        """The body of the first event of this name, taken from the queue.

        An event ``unless`` in the queue, or a refusal of the request ``or_response``, ends the waiting: it fails.
        """

        def found() -> Message | None:
            if or_response is not None and not self._responses.get(or_response, {"success": True})["success"]:
                self._fail(f"no event {name!r}: {self._responses[or_response].get('message')}")
            for event in self._events:
                if event["event"] == name:
                    self._events.remove(event)
                    return event
                if event["event"] == unless:
                    self._fail(f"event {unless!r} came while {name!r} was waited for")
            return None

        return self._wait(found, f"event {name!r}").get("body", {})

    def _response(self, number: int, command: str) -> Message:
        response = self._wait(lambda: self._responses.pop(number, None), f"response to {command!r}")
        if not response["success"]:
            self._fail(f"{command!r} was refused: {response.get('message')}")
        return response.get("body") or {}

    def _wait(self, found: Callable[[], Message | None], what: str) -> Message:
        deadline = time.monotonic() + self.timeout
        with self._changed:
            while (message := found()) is None:
                left = deadline - time.monotonic()
                if self._ended:
                    self._fail(f"no {what}: the adapter ended")
                if left <= 0.0:
                    self._fail(f"no {what} after {self.timeout} s")
                self._changed.wait(left)
        return message

    def _send(self, command: str, arguments: Mapping[str, object]) -> int:
        with self._changed:
            self._sequence += 1
            message = {"seq": self._sequence, "type": "request", "command": command, "arguments": arguments}
            self._note("->", message)
        data = json.dumps(message).encode()
        try:
            self._to.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
            self._to.flush()
        except (OSError, ValueError):  # it ended by itself, or `close` was called
            self._fail(f"{command!r} could not be sent: the adapter ended")
        return message["seq"]

    def _read(self) -> None:
        """The thread that takes the adapter's messages in."""
        length = 0
        with contextlib.suppress(ConnectionError):
            while line := self._from.readline():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                elif not line.strip():
                    data = self._from.read(length)
                    if len(data) < length:
                        break
                    self._take(json.loads(data))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, message: Message) -> None:
        with self._changed:
            self._note("<-", message)
            body = message.get("body") or {}
            if message["type"] == "response":
                self._responses[message["request_seq"]] = message
            elif message["type"] == "event" and message["event"] == "output":
                if body.get("category") in {"stdout", "stderr"}:
                    self.output += body["output"]
            elif message["type"] == "event":
                self._events.append(message)
            self._changed.notify_all()

    def _note(self, way: str, message: Message) -> None:
        name = message.get("command") or message.get("event", "")
        rest = {key: message[key] for key in ("success", "message", "arguments", "body") if key in message}
        text = json.dumps(rest, ensure_ascii=False)
        self.log.append(f"{way} {message['type']} {name} {text[:2000]}")

    def _fail(self, what: str) -> None:
        with self._changed:
            log = "\n".join(self.log)
        raise DapError(f"{what}. The messages so far:\n{log}\n{self._adapter_errors()}")

    def _adapter_errors(self) -> str:
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    # -- the end --

    def close(self) -> None:
        """End the debuggee, if it runs still, and the adapter."""
        if self._adapter.poll() is None and not self._ended:
            self.timeout = min(self.timeout, 5.0)
            try:
                self.request("disconnect", terminateDebuggee=True)
                self._to.close()  # what the adapter ends upon
                self._adapter.wait(5.0)
            except (DapError, OSError, subprocess.TimeoutExpired):
                self._adapter.kill()
        self._adapter.wait()
        self._reader.join(5.0)
        with contextlib.suppress(OSError):  # what an adapter that ended by itself did not read
            self._to.close()
        self._from.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


ANNOUNCED = (
    r"step: waiting for a debugger at 127\.0\.0\.1:(\d+)\n"
    r'step: its launch configuration has "debugServer": \1, "token": "(\S+)"\n'
)


class StepClient(DapClient):
    """``python -m tinygrad_wb step --dap 0 SCRIPT``, spoken to over a socket; as for `DapClient`, but it moves back, too.

    ``messages`` holds every message as it was sent (``->``) and received (``<-``), ``token`` what the script announced.
    """

    adapter = "tinygrad_wb"
    met = False

    def __init__(
        self,
        script: str | os.PathLike[str],
        *words: str,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._env = env or {}
        self._command = ["-m", "tinygrad_wb", "step", *options, "--dap", "0", str(script), *words]
        self._folder = Path(script).parent
        self.messages: list[tuple[str, Message]] = []
        super().__init__(**settings)

    def _start(self, python: str) -> tuple[subprocess.Popen[bytes], BinaryIO, BinaryIO]:
        package = importlib.util.find_spec("tinygrad_wb")
        assert package is not None
        assert package.origin is not None
        env = _environment() | {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(Path(package.origin).parents[1])}
        env |= self._env
        process = subprocess.Popen(
            [python, *self._command], cwd=self._folder, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        lines = (process.stderr.readline() + process.stderr.readline()).decode().replace("\r\n", "\n")
        announced = re.fullmatch(ANNOUNCED, lines)
        if announced is None:
            process.kill()
            raise DapError(f"no port and token were announced: {lines}{process.communicate()[1].decode()}")
        self.port, self.token = int(announced[1]), announced[2]
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        return process, self.socket.makefile("wb"), self.socket.makefile("rb")

    def meet(self, request: str = "launch", **settings: object) -> None:
        """Give the token, once, and wait until breakpoints can be set."""
        if self.met:
            assert (request, settings) == ("launch", {}), "too late for settings"
        else:
            self.met = True
            self._launched = self._send(request, {"token": self.token, **settings})
            self.wait_event("initialized", or_response=self._launched)

    def set_breakpoints(self, path: str | os.PathLike[str], lines: Sequence[int], **words: str) -> list[Message]:
        self.meet()
        return super().set_breakpoints(path, lines, **words)

    def begin(self, request: str = "launch", **settings: object) -> Message:
        """Let the script run, and wait until it stops."""
        self.meet(request, **settings)
        self.configuration_done()
        return self.wait_stopped()

    def go(self, command: str) -> Message:
        """Move, and wait until it stops."""
        self.request(command, **({} if command == "restart" else {"threadId": self.stopped_thread}))
        return self.wait_stopped()

    def finish(self) -> tuple[int, str, str]:
        """The exit status of the process, and what it wrote to its own output and errors."""
        out, errors = self._adapter.communicate(timeout=self.timeout)
        return self._adapter.returncode, *(text.decode().replace("\r\n", "\n") for text in (out, errors))

    def vanish(self) -> None:
        """End the connection without a word."""
        self._ended = True
        self.socket.shutdown(socket.SHUT_RDWR)

    def raw(self, data: bytes) -> None:
        """Send what may be no message."""
        self._to.write(data)
        self._to.flush()

    def _note(self, way: str, message: Message) -> None:
        super()._note(way, message)
        self.messages.append((way, message))

    def close(self) -> None:
        super().close()
        self.socket.close()
        for stream in (self._adapter.stdout, self._adapter.stderr):
            if stream is not None:
                stream.close()


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not UNSET.fullmatch(name)}
    # Python 3.11 and later start with frozen modules, which debugpy warns of, at length
    return {**env, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
