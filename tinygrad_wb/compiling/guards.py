"""Guards: what a module of the package reads besides its arguments, and whether it is as it was.

A module of the package reads its attributes, those of the modules inside it, and its class. All are held here, so that
no other object can come to have the identity of one of them.
"""

from __future__ import annotations

from itertools import chain
from operator import is_
from types import FunctionType
from typing import Any

import numpy as np

from tinygrad_wb.nn.module import NOTES, Module
from tinygrad_wb.value import Value

__all__ = ["Guard", "guard_of", "is_ours"]

READ = ("forward", "__call__", "training")  # of a class
SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
FIXED = (*SIMPLE, Value, np.ndarray, np.random.Generator)  # Values and arrays are known by identity


def is_ours(x: Any) -> bool:
    """Whether a class or function is the package's own."""
    return str(getattr(x, "__module__", "")).startswith("tinygrad_wb.")


def guard_of(module: Module) -> Guard | None:
    """A guard over ``module``; None if there is anything in it that is not the package's own."""
    holders: list[Any] = []
    containers: list[Any] = []
    met: set[int] = set()
    ahead: list[Any] = [module]
    for x in ahead:  # grows as it goes
        if isinstance(x, FIXED) or id(x) in met:
            continue
        met.add(id(x))
        if isinstance(x, (list, tuple, dict)) and type(x) in (list, tuple, dict):
            items = list(x.values() if isinstance(x, dict) else x)
            containers += [x] if type(x) is not tuple else []
            ahead += items
        elif isinstance(x, (FunctionType, type)):
            if not is_ours(x):
                return None
        elif is_ours(type(x)) and hasattr(x, "__dict__"):
            if not NAMES_OF_METHODS.isdisjoint(vars(x)) and isinstance(x, Module):
                return None
            holders.append(x)
            ahead += [content for name, content in vars(x).items() if name not in NOTES]
        else:
            return None
    return Guard(holders, containers)


NAMES_OF_METHODS = frozenset(name for name in dir(Module) if callable(getattr(Module, name)))


class Guard:
    """The settings of a module, and of all that is inside it. `same` is asked in each call."""

    def __init__(self, holders: list[Any], containers: list[Any]) -> None:
        self._holders = holders
        self._kinds = list(map(type, holders))
        self._dicts = list(map(vars, holders))
        self._names = list(chain.from_iterable(self._dicts))
        self._contents = list(chain.from_iterable(map(dict.values, self._dicts)))
        self._containers = containers
        self._items = list(map(_items, containers))
        kinds = dict.fromkeys(kind for kind in self._kinds if issubclass(kind, Module))
        self._read = [(cls, name, getattr(cls, name)) for cls in kinds for name in READ]

    def same(self) -> bool:
        """Whether all is as it was."""
        dicts = self._dicts
        if not all(map(is_, chain.from_iterable(map(dict.values, dicts)), self._contents)) and not self._settled():
            return False
        if list(chain.from_iterable(dicts)) != self._names or list(map(type, self._holders)) != self._kinds:
            return False
        for cls, name, member in self._read:
            if getattr(cls, name) is not member:
                return False
        for container, items in zip(self._containers, self._items):
            if len(container) != len(items) or not all(map(is_, _items(container), items)):
                return False
        return True

    def _settled(self) -> bool:
        """Whether what is another object is equal, or only a note."""
        now = list(chain.from_iterable(map(dict.values, self._dicts)))
        if len(now) != len(self._contents):
            return False
        for name, a, b in zip(self._names, now, self._contents, strict=True):
            if a is not b and name not in NOTES:
                if type(a) is not type(b) or not isinstance(a, SIMPLE) or a != b:
                    return False
        self._contents = now
        return True


def _items(container: Any) -> list[Any]:
    """What is in a list or dictionary, the names in the latter too."""
    return [*container, *container.values()] if isinstance(container, dict) else list(container)
