"""The graph of a loss as the checks of `diagnose` see it."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.calls import calls_around
from tinygrad_wb.nn.module import Module
from tinygrad_wb.operation import ALL_AT_ONCE
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tinygrad_wb.optimizers import Optimizer

__all__ = ["Graph", "largest", "rms"]


class Graph:
    """The operations behind a loss, in order, with the parameters, the layers and the weights among them.

    An optimizer may have stepped since ``backward()``. The operations' results and the gradients are from before that,
    the weights are not: `size_of` tells how large a weight was.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Optimizer | None) -> None:
        self.model, self.loss = model, loss
        self.optimizer = optimizer
        named = _named(model)
        self.parameters = [(path, p) for path, p in named if not p.inputs]
        self.computed = [(path, p) for path, p in named if p.inputs]  # which were meant to be parameters
        if np.shape(raw(loss)) != ():
            raise ValueError(f"diagnose(model, loss): the loss is one number, got shape {np.shape(raw(loss))}")
        self.finite = math.isfinite(float(raw(loss)))
        self.made = _history(loss) if type(loss) is Value else []  # in order of execution
        self.behind = {x for node in self.made for x in node.inputs if type(x) is Value}
        if any(node.op.arity == ALL_AT_ONCE for node in self.made):  # type: ignore[union-attr]
            raise TypeError(
                "diagnose(model, loss): the loss comes from a compiled function, whose layers can't be seen; compute "
                "it with the function itself (compiled.function(…), or fit(…, compile=False)) and call backward() again"
            )
        used = [p for _, p in named if p in self.behind]
        if self.finite and used and (loss.grad is None or all(p.grad is None for p in used)):
            raise ValueError("diagnose(model, loss): call loss.backward() first, and diagnose before zero_grad()")
        calls = calls_around(self.made)
        self.calls = {node: around[-1] for node, around in calls.items()}
        self.began = min((around[0].start for around in calls.values()), default=-1)  # the first call of a Module
        # Weights in the order in which they are first read, with the Value that was made of each.
        readers: dict[Value, Value] = {}
        for node in self.made:
            for x in node.inputs:
                if type(x) is Value and not x.inputs:
                    readers.setdefault(x, node)
        self.readers = readers
        self.weights = sorted(
            ((path, p) for path, p in self.parameters if p.ndim >= 2 and p in readers), key=lambda w: readers[w[1]].tick
        )

    def layer(self, node: Value) -> tuple[str, str]:
        """The path of the layer that made a Value, and what to call it."""
        call = self.calls.get(node)
        module = call.module() if call else None
        if call is None or module is None:
            return "", node.name or (node.op.name if node.op else "")
        return call.path, module.label

    def outputs(self, wanted: Callable[[Value], bool]) -> Iterator[tuple[str, str, Value, list[Value]]]:
        """What the activations of each layer gave: path, label, and the Values; the same layer may be called often."""
        groups: dict[Any, list[Value]] = {}
        for node in self.made:
            if node.ndim and node.size and wanted(node):
                path, _ = self.layer(node)
                groups.setdefault((path, node.shape[-1], node.op) if path else node, []).append(node)
        for nodes in groups.values():
            yield *self.layer(nodes[0]), nodes[0], nodes

    def is_last(self, node: Value) -> bool:
        """Whether no parameter is read after ``node``: it is the model's answer."""
        return all(reader.tick <= node.tick for p, reader in self.readers.items() if p.op is None and self.is_ours(p))

    def is_ours(self, p: Value) -> bool:
        return any(p is own for _, own in self.parameters)

    def given_to(self, w: Value) -> Any:
        """The data that a weight is combined with where it is first read, such as its layer's inputs, or None."""
        others = [raw(x) for x in self.readers[w].inputs if x is not w]
        return next((x for x in others if type(x) is float or x.dtype.kind == "f"), None)

    def size_of(self, w: Value) -> float:
        """How large a number of the weight was (root mean square) when it was first read."""
        reader, x = self.readers[w], self.given_to(w)
        if w.tick < reader.tick:
            return rms(w._data)
        # It was assigned since. It was about as large as a result, for each of the inputs that went into that.
        inputs = 1.0 if x is None else rms(x) * math.sqrt(w.size / w.shape[-1])
        return rms(reader._data) / inputs if inputs else 0.0


def _named(model: Any) -> list[tuple[str, Value]]:
    if isinstance(model, Module):
        return [*model.named_parameters(), *_kept(model)]
    if not isinstance(model, (list, tuple)) or not all(type(p) is Value for p in model):
        raise TypeError(f"diagnose(model, loss): a Module or a list of Values is wanted, got {model!r:.80}")
    return [(p.name or f"parameter {i}", p) for i, p in enumerate(model)]


def _kept(model: Module) -> Iterator[tuple[str, Value]]:
    """The Values in attributes that an operation made, which are not parameters, with their paths."""
    for path, module in model.named_modules():
        for name, member in module.members():
            if type(member) is Value and member.inputs:
                yield f"{path}.{name}" if path else name, member


def _history(result: Value) -> list[Value]:
    """The operations behind ``result``, in order; also if the weights have been changed since."""
    ahead, met = [result], {result}
    while ahead:
        for x in ahead.pop().inputs:
            if type(x) is Value and x not in met:
                met.add(x)
                ahead.append(x)
    return sorted((x for x in met if x.inputs), key=attrgetter("tick"))


def largest(g: Any) -> float:
    return float(np.max(np.abs(g), initial=0.0)) if g is not None else 0.0


def rms(g: Any) -> float:
    """The root of the mean square: how large an element is."""
    scale = largest(g)
    return scale * math.sqrt(float(np.mean(np.square(np.asarray(g, np.float64) / scale)))) if scale else 0.0
