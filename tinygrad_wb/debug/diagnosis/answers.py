"""Checks of what goes into the loss: the model's answer, the targets, and whether these are numbers at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.debug.diagnosis.findings import finding, layer_of, listed
from tinygrad_wb.nn.module import Module
from tinygrad_wb.operations.losses import TARGETS
from tinygrad_wb.operations.ranges import TAKES, misfit
from tinygrad_wb.training.checks import all_pairs, results_of
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def wrong_targets(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    """Targets in Values, which a loss takes as they are; plain numbers it refuses."""
    checks = {loss.__name__: check for loss, check in TARGETS.items()}
    for node in graph.made:
        op: Any = node.op
        if op.name in checks:
            try:
                checks[op.name](np.asarray(raw(node.inputs[1])))
            except ValueError as error:
                yield finding("wrong targets", "", str(error))


def pairs(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    results = results_of(graph.model, graph.loss) if isinstance(graph.model, Module) else []
    if words := all_pairs(graph.loss, results):
        yield finding("all pairs", "", words.partition(". ")[0])
