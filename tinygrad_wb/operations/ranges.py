"""Which numbers an operation can make, and which numbers a loss takes: where the two don't fit, the user is warned.

A sigmoid makes probabilities. A loss that takes scores, and applies a sigmoid itself, takes them for scores that lie
close together: the model learns slowly, and never becomes sure. The record shows what made a loss's input.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.notices import warn_user
from tinygrad_wb.operation import ALL_AT_ONCE, REGISTRY
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RANGES", "TAKES", "Range", "Takes", "made_by", "misfit", "takes"]


class Range(NamedTuple):
    """The numbers that an operation makes: from ``low`` to ``high``, and ``middle`` where it is undecided."""

    low: float
    high: float
    middle: float

    def __str__(self) -> str:
        if self.low > -math.inf and self.high < math.inf:
            return f"between {self.low:g} and {self.high:g}"
        return f"from {self.low:g} up" if self.low > -math.inf else f"from {self.high:g} down"


ANY = Range(-math.inf, math.inf, 0.0)
PROBABILITIES = Range(0.0, 1.0, 0.5)
LOGARITHMS = Range(-math.inf, 0.0, math.log(0.5))  # of probabilities
BOTH_SIGNS = Range(-1.0, 1.0, 0.0)

# Operations by name. `made_by` finds "clip" only if it clips to [0, 1], and "log" only of probabilities.
RANGES: dict[str, Range] = {
    "affine": ANY, "matmul": ANY, "conv1d": ANY, "conv2d": ANY,
    "sigmoid": PROBABILITIES, "softmax": PROBABILITIES, "clip": PROBABILITIES,
    "log_softmax": LOGARITHMS, "log": LOGARITHMS,
    "tanh": BOTH_SIGNS, "softsign": BOTH_SIGNS, "hard_tanh": BOTH_SIGNS,
    "relu": Range(0.0, math.inf, 0.0),
}  # fmt: skip


# -- what made these numbers ------------------------------------------------------------------------------------------

DEPTH = 8  # operations that `made_by` looks back


def made_by(x: Any, depth: int = DEPTH) -> str:
    """The operation in `RANGES` that made the numbers of ``x``; "" if x has no record, or another operation did.

    It looks through operations that hand on the same numbers, such as a reshape, and through compiled functions. A
    sigmoid or softmax that is written by hand, as in ``1 / (1 + exp(-x))``, is found, too.
    """
    op: Any = x.op if type(x) is Value else None
    if op is None or not x.inputs or not depth:
        return ""
    look = LOOKS.get(op.name)
    if look is not None:
        return look(x, depth - 1)
    if op.arity == ALL_AT_ONCE:
        found: str = x.options["call"].made_by(x.options["result"])
        return found
    return op.name if op.name in RANGES else ""


def _same(x: Value, depth: int) -> str:
    return made_by(x.inputs[0], depth)


def _joined(x: Value, depth: int) -> str:
    name = made_by(x.inputs[0], depth)
    return name if name and all(made_by(part, depth) == name for part in x.inputs) else ""


def _linear(x: Value, depth: int) -> str:
    """Scores, if scores are among what is added or multiplied."""
    names = (made_by(part, depth // 2) for part in x.inputs)  # each level has twice as many parts: few levels
    return next((name for name in names if RANGES.get(name) is ANY), "")


def _difference(x: Value, depth: int) -> str:
    name = made_by(x.inputs[1], depth) if _is(x.inputs[0], 1.0) else ""
    return name if RANGES.get(name) is PROBABILITIES else _linear(x, depth)


def _clipped(x: Value, depth: int) -> str:
    name = made_by(x.inputs[0], depth)
    low, high = x.options["min"], x.options["max"]
    numbers = isinstance(low, (int, float)) and isinstance(high, (int, float))
    return "clip" if numbers and RANGES.get(name) is not PROBABILITIES and low >= 0.0 and high <= 1.0 else name


def _larger(x: Value, depth: int) -> str:
    """The larger of scores and 0 is a relu by hand; of a probability and a small number, a probability."""
    name = _bounded(x, depth)
    return "relu" if RANGES.get(name) is ANY and any(_is(bound, 0.0) for bound in x.inputs) else name


def _bounded(x: Value, depth: int) -> str:
    return next((made_by(a, depth) for a, b in (x.inputs, x.inputs[::-1]) if type(b) is float), "")


def _exponential(x: Value, depth: int) -> str:
    return "softmax" if RANGES.get(made_by(x.inputs[0], depth)) is LOGARITHMS else ""


def _logarithm(x: Value, depth: int) -> str:
    return "log" if RANGES.get(made_by(x.inputs[0], depth)) is PROBABILITIES else ""


def _share(x: Value, depth: int) -> str:
    """A sigmoid or softmax by hand, of an exponential e: 1 / (1 + e), e / (1 + e), e / sum(e)."""
    part, whole = x.inputs
    e = next((e for e in whole.inputs if _of(e) == "exp"), None) if type(whole) is Value else None
    if e is not None:
        of_e = part is e or (_of(part) == "exp" and part.inputs[0] is e.inputs[0])
        if _of(whole) == "add" and any(_is(one, 1.0) for one in whole.inputs) and (of_e or _is(part, 1.0)):
            return "sigmoid"
        if _of(whole) == "sum" and of_e:
            return "softmax"
    return _linear(x, depth)


def _is(x: Any, number: float) -> bool:
    return type(x) is float and x == number


def _of(x: Any) -> str:
    return x.op.name if type(x) is Value and x.op is not None and x.inputs else ""


SAME_NUMBERS = """astype broadcast_to diagonal getitem pick positive repeat reshape roll sort take take_along_axis tile
transpose"""
LOOKS: dict[str, Callable[[Value, int], str]] = {
    **dict.fromkeys(SAME_NUMBERS.split(), _same), **dict.fromkeys(("concatenate", "stack"), _joined),
    **dict.fromkeys(("add", "multiply", "negative", "sum", "mean"), _linear), "subtract": _difference,
    "divide": _share, "clip": _clipped, "maximum": _larger, "minimum": _bounded, "exp": _exponential, "log": _logarithm,
}  # fmt: skip


# -- what a loss takes ------------------------------------------------------------------------------------------------


class Takes(NamedTuple):
    """What a loss takes for its first input, in words; whether numbers of a `Range` can't be that; and what helps."""

    what: str
    wrong: Callable[[Range], bool]
    remedy: str


def _log_probabilities(remedy: str) -> Takes:
    return Takes("log-probabilities, which are at most 0", lambda numbers: numbers.high > 0.0, remedy)


TAKES: dict[str, Takes] = {
    "cross_entropy": Takes(
        "scores and applies softmax itself",
        lambda numbers: numbers.low > -math.inf and numbers.high < math.inf,
        "the loss can't fall to 0. Leave {by} out at the end of the model; for probabilities take wb.softmax(model(x))",
    ),
    "binary_cross_entropy": Takes(
        "scores of both signs and applies sigmoid itself",
        lambda numbers: numbers.low > -math.inf or numbers.high < math.inf,
        "the loss can't fall to 0. Leave {by} out at the end of the model; for probabilities take wb.sigmoid(model(x))",
    ),
    "hinge_loss": Takes(
        "scores of both signs",
        lambda numbers: numbers.low > -1.0 or numbers.high < 1.0,
        "the loss can't fall to 0. Leave {by} out at the end of the model",
    ),
    "negative_log_likelihood": _log_probabilities(
        "take wb.cross_entropy(scores, labels), or give wb.log_softmax(scores)"
    ),
    "kl_divergence": _log_probabilities("give wb.log_softmax(scores)"),
}


def misfit(loss: str, x: Any) -> str:
    """What is wrong with giving ``x`` to a loss, in words; "" if nothing is."""
    by = made_by(x)
    if not by or not TAKES[loss].wrong(RANGES[by]):
        return ""
    numbers, (what, _, remedy) = RANGES[by], TAKES[loss]
    if numbers is ANY:  # also by an operation after it, such as scores less their logsumexp
        if not np.max(raw(x)) > 1e-6:
            return ""
        lie = "are scores above 0"
    else:
        lie = f"lie {numbers}"
    name = REGISTRY[loss].inputs[0]
    return f"{loss} takes {what}, but its {name} come from {by} and {lie}: {remedy.format(by=by)}"


def takes(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Make a loss warn of an input that its record shows to be something else than the loss takes."""
    name = loss.__name__
    first = REGISTRY[name].inputs[0]
    fine = {op for op, numbers in RANGES.items() if op not in LOOKS and not TAKES[name].wrong(numbers)}

    @functools.wraps(loss)
    def call(*args: Any, **given: Any) -> Any:
        x = args[0] if args else given.get(first)
        if type(x) is Value and x.op is not None and x.op.name not in fine and (words := misfit(name, x)):
            warn_user(words)
        return loss(*args, **given)

    REGISTRY[name].function = call
    return call
