"""Checks of what the units of a layer do: all the same, nothing, or no more than one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.debug.diagnosis.findings import finding, has, layer_of
from tinygrad_wb.debug.diagnosis.graph import largest
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tinygrad_wb.debug.diagnosis.findings import Finding
    from tinygrad_wb.debug.diagnosis.graph import Graph


DEAD = 0.8  # of a layer's units give 0 for every row …
DEAD_OF_FEW = 0.95  # … of fewer than ROWS rows
ROWS = 8
FLAT = 0.05  # a slope below this part of the steepest is flat
SATURATED = 0.9  # of a layer's outputs are where the function is flat
CERTAIN = 0.99  # a probability
WRONG = 0.5  # above this loss, certain predictions are wrong


def symmetric(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    first = True
    for path, w in graph.weights:
        g = raw(w.grad)
        if w.ndim != 2 or w.shape[1] < 2 or (not first and not largest(g)):  # of units that give 0, all gradients are 0
            continue
        if np.ptp(w._data, axis=1).max() == 0.0 and np.ptp(g, axis=1).max() <= 1e-9 * largest(g):
            first = False
            words = f"all {w.shape[1]} units of {layer_of(path)!r} have the same weights and the same gradient"
            yield finding("symmetric units", layer_of(path), words, units=w.shape[1])


def dead(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    if has(found, "symmetric units"):
        return
    for path, label, node, nodes in graph.outputs(_is_relu):
        y = np.concatenate([n._data.reshape(-1, n.shape[-1]) for n in nodes])
        dead = int((y == 0.0).all(axis=0).sum())
        if dead and dead >= (DEAD if len(y) >= ROWS else DEAD_OF_FEW) * y.shape[1]:
            words = f"{dead} of the {y.shape[1]} units of {label} give 0 for each of {len(y)} rows, and get no gradient"
            next_ = min((r.tick for r in graph.readers.values() if r.tick > node.tick), default=node.tick)
            yield finding("dead units", path, words, dead=dead, units=y.shape[1], tick=next_)  # its inputs are 0


def _is_relu(node: Value) -> bool:
    op: Any = node.op
    return op.name == "relu" or (op.name == "maximum" and any(type(x) is float and x == 0.0 for x in node.inputs))


SLOPES = {"tanh": lambda y: 1.0 - y * y, "sigmoid": lambda y: 4.0 * y * (1.0 - y)}  # as parts of the steepest


def saturated(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    for path, label, node, nodes in graph.outputs(lambda node: node.op.name in SLOPES):  # type: ignore[union-attr]
        op: Any = node.op
        flat = np.concatenate([(SLOPES[op.name](n._data) < FLAT).ravel() for n in nodes])
        if flat.mean() > SATURATED and (not graph.is_last(node) or _wrong(graph)):
            words = f"{flat.mean():.0%} of the outputs of {label} are where {op.name} is flat: no gradient gets through"
            yield finding("saturated units", path, words, share=float(flat.mean()), tick=node.tick)
    for path, label, node, function, probability in _answers(graph):
        certain = float((probability > CERTAIN).mean())
        if certain > SATURATED and _wrong(graph):
            words = (
                f"of the scores of {label}, {function} is certain (above {CERTAIN}) in {certain:.0%} of rows, though "
                f"the loss is {raw(graph.loss):.3g}"
            )
            yield finding("saturated units", path, words, share=certain, tick=node.tick)


def _answers(graph: Graph) -> Iterator[tuple[str, str, Value, str, Any]]:
    """The larger probability in each row, wherever a softmax or sigmoid is taken of scores, and which of the two."""
    for node in graph.made:
        op: Any = node.op
        scores = node.inputs[0]
        if op.name in ("softmax", "log_softmax"):
            top = np.max(node._data, axis=node.options["axis"])
            path, label = graph.layer(node) if node in graph.calls else graph.layer(scores)
            yield path, label, node, "softmax", top if op.name == "softmax" else np.exp(top)
        elif op.name == "cross_entropy" and type(scores) is Value:
            z = scores._data - np.max(scores._data, axis=-1, keepdims=True)
            yield *graph.layer(scores), node, "softmax", 1.0 / np.exp(z).sum(axis=-1)
        elif op.name == "binary_cross_entropy" and type(scores) is Value:
            yield *graph.layer(scores), node, "sigmoid", 1.0 / (1.0 + np.exp(-np.abs(scores._data)))


def _wrong(graph: Graph) -> bool:
    return float(raw(graph.loss)) > WRONG
