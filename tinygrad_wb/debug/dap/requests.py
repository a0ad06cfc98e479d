"""The requests of the protocol that are understood: a table of what does each, and of the form of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_wb.debug.dap.breakpoints import FILTERS, Breakpoint, at_filter, at_line, at_name
from tinygrad_wb.debug.dap.variables import (
    Frame,
    frames,
    kind_of,
    known_by_name,
    opened,
    rows_of,
    scopes,
    shown,
    source_of,
)
from tinygrad_wb.debug.dap.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tinygrad_wb.debug.dap.session import Session
    from tinygrad_wb.debug.dap.walk import Stop

__all__ = ["CAPABILITIES", "MOVES", "REQUESTS", "THREAD", "RefusedError", "Request", "told"]

Body = dict[str, Any]
THREAD = 1  # the only one


class RefusedError(ValueError):
    """A request that can't be fulfilled, and why."""


class Request(NamedTuple):
    """What answers a request with a body, the form of its arguments (see `misfit`), and when it can be asked.

    ``stopped``: only at a stop. ``unknown``: also by a client that has not given the token.
    """

    run: Callable[[Session, Body], Body | None]
    form: Mapping[str, Any] = {}
    stopped: bool = False
    unknown: bool = False


# Exactly what works; a test holds it against `REQUESTS`.
CAPABILITIES: Body = {
    "supportsConfigurationDoneRequest": True,
    "supportsFunctionBreakpoints": True,
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsEvaluateForHovers": True,
    "supportsStepBack": True,
    "supportsRestartRequest": True,
    "supportsExceptionInfoRequest": True,
    "supportsDelayedStackTraceLoading": True,
    "supportsExceptionFilterOptions": True,
    "supportsTerminateRequest": True,
    "supportTerminateDebuggee": True,
    "exceptionBreakpointFilters": [
        {"filter": name, "label": label, "description": text, "default": False, "supportsCondition": True}
        for name, (label, text, _) in FILTERS.items()
    ],
}


# -- the session ------------------------------------------------------------------------------------------------------


def initialize(session: Session, arguments: Body) -> Body:
    if arguments.get("pathFormat", "path") != "path":
        raise RefusedError("initialize: only pathFormat 'path' is understood")
    session.first_line = int(arguments.get("linesStartAt1") is not False)
    session.first_column = int(arguments.get("columnsStartAt1") is not False)
    return CAPABILITIES


def launch(session: Session, arguments: Body) -> None:
    """The script is the one that the command line names; a client that launches it ends it too."""
    attach(session, arguments)
    session.ends_with_client = True
    session.free = arguments.get("noDebug") is True


def attach(session: Session, arguments: Body) -> None:
    """Check the client's token; the event ``initialized`` lets it continue."""
    session.show(arguments.get("token") or "")
    session.stop_on_entry = arguments.get("stopOnEntry") is not False
    session.begin("launched")
    session.after_response.append(lambda: session.event("initialized"))


def configuration_done(session: Session, _: Body) -> None:
    session.begin("configured")


def disconnect(session: Session, arguments: Body) -> None:
    end = arguments.get("terminateDebuggee")
    if session.ends_with_client if end is None else end:
        terminate(session, arguments)
    session.after_response.append(session.gone)


def terminate(session: Session, _: Body) -> None:
    session.after_response.append(session.end_script)


def threads(session: Session, _: Body) -> Body:
    return {"threads": [{"id": THREAD, "name": "backprop"}]}


def pause(session: Session, _: Body) -> None:
    session.pausing = not session.stopped


# -- breakpoints ------------------------------------------------------------------------------------------------------


def set_breakpoints(session: Session, arguments: Body) -> Body:
    path = arguments["source"].get("path")
    if not path:
        raise RefusedError("setBreakpoints: a source without a path has no lines here")
    wanted = arguments.get("breakpoints")
    if wanted is None:
        wanted = [{"line": line} for line in arguments.get("lines") or []]
    lines = [one["line"] + 1 - session.first_line for one in wanted]
    return _set(session, path, [(at_line(path, line), one) for line, one in zip(lines, wanted, strict=True)])


def set_function_breakpoints(session: Session, arguments: Body) -> Body:
    return _set(session, "functions", [(at_name(one["name"].strip()), one) for one in arguments["breakpoints"]])


def set_exception_breakpoints(session: Session, arguments: Body) -> Body:
    options = arguments.get("filterOptions") or []
    wanted = [{"filterId": name} for name in arguments["filters"]] + options
    unknown = [one["filterId"] for one in wanted if one["filterId"] not in FILTERS]
    if unknown:
        raise RefusedError(
            f"setExceptionBreakpoints: there is no filter {unknown[0]!r:.40}; there are: {', '.join(FILTERS)}"
        )
    return _set(session, "filters", [(at_filter(one["filterId"]), one) for one in wanted])


def _set(session: Session, group: str, wanted: list[tuple[Any, Body]]) -> Body:
    """Put these in place of those of the same group, a file or a kind. One that stays as it was keeps its hits."""
    before = {(old.place.key, old.condition, old.hit_condition): old for old in session.breakpoints.get(group, [])}
    new: list[Breakpoint] = []
    for place, one in wanted:
        words = ((one.get("condition") or "").strip(), (one.get("hitCondition") or "").strip())
        known = before.pop((place.key, *words), None)
        new.append(Breakpoint(session.number(), place, *words) if known is None else known)
    session.breakpoints[group] = new
    if session.walk is not None and session.stopped:
        session.walk.breakpoints(session.walk.stepper.position)
    for breakpoint_ in new:
        breakpoint_.told = told(session, breakpoint_)
    return {"breakpoints": [breakpoint_.told for breakpoint_ in new]}


def told(session: Session, breakpoint_: Breakpoint) -> Body:
    """What the client is told of a breakpoint: it is verified once backprop has had such a place."""
    body: Body = {"id": breakpoint_.number, "verified": breakpoint_.met}
    if breakpoint_.line:
        body["line"] = breakpoint_.line + session.first_line - 1
    if not breakpoint_.met:
        body["message"] = breakpoint_.problem or "no backward() has been there yet"
        body["reason"] = "failed" if breakpoint_.is_hopeless else "pending"
    return body


# -- looking ----------------------------------------------------------------------------------------------------------


def stack_trace(session: Session, arguments: Body) -> Body:
    every = frames(session.at)
    start = max(0, arguments.get("startFrame") or 0)
    count = arguments.get("levels") or len(every)
    rows = []
    for number, frame in list(enumerate(every, 1))[start : start + max(0, count)]:
        row: Body = {"id": number, "name": frame.name, "line": 0, "column": 0}
        if frame.line is not None and frame.line.whole:
            row |= {"source": source_of(frame.line), "line": frame.line.number + session.first_line - 1}
            row["column"] = session.first_column
        rows.append(row)
    return {"stackFrames": rows, "totalFrames": len(every)}


def scopes_(session: Session, arguments: Body) -> Body:
    frame = _frame(session, arguments["frameId"])
    rows = [
        {"name": name, "variablesReference": session.reference(inside), "expensive": False}
        for name, inside in scopes(session.at, frame.frame)
    ]
    return {"scopes": rows}


def _frame(session: Session, number: int) -> Frame:
    every = frames(session.at)
    if not 1 <= number <= len(every):
        raise RefusedError(f"there is no frame {number} at this stop")
    return every[number - 1]


def variables(session: Session, arguments: Body) -> Body:
    inside = session.referred(arguments["variablesReference"])
    which = arguments.get("filter") or ""
    rows = rows_of(inside, arguments.get("start") or 0, arguments.get("count") or 0, which)
    known = known_by_name(session.at)
    return {"variables": [{"name": name, **_described(session, thing, known(name, thing))} for name, thing in rows]}


def _described(session: Session, thing: Any, expression: str = "", key: str = "value") -> Body:
    """A thing as the protocol has it: in words, with a reference if it opens."""
    inside = opened(thing, session.at)
    body: Body = {key: shown(thing, session.at), "type": kind_of(thing), "variablesReference": 0}
    if inside is not None:
        body["variablesReference"] = session.reference(lambda: inside)
        body["namedVariables"], body["indexedVariables"] = len(inside.named), len(inside.indexed)
    return body | ({"evaluateName": expression} if expression else {})


def evaluate(session: Session, arguments: Body) -> Body:
    """An expression in a frame, or in that of this step; as in every debugger, nothing keeps it from side effects."""
    expression = arguments["expression"].strip()
    number = arguments.get("frameId")
    frame = None if number is None else _frame(session, number).frame
    try:
        found = session.at.evaluated(expression, frame)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the client's own expression
        raise RefusedError(f"{type(error).__name__}: {error}") from None
    return _described(session, found, key="result")


def exception_info(session: Session, _: Body) -> Body:
    step = session.at.stepper.current
    if session.stop.reason != "exception" or step is None:
        raise RefusedError("exceptionInfo: it is not because of a gradient that is not finite that this stop was made")
    label = FILTERS["not finite"][0]
    return {"exceptionId": label, "description": str(step), "breakMode": "always"}


# -- the table --------------------------------------------------------------------------------------------------------

CONFIGURATION = {"token?": str, "stopOnEntry?": bool}
IN_THREAD = {"threadId": int}
WORDS = {"condition?": str, "hitCondition?": str}
SOURCE = {"path?": str}

MOVES: dict[str, Callable[[Walk], Stop | None]] = {
    "continue": Walk.on,
    "next": Walk.next,
    "stepIn": Walk.into,
    "stepOut": Walk.out,
    "stepBack": Walk.back,
    "reverseContinue": Walk.reverse,
    "restart": Walk.restart,
}


def _moves(command: str) -> Request:
    def move(session: Session, _: Body) -> Body | None:
        session.move = MOVES[command]
        if command == "restart":  # of the others an editor knows by itself that they go on
            session.after_response.append(lambda: session.event("continued", threadId=THREAD, allThreadsContinued=True))
        return {"allThreadsContinued": True} if command == "continue" else None

    return Request(move, {} if command == "restart" else IN_THREAD, stopped=True)


REQUESTS: dict[str, Request] = {
    "initialize": Request(
        initialize,
        {"adapterID": str, "pathFormat?": str, "linesStartAt1?": bool, "columnsStartAt1?": bool},
        unknown=True,
    ),
    "launch": Request(launch, {"noDebug?": bool, **CONFIGURATION}, unknown=True),
    "attach": Request(attach, CONFIGURATION, unknown=True),
    "configurationDone": Request(configuration_done),
    "disconnect": Request(disconnect, {"terminateDebuggee?": bool}),
    "terminate": Request(terminate),
    "threads": Request(threads),
    "pause": Request(pause, IN_THREAD),
    "setBreakpoints": Request(
        set_breakpoints, {"source": SOURCE, "breakpoints?": [{"line": int, **WORDS}], "lines?": [int]}
    ),
    "setFunctionBreakpoints": Request(set_function_breakpoints, {"breakpoints": [{"name": str, **WORDS}]}),
    "setExceptionBreakpoints": Request(
        set_exception_breakpoints, {"filters": [str], "filterOptions?": [{"filterId": str, "condition?": str}]}
    ),
    "stackTrace": Request(stack_trace, {**IN_THREAD, "startFrame?": int, "levels?": int}, stopped=True),
    "scopes": Request(scopes_, {"frameId": int}, stopped=True),
    "variables": Request(
        variables, {"variablesReference": int, "filter?": str, "start?": int, "count?": int}, stopped=True
    ),
    "evaluate": Request(evaluate, {"expression": str, "frameId?": int}, stopped=True),
    "exceptionInfo": Request(exception_info, IN_THREAD, stopped=True),
    **{command: _moves(command) for command in MOVES},
}
