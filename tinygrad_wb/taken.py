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
    from collections.abc import Callable, Iterator, Sequence
    from types import CodeType, FrameType

    from tinygrad_wb.value import Value

# Statements and expressions in which a number ends: `print(number)` and `log.append(number)`, texts, conditions.
SILENT = (ast.Expr, ast.FormattedValue, ast.JoinedStr, ast.Compare, ast.Assert, ast.If, ast.While, ast.Raise)
SHOWING = {
    "print",
    ".format",
    "str",
    "repr",
    "format",
    "bool",
    "isinstance",
    "type",
}  # calls that compute nothing with it
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

__all__ = ["note_copied", "note_taken", "taken", "warn_of_taken"]

# Where a number goes, the least harmful first.
SHOWN = 0  # to a screen, a log or a condition
STORED = 1  # out of sight, but what holds it can be recognised if the graph reads it
COMPUTED = 2  # into arithmetic that ends in a call of backward(), or in a result for this package

NEAR = 100  # operations


class Taken(NamedTuple):
    """A number that was taken: when, from what, the leaves behind that, and where it went."""

    tick: int
    sources: list[weakref.ref[Value]]  # the Value and the leaves behind it
    kept: Callable[[], Any] | None  # gives what holds the number now; None if it went into arithmetic
    copies: list[weakref.ref[Value]]  # Values that were made of the array it was written into
    line: str


taken: dict[tuple[CodeType, int], Taken] = {}  # the latest for each place in the code


def note_taken(value: Value, number: float, tick: int) -> None:
    """Remember that ``float(value)`` returned ``number``, unless the number is only shown."""
    if value.inputs and value.grad is not None:
        return  # backward() has found its gradient already: nothing more is to come back
    frame = sys._getframe(2)
    if inside[frame.f_code.co_filename]:
        return
    goal, kept = _goal(frame)
    if goal > SHOWN:
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        # A stored number is recognised by itself: its sources only give it a name, and looking far takes long.
        sources = [weakref.ref(x) for x in _sources(value, NEAR if kept or goal == STORED else sys.maxsize)]
        taken[frame.f_code, frame.f_lasti] = Taken(
            tick, sources, (kept or (lambda: number)) if goal == STORED else None, [], line
        )


def note_copied(array: Any, value: Value) -> None:
    """Remember that ``value`` holds a copy of ``array``, if a number was written into that."""
    for entry in tuple(taken.values()):
        held = entry.kept and entry.kept()
        if type(array) is type(held) is np.ndarray and np.may_share_memory(array, held):
            entry.copies.append(weakref.ref(value))


def _sources(value: Value, most: int) -> Iterator[Value]:
    """The Value and the leaves behind it that are still as it read them, of its nearest ``most`` operations."""
    yield value
    ahead, met = [value], {value}
    while ahead and len(met) <= most:
        for x in ahead.pop().inputs:
            if hasattr(x, "inputs") and x not in met:
                met.add(x)
                ahead.append(x)
                if not x.inputs and x.tick < value.tick:
                    yield x


def warn_of_taken(loss: Value, nodes: Sequence[Value]) -> None:
    """Warn if a number that was taken out of what is behind ``loss`` can have gone into it by another way."""
    read = {id(x): x for node in nodes for x in node.inputs}
    for place, entry in list(taken.items()):
        if entry.tick > loss.tick:
            continue
        taken.pop(place, None)  # another thread may have done so
        sources = [x for ref in entry.sources if (x := ref()) is not None and x.tick < entry.tick]
        if entry.sources[0]() is loss:
            continue
        kept = loss if entry.kept is None else entry.kept()
        into_value = hasattr(kept, "inputs")  # such as the loss
        hit = any(id(x) in read for x in sources) if into_value else _is_read(kept, read)
        if hit or any(id(copy()) in read for copy in entry.copies):
            names = [repr(x.name) for x in sources if x.name] or ["a Value"]
            warn_user(
                f"a plain number was taken out of {names[0]} by float() or a function of math ({entry.line}), and this "
                "loss uses it: no gradient flows through that number. Compute with Values, by wb.exp(v) or np.exp(v), "
                "and by wb.stack([…]) in place of writing into an array; where a plain number is meant, write v.item()"
            )


def _is_read(kept: Any, read: dict[int, Any]) -> bool:
    """Whether a graph reads this very number, or the memory of this array."""
    if type(kept) is np.ndarray:
        return any(type(x) is np.ndarray and np.may_share_memory(x, kept) for x in read.values())
    return type(kept) is float and id(kept) in read


# -- where a number goes ----------------------------------------------------------------------------------------------


def _goal(frame: FrameType) -> tuple[int, Callable[[], Any] | None]:
    """Where the number goes that the running instruction of ``frame`` makes, and what will hold it, if it is stored."""
    plain: bool | None = None
    while True:
        path = _path(frame.f_code, frame.f_lasti, plain)
        if path is None:
            return STORED, None  # without a source, only the number itself can be recognised in the graph
        if path.container is not None:
            array = frame.f_locals.get(path.container, frame.f_globals.get(path.container))
            return STORED, weakref.ref(array) if isinstance(array, np.ndarray) else None
        caller = frame.f_back
        if path.goal == STORED and path.variable is not None:
            return STORED, functools.partial(frame.f_globals.get, path.variable)
        if path.goal > SHOWN or not path.returned or caller is None:
            return path.goal, None
        plain = path.plain
        if inside[caller.f_code.co_filename]:
            return STORED if plain else COMPUTED, None  # the package called the function, as fit does
        frame = caller


def _path(code: CodeType, instruction: int, plain: bool | None) -> _Path | None:
    """The way of a number, looked up once for each place in the code."""
    key = id(code), instruction, plain  # a code object's own hash takes longer than the rest of float(v)
    found = _paths.get(key)
    if found is None:
        if len(_paths) >= MOST_PATHS:
            _paths.clear()
        found = _paths[key] = code, _new_path(code, instruction, plain)
    return found[1]


_paths: dict[tuple[int, int, bool | None], tuple[CodeType, _Path | None]] = {}
MOST_PATHS = 4096


def _new_path(code: CodeType, instruction: int, plain: bool | None) -> _Path | None:
    source = _source(code.co_filename)
    node = source.node_at(code, instruction) if source else None
    if source is None or node is None:
        return None
    path = _Path(source)
    if plain is None:
        if isinstance(node, ast.BinOp):
            return path  # "%.3f" % v: all other operators are the Value's own
        plain = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    path.follow(node, plain)
    return path


@functools.lru_cache(maxsize=32)
def _source(file: str) -> _Source | None:
    lines = linecache.getlines(file)
    try:
        return _Source("".join(lines)) if lines else None
    except (SyntaxError, ValueError, RecursionError):
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

    def is_global(self, name: ast.Name) -> bool:
        return isinstance(self._scope(name), ast.Module)

    def uses(self, name: ast.Name) -> list[ast.expr]:
        """Where the variable that is assigned at ``name`` is read, in the same function or file."""
        found: list[ast.expr] = []
        ahead: list[ast.AST] = [self._scope(name)]
        while ahead:
            for node in ast.iter_child_nodes(ahead.pop()):
                if isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Load):
                    found.append(node)
                if not (isinstance(node, SCOPES) and _binds(node, name.id)):
                    ahead.append(node)
        return found

    def uses_of_attribute(self, name: str) -> list[ast.expr]:
        """Where an attribute of this name is read, of whatever object."""
        found = (node for node in self._at.values() if isinstance(node, ast.Attribute) and node.attr == name)
        return [node for node in found if isinstance(node.ctx, ast.Load)]

    def _scope(self, node: ast.AST) -> ast.AST:
        while node in self.parents and not isinstance(node, SCOPES):
            node = self.parents[node]
        return node


def _binds(function: ast.AST, name: str) -> bool:
    """Whether a function has a variable or an argument of its own of this name."""
    return any(
        (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.arg) and node.arg == name)
        for node in ast.walk(function)
    )


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
    """The way of a number upwards through the expressions that it is part of, and through variables.

    It is ``plain`` while it is a float(v) that no arithmetic has changed: then it can be recognised in a graph.
    """

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.goal = SHOWN
        self.returned = False
        self.plain = True  # whatever is returned
        self.container: str | None = None  # the variable whose element it becomes
        self.variable: str | None = None  # the variable that it becomes, if only other cells of a notebook can read it
        self._followed: set[tuple[str, bool]] = set()

    def follow(self, node: ast.AST, plain: bool) -> None:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            return self._stored_at(node, plain)
        if filled := _filled(node):
            self.container = filled
            return None
        while True:
            parent = self.source.parents.get(node)
            if isinstance(parent, ast.BinOp):
                if isinstance(parent.left, (ast.Constant, ast.JoinedStr)) and isinstance(parent.op, ast.Mod):
                    return None  # "%.3f" % number
                plain = False
            elif isinstance(parent, ast.Call):
                called = _called(parent)
                if called in SHOWING:
                    return None
                if filled := _filled(parent):
                    self.container = filled
                    return None
                if called in {"Value", ".Value"}:
                    plain = False  # it holds a copy of the number
            elif isinstance(parent, ast.IfExp) and node is parent.test:
                return None
            elif isinstance(parent, ast.Attribute) and parent.attr == "backward":
                return self._reach(STORED if plain else COMPUTED)  # it has become part of a Value
            elif isinstance(parent, (ast.Return, ast.Lambda, ast.Yield)):
                self.returned = True
                self.plain = self.plain and plain
                return None
            elif isinstance(parent, ast.Assign):
                for target in parent.targets:
                    self._stored_at(target, plain)
                return None
            elif isinstance(parent, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.For)):
                return self._stored_at(parent.target, plain)
            elif isinstance(parent, SILENT):
                return None
            elif not isinstance(parent, (ast.expr, ast.keyword, ast.comprehension, ast.Starred)):
                return self._reach(STORED)
            node = parent

    def _stored_at(self, target: ast.expr, plain: bool) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self._stored_at(part, plain)
        elif isinstance(target, ast.Starred):
            self._stored_at(target.value, plain)
        elif isinstance(target, ast.Name):
            uses = self.source.uses(target)
            if not uses and self.source.is_global(target):
                self.variable = target.id
                self._reach(STORED)
            self._follow_all(target.id, uses, plain)
        elif isinstance(target, ast.Attribute):
            self._follow_all("." + target.attr, self.source.uses_of_attribute(target.attr), plain)
            self._reach(STORED)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.container = target.value.id
        else:
            self._reach(STORED)

    def _follow_all(self, name: str, uses: list[ast.expr], plain: bool) -> None:
        if (name, plain) not in self._followed:
            self._followed.add((name, plain))
            for use in uses:
                self.follow(use, plain)

    def _reach(self, goal: int) -> None:
        self.goal = max(self.goal, goal)
