"""Where random generators stand, and how to let them go on from there again."""

from __future__ import annotations

import functools
import random
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["generators_around", "put_back", "states"]

KINDS = (np.random.Generator, np.random.RandomState, random.Random)
PLAIN = (type(None), bool, int, float, complex, str, bytes, np.ndarray, np.generic, type, types.ModuleType)


def states(generators: Iterable[Any]) -> list[Any]:
    """Where each random generator stands."""
    return [g.getstate() if isinstance(g, random.Random) else _bits(g).state for g in generators]


def put_back(generators: Iterable[Any], before: Sequence[Any]) -> None:
    """Let each random generator go on from where it stood."""
    for g, state in zip(generators, before, strict=True):
        if isinstance(g, random.Random):
            g.setstate(state)
        else:
            _bits(g).state = state


def _bits(generator: Any) -> Any:
    return generator.bit_generator if isinstance(generator, np.random.Generator) else generator._bit_generator


def generators_around(*roots: Any) -> list[Any]:
    """The random generators that models and functions hold, and the global ones of NumPy and `random`.

    They are looked for in attributes, lists and dictionaries, in the variables that a function closes over, and in the
    global variables that it names. What lies elsewhere, such as in another module, is not found.

    >>> import numpy as np
    >>> from tinygrad_wb.random_state import generators_around, put_back, states
    >>> rng = np.random.default_rng(0)
    >>> around = generators_around(lambda x: x + rng.normal())
    >>> before, first = states(around), rng.normal()
    >>> put_back(around, before)
    >>> rng.normal() == first
    True
    """
    found: list[Any] = [np.random.mtrand._rand, random._inst]
    ahead, seen = list(roots), set[int]()
    for x in ahead:  # grows as it goes
        if isinstance(x, PLAIN) or id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, KINDS):
            found += [] if isinstance(x, random.SystemRandom) or any(x is g for g in found) else [x]
        else:
            ahead += _inside(x)
    return found


def _inside(x: Any) -> Iterable[Any]:
    """What an object holds, where generators are looked for."""
    if isinstance(x, (list, tuple, set, frozenset)):
        return x
    if isinstance(x, dict):
        return x.values()
    if isinstance(x, types.MethodType):
        return (x.__self__, x.__func__)
    if isinstance(x, functools.partial):
        return (x.func, *x.args, *x.keywords.values())
    if isinstance(x, types.FunctionType):
        cells = [cell.cell_contents for cell in x.__closure__ or () if _is_assigned(cell)]
        names = [] if inside[x.__code__.co_filename] else _names(x.__code__)
        named = [x.__globals__[name] for name in names if name in x.__globals__]
        return (*cells, *named, *(x.__defaults__ or ()), *vars(x).values())
    return getattr(x, "__dict__", {}).values()


def _names(code: types.CodeType) -> list[str]:
    """The names in a function's code, and in that of the functions inside it."""
    inner = [name for const in code.co_consts if isinstance(const, types.CodeType) for name in _names(const)]
    return [*code.co_names, *inner]


def _is_assigned(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - which raises if not
    except ValueError:
        return False
    return True
