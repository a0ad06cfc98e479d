"""The commands of the terminal: a table, with pdb's names and abbreviations where pdb has the like."""

from __future__ import annotations

import pdb
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_wb.debug.condition import condition
from tinygrad_wb.debug.explain import explained_by
from tinygrad_wb.debug.step import block, in_words
from tinygrad_wb.debug.trace import Line
from tinygrad_wb.draw import draw
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tinygrad_wb.debug.terminal import Session

__all__ = ["COMMANDS", "Command", "found", "words_of"]

AROUND = 5  # lines of source, on each side
SHOWN = 8  # names in a list
DEEPEST = 1000  # levels of layers: all stand open, as names have them


class Command(NamedTuple):
    """What it is called, how it is used, what it does, in a line, and the function that does it."""

    names: tuple[str, ...]
    usage: str
    summary: str
    run: Callable[[Session, str], object]


# -- moving -----------------------------------------------------------------------------------------------------------


def next_(session: Session, argument: str) -> None:
    count = _count(argument)
    stepper = session.stepper
    if stepper.position == len(stepper):
        session.leave(stop_next=True)
        return
    for _ in range(min(count, len(stepper) - stepper.position)):
        stepper.step()
        session.show()


def back(session: Session, argument: str) -> None:
    session.stepper.back(_count(argument))
    session.show()


def until(session: Session, argument: str) -> None:
    if not argument:
        raise ValueError("until what? A name, an operation, a layer, file:line, or a condition such as norm > 1e3")
    session.run_to([condition(session.stepper.trace, argument, session.variables)])
    session.show()


def continue_(session: Session, _: str) -> None:
    if session.run_to_break():
        session.show()
    else:
        session.leave()


def break_(session: Session, argument: str) -> None:
    breaks = session.kept.breaks
    if argument:
        condition(session.stepper.trace, argument, session.variables)  # which refuses what means nothing here
        breaks.append(argument)
        session.say(f"break {len(breaks)} at {argument}")
    else:
        for number, text in enumerate(breaks, 1):
            session.say(f"{number}  {text}")
        if not breaks:
            session.say("no breakpoints")


def clear(session: Session, argument: str) -> None:
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
    session.leave(quitting=True)


# -- looking ----------------------------------------------------------------------------------------------------------


def watch(session: Session, argument: str) -> None:
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
    if not argument:
        raise ValueError("print what? Any expression, with your variables and the names in this graph")
    found = session.value_of(argument)
    if type(found) is not Value:
        session.say(repr(found))
        return
    session.say(f"{session.stepper.trace.statement(found)} is {in_words(found._data)}")
    for row in block(found._data):
        session.say(f"   {row}")
    if found in session.stepper.trace.to:
        session.say(session.gradient_text(found))
        for row in block(session.stepper.gradient(found)) if found in session.stepper.gradients else []:
            session.say(f"   {row}")


def list_(session: Session, _: str) -> None:
    line = session.line()
    if not line.text:
        raise ValueError(f"{line.short} can't be read")
    for number in range(max(1, line.number - AROUND), line.number + AROUND + 1):
        text = Line(line.file, number).whole
        if text:
            session.say(f"{number:>4} {'->' if number == line.number else '  '} {text.rstrip()}".rstrip())


def where(session: Session, _: str) -> None:
    stepper, trace = session.stepper, session.stepper.trace
    session.say(session.called_from())
    session.say(f"   {stepper.position} of {len(stepper)} steps are done")
    parts: dict[str, list[str]] = {"complete": [], "under way": [], "to come": []}
    for name, x in trace.names.items():
        done = sum(i < stepper.position for i in trace.to[x])
        parts["complete" if done == len(trace.to[x]) else "under way" if done else "to come"].append(name)
    for title, names in parts.items():
        shown = names[-SHOWN:] if title == "complete" else names[:SHOWN]
        more = [f"{len(names) - len(shown)} more"] * (len(names) > len(shown))
        session.say(f"   {title:<10} {', '.join(shown + more) or '-'}")


def why(session: Session, argument: str) -> None:
    value = session.value_of(argument) if argument else session.current().input
    if type(value) is not Value:
        raise ValueError(f"{argument} is no Value, so it has no gradient")
    session.say(str(explained_by(session.stepper, value, paths=SHOWN)))
    if session.stepper.edits:
        session.say("(from the loss on, without your edits)")


def graph(session: Session, argument: str) -> None:
    step = session.stepper.current
    around = session.stepper.loss if step is None else step.input
    with session.stepper.lent():
        drawing = draw(session.stepper.loss, around=around, depth=DEEPEST, max_nodes=60)
        session.say(f"written to {drawing.save(argument)}" if argument else str(drawing))


def source(session: Session, _: str) -> None:
    session.say(session.program_line())


def check(session: Session, _: str) -> None:
    slope, measured = session.stepper.check()
    session.say(f"right: along a random direction it gives {slope:.9g}, and finite differences {measured:.9g}")


def edit(session: Session, argument: str) -> None:
    if not argument:
        raise ValueError("edit to what? Give a number, or an expression of the gradient's shape")
    session.stepper.edit(session.evaluated(argument))
    session.show()


def pdb_(session: Session, _: str) -> None:
    frame = _forward_frame(session) or session.frame
    session.say(f"pdb, in {frame.f_code.co_name}, which is still running; q comes back here")
    debugger = pdb.Pdb(nosigint=True)
    debugger.reset()
    debugger.interaction(frame, None)


def _forward_frame(session: Session) -> FrameType | None:
    """The frame that asked for the step's operation, if it is still running."""
    step = session.stepper.current
    place = None if step is None else getattr(step.node, "place", None)
    frame: FrameType | None = session.frame
    while frame is not None and place is not None:
        if frame.f_code is place.code:
            return frame
        frame = frame.f_back
    return None


def help_(session: Session, argument: str) -> None:
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
    Command(("next", "n", "step", "s"), "next [N]", "take the next step, or N; after the last, go on to the next backward()", next_),
    Command(("back", "ba"), "back [N]", "take back the last step, or N", back),
    Command(("until", "unt", "u"), "until WHAT", "step until a name gets gradient, an operation, a layer, a line, a condition", until),
    Command(("continue", "cont", "c"), "continue", "go on to the next breakpoint, or else with the program", continue_),
    Command(("break", "b"), "break [WHAT]", "stop there from now on (as until), or list the breakpoints", break_),
    Command(("clear", "cl"), "clear [N]", "forget breakpoint N, or all", clear),
    Command(("watch", "display"), "watch [EXPR]", "show a gradient or an expression whenever it has changed; again to stop", watch),
    Command(("print", "p", "pp"), "print EXPR", "any expression, with your variables and the names in this graph", print_),
    Command(("list", "l"), "list", "the source around the line of this step", list_),
    Command(("where", "w", "bt"), "where", "how far it is: what is complete, under way, to come", where),
    Command(("why",), "why [NAME]", "the paths that bring its gradient, with the product along each", why),
    Command(("graph", "g"), "graph [FILE]", "the graph around here, as text, or as a picture in FILE (.svg, .png …)", graph),
    Command(("check", "ch"), "check", "hold this step against finite differences", check),
    Command(("edit", "e"), "edit EXPR", "change the gradient that this step changed, and go on with that", edit),
    Command(("source",), "source", "this step's line in the program that loss.program() prints", source),
    Command(("pdb", "interact"), "pdb", "drop into your own code with pdb, locals and all", pdb_),
    Command(("quit", "q", "exit"), "quit", "end the program (at a prompt or in a notebook: only this)", quit_),
    Command(("help", "h", "?"), "help [COMMAND]", "this list, or more about a command", help_),
]  # fmt: skip


def found(word: str) -> Command | None:
    """The command of a name, an abbreviation, or the beginning of one name alone."""
    exact = [command for command in COMMANDS if word in command.names]
    return (exact or _single([command for command in COMMANDS if command.names[0].startswith(word)]) or [None])[0]


def _single(commands: list[Command]) -> list[Command]:
    return commands if len(commands) == 1 else []


def words_of(line: str) -> tuple[Command | None, str]:
    """A line as a command and its argument."""
    word, _, argument = line.partition(" ")
    return found(word), argument.strip()


def _count(argument: str) -> int:
    if argument and not (argument.isascii() and argument.isdigit() and int(argument)):
        raise ValueError(f"a whole number, at least 1, is wanted, got {argument!r:.40}")
    return int(argument or 1)
