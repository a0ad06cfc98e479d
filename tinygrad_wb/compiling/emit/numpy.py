"""A plan as a Python function, printed so that NumPy writes every result into memory that is there already.

Numbers are Python floats, and what is used once is written where it is used.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.emit import Executable
from tinygrad_wb.compiling.emitter import Emitter
from tinygrad_wb.compiling.lowering.numbers import write_number
from tinygrad_wb.compiling.lowering.rules import demand, write_array
from tinygrad_wb.compiling.lowering.tiles import write_tiles
from tinygrad_wb.compiling.plan import Step
from tinygrad_wb.compiling.schedule import make_schedule
from tinygrad_wb.compiling.strides import VIEWS
from tinygrad_wb.program.trace import is_scalar
from tinygrad_wb.recording import REPLAY
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinygrad_wb.compiling.plan import Plan

__all__ = ["emit"]

PART = 20_000  # lines of one function: Python's compiler takes more than twice as long for twice as many


def emit(
    plan: Plan,
    arguments: Sequence[tuple[str, Value]],
    results: Sequence[Any],
    targets: Sequence[tuple[str, Any]],
    decisions: Sequence[tuple[Any, bool]],
) -> Executable:
    """The function that does what is planned.

    Args:
        plan: What to compute.
        arguments: Leaves that the function takes, with their names.
        results: Steps, leaves or numbers that it returns, in a tuple.
        targets: Those that it writes into arrays which follow the arguments, with the names of these.
        decisions: Conditions and the outcomes that the plan is right for. Where one comes out otherwise, the function
            returns None.
    """
    outcomes: dict[Any, list[bool]] = defaultdict(list)
    for condition, outcome in decisions:
        outcomes[condition].append(outcome)
    leaves, filled, conditions = ([x for _, x in arguments], [x for _, x in targets], [x for x, _ in decisions])
    schedule = make_schedule(plan, leaves, results, filled, conditions, demand)
    emitter = Emitter(schedule, arguments, targets)
    for x, wanted in outcomes.items():
        if type(x) is Value:
            _check(emitter, x, wanted)
    for group in schedule.groups:
        if group[0] in schedule.tiles:
            write_tiles(emitter, group, schedule.tiles[group[0]])
            continue
        (step,) = group
        _write(emitter, step)
        if step in outcomes:
            _check(emitter, step, outcomes[step])
    for x, heads in emitter.filled.items():
        for head in heads[1:] if x in schedule.memory.direct else heads:
            emitter.line(f"{emitter.function('copyto', np.copyto)}({head}, {emitter.text(x)})")
    returned = "".join(f"{_returned(emitter, x)}, " for x in results)
    return _executable(_functions(emitter.heads, emitter.lines, f"return ({returned})"), emitter.namespace)


def _check(emitter: Emitter, condition: Any, outcomes: Sequence[bool]) -> None:
    for outcome in outcomes:
        emitter.line(f"if {'not ' if outcome else ''}{emitter.text(condition)}: return None")


def _write(emitter: Emitter, step: Step) -> None:
    if step.number:
        write_number(emitter, step)
    elif step.op.name not in VIEWS:
        write_array(emitter, step)
    elif not emitter.view(step):
        emitter.stands_for(step, emitter.assign(emitter.expression(step)))


def _returned(emitter: Emitter, x: Any) -> str:
    """A result, copied if it is an array that others may write into."""
    leaf = type(x) is Value and not is_scalar(x)
    view = type(x) is Step and not x.number and x.op.name in VIEWS
    return f"{emitter.text(x)}.copy()" if leaf or view else emitter.text(x)


def _executable(functions: Sequence[str], namespace: dict[str, Any]) -> Executable:
    for text in functions:  # one at a time: Python's compiler needs a thousand times the memory of the text
        exec(compile(text, REPLAY, "exec"), namespace)  # noqa: S102 - our own text, names made safe
    return Executable("\n".join(functions), namespace["replay"])


def _functions(heads: Sequence[str], lines: Sequence[str], last: str) -> list[str]:
    """The program's functions; if it is long, several, and what one makes and another reads is a global variable."""
    if len(lines) <= PART:
        body = "\n    ".join([*lines, last])
        return [f"def replay({', '.join(heads)}):\n    {body}\n"]
    parts = [lines[i : i + PART] for i in range(0, len(lines), PART)]
    read = set(WORD.findall(last))  # by later parts
    out = []
    for i, part in reversed(list(enumerate(parts))):
        made = dict.fromkeys(line.split(" = ", 1)[0] for line in part if ASSIGNS.match(line))
        shared = [name for name in made if name in read]
        head = f"    global {', '.join(shared)}\n" if shared else ""
        out.append(f"def part_{i}():\n{head}    " + "\n    ".join(part) + "\n    return True\n")
        read.update(WORD.findall(" ".join(part)))
    given = ", ".join(f"{head}_" for head in heads)
    copies = "".join(f"    {head} = {head}_\n" for head in heads)
    calls = "".join(f"    if not part_{i}(): return None\n" for i in range(len(parts)))
    share = f"    global {', '.join(heads)}\n{copies}" if heads else ""
    return [*out[::-1], f"def replay({given}):\n{share}{calls}    {last}\n"]


WORD = re.compile(r"\b[^\W\d]\w*")
ASSIGNS = re.compile(r"[^\W\d]\w* = ")
