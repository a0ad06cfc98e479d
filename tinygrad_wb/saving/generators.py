"""Random generators: where they stand, as JSON, and set to stand there again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tinygrad_wb.saving.fitting import Fitting

__all__ = ["fit_generators", "generators_in", "standing"]

# The largest that a number in a state may be, where it is not a word of 64 bits: an index beyond its array would have
# NumPy read memory that is not its own.
LIMITS = {
    "has_uint32": 1, "uinteger": 2**32 - 1,
    "PCG64.state.state": 2**128 - 1, "PCG64.state.inc": 2**128 - 1,
    "PCG64DXSM.state.state": 2**128 - 1, "PCG64DXSM.state.inc": 2**128 - 1,
    "MT19937.state.key": 2**32 - 1, "MT19937.state.pos": 624,
    "Philox.buffer_pos": 4,
}  # fmt: skip


def generators_in(model: Any) -> Iterator[tuple[str, np.random.Generator]]:
    """Path and generator of each that a Module in ``model`` holds as an attribute, such as Dropout's; each once."""
    seen: set[int] = set()
    for path, module in model.named_modules() if isinstance(model, Module) else ():
        for name, member in vars(module).items():
            if isinstance(member, np.random.Generator) and id(member.bit_generator) not in seen:
                seen.add(id(member.bit_generator))
                yield f"{path}.{name}" if path else name, member


def standing(generator: np.random.Generator) -> Any:
    """The state of a generator as JSON has it."""
    return _plain(generator.bit_generator.state)


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {name: _plain(part) for name, part in x.items()}
    return x.tolist() if isinstance(x, np.ndarray) else x if isinstance(x, str) else int(x)


def _could_be(state: Any, generator: np.random.Generator) -> bool:
    """Whether ``state`` is one that the generator could have come to."""
    like = standing(generator)
    return _fits(state, like, like["bit_generator"])


def _fits(new: Any, like: Any, path: str) -> bool:
    if type(new) is not type(like):
        return False
    if isinstance(like, dict):
        return new.keys() == like.keys() and all(_fits(new[name], like[name], f"{path}.{name}") for name in like)
    if isinstance(like, list):
        return len(new) == len(like) and all(_fits(a, b, path) for a, b in zip(new, like, strict=True))
    if isinstance(like, str):
        return bool(new == like)
    return bool(0 <= new <= LIMITS.get(path, LIMITS.get(path.rpartition(".")[2], 2**64 - 1)))


def _put(generator: np.random.Generator, state: Any) -> None:
    """Let a generator go on from ``state``, that it `_could_be` in."""
    generator.bit_generator.state = state


def fit_generators(fitting: Fitting, told: Any, generators: Mapping[str, np.random.Generator]) -> None:
    """Let each generator go on from the state that the file tells of it."""
    states = told if isinstance(told, dict) else {}
    for name, generator in generators.items():
        if name not in states:
            fitting.problem(f"the state of the random generator {name!r} is missing")
        elif not _could_be(states[name], generator):
            kind = type(generator.bit_generator).__name__
            fitting.problem(f"the state of the random generator {name!r} is none of a {kind}")
        else:
            fitting.then(partial(_put, generator, states[name]))
