"""What `diagnose` finds: one `Finding` for each ailment, and a remedy for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["REMEDIES", "Diagnosis", "Finding", "finding", "has", "layer_of", "listed"]


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


FIND_IT = "find the operation: compute the loss and call backward() inside `with wb.detect_anomaly():`"
REMEDIES = {
    "loss not finite": FIND_IT,
    "gradient not finite": FIND_IT,
    "weights not finite": "a smaller learning rate, the optimizer's clip_norm=; find the step inside "
    "`with wb.detect_anomaly():`",
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
    "wrong loss input": "let the model end with scores: the losses apply softmax and sigmoid themselves, and "
    "log-probabilities come from wb.log_softmax",
    "wrong targets": "give targets that the loss takes; as plain numbers, not in a Value, it refuses others",
    "all pairs": "give both one shape, y.reshape(-1, 1) or prediction[:, 0]; if all pairs are meant, give both as many "
    "axes, as y[None, :] does",
    "computed parameter": "keep the leaf that it was computed from, and compute with that in forward; to change a "
    "parameter, assign w.data = …, or let an optimizer step",
    "old operations": "take .data of what was computed in earlier steps, or compute it inside `with wb.no_grad():`",
    "stuck bias": "leave it out, bias=False: what comes after takes the mean off again",
}


def finding(kind: str, layer: str, words: str, **numbers: float) -> Finding:
    return Finding(kind, layer, words, numbers, REMEDIES[kind])


def has(found: Iterable[Finding], *kinds: str) -> bool:
    return any(finding.kind in kinds for finding in found)


def layer_of(path: str) -> str:
    """The layer that a parameter belongs to: ``hidden`` of ``hidden.weight``."""
    return path.rpartition(".")[0] or path


def listed(paths: Sequence[str], most: int = 5) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")
