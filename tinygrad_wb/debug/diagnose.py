"""`diagnose`: what keeps a network from learning, in words.

Each check looks at one ailment, in the graph of one loss after its ``backward()``. They stand in order: one ailment
often brings others with it (behind a dead layer nothing gets a gradient), so what an earlier finding explains is not
told again. The limits in `diagnosis` separate networks that are broken from those that learn; the tests hold them
against both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.diagnosis.answers import not_finite, pairs, wrong_loss_input, wrong_targets
from tinygrad_wb.debug.diagnosis.findings import REMEDIES, Diagnosis, Finding, finding
from tinygrad_wb.debug.diagnosis.gradients import growing, no_gradient, stuck_bias
from tinygrad_wb.debug.diagnosis.graph import Graph
from tinygrad_wb.debug.diagnosis.units import dead, saturated, symmetric
from tinygrad_wb.debug.diagnosis.wiring import computed, not_updated, old_operations, unused
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tinygrad_wb.optimizers import Optimizer

__all__ = ["CHECKS", "REMEDIES", "Diagnosis", "Finding", "diagnose"]

# Each is given what the checks before it have found.
CHECKS: list[Callable[[Graph, list[Finding]], Iterator[Finding]]] = [
    computed, old_operations, unused, not_updated, wrong_loss_input, wrong_targets, pairs, symmetric, dead, saturated,
    growing, no_gradient, stuck_bias,
]  # fmt: skip


def diagnose(model: Any, loss: Any, optimizer: Optimizer | None = None) -> Diagnosis:
    """What keeps ``model`` from learning, from one ``loss`` after ``loss.backward()``; with what usually helps.

    Looks for: a loss, gradients or weights that are not finite; a loss that is constant; parameters that the loss
    does not use, that ``optimizer`` does not update, or that were computed; a graph that grows from step to step; a
    loss that takes scores and is given what a softmax or sigmoid made, that does not take its targets, or that
    compares each prediction with every target; layers without a gradient; dead relu units, saturated tanh, sigmoid
    and softmax; gradients that explode or vanish from layer to layer; units that are all alike; biases that can't
    move. The result is true if it finds nothing, gives one `Finding` after another, and prints as text. Give it a
    batch of some size: of one row every unit looks dead or alive by chance. ``model`` is a Module, or a list of
    parameters. It may be called before or after ``optimizer.step()``: the gradients and the graph are from before
    the step in both cases.

    Raises ``ValueError`` before ``backward()``, and ``TypeError`` for the loss of a compiled function, whose layers
    can't be seen: compute it with the function itself.

    >>> import tinygrad_wb as wb
    >>> model = wb.MLP(2, [16], 2, weight_init="zeros")
    >>> loss = wb.cross_entropy(model([[0.1, 0.2], [0.3, -0.4]]), [0, 1])
    >>> loss.backward()
    >>> bool(wb.diagnose(model, loss)), [finding.kind for finding in wb.diagnose(model, loss)]
    (False, ['symmetric units'])
    """
    graph = Graph(model, loss, optimizer)
    found = list(not_finite(graph))
    if found:
        return Diagnosis(found)
    if not graph.made or not any(p in graph.behind for _, p in (*graph.parameters, *graph.computed)):
        words = f"the loss, {raw(loss):.6g}, does not depend on any parameter of the model"
        return Diagnosis([finding("constant loss", "", words)])
    for check in CHECKS:
        found += check(graph, found)
    return Diagnosis(found)
