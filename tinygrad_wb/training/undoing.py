"""Training that leaves no trace: afterwards the model and its optimizer are as they were, bit for bit."""

from __future__ import annotations

import contextlib
import copy
import inspect
from typing import TYPE_CHECKING, Any

from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.random_state import generators_around, put_back, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tinygrad_wb.optimizers import Optimizer

__all__ = ["undone"]

OF_PARAMETERS = ("parameters", "memory", "_together")  # of an optimizer; all else are its settings


@contextlib.contextmanager
def undone(model: Callable[..., Any], loss: Callable[..., Any], optimizer: Optimizer) -> Iterator[None]:
    """Undo, after the block, what training changed, also if it raised.

    That is: parameters and their gradients, what layers keep (running means), the optimizer's memory and settings, and
    every random generator that the model and the loss hold (see `generators_around`).
    """
    slots = [slot for _, slot in whole.state()] if isinstance(whole := inspect.unwrap(model), Module) else []
    parameters = dict.fromkeys([*optimizer.parameters, *(slot.owner for slot in slots if slot.name == "data")])
    slots += [Slot(p, "data") for p in optimizer.parameters]
    numbers = [copy.copy(slot.read()) for slot in slots]
    gradients = [p.grad for p in parameters]
    optimizer.separate()
    memory = copy.deepcopy(optimizer.memory)
    settings = {name: x for name, x in vars(optimizer).items() if name not in OF_PARAMETERS}
    generators = generators_around(whole, loss)
    stood = states(generators)
    try:
        yield
    finally:
        for slot, was in zip(slots, numbers, strict=True):
            slot.write(was)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
        optimizer.separate()
        for held, was in zip(optimizer.memory, memory, strict=True):
            held.clear()
            held.update(was)
        vars(optimizer).update(settings)
        put_back(generators, stood)
