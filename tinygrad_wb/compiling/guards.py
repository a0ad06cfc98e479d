"""Guards: what a module of the package reads besides its arguments, and whether it is as it was.

A module of the package reads its attributes, those of the modules inside it, and its class. All are held here, so that
no other object can come to have the identity of one of them.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from operator import is_
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import NOTES, Module
from tinygrad_wb.recording import PACKAGE, line_with_text
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Guard", "examined", "guard_of", "is_ours"]

SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
FIXED = (*SIMPLE, Value, np.random.Generator)  # Values are read anew in each call, generators are drawn from
OF_MODULE = vars(Module)
METHODS = frozenset(name for name in dir(Module) if callable(getattr(Module, name)))


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
        self._names = list(chain.from_iterable(map(vars, holders)))
        self._contents: list[Any] = [x for holder in holders for x in vars(holder).values()]
        self._containers = containers
        self._items = list(map(_items, containers))
        self._classes = [vars(cls) for cls in classes if cls is not Module]
        self._sizes = list(map(len, self._classes))
        self._members = list(chain.from_iterable(map(MappingProxyType.values, self._classes)))
        self._call, self._of_module = Module.__call__, len(OF_MODULE)
        self.parameters = [x for x in self._contents if type(x) is Value]

    def same(self) -> bool:
        """Whether all is as it was."""
        holders = self._holders
        dicts: list[Any] = list(map(vars, holders))
        if (
            list(map(type, holders)) != self._kinds
            or list(chain.from_iterable(dicts)) != self._names
            or not all(map(is_, chain.from_iterable(map(MappingProxyType.values, self._classes)), self._members))
            or list(map(len, self._classes)) != self._sizes
            or OF_MODULE["__call__"] is not self._call
            or len(OF_MODULE) != self._of_module
        ):
            return False
        if not all(map(is_, chain.from_iterable(map(dict.values, dicts)), self._contents)) and not self._settled(dicts):
            return False
        for container, items in zip(self._containers, self._items):
            now = _items(container)
            if len(now) != len(items) or not all(map(is_, now, items)):
                return False
        return True

    def _settled(self, dicts: list[dict[str, Any]]) -> bool:
        """Whether what is another object is equal, or only a note."""
        now = list(chain.from_iterable(map(dict.values, dicts)))
        for name, a, b in zip(self._names, now, self._contents, strict=True):
            if a is not b and name not in NOTES and (type(a) is not type(b) or not isinstance(a, SIMPLE) or a != b):
                return False
        self._contents = now
        return True


def _items(container: Any) -> list[Any]:
    """What is in a list or dictionary, the names in the latter too."""
    return [*container, *container.values()] if isinstance(container, dict) else list(container)
