"""The stepper in a terminal: plain input and output, so that it works over ssh, in a notebook and in a pipe."""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections import ChainMap
from dataclasses import dataclass, field
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.commands import COMMANDS, words_of
from tinygrad_wb.debug.condition import condition
from tinygrad_wb.debug.step import in_words
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.debug.trace import Line
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.program.program import Program
from tinygrad_wb.recording import outside
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from tinygrad_wb.debug.step import Step

__all__ = ["Kept", "Session", "step", "stepped"]

PROMPT = "(backprop) "


@dataclass
class Kept:
    """What lasts from one backward pass to the next, as pdb's breakpoints do."""

    breaks: list[str] = field(default_factory=list)
    watches: list[str] = field(default_factory=list)
    stop_next: bool = False  # in the next backward pass, whatever is in it


kept = Kept()  # by `step`


def step(loss: Value, seed: Any = None) -> None:
    """Step through the backward pass of ``loss`` in the terminal, in place of ``loss.backward(seed)``.

    It asks for commands, of which ``help`` tells, and knows your variables. ``continue`` fills every ``.grad``, as
    ``backward()`` does, and goes on with the program; ``quit`` ends it. Record the loss under ``with wb.source_lines():``
    to see the lines that it came from. Where nobody is at a terminal, commands are read from the standard input; if there
    are none, all steps are printed.
    """
    stepped(loss, seed, frame=outside(sys._getframe(1)), kept=kept)


def stepped(
    loss: Value, seed: Any = None, *, frame: FrameType, kept: Kept, record: bool = False, stopping: bool = True
) -> None:
    """A backward pass with a session in it: from its start on if ``stopping``, else from a breakpoint on, if it has one."""
    stepper = Stepper(loss, seed, variables=variables_in(frame))
    session = Session(stepper, frame, kept)
    if stopping or session.run_to_break():
        session.interact()
    if session.quitting:
        if not hasattr(sys, "ps1"):
            raise SystemExit(0)
        return
    stepper.apply(record)


class Session:
    """A stepper and somebody who asks it things, in ``frame``."""

    def __init__(self, stepper: Stepper, frame: FrameType, kept: Kept) -> None:
        self.stepper = stepper
        self.frame = frame
        self.kept = kept
        self.leaving = self.quitting = False
        self._seen: dict[str, str] = {}  # what is watched, as it was shown last
        self._last = ""  # the line that Enter repeats

    # -- asking and answering -----------------------------------------------------------------------------------------

    def interact(self) -> None:
        """Ask for commands until one leaves."""
        self.kept.stop_next = False
        self.say(self.called_from())
        self.show()
        somebody, asked = _somebody_is_there(), False
        with _readline(self._completions) if somebody else contextlib.nullcontext():
            while not self.leaving:
                try:
                    line = input(PROMPT)
                except KeyboardInterrupt:
                    self.say("\n--KeyboardInterrupt--")
                    continue
                except EOFError:
                    self.say("")
                    self._end_of_input(somebody, asked)
                    return
                except (OSError, RuntimeError):  # nobody can be asked: a test, a notebook that is only run
                    self._end_of_input(False, asked)
                    return
                if not somebody:
                    self.say(line)
                asked = True
                self.do(line)

    def do(self, line: str) -> None:
        """Do what a line says; an empty one repeats the last."""
        line = line.strip() or self._last
        self._last = line
        if not line:
            return
        command, argument = words_of(line)
        if command is None:
            command, argument = words_of(f"print {line.removeprefix('!')}")
        try:
            command.run(self, argument)  # type: ignore[union-attr]
        except KeyboardInterrupt:
            self.say("--KeyboardInterrupt--")
            self.show()
        except Exception as error:  # noqa: BLE001 - whatever was typed, the session goes on
            self.say(f"*** {type(error).__name__}: {error}")

    def _end_of_input(self, somebody: bool, asked: bool) -> None:
        """Ctrl-D is quit. Of a pipe the rest runs freely, and if nobody asked anything, all is shown."""
        if somebody:
            self.leave(quitting=True)
        while not asked and self.stepper.step():
            self.show()

    def leave(self, quitting: bool = False, stop_next: bool = False) -> None:
        self.leaving, self.quitting, self.kept.stop_next = True, quitting, stop_next

    def say(self, text: str) -> None:
        out = sys.stdout
        encoding = getattr(out, "encoding", None) or "utf-8"
        out.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        out.flush()

    def show(self) -> None:
        """The step that was taken last, and what is watched, if it has changed."""
        now = self.stepper.current
        if now is None:
            self.say(f"   at the start: ∂L/∂L = {in_words(self.stepper.gradient(self.stepper.loss))}, L = {self.loss_name}")
        else:
            self.say(str(now))
        for text in self.kept.watches:
            shown = self.watched(text)
            if shown != self._seen.get(text):
                self.say(f"   watch    {text}: {shown}")
            self._seen[text] = shown
        if self.stepper.position == len(self.stepper):
            self.say("   that was the last step; back goes back, continue goes on with the program")

    # -- running ------------------------------------------------------------------------------------------------------

    def run_to(self, conditions: list[Callable[[Step], bool]]) -> bool:
        """Step until one of ``conditions`` holds; whether one did."""
        return self.stepper.until(lambda now: any(holds(now) for holds in conditions)) is not None

    def run_to_break(self) -> bool:
        """Step to the next breakpoint, if there is one ahead; else stay."""
        conditions = []
        for text in self.kept.breaks:
            with contextlib.suppress(ValueError):  # of another graph
                conditions.append(condition(self.stepper.trace, text, self.variables))
        return bool(conditions) and self.run_to(conditions)

    # -- what things are ----------------------------------------------------------------------------------------------

    @property
    def variables(self) -> Mapping[str, Any]:
        """The user's variables, and the names of the graph that they don't hide."""
        special = {"stepper": self.stepper, "step": self.stepper.current}
        return ChainMap(self.frame.f_locals, self.frame.f_globals, self.stepper.trace.names, special)

    @property
    def loss_name(self) -> str:
        return self.stepper.trace.called(self.stepper.loss)

    def evaluated(self, text: str) -> Any:
        return eval(text, {**self.variables, "__builtins__": builtins})  # noqa: S307 - the user's own

    def value_of(self, text: str) -> Any:
        """A name of the graph, also one that is no variable (``0.weight``), or an expression."""
        return self.stepper.trace.names[text] if text in self.stepper.trace.names else self.evaluated(text)

    def watched(self, text: str) -> str:
        """What is watched: the gradient of a name, or an expression."""
        try:
            found = self.value_of(text)
        except Exception as error:  # noqa: BLE001 - it may make sense later
            return f"{type(error).__name__}: {error}"
        return self.gradient_text(found) if type(found) is Value else repr(found)

    def gradient_text(self, x: Value) -> str:
        """``∂L/∂w = −0.21 so far (1 of 2 contributions)``."""
        trace, name = self.stepper.trace, self.stepper.trace.called(x)
        steps = trace.to.get(x, [])
        done = sum(i < self.stepper.position for i in steps)
        if x not in self.stepper.gradients:
            return f"∂L/∂{name} is not computed yet" if steps else f"{name} gets no gradient"
        so_far = f" so far ({done} of {len(steps)} contributions)" if done < len(steps) else ""
        return f"∂L/∂{name} = {in_words(self.stepper.gradient(x))}{so_far}"

    def current(self) -> Step:
        """The step taken last; ``ValueError`` at the start."""
        if self.stepper.current is None:
            raise ValueError("no step has been taken yet")
        return self.stepper.current

    def line(self) -> Line:
        """The line of the step taken last, where that is known; else that of the call of backward()."""
        now = self.stepper.current
        return (now.line if now else None) or Line(self.frame.f_code.co_filename, self.frame.f_lineno)

    def called_from(self) -> str:
        line = Line(self.frame.f_code.co_filename, self.frame.f_lineno)
        what = f"> {line.short} in {self.frame.f_code.co_name}: {len(self.stepper)} steps back from {self.loss_name} = "
        return what + in_words(self.stepper.loss._data) + (f"\n-> {line.text}" if line.text else "")

    def program_line(self) -> str:
        """The line of `Value.program` that does the step taken last."""
        now = self.current()
        return Program(self.stepper.loss, self.frame).partial_line(now.node, now.trace.rank(now.index))

    def _completions(self, text: str, first: bool) -> list[str]:
        names = [name for command in COMMANDS for name in command.names[:1]] if first else []
        if not first:
            names = [*self.stepper.trace.names, *self.stepper.trace.operations, *self.frame.f_locals]
        return sorted({name for name in names if name.startswith(text)})


def _somebody_is_there() -> bool:
    """Whether commands are typed: at a terminal, or in a notebook, which has an ``input`` of its own."""
    return not isinstance(builtins.input, BuiltinFunctionType) or (sys.stdin is not None and sys.stdin.isatty())


@contextlib.contextmanager
def _readline(completions: Callable[[str, bool], list[str]]) -> Iterator[None]:
    """History and completion, where the module `readline` is there."""
    try:
        import readline
    except ImportError:
        yield
        return

    def complete(text: str, state: int) -> str | None:
        matches = completions(text, readline.get_begidx() == 0)
        return matches[state] if state < len(matches) else None

    before = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before[0])
        readline.set_completer_delims(before[1])
