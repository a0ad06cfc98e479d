"""What an editor shows of a stop: frames, scopes, and things that open, a bounded part at a time."""

from __future__ import annotations

import bisect
import inspect
import reprlib
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.debug.step import in_words
from tinygrad_wb.debug.trace import Line, label_of
from tinygrad_wb.recording import inside
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FrameType

    from tinygrad_wb.debug.dap.walk import Walk
    from tinygrad_wb.nn.calls import Call

__all__ = [
    "Frame",
    "Inside",
    "Text",
    "frames",
    "kind_of",
    "known_by_name",
    "opened",
    "rows_of",
    "scopes",
    "shown",
    "source_of",
]

MOST = 100  # rows at once, unless a client asks for a part
PART = 1000  # rows at once, of a part
LONGEST = 400  # letters of a value

Row = tuple[str, Any]


class Text(str):
    """Shown as it is, not as Python writes a text."""

    __slots__ = ()


class Inside(NamedTuple):
    """What opens: rows with names, and numbered elements."""

    named: Sequence[Row]
    indexed: Sequence[Any] = ()


# -- things -----------------------------------------------------------------------------------------------------------


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONGEST
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 20


_repr = _Repr()


def shown(thing: Any, walk: Walk) -> str:
    """A thing in a line."""
    if isinstance(thing, Text):
        return str(thing)
    if type(thing) is Value:
        known = thing in walk.stepper.trace.to
        return in_words(thing._data) + (f"; {walk.asked.gradient_text(thing)}" if known else "")
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biuf":
        return in_words(thing)
    try:
        return _repr.repr(thing.item() if isinstance(thing, np.generic) else thing)
    except Exception as error:  # noqa: BLE001 - the user's own __repr__
        return f"<{kind_of(thing)}: its repr raises {type(error).__name__}>"


def kind_of(thing: Any) -> str:
    return "" if isinstance(thing, Text) else type(thing).__name__


def opened(thing: Any, walk: Walk) -> Inside | None:
    """What is in a thing; None if it does not open."""
    if type(thing) is Value:
        return _in_value(thing, walk)
    if isinstance(thing, np.ndarray):
        return _in_array(thing)
    if isinstance(thing, dict):
        return Inside([(shown(key, walk), content) for key, content in islice(thing.items(), MOST)])
    if isinstance(thing, (list, tuple)):
        return Inside([("len", len(thing))], thing)
    return None


def _in_value(x: Value, walk: Walk) -> Inside:
    trace = walk.stepper.trace
    rows: list[Row] = [("value", x._data), ("shape", Text(x.shape))]
    if x in trace.to:
        gradient = walk.stepper.gradient(x)
        done = bisect.bisect_left(trace.to[x], walk.stepper.position)
        rows += [
            (f"∂L/∂{trace.called(x)}", Text("not computed yet") if gradient is None else gradient),
            ("contributions", Text(f"{done} of {len(trace.to[x])}")),
            ("operation", Text(trace.statement(x))),
        ]
    return Inside(rows)


def _in_array(x: np.ndarray[Any, Any]) -> Inside:
    rows: list[Row] = [("shape", Text(x.shape)), ("dtype", Text(x.dtype))]
    if x.size and x.dtype.kind in "biuf":
        with np.errstate(all="ignore"):
            rows += [("norm", float(np.linalg.norm(x.ravel()))), ("min", x.min().item()), ("max", x.max().item())]
    return Inside(rows, x if x.ndim else ())  # type: ignore[arg-type]


def rows_of(inside: Inside, start: int, count: int, which: str) -> list[Row]:
    """Some rows of what is open: the ``named``, the ``indexed`` from ``start`` on, or both (``which`` is "")."""
    rows = [] if which == "indexed" else list(inside.named)
    if which != "named":
        end = len(inside.indexed)
        wanted = range(max(0, start), min(end, start + count) if count > 0 else end)
        few = wanted[: MOST if count <= 0 else PART]
        rows += [(f"[{i}]", _element(inside.indexed[i])) for i in few]
        if len(few) < len(wanted):
            rows.append(("…", Text(f"{len(wanted) - len(few):,} more")))
    return rows


def _element(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else x


def known_by_name(walk: Walk) -> Callable[[str, Any], str]:
    """What `evaluate` knows a thing by, for an editor to copy or watch, given its name; "" if it does not."""
    everything = walk.asked.variables_here.new_child(dict(walk.stepper.trace.names))
    return lambda name, thing: name if everything.get(name) is thing is not None else ""


# -- scopes -----------------------------------------------------------------------------------------------------------


def scopes(walk: Walk, frame: FrameType | None) -> list[tuple[str, Callable[[], Inside]]]:
    """The groups of what is shown in a frame."""
    groups = [
        ("This step", lambda: Inside(_of_step(walk))),
        ("Gradients so far", lambda: _bounded(_gradients(walk), len(walk.stepper.gradients))),
        ("Values", lambda: _bounded(walk.stepper.trace.names.items(), len(walk.stepper.trace.names))),
    ]
    if frame is not None:
        own = {name: content for name, content in frame.f_locals.items() if not name.startswith("__")}
        title = "Locals" if frame in walk.asked.running else f"Locals, as {frame.f_code.co_name} left them"
        groups.append((title, lambda: _bounded(own.items(), len(own))))
    return groups


def _of_step(walk: Walk) -> list[Row]:
    stepper, step = walk.stepper, walk.stepper.current
    position = ("position", Text(f"{stepper.position} of {len(stepper)}"))
    if step is None:
        return [position, ("loss", stepper.loss), ("∂L/∂L", stepper.gradient(stepper.loss))]
    y, x = stepper.trace.called(step.node), step.name
    rows: list[Row] = [position, ("operation", Text(step.statement)), (f"∂L/∂{y}", step.upstream)]
    if step.is_local:
        rows.append((f"∂{y}/∂{x}", Text(step.formula)))
        rows += [(f"∂{y}/∂{x} here", step.local)] * (step.local is not None)
    else:
        rows.append(("rule", Text(f"∂L/∂{x} += {step.formula or 'what the operation makes of g'}")))
    rows += [
        ("contribution", step.contribution),
        ("number", Text(f"contribution {step.contribution_number} of {step.contributions}{', edited' * step.edited}")),
        (f"∂L/∂{x} before", Text("none yet") if step.before is None else step.before),
        (f"∂L/∂{x}", step.after),
        (x, step.input._data),
    ]
    return rows + ([("layer", Text(step.layer))] if step.layer else [])


def _gradients(walk: Walk) -> Iterable[Row]:
    """The latest first."""
    gradients = walk.stepper.gradients
    return ((f"∂L/∂{walk.stepper.trace.called(x)}", gradients[x]) for x in reversed(list(gradients)))


def _bounded(rows: Iterable[Row], count: int) -> Inside:
    few = list(islice(rows, MOST))
    return Inside(
        few + [("…", Text(f"{count - len(few):,} more; evaluate the name of one to see it"))] * (count > len(few))
    )


# -- frames -----------------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """A row of the stack: what is done there, where that stands, and the frame, if it is running or kept."""

    name: str
    line: Line | None
    frame: FrameType | None = None


def frames(walk: Walk) -> list[Frame]:
    """This step's line, the layers that it is in, and the lines that called backward()."""
    rows: list[Frame] = []
    trace, node = walk.stepper.trace, walk.node
    if node is not None:
        name, line = trace.called(trace.input(walk.stepper.position - 1)), trace.line(node)
        rows.append(Frame(f"∂L/∂{name} from {trace.statement(node)}", line, walk.asked.forward_frame))
        place = getattr(node, "place", None)
        rows += [Frame(label_of(call), _line_in(call, place) or line) for call in reversed(trace.calls(node))]
    frame: FrameType | None = walk.frame
    while frame is not None:
        code = frame.f_code
        if not inside[code.co_filename] and not code.co_filename.startswith("<frozen "):
            name = code.co_qualname if code.co_name != "<module>" else code.co_name
            rows.append(Frame(name, Line(code.co_filename, frame.f_lineno), frame))
        frame = frame.f_back
    return rows


def source_of(line: Line) -> dict[str, str]:
    """The protocol's name of a file."""
    path = Path(line.file)
    return {"name": path.name, "path": str(path.absolute())}


def _line_in(call: Call, place: Any) -> Line | None:
    """Where the user's own Module defines what was called; None where the step's line itself stands in that."""
    module = call.module()
    forward = inspect.unwrap(getattr(type(module), "forward", None) or type(module))
    code = getattr(forward, "__code__", None)
    if code is None or inside[code.co_filename] or (place is not None and place.code is code):
        return None
    return Line(code.co_filename, code.co_firstlineno)
