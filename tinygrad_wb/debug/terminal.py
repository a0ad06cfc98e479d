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
from tinygrad_wb.recording import kept_frames, outside
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
    asked: bool = False  # whether a command was ever given


kept = Kept()  # by `step`


def step(loss: Value, seed: Any = None) -> None:
    """Step through the backward pass of ``loss`` in the terminal, in place of ``loss.backward(seed)``.

    It asks for commands, of which ``help`` tells, and knows your variables. ``continue`` fills every ``.grad``, as
    ``backward()`` does, and goes on with the program; ``quit`` ends it. Record the loss under ``with
    wb.source_lines():`` to see the lines that it came from. Where nobody is at a terminal, commands are read from the
    standard input; if there are none, all steps are printed.
    """
    frame = outside(sys._getframe(1))
    stepper = stepped(Stepper(loss, seed, variables=variables_in(frame)), frame, kept)
    if stepper is not None:
        stepper.apply()


def stepped(stepper: Stepper, frame: FrameType, kept: Kept, *, stopping: bool = True, note: str = "") -> Stepper | None:
    """A backward pass with a session in it, from its start if ``stopping``, else from a breakpoint, if one is met.

    None if the user quits where Python goes on, at its own prompt.
    """
    session = Session(stepper, frame, kept, note)
    if stopping or session.run_to_break():
        session.interact()
    if session.quitting:
        if not hasattr(sys, "ps1"):
            raise SystemExit(0)
        return None
    return stepper


class Session:
    """A stepper and somebody who asks it things, in ``frame``."""

    def __init__(self, stepper: Stepper, frame: FrameType, kept: Kept, note: str = "") -> None:
        self.stepper = stepper
        self.note = note  # how this pass belongs to others
        self.frame = frame
        self.kept = kept
        self.leaving = self.quitting = False
        self.echoing = False  # what is read from a pipe is written down
        self.seen: dict[str, str] = {}  # what is watched, as it was last
        self._last = ""  # the line that Enter repeats

    # -- asking and answering -----------------------------------------------------------------------------------------

    def interact(self) -> None:
        """Ask for commands until one leaves."""
        self.kept.stop_next = False
        self.say(self.called_from())
        self.show()
        somebody = _somebody_is_there()
        self.echoing = not somebody
        with _readline(self._completions) if somebody else contextlib.nullcontext():
            while not self.leaving:
                try:
                    line = input(PROMPT)
                except KeyboardInterrupt:
                    self.say("\n--KeyboardInterrupt--")
                    continue
                except EOFError:
                    self.say("")
                    self._end_of_input(somebody)
                    return
                except (OSError, RuntimeError):  # nobody can be asked: a test, a notebook that is only run
                    self._end_of_input(False)
                    return
                if self.echoing:
                    self.say(line)
                self.kept.asked = True
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

    def _end_of_input(self, somebody: bool) -> None:
        """Ctrl-D is quit. Of a pipe the rest runs freely, and if nobody asked anything, all is shown."""
        if somebody:
            self.leave(quitting=True)
        while not self.kept.asked and self.stepper.step():
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
            self.say(
                f"   at the start: ∂L/∂L = {in_words(self.stepper.gradient(self.stepper.loss))}, L = {self.loss_name}"
            )
        else:
            self.say(str(now))
        for text in self.kept.watches:
            before = self.seen.get(text)
            if self.watched(text) != before:
                self.say(f"   watch    {text}: {self.seen[text]}")
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
    def variables(self) -> ChainMap[str, Any]:
        """Where backward() was called, the user's variables, and the names of the graph that they don't hide."""
        special = {"stepper": self.stepper, "step": self.stepper.current}
        return ChainMap(self.frame.f_locals, self.frame.f_globals, self.stepper.trace.names, special)

    @property
    def variables_here(self) -> ChainMap[str, Any]:
        """The same, but first the variables of the function that computed this step."""
        return self.variables_in(self.here)

    def variables_in(self, frame: FrameType) -> ChainMap[str, Any]:
        """Those of ``frame``, and behind them `variables`."""
        return self.variables if frame is self.frame else ChainMap(frame.f_locals, frame.f_globals, self.variables)

    @property
    def computed(self) -> Value | None:
        """What this step's operation made, if its place was recorded."""
        stepper = self.stepper
        node = stepper.trace.steps[stepper.position - 1][0] if stepper.position else None
        return node if hasattr(node, "place") else None

    @property
    def forward_frame(self) -> FrameType | None:
        """The frame that this step's operation was asked for in, if it is running or kept."""
        node, frames = self.computed, kept_frames()
        if node is None:
            return None
        kept = None if frames is None else frames.of(node)
        return kept or next((frame for frame in self.running if frame.f_code is node.place.code), None)

    @property
    def here(self) -> FrameType:
        """That frame; else the one that called backward()."""
        return self.forward_frame or self.frame

    @property
    def running(self) -> list[FrameType]:
        """The frame that called backward(), and those that called it."""
        frames = [self.frame]
        while (caller := frames[-1].f_back) is not None:
            frames.append(caller)
        return frames

    @property
    def loss_name(self) -> str:
        return self.stepper.trace.called(self.stepper.loss)

    def evaluated(self, text: str, variables: Mapping[str, Any] | None = None) -> Any:
        """An expression, in the variables here if in no others."""
        known = self.variables_here if variables is None else variables
        return eval(text, {**known, "__builtins__": builtins})  # noqa: S307 - the user's own

    def value_of(self, text: str, variables: ChainMap[str, Any] | None = None) -> Any:
        """A name of the graph, also such as ``0.weight``, or an expression, in which variables come first."""
        names = self.stepper.trace.names
        name, bracket, index = text.partition("[")
        if bracket and name in names and not name.isidentifier():  # such as 0.weight[1, 2]
            return self.evaluated(f"_[{index}", (variables or self.variables_here).new_child({"_": names[name]}))
        return names[text] if text in names else self.evaluated(text, variables)

    def target(self, text: str) -> str:
        """What `condition` is told: a number alone, if no layer's path, is a line of the file that backward() is in."""
        is_line = text.isdigit() and text not in self.stepper.trace.layers
        return f"{self.frame.f_code.co_filename}:{text}" if is_line else text

    def watched(self, text: str) -> str:
        """What is watched: the gradient of a name, or an expression, which is of the same variables at every step."""
        try:
            found = self.value_of(text, self.variables)
            shown = self.gradient_text(found) if type(found) is Value else repr(found)
        except Exception as error:  # noqa: BLE001 - it may make sense later
            shown = f"{type(error).__name__}: {error}"
        self.seen[text] = shown
        return shown

    def gradient_text(self, x: Value) -> str:
        """``∂L/∂w = −0.21 so far (1 of 2 contributions)``."""
        trace, name = self.stepper.trace, self.stepper.trace.called(x)
        if x not in self.stepper.gradients:
            return f"∂L/∂{name} is not computed yet" if x in trace.to else f"{name} gets no gradient"
        done, count = trace.done(x, self.stepper.position), len(trace.to[x])
        so_far = f" so far ({done} of {count} contributions)" if done < count else ""
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
        steps = "1 step" if len(self.stepper) == 1 else f"{len(self.stepper):,} steps"
        what = f"> {line.short} in {self.frame.f_code.co_name}: {steps} back from {self.loss_name} = "
        return (
            what
            + in_words(self.stepper.loss._data)
            + (f"\n-> {line.text}" if line.text else "")
            + (f"\n   {self.note}" if self.note else "")
        )

    def program_line(self) -> str:
        """The line of `Value.program` that does the step taken last."""
        now = self.current()
        return Program(self.stepper.loss, self.frame).partial_line(now.node, now.trace.rank(now.index))

    def _completions(self, text: str, first: bool) -> list[str]:
        names = [f"{command.names[0]} " for command in COMMANDS]
        if not first:
            names = [*self.variables_here, *self.stepper.trace.operations]
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
