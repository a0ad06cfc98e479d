"""What the first batch of a training shows: an optimizer of other weights, and a loss of all pairs by accident."""

from __future__ import annotations

import inspect
import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tinygrad_wb.nn.calls import notes_on
from tinygrad_wb.nn.module import Module
from tinygrad_wb.notices import warn_user
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinygrad_wb.optimizers import Optimizer

__all__ = ["all_pairs", "check_optimizer", "parameters_of", "results_of", "warn_of_late"]


# -- the optimizer and the model ---------------------------------------------------------------------------------------


def parameters_of(model: Any) -> dict[Value, str]:
    """The paths of the parameters of a Module, compiled or not; of any other function, none are known."""
    whole = inspect.unwrap(model)
    return {p: path for path, p in whole.named_parameters()} if isinstance(whole, Module) else {}


def check_optimizer(model: Any, before: dict[Value, str], optimizer: Optimizer) -> dict[Value, str]:
    """After the first ``backward()``: ``ValueError`` if the optimizer holds weights of something else than the model.

    Parameters that the optimizer does not have are left as they are on purpose, unless they were made by the first
    call, and were not ``before``: these are returned, for `warn_of_late`. A weight that is not the model's, but the
    loss's own, gets a gradient.
    """
    now, held = parameters_of(model), set(optimizer.parameters)
    strangers = [p.name or f"number {i}" for i, p in enumerate(optimizer.parameters) if p.grad is None and p not in now]
    if now and strangers:
        few = "some weights that are" if held & now.keys() else "none of the model's parameters, but weights that are"
        raise ValueError(
            f"the optimizer holds {few} not in the model, and the loss has no gradient for {', '.join(strangers)}: the "
            "model was made, changed, copied or loaded after the optimizer. Make the optimizer of the model as it is "
            f"now: wb.{type(optimizer).__name__}(model.parameters(), …)"
        )
    return {p: path for p, path in now.items() if p not in before and p not in held}


def warn_of_late(model: Any, late: dict[Value, str]) -> None:
    """After the second ``backward()``: warn of ``late`` parameters that are still there.

    Those that each call makes anew are not weights but a state that is carried on: ``self.h = wb.Value(h.data)``.
    """
    now = parameters_of(model)
    if paths := [path for p, path in late.items() if p in now]:
        warn_user(
            f"the model made {', '.join(paths)} in its first call, after the optimizer was made, so they are not "
            "trained: call the model once, model(x[:1]), before you make the optimizer"
        )


# -- the loss -------------------------------------------------------------------------------------------------------


def all_pairs(loss: Any, predictions: Iterable[Any]) -> str:
    """What is wrong if a loss compares every prediction with every target by accident; "" if it does not.

    That is an operation on numbers one by one, between what comes from ``predictions`` and what does not, of as many
    numbers each, in shapes such as (n, 1) and (n,), which broadcast to (n, n). Axes that were put there, as in
    ``y[None, :]``, say that all pairs are meant.
    """
    behind = {p for p in predictions if isinstance(p, Value)}
    if not isinstance(loss, Value) or not behind:
        return ""
    for node in _made_since(loss, min(p.tick for p in behind)):
        from_prediction = [isinstance(x, Value) and x in behind for x in node.inputs]
        if any(from_prediction):
            behind.add(node)
        if len(from_prediction) == 2 and from_prediction[0] is not from_prediction[1]:
            ours, other = (node.inputs[from_prediction.index(side)] for side in (True, False))
            a, b = _shape(ours), _shape(other)
            if len(a) != len(b) and 1 < math.prod(a) == math.prod(b) < node.size:
                op: Any = node.op
                one_shape = ", ".join(map(str, (-1, *a[1:])))
                return (
                    f"the loss compares all pairs: {op.name} of the prediction's {a} and {b} broadcasts to "
                    f"{node.shape}. Give both one shape, such as y.reshape({one_shape}); if all pairs are meant, give "
                    "both as many axes, as y[None, :] does"
                )
    return ""


def results_of(model: Module, loss: Value) -> list[Value]:
    """The Values behind a loss that calls of ``model`` returned."""
    made = [loss, *_made_since(loss, -1)]
    return [node for node in made if any(call[0]() is model for call in notes_on(node))]


def _made_since(result: Value, tick: int) -> list[Value]:
    """The operations behind ``result`` that are younger than ``tick``, in order."""
    ahead, met = [result], {result}
    while ahead:
        for x in ahead.pop().inputs:
            if isinstance(x, Value) and x.tick > tick and x not in met:
                met.add(x)
                ahead.append(x)
    return sorted((x for x in met if x.inputs), key=attrgetter("tick"))


def _shape(x: Any) -> tuple[int, ...]:
    return getattr(x, "shape", ())
