"""What a client and the script share: whether it runs or stands still, the breakpoints, the request in hand.

Two threads meet here. The script's own thread goes through backprop; where it stops, it answers requests itself, so
that what they compute and evaluate is done where the script would do it. While it runs, the thread that reads the
client's messages answers the few requests that make sense then.
"""

from __future__ import annotations

import _thread
import hmac
import itertools
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.dap.protocol import misfit
from tinygrad_wb.debug.dap.requests import REQUESTS, THREAD, RefusedError, told
from tinygrad_wb.debug.dap.walk import Stop, Walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.debug.dap.breakpoints import Breakpoint
    from tinygrad_wb.debug.dap.variables import Inside

__all__ = ["Session"]

Message = dict[str, Any]


class Session:
    """A client's session; ``send`` sends it a message, ``close`` ends the connection.

    Before it has given the ``token``, a client can ask for nothing else, and the first refusal ends the session.
    """

    def __init__(self, send: Callable[[Message], None], close: Callable[[], None], token: str) -> None:
        self.send = send
        self.close = close
        self.known = False  # the client has given the token
        self.refused = ""  # why not
        self._token = token
        self.first_line = self.first_column = 1  # as the client counts
        self.stop_on_entry = True
        self.ends_with_client = False
        self.free = False  # the script runs as if nobody looked
        self.pausing = False
        self.stop_next = False  # in the next backward()
        self.breakpoints: dict[str, list[Breakpoint]] = {}
        self.after_response: list[Callable[[], object]] = []
        self.walk: Walk | None = None
        self.stopped = False
        self.stop = Stop("entry")
        self.move: Callable[[Walk], Stop | None] | None = None
        self.ready = threading.Event()  # to run the script
        self.left = threading.Event()  # the client has
        self._to_begin = {"launched", "configured"}
        self._running = True  # the script, from the client's arrival to the script's end
        self._ending = False
        self._waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()  # requests for the script's thread
        self._lock = threading.RLock()  # over whether it is stopped, so that no request falls between the two threads
        self._numbers = itertools.count(1)
        self._references: list[Callable[[], Inside]] = []

    # -- messages -----------------------------------------------------------------------------------------------------

    def event(self, event: str, **body: Any) -> None:
        self.send({"type": "event", "event": event, "body": body} if body else {"type": "event", "event": event})

    def take(self, message: Message) -> None:
        """A message has come, in the thread that reads them."""
        with self._lock:
            if self.stopped:
                self._waiting.put(message)
            else:
                self._answer(message)

    def _answer(self, message: Message) -> None:
        number, command = message.get("seq"), message.get("command")
        if type(number) is not int or not 1 <= number < 2**31:
            self.complain(f"a message without a proper seq, which nothing can answer: {number!r:.40}")
            return
        response = {"type": "response", "request_seq": number, "command": command if isinstance(command, str) else ""}
        try:
            body = self._fulfilled(message)
        except RefusedError as error:
            self._refuse(response, str(error))
        except Exception as error:  # noqa: BLE001 - whatever was asked, the script is not to hear of it
            self._refuse(response, f"{type(error).__name__}: {error}")
        else:
            self.send(response | {"success": True} | ({} if body is None else {"body": body}))
        after, self.after_response = self.after_response, []
        for action in after:
            action()

    def _refuse(self, response: Message, text: str) -> None:
        self.send(response | {"success": False, **_refusal(response["command"], text)})
        self._unknown(text)

    def _unknown(self, why: str) -> None:
        """A message was refused: that ends the session, if the client has not given the token."""
        if not self.known:
            self.refused = why
            self.gone()

    def _fulfilled(self, message: Message) -> Message | None:
        command, arguments = message.get("command"), message.get("arguments")
        if message.get("type") != "request":
            raise RefusedError(f"a request is wanted, not a message of type {message.get('type')!r:.40}")
        request = REQUESTS.get(command) if isinstance(command, str) else None
        if request is None:
            raise RefusedError(f"there is no request {command!r:.60} here")
        if not self.known and not request.unknown:
            raise RefusedError(f"{command}: the token comes first, {IN_CONFIGURATION}")
        given = {} if arguments is None else arguments
        if wrong := misfit(given, request.form):
            raise RefusedError(f"{command}: {wrong}")
        if request.stopped and not self.stopped:
            raise RefusedError(NOT_STOPPED)
        if given.get("threadId", THREAD) != THREAD:
            raise RefusedError(f"{command}: there is no thread {given['threadId']!r:.40}, only {THREAD}")
        return request.run(self, given)

    def complain(self, text: str) -> None:
        """Tell of a message that can't be answered, as no request can be named."""
        self.event("output", category="important", output=f"step --dap: {text}\n")
        self._unknown(text)

    # -- beginning and ending -----------------------------------------------------------------------------------------

    def show(self, token: str) -> None:
        """The client gives a token."""
        given, own = (text.encode("utf-8", "surrogatepass") for text in (token, self._token))
        if not hmac.compare_digest(given, own):
            raise RefusedError(f"{'a wrong' if token else 'no'} token was given; it belongs {IN_CONFIGURATION}")
        self.known = True

    def begin(self, part: str) -> None:
        """One of the two things has come that the script waits for."""
        self._to_begin.discard(part)
        if not self._to_begin:
            self.after_response.append(self.ready.set)

    def gone(self) -> None:
        """The client has left, or vanished: the script goes on."""
        with self._lock:
            self.free = True
            self.left.set()
            self.ready.set()
            self._waiting.put({})  # wakes the script's thread
        self.close()

    def end_script(self) -> None:
        """End the script as Ctrl-C would."""
        with self._lock:
            if not self._running:
                return
            self._ending = True
            if not self.ready.is_set():
                self.ready.set()
            elif not self.stopped and threading.current_thread() is not threading.main_thread():
                _interrupt()

    @property
    def ended_early(self) -> bool:
        """Whether the client wanted it to end before it began."""
        return self._ending

    def finished(self, status: int) -> None:
        """The script has ended."""
        with self._lock:
            self._running = False
        self.event("exited", exitCode=status)
        self.event("terminated")

    # -- standing still -----------------------------------------------------------------------------------------------

    def wants(self, entry: bool) -> str:
        """Why to stop at the start of a backward(), apart from breakpoints; ``entry`` is what the command line says."""
        return (
            "pause" if self.pausing else "step" if self.stop_next else "entry" if entry and self.stop_on_entry else ""
        )

    def go(self, walk: Walk, wanted: str) -> None:
        """Go through a backward pass as the client wants."""
        self.walk, self.stop_next = walk, False
        try:
            stop = walk.start(wanted)
            while stop is not None:
                move = self._stand(stop)
                stop = None if move is None else move(walk)
            self.stop_next = walk.stop_next
        finally:
            self.walk = None

    def _stand(self, stop: Stop) -> Callable[[Walk], Stop | None] | None:
        """Answer requests until one of them moves on, and return that; None if nobody is there any more."""
        with self._lock:
            self.stopped, self.pausing = True, False
            self.stop, self.move, self._references = stop, None, []
        self._tell(stop)
        try:
            while self.move is None and not self.free and not self._ending:
                if message := self._waiting.get():
                    self._answer(message)
        finally:
            with self._lock:
                self.stopped = False
                while not self._waiting.empty():  # what came too late
                    if message := self._waiting.get():
                        self._answer(message)
        if self._ending:
            raise KeyboardInterrupt
        return None if self.free else self.move

    def _tell(self, stop: Stop) -> None:
        position, steps = self.at.stepper.position, len(self.at.stepper)
        body: Message = {"reason": stop.reason, "threadId": THREAD, "allThreadsStopped": True}
        body["description"] = (
            f"Paused on {stop.reason}, {position} of {steps} steps back{'; ' * bool(self.at.note)}{self.at.note}"
        )
        if stop.breakpoints:
            body["hitBreakpointIds"] = [breakpoint_.number for breakpoint_ in stop.breakpoints]
        if stop.text:
            body["text"] = stop.text
        self.event("stopped", **body)

    @property
    def at(self) -> Walk:
        """The pass that it stands in."""
        if self.walk is None:
            raise RefusedError(NOT_STOPPED)
        return self.walk

    # -- numbers for things -------------------------------------------------------------------------------------------

    def number(self) -> int:
        """Of a new breakpoint."""
        return next(self._numbers)

    def all_breakpoints(self) -> list[Breakpoint]:
        return [breakpoint_ for group in list(self.breakpoints.values()) for breakpoint_ in group]

    def looked_up(self, breakpoint_: Breakpoint) -> None:
        """Tell the client what became of a breakpoint that it knows, if that is new."""
        now = told(self, breakpoint_)
        if breakpoint_.told and breakpoint_.told != now:
            breakpoint_.told = now
            self.event("breakpoint", reason="changed", breakpoint=now)

    def reference(self, inside: Callable[[], Inside]) -> int:
        """A number to ask for what is inside of something, good for as long as this stop lasts."""
        self._references.append(inside)
        return len(self._references)

    def referred(self, number: int) -> Inside:
        if not 1 <= number <= len(self._references):
            raise RefusedError(f"variables: there is no reference {number} at this stop")
        return self._references[number - 1]()


def _interrupt() -> None:
    """Ctrl-C, for the main thread."""
    if hasattr(signal, "pthread_kill"):  # which wakes it from a sleep, too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


IN_CONFIGURATION = 'in the launch configuration, as "token": "…"; the terminal of the script says which'
NOT_STOPPED = "notStopped"  # the protocol's own word
TEXTS = {NOT_STOPPED: "the script is running; this can be asked where it has stopped in a backward()"}


def _refusal(command: Any, text: str) -> Message:
    """The members of a response that says no: for programs, and for people."""
    aloud = command != "evaluate" and text != NOT_STOPPED  # editors evaluate what the mouse is over, and ask too late
    error = {"id": 1, "format": "{text}", "variables": {"text": TEXTS.get(text, text)}, "showUser": aloud}
    return {"message": text, "body": {"error": error}}
