"""Checks of how model, loss and optimizer are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.diagnosis.findings import finding, layer_of, listed
from tinygrad_wb.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tinygrad_wb.debug.diagnosis.findings import Finding
    from tinygrad_wb.debug.diagnosis.graph import Graph


MANY = 16  # operations from before the last step may be data that were prepared


def unused(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    unused = [path for path, p in graph.parameters if p not in graph.behind]
    for layer in dict.fromkeys(map(layer_of, unused)):
        paths = [path for path in unused if layer_of(path) == layer]
        yield finding("unused parameter", layer, f"the loss does not depend on {listed(paths)}", count=len(paths))


def not_updated(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    if graph.optimizer is None:
        return
    known = set(graph.optimizer.parameters)
    others = [p for p in known if p not in graph.behind and not graph.is_ours(p)]
    words = f"; the loss does not use {len(others)} that it has" if others else ""
    left = [path for path, p in graph.parameters if p in graph.behind and p not in known]
    for layer in dict.fromkeys(map(layer_of, left)):
        paths = [path for path in left if layer_of(path) == layer]
        yield finding("not updated", layer, f"the optimizer does not have {listed(paths)}{words}", count=len(paths))
    if graph.optimizer.rate == 0.0:
        yield finding("not updated", "", "the learning rate is 0: nothing changes", rate=0.0)


def computed(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    """A Value that an operation made before the model was called, and that stands where a parameter should."""
    for path, p in graph.computed:
        if p in graph.behind and (p.tick < graph.began or not isinstance(graph.model, Module)):
            op: Any = p.op
            words = f"{path} was computed, by {op.name}: no optimizer takes it, and it stays what it was computed as"
            yield finding("computed parameter", layer_of(path), words)


def old_operations(graph: Graph, found: list[Finding]) -> Iterator[Finding]:
    """A graph that grows from step to step: most of it is older than the latest change of a parameter."""
    changed = max((p.tick for _, p in graph.parameters if p.tick < graph.loss.tick), default=-1)
    old = [node for node in graph.made if node.tick < changed]
    if len(old) > max(len(graph.made) - len(old), MANY):
        words = (
            f"{len(old)} of the {len(graph.made)} operations behind the loss were recorded before the parameters were "
            f"last changed, the latest of them by {graph.layer(old[-1])[1]}; backward() goes through all of them"
        )
        yield finding("old operations", "", words, old=len(old), operations=len(graph.made))
