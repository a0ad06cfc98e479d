"""What can be drawn: Values, a model or function with an example, an error that an operation raised."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_wb.draw.outline import in_order
from tinygrad_wb.errors import Failed
from tinygrad_wb.nn.module import Module
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.recording import recording, source_lines
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

__all__ = ["Target", "target_of"]


class Target(NamedTuple):
    """The ends of what is to be drawn (Values, or an operation that failed), its variables, and the error if any."""

    ends: list[Any]
    variables: Mapping[int, str]
    error: str = ""


def target_of(target: Any, example: tuple[Any, ...], frame: FrameType | None) -> Target:
    """What is behind the first argument of `draw`; ``TypeError`` with a remedy for what can't be drawn."""
    variables = variables_in(frame)
    if isinstance(target, BaseException):
        return _failed(target, variables)
    if example or (callable(target) and not isinstance(target, Module)):
        return _called(target, example, variables, frame)
    ends = list(_values(target))
    if not ends:
        raise TypeError(
            f"draw takes a Value, such as a loss, or a model or function with an example of what it is called with: "
            f"draw(model, x); got {type(target).__name__}. A plain number or array has no history to draw"
        )
    return Target(ends, variables)


def _values(x: Any) -> Iterator[Value]:
    """The Values in nested lists, tuples and dictionaries."""
    if type(x) is Value:
        yield x
    elif isinstance(x, (list, tuple, dict)):
        for part in x.values() if isinstance(x, dict) else x:
            yield from _values(part)


def _called(function: Any, example: tuple[Any, ...], variables: Mapping[int, str], frame: FrameType | None) -> Target:
    """The graph of one call; of a compiled function, what it does and not that it is one operation."""
    if not callable(function):
        raise TypeError(
            f"draw({type(function).__name__}, …): an example is for a model or a function to be called with"
        )
    function = getattr(function, "function", function) if not isinstance(function, Module) else function
    with recording(True), source_lines(), _generators_as_before(function):
        try:
            result = function(*example)
        except Exception as error:
            if not _failures(error):
                raise
            return _failed(error, variables)
    ends = list(_values(result))
    if not ends:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(
            f"draw({name}, …): the call gave {type(result).__name__}, and no Value; is the example right? "
            "A function is drawn with what it is to be called with, draw(f, x)"
        )
    for value in in_order(ends):
        if frame is not None and getattr(value, "place", None) == (frame.f_code, frame.f_lasti):
            del value._place  # the call of `draw` itself, which says nothing of what was computed
    return Target(ends, variables)


@contextlib.contextmanager
def _generators_as_before(function: Any) -> Iterator[None]:
    """Layers that draw random numbers go on, after the block, from where they stood."""
    modules = [module for _, module in function.named_modules()] if isinstance(function, Module) else []
    states = [
        (module.rng.bit_generator, module.rng.bit_generator.state) for module in modules if hasattr(module, "rng")
    ]
    try:
        yield
    finally:
        for generator, state in states:
            generator.state = state


def _failed(error: BaseException, variables: Mapping[int, str]) -> Target:
    found = _failures(error)
    if not found:
        raise TypeError(
            f"draw({type(error).__name__}): this error does not come from an operation on Values, so there is no graph "
            "behind it"
        ) from error
    return Target(found[:1], variables, f"{type(error).__name__}: {error}")


def _failures(error: BaseException | None) -> list[Failed]:
    """The operations that failed, of an error and those that it was raised in the handling of, the first one first."""
    found: list[Failed] = []
    while error is not None:
        if isinstance(failed := getattr(error, "failed", None), Failed):
            found.insert(0, failed)
        error = error.__cause__ or error.__context__
    return found
