"""The commands of the terminal: a table, with pdb's names and abbreviations where pdb has the like."""

from __future__ import annotations

import os
import pdb  # noqa: T100 - one of the commands opens it
import sys
import tempfile
import webbrowser
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_wb.debug.condition import condition
from tinygrad_wb.debug.explain import explained_by
from tinygrad_wb.debug.step import block, in_words
from tinygrad_wb.debug.trace import Line
from tinygrad_wb.draw import draw
from tinygrad_wb.program.names import line_of
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.debug.terminal import Session

__all__ = ["COMMANDS", "Command", "found", "words_of"]

AROUND = 5  # lines of source, on each side
SHOWN = 8  # names in a list
DEEPEST = 1000  # levels of layers: all stand open, as names have them


class Command(NamedTuple):
    """What it is called, the whole name first; how it is used; and what does it, whose docstring is its summary."""

    names: tuple[str, ...]
    usage: str
    run: Callable[[Session, str], object]

    @property
    def summary(self) -> str:
        return self.run.__doc__ or ""


# -- moving -----------------------------------------------------------------------------------------------------------


def next_(session: Session, argument: str) -> None:
    """Take the next step, or N; after the last, go on to the next backward pass."""
    count = _count(argument)
    stepper = session.stepper
    if stepper.position == len(stepper):
        session.leave(stop_next=True)
        return
    for _ in range(min(count, len(stepper) - stepper.position)):
        stepper.step()
        session.show()


def back(session: Session, argument: str) -> None:
    """Take back the last step, or N."""
    session.stepper.back(_count(argument))
    session.show()


def until(session: Session, argument: str) -> None:
    """Step until a name gets gradient, an operation, a layer, a line, a condition."""
    if not argument:
        raise ValueError("until what? A name, an operation, a layer, file:line, or a condition such as norm > 1e3")
    found = session.run_to([condition(session.stepper.trace, session.target(argument), session.variables)])
    session.show()
    if not found:
        session.say(f"   no step up to here was {argument}")


def continue_(session: Session, _: str) -> None:
    """Go on to the next breakpoint, or else with the program."""
    if session.run_to_break():
        session.show()
    else:
        session.leave()


def break_(session: Session, argument: str) -> None:
    """Stop there from now on (as until), or list the breakpoints."""
    breaks = session.kept.breaks
    if argument:
        target = session.target(argument)
        condition(session.stepper.trace, target, session.variables)  # which refuses what means nothing here
        breaks.append(target)
        session.say(f"break {len(breaks)} at {target}")
    else:
        for number, text in enumerate(breaks, 1):
            session.say(f"{number}  {text}")
        if not breaks:
            session.say("no breakpoints")


def clear(session: Session, argument: str) -> None:
    """Forget breakpoint N, or all."""
    breaks = session.kept.breaks
    if argument:
        number = _count(argument)
        if number > len(breaks):
            raise ValueError(f"there are {len(breaks)} breakpoints, no number {number}")
        session.say(f"cleared: {breaks.pop(number - 1)}")
    else:
        breaks.clear()
        session.say("no breakpoints")


def quit_(session: Session, _: str) -> None:
    """End the program (at a prompt or in a notebook: only this)."""
    session.leave(quitting=True)


# -- looking ----------------------------------------------------------------------------------------------------------


def watch(session: Session, argument: str) -> None:
    """Show a gradient or an expression whenever it has changed; again to stop."""
    watches = session.kept.watches
    if argument in watches:
        watches.remove(argument)
        session.say(f"no longer watched: {argument}")
    elif argument:
        session.say(f"watch {argument}: {session.watched(argument)}")
        watches.append(argument)
    else:
        for text in watches:
            session.say(f"{text}: {session.watched(text)}")


def print_(session: Session, argument: str) -> None:
    """Any expression, with your variables and the names in this graph."""
    if not argument:
        raise ValueError("print what? Any expression, with your variables and the names in this graph")
    found = session.value_of(argument)
    if type(found) is not Value or found not in session.stepper.trace.to:
        session.say(repr(found))
        return
    session.say(f"{session.stepper.trace.statement(found)} is {in_words(found._data)}")
    for row in block(found._data):
        session.say(f"   {row}")
    session.say(session.gradient_text(found))
    for row in block(session.stepper.gradient(found)) if found in session.stepper.gradients else []:
        session.say(f"   {row}")


def list_(session: Session, _: str) -> None:
    """The source around the line of this step."""
    line = session.line()
    if not line.text:
        raise ValueError(f"{line.short} can't be read")
    for number in range(max(1, line.number - AROUND), line.number + AROUND + 1):
        text = Line(line.file, number).whole
        if text:
            session.say(f"{number:>4} {'->' if number == line.number else '  '} {text.rstrip()}".rstrip())


def where(session: Session, _: str) -> None:
    """How far it is: what is complete, under way, to come."""
    stepper, trace = session.stepper, session.stepper.trace
    session.say(session.called_from())
    session.say(f"   {stepper.position} of {len(stepper)} steps are done")
    parts: dict[str, list[str]] = {"complete": [], "under way": [], "to come": []}
    for name, x in trace.names.items():
        done = trace.done(x, stepper.position)
        parts["complete" if done == len(trace.to[x]) else "under way" if done else "to come"].append(name)
    for title, names in parts.items():
        shown = names[-SHOWN:] if title == "complete" else names[:SHOWN]
        more = [f"{len(names) - len(shown)} more"] * (len(names) > len(shown))
        session.say(f"   {title:<10} {', '.join(shown + more) or '-'}")


def why(session: Session, argument: str) -> None:
    """The paths that bring its gradient, with the product along each."""
    value = session.value_of(argument) if argument else session.current().input
    if type(value) is not Value:
        raise ValueError(f"{argument} is no Value, so it has no gradient")
    session.say(str(explained_by(session.stepper, value, paths=SHOWN)))
    if session.stepper.edits:
        session.say("(from the loss on, without your edits)")


def graph(session: Session, argument: str) -> None:
    """The graph around here as text; as a picture that opens (`graph open`), or in FILE (.svg, .png …)."""
    step = session.stepper.current
    around = session.stepper.loss if step is None else step.input
    with session.stepper.lent():
        drawing = draw(session.stepper.loss, around=around, highlight=[around], depth=DEEPEST, max_nodes=60)
        if argument == "open" and _has_display():
            page = drawing.save(Path(tempfile.mkdtemp(prefix="backprop_")) / "graph.html")
            opened = webbrowser.open(page.as_uri())
            session.say(f"{'opened' if opened else 'nothing here opens it, but it is there'}: {page}")
        elif argument == "open":
            session.say(f"{drawing}\nthere is no display here, so this is text; graph FILE writes a picture")
        else:
            session.say(f"written to {drawing.save(argument)}" if argument else str(drawing))


def _has_display() -> bool:
    """Whether a picture can be shown; without one, some browsers would take the terminal."""
    return sys.platform in {"win32", "darwin"} or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def source(session: Session, _: str) -> None:
    """This step's line in the program that loss.program() prints."""
    session.say(session.program_line())


def check(session: Session, _: str) -> None:
    """Hold this step against finite differences."""
    slope, measured = session.stepper.check()
    session.say(f"right: along a random direction it gives {slope:.9g}, and finite differences {measured:.9g}")


def edit(session: Session, argument: str) -> None:
    """Change the gradient that this step changed, and go on with that."""
    if not argument:
        raise ValueError("edit to what? Give a number, or an expression of the gradient's shape")
    session.stepper.edit(session.evaluated(argument))
    session.show()


class _Pdb(pdb.Pdb):
    """pdb, which writes down what it reads from a pipe, as a session does."""

    echoing = False

    def precmd(self, line: str) -> str:
        if self.echoing:
            self.message(line)
        return super().precmd(line)


def pdb_(session: Session, _: str) -> None:
    """Drop into the code of yours that computed this step, with pdb, locals and all."""
    here, node = session.here, session.computed
    name = here.f_code.co_name
    debugger = _Pdb(nosigint=True)
    debugger.echoing = session.echoing
    debugger.reset()
    if node is None or here in session.running:
        gone = ""
        if node is not None and session.forward_frame is None:
            gone = f"; {node.place.code.co_name}, which computed this step, has returned"
        session.say(f"pdb, in {name}, which is still running{gone}; q comes back here")
        debugger.interaction(here, None)
    else:
        session.say(f"pdb, in {name}, which has returned: its variables are as they were then; q comes back here")
        inside = node.place.code is here.f_code  # else it was in a generator, of which nothing is left
        at = TracebackType(None, here, node.place.instruction if inside else here.f_lasti, line_of(node.place))
        debugger.interaction(here.f_back, at)


def help_(session: Session, argument: str) -> None:
    """This list, or more about a command."""
    if argument:
        command = found(argument)
        if command is None:
            raise ValueError(f"there is no command {argument!r:.40}; help lists them")
        session.say(f"{command.usage}\n   {command.summary}\n   also: {', '.join(command.names[1:]) or '-'}")
        return
    width = max(len(command.usage) for command in COMMANDS)
    for command in COMMANDS:
        session.say(f"   {command.usage:<{width}}  {command.summary}")
    session.say("   Enter repeats the last command; anything else is evaluated, as print does.")


COMMANDS = [
    Command(("next", "n", "step", "s"), "next [N]", next_),
    Command(("back", "ba"), "back [N]", back),
    Command(("until", "unt", "u"), "until WHAT", until),
    Command(("continue", "cont", "c"), "continue", continue_),
    Command(("break", "b"), "break [WHAT]", break_),
    Command(("clear", "cl"), "clear [N]", clear),
    Command(("watch", "display"), "watch [EXPR]", watch),
    Command(("print", "p", "pp"), "print EXPR", print_),
    Command(("list", "l"), "list", list_),
    Command(("where", "w", "bt"), "where", where),
    Command(("why",), "why [NAME]", why),
    Command(("graph", "g"), "graph [open | FILE]", graph),
    Command(("check", "ch"), "check", check),
    Command(("edit", "e"), "edit EXPR", edit),
    Command(("source",), "source", source),
    Command(("pdb", "interact"), "pdb", pdb_),
    Command(("quit", "q", "exit"), "quit", quit_),
    Command(("help", "h", "?"), "help [COMMAND]", help_),
]


def found(word: str) -> Command | None:
    """The command of a name, an abbreviation, or the beginning of one name alone."""
    exact = [command for command in COMMANDS if word in command.names]
    begun = [command for command in COMMANDS if command.names[0].startswith(word)]
    likely = exact or begun
    return likely[0] if len(likely) == 1 else None


def words_of(line: str) -> tuple[Command | None, str]:
    """A line as a command and its argument."""
    word, _, argument = line.partition(" ")
    return found(word), argument.strip()


def _count(argument: str) -> int:
    if argument and not (argument.isascii() and argument.isdigit() and int(argument)):
        raise ValueError(f"a whole number, at least 1, is wanted, got {argument!r:.40}")
    return int(argument or 1)
