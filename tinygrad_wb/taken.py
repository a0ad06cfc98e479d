"""Numbers that were taken out of Values by ``float(v)`` or by functions of `math`, which call it.

Such a number has no history, so what is computed from it has no gradient. Most are shown or logged, which is right. So
the source is read where a number is taken, to see where it goes, and ``backward()`` warns if one that does not end on
the screen can have gone into its loss. ``v.item()`` says that a plain number is meant, and is never warned about.
"""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
import sys
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.notices import warn_user
from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, FrameType

    from tinygrad_wb.value import Value

# Statements and expressions in which a number ends: `print(number)` and `log.append(number)`, texts, conditions.
SILENT = (ast.Expr, ast.FormattedValue, ast.JoinedStr, ast.Compare, ast.Assert, ast.If, ast.While, ast.Raise)

__all__ = ["note_copied", "note_taken", "taken", "warn_of_taken"]

# Where a number goes, the least harmful first.
SHOWN = 0  # to a screen, a log or a condition
STORED = 1  # a plain float(v), into a variable: harmful if this very number is read by the graph
COMPUTED = 2  # into arithmetic

SHOWING = {
    "print",
    ".format",
    "str",
    "repr",
    "format",
    "bool",
    "isinstance",
    "type",
}  # calls after which no number is left


class Taken(NamedTuple):
    """A number that was taken: when, from what, the leaves behind that, and where it went."""

    tick: int
    sources: list[weakref.ref[Value]]  # the Value and the leaves behind it
    number: float
    goal: int
    array: weakref.ref[Any] | None  # into which it was written
    copies: list[weakref.ref[Value]]  # Values that were made of that array
    line: str


taken: dict[tuple[CodeType, int], Taken] = {}  # the latest for each place in the code


def note_taken(value: Value, number: float, tick: int) -> None:
    """Remember that ``float(value)`` gave ``number`` away, unless it is only shown."""
    frame = sys._getframe(2)
    if inside[frame.f_code.co_filename]:
        return
    goal, array = _goal(frame)
    if goal > SHOWN:
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        sources = [weakref.ref(x) for x in _sources(value)]
        taken[frame.f_code, frame.f_lasti] = Taken(
            tick, sources, number, goal, None if array is None else weakref.ref(array), [], line
        )


def note_copied(array: Any, value: Value) -> None:
    """Remember that ``value`` holds a copy of ``array``, if a number was written into that."""
    for entry in taken.values():
        if entry.array is not None and type(array) is np.ndarray and np.may_share_memory(array, entry.array()):
            entry.copies.append(weakref.ref(value))


def _sources(value: Value) -> Iterator[Value]:
    """The Value and the leaves behind it."""
    yield value
    ahead, met = [value], {value}
    while ahead:
        for x in ahead.pop().inputs:
            if hasattr(x, "inputs") and x not in met:
                met.add(x)
                ahead.append(x)
                if not x.inputs:
                    yield x


def warn_of_taken(loss: Value, nodes: Sequence[Value]) -> None:
    """Warn if a number that was taken out of what is behind ``loss`` can have gone into it by another way."""
    read = {id(x): x for node in nodes for x in node.inputs}
    for place, entry in list(taken.items()):
        if entry.tick > loss.tick:
            continue
        del taken[place]
        sources = [x for ref in entry.sources if (x := ref()) is not None and x.tick < entry.tick]
        if entry.sources[0]() is loss:
            continue
        array = entry.array and entry.array()
        if any(id(copy()) in read for copy in entry.copies):
            hit = True
        elif array is not None:
            hit = any(type(x) is np.ndarray and np.may_share_memory(x, array) for x in read.values())
        elif entry.goal == STORED:
            hit = id(entry.number) in read
        else:
            hit = any(id(x) in read for x in sources)
        if hit:
            names = [repr(x.name) for x in sources if x.name] or ["a Value"]
            warn_user(
                f"a plain number was taken out of {names[0]} by float() or a function of math ({entry.line}), and went "
                "into this loss: by that way no gradient comes back. Compute with Values, by wb.exp(v) or np.exp(v), "
                "and wb.stack([…]) in place of writing into an array; where a plain number is meant, write v.item()"
            )


# -- where a number goes ----------------------------------------------------------------------------------------------


def _goal(frame: FrameType) -> tuple[int, Any]:
    """Where the number goes that the running instruction of ``frame`` makes, and the array that it is written into."""
    explicit: bool | None = None
    while True:
        path = _path(frame.f_code, frame.f_lasti, explicit)
        if path is None:
            return STORED, None  # without a source, only the number itself can be recognised in the graph
        if path.container is not None:
            array = frame.f_locals.get(path.container, frame.f_globals.get(path.container))
            return STORED, array if isinstance(array, np.ndarray) else None
        caller = frame.f_back
        if path.goal > SHOWN or not path.returned or caller is None:
            return path.goal, None
        explicit = path.explicit
        if inside[caller.f_code.co_filename]:
            return STORED if explicit else COMPUTED, None  # it is part of what `fit`, say, is given
        frame = caller


def _path(code: CodeType, instruction: int, explicit: bool | None) -> _Path | None:
    """The way of a number, looked up once for each place in the code."""
    key = id(code), instruction, explicit  # a code object's own hash takes longer than the rest of float(v)
    found = _paths.get(key)
    if found is None:
        if len(_paths) >= MOST_PATHS:
            _paths.clear()
        found = _paths[key] = code, _new_path(code, instruction, explicit)
    return found[1]


_paths: dict[tuple[int, int, bool | None], tuple[CodeType, _Path | None]] = {}
MOST_PATHS = 4096


def _new_path(code: CodeType, instruction: int, explicit: bool | None) -> _Path | None:
    source = _source(code.co_filename)
    node = source.node_at(code, instruction) if source else None
    if source is None or node is None:
        return None
    if explicit is None:
        explicit = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    path = _Path(source, explicit)
    path.follow(node)
    return path


@functools.lru_cache(maxsize=32)
def _source(file: str) -> _Source | None:
    lines = linecache.getlines(file)
    try:
        return _Source("".join(lines)) if lines else None
    except SyntaxError:
        return None


class _Source:
    """A file's syntax tree, with the parent of each node and the expression at each position."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self._at: dict[tuple[Any, ...], ast.expr] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr):
                span = (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
                self._at.setdefault(span, node)

    def node_at(self, code: CodeType, instruction: int) -> ast.expr | None:
        return self._at.get(next(itertools.islice(code.co_positions(), instruction // 2, None)))

    def uses(self, name: ast.Name) -> list[ast.Name]:
        """Where the variable that is assigned at ``name`` is read, in the same function or file.

        A variable of a file that the file does not read, as in a notebook's cell, may be read by another cell: then
        the assignment itself counts as a use.
        """
        scope: ast.AST = name
        while scope in self.parents and not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            scope = self.parents[scope]
        names = (node for node in ast.walk(scope) if isinstance(node, ast.Name) and node.id == name.id)
        read = [node for node in names if isinstance(node.ctx, ast.Load)]
        return read or ([name] if isinstance(scope, ast.Module) else [])


def _called(call: ast.Call) -> str:
    """What is called: ``name``, or ``.name`` of a method."""
    func = call.func
    return func.id if isinstance(func, ast.Name) else f".{func.attr}" if isinstance(func, ast.Attribute) else ""


def _filled(node: ast.AST) -> str:
    """The variable ``c`` of a call ``c.fill(number)``; "" of anything else."""
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr == "fill" and isinstance(called.value, ast.Name):
        return called.value.id
    return ""


class _Path:
    """The way of a number upwards through the expressions that it is part of, and through variables."""

    def __init__(self, source: _Source, explicit: bool) -> None:
        self.source = source
        self.explicit = explicit  # a float(v) that no arithmetic has changed yet
        self.goal = SHOWN
        self.returned = False
        self.container: str | None = None  # the variable whose element it becomes
        self._followed: set[str] = set()

    def follow(self, node: ast.AST) -> None:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            return self._stored_at(node)
        if filled := _filled(node):
            self.container = filled
            return None
        while True:
            parent = self.source.parents.get(node)
            if isinstance(parent, ast.BinOp):
                if isinstance(parent.left, (ast.Constant, ast.JoinedStr)) and isinstance(parent.op, ast.Mod):
                    return None  # "%.3f" % number
                self.explicit = False
            elif isinstance(parent, ast.Call):
                if node is parent.func:
                    return self._harmful()
                called = _called(parent)
                if called in SHOWING:
                    return None
                if filled := _filled(parent):
                    self.container = filled
                    return None
                if called in {"Value", ".Value"}:
                    self.explicit = False  # it holds a copy of the number
            elif isinstance(parent, ast.IfExp) and node is parent.test:
                return None
            elif isinstance(parent, ast.Attribute):
                return self._harmful()  # what has methods is a Value, not the number
            elif isinstance(parent, (ast.Return, ast.Lambda, ast.Yield)):
                self.returned = True
                return None
            elif isinstance(parent, ast.Assign):
                for target in parent.targets:
                    self._stored_at(target)
                return None
            elif isinstance(parent, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
                return self._stored_at(parent.target)
            elif isinstance(parent, SILENT):
                return None
            elif not isinstance(parent, (ast.expr, ast.keyword, ast.comprehension, ast.Starred)):
                return self._harmful()
            node = parent

    def _stored_at(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            if target.id not in self._followed:
                self._followed.add(target.id)
                for use in self.source.uses(target):
                    if use is target:
                        self._harmful()
                    else:
                        self.follow(use)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.container = target.value.id
        else:
            self._harmful()

    def _harmful(self) -> None:
        self.goal = max(self.goal, STORED if self.explicit else COMPUTED)
