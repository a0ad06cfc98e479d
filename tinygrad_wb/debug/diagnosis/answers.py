"""Checks of what goes into the loss: the model's answer, the targets, and whether these are numbers at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.debug.diagnosis.findings import finding, layer_of, listed
from tinygrad_wb.operations.ranges import TAKES, misfit
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tinygrad_wb.debug.diagnosis.findings import Finding
    from tinygrad_wb.debug.diagnosis.graph import Graph


def not_finite(graph: Graph) -> Iterator[Finding]:
    """The first of the loss, the gradients and the weights that is nan or inf: it spreads to what comes after it."""
    weights = [path for path, p in graph.parameters if not np.isfinite(p._data).all()]
    gradients = [path for path, p in graph.parameters if p.grad is not None and not np.isfinite(raw(p.grad)).all()]
    if not graph.finite:
        bad = next((node for node in graph.made if not np.isfinite(node._data).all()), None)
        words = f"the loss is {raw(graph.loss)}"
        if weights:
            words += f"; so are weights: {listed(weights)}"
        elif bad is not None:
            path, label = graph.layer(bad)
            words += f"; the first result that is not finite was made by {bad.op.name if bad.op else ''}"
            words += f" in {label}" if path else ""
        yield finding("loss not finite", "", words)
    elif gradients:
        words = f"the loss is {raw(graph.loss):.6g}, but the gradient is nan or inf of {listed(gradients)}"
        yield finding("gradient not finite", layer_of(gradients[0]), words)
    elif weights:
        words = f"the loss was {raw(graph.loss):.6g}, but now weights are nan or inf: {listed(weights)}"
        yield finding("weights not finite", layer_of(weights[0]), words)


def wrong_loss_input(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    for node in graph.made:
        op: Any = node.op
        answer = node.inputs[0]
        if op.name in TAKES and type(answer) is Value and (words := misfit(op.name, answer)):
            path, _ = graph.layer(answer)
            yield finding("wrong loss input", path, words.partition(": ")[0])


def _distributions(rows: Any) -> Any:
    return (rows >= 0.0) & np.isclose(rows.sum(axis=-1, keepdims=True), 1.0, atol=1e-3)


# What the targets of a loss must be: a function that says so of each, and the words for it.
TARGETS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "binary_cross_entropy": (lambda y: (y >= 0.0) & (y <= 1.0), "from 0 to 1"),
    "hinge_loss": (lambda y: np.abs(y) == 1.0, "-1 or 1"),
    "kl_divergence": (_distributions, "probabilities that add up to 1 in each row"),
}


def wrong_targets(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    for node in graph.made:
        op: Any = node.op
        if op.name in TARGETS:
            right, what = TARGETS[op.name]
            targets = np.asarray(raw(node.inputs[1]))
            wrong = targets[~np.broadcast_to(right(targets), targets.shape)]
            if wrong.size:
                words = f"{op.name} takes targets that are {what}, but {wrong.size} of {targets.size} are not"
                yield finding("wrong targets", "", f"{words}, such as {wrong.flat[0]:g}", wrong=wrong.size)
