"""The errors that this package raises on its own account, and failed operations told in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.value import NO_OPTIONS, Value, raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tinygrad_wb.operation import Operation

__all__ = ["Failed", "GradientError", "LoadError", "ShapeError", "StaleGraphError"]


class ShapeError(ValueError):
    """Shapes do not fit together; the message restates the call, the shapes and the remedy."""


class StaleGraphError(RuntimeError):
    """What an operation had read got new data afterwards: its gradient would be wrong."""


class GradientError(AssertionError):
    """``check_gradients`` found a derivative that finite differences contradict."""


class LoadError(ValueError):
    """A file is damaged, or holds something else than what it was to be loaded into; nothing was changed."""


class Failed(NamedTuple):
    """The operation that an error comes from, which has it as ``failed``: so the graph behind it can be drawn."""

    op: Operation
    inputs: tuple[Any, ...]
    options: Mapping[str, Any]


REMEDIES = {  # for what NumPy's linear algebra says
    "Singular matrix": "; it has no inverse: use pinv, or add a small multiple of np.eye(n)",
    "not positive definite": "; add a multiple of np.eye(n) that is larger than what is missing",
    "did not converge": "; look for nan and inf in it",
    "must be square": "; the last two lengths must be equal",
    "at least two-dimensional": "; a matrix has two axes",
    "float16 is unsupported": "; compute in float32: v.astype('float32')",
}


def explained(
    error: Exception, op: Operation, inputs: tuple[Any, ...], options: Mapping[str, Any] = NO_OPTIONS
) -> Exception:
    """The error of a failed forward, as one that restates the call, the shapes and the remedy."""
    told: Any = error if isinstance(error, ShapeError) else _explained(error, op, inputs, options)
    told.failed = Failed(op, inputs, options)
    return told  # type: ignore[no-any-return]


def _explained(error: Exception, op: Operation, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Exception:
    names = op.inputs if not op.variadic else tuple(f"part {i}" for i in range(len(inputs)))
    shapes = [_shape(x) for x in inputs]
    call = f"{op.name}({', '.join(_called(n, x) for n, x in zip(names, inputs, strict=True))}"
    call += "".join(f", {k}={v!r:.80}" for k, v in options.items() if k != "shared") + ")"
    for kind in (np.linalg.LinAlgError, TypeError, IndexError):
        if isinstance(error, kind):
            remedy = next((remedy for words, remedy in REMEDIES.items() if words in str(error)), "")
            return kind(f"{call}: {error}{remedy}")
    if op.arity == 2 and _clash(shapes):
        return ShapeError(f"{call}: these shapes don't broadcast.\n{drawn(names, shapes)}")
    return ShapeError(f"{call}: {error}")


def _shape(x: Any) -> tuple[int, ...]:
    try:
        return np.shape(raw(x))
    except ValueError:  # rows of different lengths: the error is about that
        return ()


def _called(name: str, x: Any) -> str:
    label = f"{name}={x.name!r:.80}" if isinstance(x, Value) and x.name else name
    shape = _shape(x)
    return f"{label}: {'number' if shape == () else f'shape {shape}'}"


def _clash(shapes: list[tuple[int, ...]]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return True
    return False


def drawn(names: tuple[str, ...], shapes: list[tuple[int, ...]]) -> str:
    """Shapes right-aligned under one another, as broadcasting compares them, with the clash marked."""
    width = max(map(len, shapes))
    columns = [[""] * (width - len(s)) + [str(n) for n in s] for s in shapes]
    clash = [len({n for n in column if n not in ("", "1")}) > 1 for column in zip(*columns, strict=True)]
    cells = [max(map(len, column)) for column in zip(*columns, strict=True)]
    left = max(map(len, names))
    lines = [
        f"    {name:<{left}}   " + "   ".join(text.rjust(cell) for text, cell in zip(row, cells, strict=True))
        for name, row in zip(names, columns, strict=True)
    ]
    marks = "   ".join(("^" * cell if bad else " " * cell) for bad, cell in zip(clash, cells, strict=True))
    lines.append(f"    {'':<{left}}   {marks}".rstrip())
    return (
        "\n".join(lines) + "\nCompared from the right, two lengths must be equal or one of them 1: reshape one of them."
    )
