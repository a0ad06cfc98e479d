"""Guards: what a module of the package reads besides its arguments, and whether it is as it was.

A module of the package reads its attributes, those of the modules inside it, and its class. All are held here, so that
no other object can come to have the identity of one of them.
"""

from __future__ import annotations

from functools import partial
from operator import is_
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.entries import same
from tinygrad_wb.nn.module import NOTES, Module
from tinygrad_wb.recording import PACKAGE, line_with_text
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Guard", "examined", "guard_of", "is_ours"]

SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
FIXED = (*SIMPLE, Value, np.random.Generator)  # Values are read anew in each call, generators are drawn from
METHODS = frozenset(name for name in dir(Module) if callable(getattr(Module, name)))
SHOWN = frozenset(name for name in vars(Module) if name not in ("forward", "__call__"))


def is_ours(x: Any) -> bool:
    """Whether a class or function is the package's own."""
    code = getattr(x, "__code__", None)
    own_code = code is None or code.co_filename.startswith(PACKAGE)
    return own_code and str(getattr(x, "__module__", "")).startswith("tinygrad_wb.")


def guard_of(module: Module) -> Guard | None:
    """A guard over ``module``; None if there is anything in it that is not the package's own."""
    return examined(module)[0]


def examined(*roots: Any) -> tuple[Guard | None, str]:
    """A guard over modules and functions; None if there is anything that is not the package's own, and why."""
    holders: list[Any] = []
    containers: list[Any] = []
    classes: dict[type, None] = {}
    met: set[int] = set()
    ahead: list[Any] = list(roots)
    for x in ahead:  # grows as it goes
        if isinstance(x, FIXED) or id(x) in met:
            continue
        met.add(id(x))
        kind = type(x)
        if kind in (list, tuple, dict):
            containers += [x] if kind is not tuple else []
            ahead += x.values() if kind is dict else x
        elif kind is partial:
            ahead += [x.func, x.args, x.keywords]
        elif kind is FunctionType:
            if not is_ours(x):
                return None, f"{x.__qualname__} is not a function of the package ({_line(x)})"
        elif is_ours(kind) and hasattr(x, "__dict__"):
            for cls in kind.__mro__[:-1]:
                if cls not in classes and (wrong := _wrong_member(cls)):
                    return None, wrong
                classes[cls] = None
            if isinstance(x, Module) and (hiding := METHODS & vars(x).keys()):
                return None, f"{x.label} has an attribute {min(hiding)}, which hides the method"
            holders.append(x)
            ahead += [content for name, content in vars(x).items() if name not in NOTES]
        else:
            forward = getattr(kind, "forward", None)
            return None, f"{kind.__name__} is not a class of the package ({_line(forward) or kind.__module__})"
    return Guard(holders, list(classes), containers), ""


def _wrong_member(cls: type) -> str:
    """What was put into a class of the package by others, in words; "" if nothing was."""
    for name, member in vars(cls).items():
        function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
        function = member.fget if isinstance(member, property) else function
        dunder = name.startswith("__") and name != "__call__"
        if not (
            isinstance(function, (*SIMPLE, tuple, frozenset))
            or (is_ours(function) and type(function) is FunctionType)
            or dunder
        ):
            return f"{cls.__name__}.{name} was replaced ({_line(function) or type(function).__name__})"
    return ""


def _line(function: Any) -> str:
    """Where a function is defined."""
    code = getattr(function, "__code__", None)
    return line_with_text(code.co_filename, code.co_firstlineno) if code is not None else ""


class Guard:
    """The settings of modules, of all that is inside them, and of their classes. `same` is asked in each call."""

    def __init__(self, holders: list[Any], classes: Sequence[type], containers: list[Any]) -> None:
        self._holders = holders
        self._kinds = list(map(type, holders))
        self._contents = list(map(_settings, holders))
        self._containers = containers
        self._items = list(map(_items, containers))
        self._classes = [vars(cls) for cls in classes]
        self._members = [dict(members) for members in self._classes]
        self._as_it_was = self._compiled()
        self.parameters = [x for contents in self._contents for x in contents.values() if type(x) is Value]

    def same(self) -> bool:
        """Whether all is as it was."""
        try:
            as_it_was = self._as_it_was()
        except KeyError:  # an attribute was deleted
            return False
        if not as_it_was and not self._settled():
            return False
        for container, items in zip(self._containers, self._items):
            now = _items(container)
            if len(now) != len(items) or not all(map(is_, now, items)):
                return False
        return True

    def _compiled(self) -> Callable[[], bool]:
        """A function that says whether everything is the object that it was, written out: that is the quickest way."""
        space: dict[str, Any] = {}
        tests = []
        for i, (holder, contents) in enumerate(zip(self._holders, self._contents, strict=True)):
            space |= {f"holder{i}": holder, f"kind{i}": type(holder)}
            tests.append(f"type(holder{i}) is kind{i} and len(d := holder{i}.__dict__) == {len(vars(holder))}")
            for j, (name, content) in enumerate(contents.items()):
                space[f"content{i}_{j}"] = content
                tests.append(f"d[{name!r}] is content{i}_{j}")
        for i, (members, then) in enumerate(zip(self._classes, self._members, strict=True)):
            space[f"class{i}"] = members
            tests.append(f"len(class{i}) == {len(then)}")
            for j, name in enumerate(_read(then)):
                space[f"member{i}_{j}"] = then[name]
                tests.append(f"class{i}[{name!r}] is member{i}_{j}")
        exec(f"def as_it_was():\n    return {' and '.join(tests)}", space)  # noqa: S102 - our own text
        found: Callable[[], bool] = space["as_it_was"]
        return found

    def _settled(self) -> bool:
        """Whether what is another object is equal, or only a note."""
        for members, then in zip(self._classes, self._members, strict=True):
            if members.keys() != then.keys() or any(members[name] is not then[name] for name in _read(then)):
                return False
        if not all(map(is_, map(type, self._holders), self._kinds)):
            return False
        for i, (holder, then) in enumerate(zip(self._holders, self._contents, strict=True)):
            now = _settings(holder)
            if now.keys() != then.keys() or not all(map(_alike, now.values(), map(then.__getitem__, now))):
                return False
            self._contents[i] = now
        self._as_it_was = self._compiled()
        return True


def _settings(holder: Any) -> dict[str, Any]:
    """The attributes of an object, without a module's notes."""
    return {name: content for name, content in vars(holder).items() if name not in NOTES}


def _read(members: Mapping[str, Any]) -> list[str]:
    """The members of a class that a call may read: not what only shows a module, or looks for its parameters."""
    return [name for name in members if name == "__call__" or not (name.startswith("__") or name in SHOWN)]


def _alike(a: Any, b: Any) -> bool:
    """Whether two settings are the same object, or equal and unchangeable."""
    return a is b or (type(a) is type(b) and isinstance(a, SIMPLE) and same(a, b))


def _items(container: Any) -> list[Any]:
    """What is in a list or dictionary, the names in the latter too."""
    return [*container, *container.values()] if isinstance(container, dict) else list(container)
