"""Where a number goes that a line of the user's code makes: its source is read, from expression to expression.

A number is followed upwards through the expressions that it is part of, through the variables and attributes that it
is assigned to, and to the callers that it is returned to.
"""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

__all__ = ["COMPUTED", "PASSING", "SHOWN", "STORED", "goal_of"]

# The goals, the least harmful first.
SHOWN = 0  # to a screen, a log or a condition
STORED = 1  # out of sight, but what holds it can be recognised if the graph reads it
COMPUTED = 2  # into arithmetic that ends in a call of backward(), or in a result for this package

# Statements and expressions in which a number ends: `print(number)` and `log.append(number)`, texts, conditions.
SILENT = (ast.Expr, ast.FormattedValue, ast.JoinedStr, ast.Compare, ast.Assert, ast.If, ast.While, ast.Raise)
SHOWING = {"print", ".format", "str", "repr", "format", "bool", "isinstance", "type"}  # they compute nothing
PASSING: set[CodeType] = set()  # code of the package that hands on what the user's function returns
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LOOPS = (ast.For, ast.AsyncFor, ast.While)

PARSING = threading.Lock()  # Python 3.11 raises a SystemError where two threads make syntax trees at once


def goal_of(frame: FrameType) -> tuple[int, Callable[[], Any] | None]:
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
            became_a_value = any(hasattr(frame.f_globals.get(name), "backward") for name in path.met)
            return STORED, functools.partial(_global, frame.f_globals, path.variable, became_a_value)
        if path.goal > SHOWN or not path.returned or caller is None:
            return path.goal, None
        plain = path.plain
        while caller.f_code in PASSING and caller.f_back is not None:  # a compiled function: its caller called
            caller = caller.f_back
        if inside[caller.f_code.co_filename]:
            return STORED if plain else COMPUTED, None  # the package called the function, as fit does
        frame = caller


def _global(variables: dict[str, Any], name: str, values_too: bool) -> Any:
    """What a variable holds; a Value only if the number met one on its way: else it has been assigned anew since."""
    content = variables.get(name)
    return None if hasattr(content, "backward") and not values_too else content


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
        with PARSING:
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
        return isinstance(self._around(name, FUNCTIONS), ast.Module)

    def uses(self, name: ast.Name) -> list[ast.expr]:
        """Where a variable is read that is assigned at ``name``, unless it has been assigned anew by then."""
        scope = self._around(name, FUNCTIONS)
        names = list(_names(scope, name.id))
        anew = [x for node in names if isinstance(x := self.parents[node], ast.Assign) and node in x.targets]
        return [use for use in names if isinstance(use.ctx, ast.Load) and self._reaches(name, use, anew)]

    def uses_of_attribute(self, target: ast.Attribute) -> list[ast.expr]:
        """Where an attribute is read of what is written alike, in the same class: ``self.total``."""
        found = (node for node in self._at.values() if isinstance(node, ast.Attribute) and node.attr == target.attr)
        same, home = ast.dump(target.value), self._around(target, ast.ClassDef)
        return [
            node
            for node in found
            if isinstance(node.ctx, ast.Load)
            and ast.dump(node.value) == same
            and self._around(node, ast.ClassDef) is home
        ]

    def _around(self, node: ast.AST, kinds: Any) -> ast.AST:
        """The innermost node of these kinds around ``node``, or the file."""
        while node in self.parents and not isinstance(node, kinds):
            node = self.parents[node]
        return node

    def _reaches(self, name: ast.Name, use: ast.Name, anew: list[ast.Assign]) -> bool:
        """Whether a use may see what is assigned at ``name``, and not only what is assigned ``anew`` before it."""
        if self._around(use, FUNCTIONS) is not self._around(name, FUNCTIONS):
            return True  # a function inside may be called at any time
        before = [statement for statement in anew if self._is_below(statement, use)]
        latest = max(before, key=_position, default=None)
        if _position(name) < _position(use):
            return latest is None or _position(latest) <= _position(name)
        loop: ast.AST = self._around(use, LOOPS)
        while isinstance(loop, LOOPS) and not self._is_in(name, loop):
            loop = self._around(self.parents[loop], LOOPS)
        return isinstance(loop, LOOPS) and (latest is None or not self._is_in(latest, loop))

    def _is_below(self, statement: ast.stmt, node: ast.AST) -> bool:
        """Whether ``node`` is further below in the block that ``statement`` is in."""
        above = self.parents[statement]
        while node in self.parents and self.parents[node] is not above:
            node = self.parents[node]
        blocks = (block for block in vars(above).values() if isinstance(block, list))
        return any(statement in block and node in block[block.index(statement) + 1 :] for block in blocks)

    def _is_in(self, node: ast.AST, around: ast.AST) -> bool:
        while node is not around and node in self.parents:
            node = self.parents[node]
        return node is around


def _names(scope: ast.AST, name: str) -> Iterator[ast.Name]:
    """Where a variable of ``scope`` is named, also in the functions inside that have none of their own of this name."""
    ahead = [scope]
    while ahead:
        for node in ast.iter_child_nodes(ahead.pop()):
            if isinstance(node, ast.Name) and node.id == name:
                yield node
            if not (isinstance(node, FUNCTIONS) and _binds(node, name)):
                ahead.append(node)


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


def _position(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


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
        self.met: set[str] = set()  # the variables that it is computed with
        self._followed: set[tuple[ast.expr, bool]] = set()

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
                self.met |= {other.id for other in (parent.left, parent.right) if isinstance(other, ast.Name)}
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
            self._follow_all(target, uses, plain)
        elif isinstance(target, ast.Attribute):
            self._follow_all(target, self.source.uses_of_attribute(target), plain)
            self._reach(STORED)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.container = target.value.id
        else:
            self._reach(STORED)

    def _follow_all(self, target: ast.expr, uses: list[ast.expr], plain: bool) -> None:
        if (target, plain) not in self._followed:
            self._followed.add((target, plain))
            for use in uses:
                self.follow(use, plain)

    def _reach(self, goal: int) -> None:
        self.goal = max(self.goal, goal)
