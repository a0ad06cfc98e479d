"""`diagnose`: what keeps a network from learning, in words.

Each check looks at one ailment, in the graph of one loss after its ``backward()``. They stand in order: one ailment
often brings others with it (behind a dead layer nothing gets a gradient), so what an earlier finding explains is not
told again. The limits below separate networks that are broken from those that learn; the tests hold them against both.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.nn.calls import calls_around
from tinygrad_wb.nn.module import Module
from tinygrad_wb.operation import ALL_AT_ONCE
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tinygrad_wb.optimizers import Optimizer

__all__ = ["Diagnosis", "Finding", "diagnose"]

DEAD = 0.8  # of a layer's units give 0 for every row …
DEAD_OF_FEW = 0.95  # … of fewer than ROWS rows
ROWS = 8
FLAT = 0.05  # a slope below this part of the steepest is flat
SATURATED = 0.9  # of a layer's outputs are where the function is flat
CERTAIN = 0.99  # a probability
WRONG = 0.5  # a loss with which nobody may be certain
FADED = 1e-4  # between the last layer and the first, the gradient falls to this
GROWN = 1e3  # … or rises to this
LARGE = 1e4  # times as long as its weights is a gradient that one step throws anywhere
STUCK = 1e-9  # of its weights' gradient, is a bias's


class Finding(NamedTuple):
    """One ailment: its ``kind``, the path of the layer (or parameter), what was seen in words and numbers, a remedy."""

    kind: str
    layer: str
    words: str
    numbers: Mapping[str, float]
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}\n    {self.remedy}"


class Diagnosis:
    """The findings, in order of weight; true if there are none."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)

    def __bool__(self) -> bool:
        return not self.findings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, index: int) -> Finding:
        return self.findings[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "healthy: nothing found"

    __repr__ = __str__


REMEDIES = {
    "loss not finite": "find the operation: compute the loss and call backward() inside `with wb.detect_anomaly():`",
    "constant loss": "compute the loss from the model's output with Values all the way: .data, item(), argmax, "
    "comparisons, sign and no_grad cut it off",
    "unused parameter": "use it in forward, or leave it out of the model; if it is used, something between it and the "
    "loss cuts it off: .data, item(), no_grad",
    "not updated": "give the optimizer all of them, wb.SGD(model.parameters()), after the model is complete, and a "
    "learning rate above 0",
    "symmetric units": "start from random weights: weight_init='glorot_uniform', or 'he_uniform' for relu",
    "dead units": "a smaller learning rate, weight_init='he_uniform', biases that start at 0 or just above, inputs of "
    "mean 0; or activation='leaky_relu' or 'gelu', which are nowhere flat",
    "saturated units": "smaller initial weights (the default is right for tanh), inputs scaled to about 1, a smaller "
    "learning rate; of scores take wb.cross_entropy or wb.binary_cross_entropy, not softmax and then log",
    "exploding gradients": "smaller initial weights ('he_uniform' for relu), a smaller learning rate, the optimizer's "
    "clip_norm=, inputs and targets scaled to about 1",
    "vanishing gradients": "relu, gelu or tanh in place of sigmoid, initial weights that suit it ('he_uniform', "
    "'glorot_uniform'), fewer layers, or paths around them (x + layer(x))",
    "no gradient": "look at what stands between it and the loss: a product with 0, sign, clip or where may be flat "
    "there",
    "stuck bias": "leave it out, bias=False: what comes after takes the mean off again",
}


def diagnose(model: Any, loss: Any, optimizer: Optimizer | None = None) -> Diagnosis:
    """What keeps ``model`` from learning, from one ``loss`` after ``loss.backward()``; with what usually helps.

    Looks for: a loss that is not finite or constant; parameters that the loss does not use, or ``optimizer`` does not
    update; layers without a gradient; dead relu units, saturated tanh, sigmoid and softmax; gradients that explode or
    vanish from layer to layer; units that are all alike; biases that can't move. The result is true if it finds
    nothing, gives one `Finding` after another, and prints as text. Give it a batch of some size: of one row every unit
    looks dead or alive by chance. ``model`` is a Module, or a list of parameters.

    Raises ``ValueError`` before ``backward()``, and ``TypeError`` for the loss of a compiled function, whose layers
    can't be seen: compute it with the function itself.

    >>> import tinygrad_wb as wb
    >>> model = wb.MLP(2, [16], 2, weight_init="zeros")
    >>> loss = wb.cross_entropy(model([[0.1, 0.2], [0.3, -0.4]]), [0, 1])
    >>> loss.backward()
    >>> bool(wb.diagnose(model, loss)), [finding.kind for finding in wb.diagnose(model, loss)]
    (False, ['symmetric units'])
    """
    found: list[Finding] = []
    patient = _Patient(model, loss, optimizer)
    if not patient.finite:
        return Diagnosis(list(_not_finite(patient)))
    if not patient.made or not any(p in patient.behind for _, p in patient.parameters):
        words = f"the loss, {raw(loss):.6g}, does not depend on any parameter of the model"
        return Diagnosis([_finding("constant loss", "", words)])
    for check in CHECKS:
        found += list(check(patient, found))
    return Diagnosis(found)


def _finding(kind: str, layer: str, words: str, **numbers: float) -> Finding:
    return Finding(kind, layer, words, numbers, REMEDIES[kind])


class _Patient:
    """The graph of a loss as the checks see it."""

    def __init__(self, model: Any, loss: Any, optimizer: Optimizer | None) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.parameters = _named(model)
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
        used = [p for _, p in self.parameters if p in self.behind]
        if self.finite and used and (loss.grad is None or all(p.grad is None for p in used)):
            raise ValueError("diagnose(model, loss): call loss.backward() first, and diagnose before zero_grad()")
        calls = calls_around(self.made)
        self.calls = {node: around[-1] for node, around in calls.items()}
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
        return all(reader.tick <= node.tick for p, reader in self.readers.items() if p.op is None and self._is_ours(p))

    def _is_ours(self, p: Value) -> bool:
        return any(p is own for _, own in self.parameters)


def _named(model: Any) -> list[tuple[str, Value]]:
    if isinstance(model, Module):
        return list(model.named_parameters())
    if not isinstance(model, (list, tuple)) or not all(type(p) is Value for p in model):
        raise TypeError(f"diagnose(model, loss): a Module or a list of Values is wanted, got {model!r:.80}")
    return [(p.name or f"parameter {i}", p) for i, p in enumerate(model)]


def _history(result: Value) -> list[Value]:
    """The operations behind ``result``, in order; also if the weights have been changed since."""
    ahead, met = [result], {result}
    while ahead:
        for x in ahead.pop().inputs:
            if type(x) is Value and x not in met:
                met.add(x)
                ahead.append(x)
    return sorted((x for x in met if x.inputs), key=attrgetter("tick"))


def _layer_of(path: str) -> str:
    """The layer that a parameter belongs to: ``hidden`` of ``hidden.weight``."""
    return path.rpartition(".")[0] or path


def _largest(g: Any) -> float:
    return float(np.max(np.abs(g), initial=0.0)) if g is not None else 0.0


def _rms(g: Any) -> float:
    """The root of the mean square: how large an element is."""
    scale = _largest(g)
    return scale * math.sqrt(float(np.mean(np.square(np.asarray(g, np.float64) / scale)))) if scale else 0.0


def _listed(paths: Sequence[str], most: int = 5) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


# -- the checks, in order -----------------------------------------------------------------------------------------


def _not_finite(patient: _Patient) -> Iterator[Finding]:
    bad = next((node for node in patient.made if not np.isfinite(node._data).all()), None)
    lost = [path for path, p in patient.parameters if not np.isfinite(p._data).all()]
    words = f"the loss is {raw(patient.loss)}"
    if lost:
        words += f"; so are weights: {_listed(lost)}"
    elif bad is not None:
        path, label = patient.layer(bad)
        words += f"; the first result that is not finite was made by {bad.op.name if bad.op else ''}"
        words += f" in {label}" if path else ""
    yield _finding("loss not finite", "", words)


def _unused(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    unused = [path for path, p in patient.parameters if p not in patient.behind]
    for layer in dict.fromkeys(map(_layer_of, unused)):
        paths = [path for path in unused if _layer_of(path) == layer]
        yield _finding("unused parameter", layer, f"the loss does not depend on {_listed(paths)}", count=len(paths))


def _not_updated(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    if patient.optimizer is None:
        return
    known = set(patient.optimizer.parameters)
    left = [path for path, p in patient.parameters if p in patient.behind and p not in known]
    for layer in dict.fromkeys(map(_layer_of, left)):
        paths = [path for path in left if _layer_of(path) == layer]
        yield _finding("not updated", layer, f"the optimizer does not have {_listed(paths)}", count=len(paths))
    if patient.optimizer.rate == 0.0:
        yield _finding("not updated", "", "the learning rate is 0: nothing changes", rate=0.0)


def _symmetric(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    first = True
    for path, w in patient.weights:
        g = raw(w.grad)
        if (
            w.ndim != 2 or w.shape[1] < 2 or (not first and not _largest(g))
        ):  # of units that give 0, all gradients are 0
            continue
        if np.ptp(w._data, axis=1).max() == 0.0 and np.ptp(g, axis=1).max() <= 1e-9 * _largest(g):
            first = False
            words = f"all {w.shape[1]} units of {_layer_of(path)!r} have the same weights and the same gradient"
            yield _finding("symmetric units", _layer_of(path), words, units=w.shape[1])


def _dead(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    if _has(found, "symmetric units"):
        return
    for path, label, node, nodes in patient.outputs(_is_relu):
        y = np.concatenate([n._data.reshape(-1, n.shape[-1]) for n in nodes])
        dead = int((y == 0.0).all(axis=0).sum())
        if dead and dead >= (DEAD if len(y) >= ROWS else DEAD_OF_FEW) * y.shape[1]:
            words = f"{dead} of the {y.shape[1]} units of {label} give 0 for each of {len(y)} rows, and get no gradient"
            next_ = min((r.tick for r in patient.readers.values() if r.tick > node.tick), default=node.tick)
            yield _finding("dead units", path, words, dead=dead, units=y.shape[1], tick=next_)  # its inputs are 0


def _is_relu(node: Value) -> bool:
    op: Any = node.op
    return op.name == "relu" or (op.name == "maximum" and any(type(x) is float and x == 0.0 for x in node.inputs))


SLOPES = {"tanh": lambda y: 1.0 - y * y, "sigmoid": lambda y: 4.0 * y * (1.0 - y)}  # as parts of the steepest


def _saturated(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    for path, label, node, nodes in patient.outputs(lambda node: node.op.name in SLOPES):  # type: ignore[union-attr]
        op: Any = node.op
        flat = np.concatenate([(SLOPES[op.name](n._data) < FLAT).ravel() for n in nodes])
        if flat.mean() > SATURATED and (not patient.is_last(node) or _wrong(patient)):
            words = f"{flat.mean():.0%} of the outputs of {label} are where {op.name} is flat: no gradient gets through"
            yield _finding("saturated units", path, words, share=float(flat.mean()), tick=node.tick)
    for path, label, node, probability in _answers(patient):
        certain = float((probability > CERTAIN).mean())
        if certain > SATURATED and _wrong(patient):
            words = (
                f"of the scores of {label}, softmax is certain (above {CERTAIN}) in {certain:.0%} of rows, though the "
            )
            words += f"loss is {raw(patient.loss):.3g}"
            yield _finding("saturated units", path, words, share=certain, tick=node.tick)


def _answers(patient: _Patient) -> Iterator[tuple[str, str, Value, Any]]:
    """The largest probability in each row, wherever a softmax is taken of scores."""
    for node in patient.made:
        op: Any = node.op
        if op.name in ("softmax", "log_softmax"):
            top = np.max(node._data, axis=node.options["axis"])
            path, label = patient.layer(node) if node in patient.calls else patient.layer(node.inputs[0])
            yield path, label, node, top if op.name == "softmax" else np.exp(top)
        elif op.name == "cross_entropy" and type(node.inputs[0]) is Value:
            scores = node.inputs[0]
            z = scores._data - np.max(scores._data, axis=-1, keepdims=True)
            yield *patient.layer(scores), node, 1.0 / np.exp(z).sum(axis=-1)


def _wrong(patient: _Patient) -> bool:
    return float(raw(patient.loss)) > WRONG


def _growing(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    if _has(found, "dead units", "saturated units", "symmetric units"):
        return
    sizes = [
        (path, _rms(patient.readers[w].grad)) for path, w in patient.weights if patient.readers[w].grad is not None
    ]
    sizes = [(path, size) for path, size in sizes if size > 0.0]
    if len(sizes) > 1:
        (first, early), (last, late) = sizes[0], sizes[-1]
        told = f"from {last!r} back to {first!r} the gradient of a layer's output goes from {late:.2g} to {early:.2g}"
        if early > GROWN * late:
            yield _finding("exploding gradients", _layer_of(first), told, ratio=early / late)
            return
        if early < FADED * late:
            yield _finding("vanishing gradients", _layer_of(first), told, ratio=early / late)
            return
    for path, w in patient.weights:
        long, short = _rms(raw(w.grad)), _rms(w._data)
        if long > LARGE * max(short, 1.0):
            words = f"the gradient of {path} is {long / max(short, 1e-300):.1g} times as large as its weights"
            yield _finding("exploding gradients", _layer_of(path), words, ratio=long / max(short, 1e-300))
            return


def _no_gradient(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    explained = max((f.numbers.get("tick", -1) for f in found), default=-1)
    if _has(found, "symmetric units"):
        return
    used = [(path, p) for path, p in patient.parameters if p in patient.behind]
    none = [path for path, p in used if _largest(raw(p.grad)) == 0.0 and patient.readers[p].tick > explained]
    if len(none) == len(used):
        yield _finding("constant loss", "", f"the loss, {raw(patient.loss):.6g}, does not change with any parameter")
        return
    for layer in dict.fromkeys(map(_layer_of, none)):
        of_layer = [path for path, _ in used if _layer_of(path) == layer]
        if all(path in none for path in of_layer):
            words = f"the gradient of {_listed(of_layer)} is 0 everywhere, though the loss was computed from it"
            yield _finding("no gradient", layer, words)


def _stuck_bias(patient: _Patient, found: list[Finding]) -> Iterator[Finding]:
    weights = {_layer_of(path): _largest(raw(w.grad)) for path, w in patient.weights}
    for path, b in patient.parameters:
        g, w = _largest(raw(b.grad)), weights.get(_layer_of(path), 0.0)
        if b in patient.behind and b.ndim < 2 and g < STUCK * w:
            words = f"the gradient of {path} is {g:.1g}, though that of the weights beside it is {w:.1g}"
            yield _finding("stuck bias", _layer_of(path), words, bias=g, weight=w)


def _has(found: list[Finding], *kinds: str) -> bool:
    return any(finding.kind in kinds for finding in found)


CHECKS: list[Callable[[_Patient, list[Finding]], Iterator[Finding]]] = [
    _unused, _not_updated, _symmetric, _dead, _saturated, _growing, _no_gradient, _stuck_bias,
]  # fmt: skip
