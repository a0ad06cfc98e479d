"""What a function reads besides its arguments: variables around it, settings of the modules that it calls.

A compiled function is a record of one run. Numbers, texts and the like that it read then are frozen in it, so every
call looks whether they are still the same, and records anew if not.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import Module
from tinygrad_wb.recording import PACKAGE
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Surroundings"]

MISSING = object()
SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic)
LIBRARIES = ("numpy", "tinygrad_wb", "builtins", "math", "random", "collections", "itertools", "functools")


class Surroundings:
    """A snapshot of the names and contents that a function can see.

    ``arrays`` are the plain arrays among them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._names: list[tuple[dict[str, Any], str, Any]] = []
        self._cells: list[tuple[Any, Any]] = []
        self._contents: list[tuple[Any, Any]] = []
        self.arrays: dict[int, Any] = {}
        self._seen: set[int] = set()
        self._look(function)

    def same(self) -> bool:
        """Whether everything is as it was."""
        for names, name, content in self._names:
            if names.get(name, MISSING) is not content and not _equal(names.get(name, MISSING), content):
                return False
        for cell, content in self._cells:
            if cell.cell_contents is not content and not _equal(cell.cell_contents, content):
                return False
        return all(len(now) == len(then) and all(map(_is, now, then)) for now, then in self._contents)

    def _look(self, x: Any) -> None:
        """Note what can be seen from ``x``."""
        if id(x) in self._seen or isinstance(x, (*SIMPLE, Value, type, types.ModuleType)):
            return
        self._seen.add(id(x))
        if isinstance(x, np.ndarray):
            self.arrays[id(x)] = x
        elif isinstance(x, types.MethodType):
            self._look(x.__self__)
            self._look(x.__func__)
        elif isinstance(x, types.FunctionType):
            self._look_around(x)
        elif isinstance(x, (list, tuple, set, frozenset, dict)):
            items = list(x.values()) if isinstance(x, dict) else list(x)
            if isinstance(x, (list, dict)):
                self._contents.append((x.values() if isinstance(x, dict) else x, items))
            for item in items:
                self._look(item)
        elif hasattr(x, "__dict__") and not _of_a_library(type(x)):
            self._look_into(x)

    def _look_around(self, function: types.FunctionType) -> None:
        """The variables that a function's code names, outside of it."""
        for cell in function.__closure__ or ():
            try:
                self._cells.append((cell, cell.cell_contents))
            except ValueError:  # not assigned yet
                continue
            self._look(cell.cell_contents)
        if function.__code__.co_filename.startswith(PACKAGE):
            return
        for content in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._look(content)
        for name in _names_in(function.__code__):
            if name in function.__globals__:
                content = function.__globals__[name]
                if not isinstance(content, types.ModuleType):
                    self._names.append((function.__globals__, name, content))
                self._look(content)
        if hasattr(function, "__wrapped__"):
            self._look(function.__wrapped__)

    def _look_into(self, x: Any) -> None:
        """An object's attributes, and the methods of its class, which the function may call."""
        for name, content in list(vars(x).items()):
            if name == "_path":  # where a Module stands in its model: nothing is computed from it
                continue
            self._names.append((vars(x), name, content))
            self._look(content)
        if isinstance(x, Module):
            self._names.append((vars(x), "training", vars(x).get("training", MISSING)))
        for part in vars(type(x)).values():
            if isinstance(part, types.FunctionType) and part.__name__ != "__init__":
                self._look(part)


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if inspect.iscode(inner):
            yield from _names_in(inner)


def _of_a_library(kind: type) -> bool:
    return kind.__module__.split(".")[0] in LIBRARIES and not issubclass(kind, Module)


def _is(now: Any, then: Any) -> bool:
    return now is then or _equal(now, then)


def _equal(now: Any, then: Any) -> bool:
    """Whether two simple things are the same; all others count as changed when they are others."""
    return isinstance(now, SIMPLE) and type(now) is type(then) and (now == then or (now != now and then != then))
