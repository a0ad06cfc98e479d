"""Checks of the gradients: too large, too small, none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_wb.debug.diagnosis.findings import finding, has, layer_of, listed
from tinygrad_wb.debug.diagnosis.graph import largest, rms
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tinygrad_wb.debug.diagnosis.findings import Finding
    from tinygrad_wb.debug.diagnosis.graph import Graph


FADED = 1e-4  # between the last layer and the first, the gradient falls to this
GROWN = 1e3  # … or rises to this; and so many times as large as targets are predictions that learn nothing from them
LARGE = 1e4  # times as long as its weights is a gradient that one step throws anywhere
HUGE = 1e8  # a weight that has been thrown there
OF_NUMBERS = ("mean_squared_error", "mean_absolute_error", "huber")  # losses of a prediction and a target
STUCK = 1e-9  # of its weights' gradient, for each input of 1, is a bias's


def growing(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    if has(found, "dead units", "saturated units", "symmetric units"):
        return
    sizes = [(path, rms(graph.readers[w].grad)) for path, w in graph.weights if graph.readers[w].grad is not None]
    sizes = [(path, size) for path, size in sizes if size > 0.0]
    if len(sizes) > 1:
        (first, early), (last, late) = sizes[0], sizes[-1]
        told = f"from {last!r} back to {first!r} the gradient of a layer's output goes from {late:.2g} to {early:.2g}"
        if early > GROWN * late:
            yield finding("exploding gradients", layer_of(first), told, ratio=early / late)
            return
        if early < FADED * late:
            yield finding("vanishing gradients", layer_of(first), told, ratio=early / late)
            return
    for path, w in graph.weights:
        long, short = rms(raw(w.grad)), graph.size_of(w)
        if long > LARGE * max(short, 1.0):
            words = f"the gradient of {path} is {long / max(short, 1e-300):.1g} times as large as its weights"
            yield finding("exploding gradients", layer_of(path), words, ratio=long / max(short, 1e-300))
            return
        if (size := rms(w._data)) > HUGE:
            yield finding(
                "exploding gradients", layer_of(path), f"the weights {path} are {size:.1g} on average", size=size
            )
            return
    for node in graph.made:
        if node.op.name in OF_NUMBERS:  # type: ignore[union-attr]
            prediction, target = (rms(raw(x)) for x in node.inputs)
            if prediction > GROWN * max(target, 1.0):
                words = f"the predictions are {prediction:.1g} on average, the targets {target:.1g}"
                last = layer_of(graph.weights[-1][0]) if graph.weights else ""
                yield finding("exploding gradients", last, words, prediction=prediction, target=target)
                return


def no_gradient(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    explained = max((f.numbers.get("tick", -1) for f in found), default=-1)
    if has(found, "symmetric units"):
        return
    used = [(path, p) for path, p in graph.parameters if p in graph.behind]
    none = [path for path, p in used if largest(raw(p.grad)) == 0.0 and graph.readers[p].tick > explained]
    if none and len(none) == len(used):
        yield finding("constant loss", "", f"the loss, {raw(graph.loss):.6g}, does not change with any parameter")
        return
    for layer in dict.fromkeys(map(layer_of, none)):
        of_layer = [path for path, _ in used if layer_of(path) == layer]
        if all(path in none for path in of_layer):
            words = f"the gradient of {listed(of_layer)} is 0 everywhere, though the loss was computed from it"
            yield finding("no gradient", layer, words)


def stuck_bias(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    weights = {}  # the gradient of a layer's weights, for each input of 1, as a bias has it
    for path, w in graph.weights:
        x = graph.given_to(w)
        weights[layer_of(path)] = largest(raw(w.grad)) / (largest(x) or 1.0)
    for path, b in graph.parameters:
        g, beside = largest(raw(b.grad)), weights.get(layer_of(path), 0.0)
        if b not in graph.behind or graph.is_last(graph.readers[b]):  # yes and no may balance to the bit there
            continue
        if b.ndim < 2 and g < STUCK * beside:
            words = f"the gradient of {path} is {g:.1g}, though that of the weights beside it is {beside:.1g}"
            yield finding("stuck bias", layer_of(path), words, bias=g, weight=beside)
