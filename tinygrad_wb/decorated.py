"""Functions made from functions: they look like the function that they were made from, and go to other processes.

Python pickles a function as its module and its name. `compile` and `grad` return objects; one that a decorator put in
the place of the function is pickled by the same name, any other as what made it, and of which function.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Decorated", "Derived", "derived"]


class Decorated:
    """An object that is called in place of ``function``; ``maker(*arguments)`` makes it again in another process."""

    def __init__(self, function: Callable[..., Any], maker: Callable[..., Any], *arguments: Any) -> None:
        functools.update_wrapper(self, function, updated=())
        self._made = maker, arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)  # as a method, like any function

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = getattr(self, "__qualname__", "")
        if _found(self.__module__, name) is self and not (self.__module__ == "__main__" and _taken_along()):
            return name
        return self._made


def _found(module: str, name: str) -> Any:
    """What has this name in a module; None if nothing has."""
    content: Any = sys.modules.get(module)
    for part in name.split("."):
        content = getattr(content, part, None)
    return content


def _taken_along() -> bool:
    """Whether it is cloudpickle that asks, as under Ray and Dask: it takes the functions of a script along whole,
    because the script's names are not known elsewhere.
    """
    frame = sys._getframe()
    while frame is not None:
        if "cloudpickle" in frame.f_globals.get("__name__", ""):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


class Derived(Decorated):
    """A function that ``call`` computes."""

    def __init__(self, call: Callable[..., Any], function: Callable[..., Any], *made: Any) -> None:
        super().__init__(function, *made)
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __repr__(self) -> str:
        maker, (function, *_) = self._made
        return f"<{maker.__name__} of {getattr(function, '__name__', function)!s}>"


def derived(maker: Callable[..., Any], function: Callable[..., Any], *more: Any) -> Callable[..., Derived]:
    """Decorate what ``maker(function, *more)`` returns."""
    return lambda call: Derived(call, function, maker, function, *more)
