"""What `detect_anomaly` says: the error, and how its rows are put into words."""

from __future__ import annotations

import linecache
import os
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.debug.rules import HINTS, alone, element, number, where_bad
from tinygrad_wb.nn.calls import calls_around
from tinygrad_wb.program.names import assigned_name, line_of
from tinygrad_wb.recording import PACKAGE, Place
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tinygrad_wb.errors import Failed
    from tinygrad_wb.operation import Operation

__all__ = [
    "AnomalyError", "Called", "anomaly", "at_index", "brief", "call_text", "counted", "elements", "frames", "labelled",
    "leaves_behind", "names_of", "origin", "shown", "unchosen", "user_frame", "user_place", "where_rows",
]  # fmt: skip

LISTED = 6  # parameters that a message names


class AnomalyError(RuntimeError):
    """A NaN or inf came up; the message tells all, and the attributes say it again.

    ``phase`` is "forward", "backward" or "step"; ``operation`` the name of the operation, and ``input`` that of the
    input whose partial it was; ``index`` where the first bad number stands, ``count`` how many there are; ``rule`` what
    made it; ``operands`` maps what the operation read to the element that went into the bad one (None where many did);
    ``file``, ``line`` and ``layer`` tell where it was computed ("", 0 and "" if that is not known); ``parameters`` are
    the names of those that it reached; ``hint`` is what usually helps. ``failed`` has the operation itself.
    """

    phase: str
    operation: str
    input: str
    index: tuple[int, ...]
    count: int
    rule: str
    operands: Mapping[str, float | None]
    file: str
    line: int
    layer: str
    parameters: tuple[str, ...]
    hint: str
    failed: Failed


class Called:
    """What a Value or array is called: its name, the variable that holds it, or the one that it was assigned to."""

    def __init__(self, variables: Mapping[int, str]) -> None:
        self.variables = variables

    def __call__(self, x: Any) -> str:
        if type(x) is not Value:
            return self.variables.get(id(x), "") if type(x) is np.ndarray else ""
        name = x.name or self.variables.get(id(x), "") or (self.variables.get(id(x._data), "") if not x.inputs else "")
        if not name and hasattr(x, "place"):
            name = assigned_name(x.place)
        return "".join(c if c.isprintable() else "?" for c in name)

    def gradient(self, x: Value) -> str:
        return f"∂Loss/∂{self(x) or (x.op.name if x.op else 'a leaf')}"


def names_of(op: Operation, inputs: Sequence[Any]) -> Sequence[str]:
    """What an operation calls its inputs."""
    return [f"part {i}" for i in range(len(inputs))] if op.variadic or len(op.inputs) < len(inputs) else op.inputs


def labelled(name: str, called: str) -> str:
    return f"{name} = {called}" if called and called != name else name


def at_index(index: tuple[int, ...]) -> str:
    return f" at [{', '.join(map(str, index))}]" if index else ""


def elements(
    function: Callable[..., Any], operands: Mapping[str, Any], data: Any, options: Mapping[str, Any]
) -> dict[str, float | None]:
    """Of each operand the element that went into the first bad number, where ``function`` makes it of them alone."""
    index, _ = where_bad(data)
    found = {label: element(x, index, np.shape(data)) for label, x in operands.items()}
    if alone(function, list(found.values()), np.asarray(data)[index], options):
        return found
    return {label: float(raw(x)) if np.ndim(raw(x)) == 0 else None for label, x in operands.items()}


def shown(data: Any, at: float | None) -> str:
    """An operand: the element at the bad index, and the range of the whole."""
    if np.ndim(data) == 0:
        return number(data)
    words = [f"shape {np.shape(data)}"]
    if at is not None:
        words.append(f"{number(at)} there")
    if np.size(data) and np.asarray(data).dtype.kind == "f":
        bad = int(np.size(data) - np.isfinite(data).sum())
        good = np.asarray(data)[np.isfinite(data)]
        words.append(f"{bad:,} of {np.size(data):,} not finite" if bad else "all finite")
        words += [f"from {number(good.min())} to {number(good.max())}"] if good.size else []
    return ", ".join(words)


def counted(data: Any) -> str:
    """How much of a result is bad, and where it begins."""
    if np.ndim(data) == 0:
        return number(data)
    bad = np.argwhere(~np.isfinite(data))
    first = ", ".join(str([int(i) for i in index]) for index in bad[:3])
    more = " …" if len(bad) > 3 else ""
    return f"shape {np.shape(data)}, {len(bad):,} of {np.size(data):,} not finite, at {first}{more}"


def brief(x: Any, data: Any, called: Called) -> str:
    """An operand of what made ``data``, in a word."""
    at = element(x, where_bad(data)[0], np.shape(data))
    return number(at) if at is not None else called(x) or f"shape {np.shape(raw(x))}"


def call_text(name: str, names: Iterable[str], options: Mapping[str, Any]) -> str:
    words = [*names, *(f"{k}={v!r:.40}" for k, v in options.items() if k not in ("shared", "call", "result"))]
    return f"{name}({', '.join(words)})"


def where_rows(place: Place | None, layer: str) -> list[tuple[str, str]]:
    rows = [("in", layer)] if layer else []
    if place is None:
        return [*rows, ("line", "not recorded: compute the loss inside the block too")]
    line = line_of(place)
    text = linecache.getline(place.code.co_filename, line, None).strip()
    return [(f"{os.path.basename(place.code.co_filename)}:{line}", text), *rows]  # noqa: PTH119 - may be no path


def origin(node: Value, made: list[Value]) -> tuple[Place | None, str]:
    """Where a Value was computed: the line, and the layer."""
    around = calls_around(sorted(made, key=attrgetter("tick"))).get(node, ())
    module = around[-1].module() if around else None
    return getattr(node, "place", None), module.label if module is not None else ""


def anomaly(
    title: str,
    rows: list[tuple[str, str]],
    failed: Failed,
    behind: list[Value],
    rule: str,
    hint: str,
    phase: str,
    index: tuple[int, ...],
    count: int,
    operands: Mapping[str, float | None],
    layer: str,
    place: Place | None,
    input: str = "",
) -> AnomalyError:
    """The error with its text, and everything in it once more as attributes."""
    names = tuple(p.name or f"a leaf of shape {p.shape}" for p in behind)
    if names:
        more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
        word = {"forward": "made from", "backward": "carried to", "step": "changes"}[phase]
        rows.append((word, ", ".join(names[:LISTED]) + more))
    rows += [("rule", rule), ("what helps", HINTS[hint])]
    left = max(len(label) for label, _ in rows)
    error = AnomalyError("\n".join([title, *(f"  {label:<{left}}  {text}".rstrip() for label, text in rows)]))
    error.phase, error.operation, error.input = phase, failed.op.name, input
    error.index, error.count, error.rule, error.operands = index, count, rule, operands
    error.file, error.line = (place.code.co_filename, line_of(place)) if place else ("", 0)
    error.layer, error.parameters, error.hint, error.failed = layer, names, HINTS[hint], failed
    return error


# -- what is behind, and around --------------------------------------------------------------------------------------


def unchosen(node: Value, made: list[Value], index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether ``node`` goes into a branch that a `where` does not choose at ``index``; ``made`` is latest first."""
    reached = {node}
    for later in reversed(made):
        if later.op is None or reached.isdisjoint(x for x in later.inputs if type(x) is Value):
            continue
        reached.add(later)
        if later.op.name == "where":
            condition, a, b = later.inputs
            at = element(condition, index, shape)
            chosen = {bool(c) for c in np.ravel(raw(condition))} if at is None else {bool(at)}
            if (type(a) is Value and a in reached and False in chosen) or (
                type(b) is Value and b in reached and True in chosen
            ):
                return True
    return False


def leaves_behind(values: Iterable[Value]) -> list[Value]:
    """The leaves behind ``values``, in the order in which they were made."""
    ahead, met = list(values), set()
    while ahead:
        x = ahead.pop()
        if x not in met:
            met.add(x)
            ahead += [i for i in x.inputs if type(i) is Value]
    return sorted((x for x in met if not x.inputs and x.op is None), key=attrgetter("tick"))


def frames() -> Iterator[Any]:
    frame: Any = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def user_frame() -> Any:
    """The innermost frame outside this package."""
    *_, outermost = around = list(frames())
    return next((frame for frame in around if not frame.f_code.co_filename.startswith(PACKAGE)), outermost)


def user_place() -> Place:
    """Where the code outside this package stands."""
    frame = user_frame()
    return Place(frame.f_code, frame.f_lasti)
