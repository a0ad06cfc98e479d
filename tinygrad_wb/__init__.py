"""tinygrad_wb: every partial derivative in sight.

A `Value` records the operations that it goes through; `backward()` finds ∂Loss/∂v for every Value behind a loss.
`Dense` layers and optimizers stand on top: `w ← w − η·∂Loss/∂w`.
"""

from typing import TYPE_CHECKING, Any

from tinygrad_wb import datasets
from tinygrad_wb.check_gradients import check_gradients
from tinygrad_wb.derivatives import grad, hessian, hvp, jacobian, value_and_grad
from tinygrad_wb.errors import GradientError, ShapeError, StaleGraphError
from tinygrad_wb.nn import MLP, Activation, Dense, Dropout, Module, Sequential
from tinygrad_wb.operations.arithmetic import *
from tinygrad_wb.operations.functions import *
from tinygrad_wb.operations.linear_algebra import *
from tinygrad_wb.operations.neural import *
from tinygrad_wb.operations.reductions import *
from tinygrad_wb.operations.shaping import *
from tinygrad_wb.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from tinygrad_wb.recording import no_grad, source_lines
from tinygrad_wb.schedules import CosineDecay, StepDecay, WarmUp
from tinygrad_wb.training import Callback, EarlyStopping, History, evaluate, fit
from tinygrad_wb.value import Value

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tinygrad_wb import plot
    from tinygrad_wb.debug.explain import Explanation, explain
    from tinygrad_wb.debug.page import save_page
    from tinygrad_wb.debug.step import Step
    from tinygrad_wb.debug.stepper import Stepper
    from tinygrad_wb.debug.terminal import step
    from tinygrad_wb.draw import Drawing, draw
    from tinygrad_wb.program import Compiled, Program, compile

# Programs, pictures and debugging are loaded on first use, so that `import tinygrad_wb` is little more than `import numpy`.
_ON_USE = {
    "draw": "tinygrad_wb.draw", "Drawing": "tinygrad_wb.draw",
    "plot": "tinygrad_wb.plot",
    "Stepper": "tinygrad_wb.debug.stepper", "Step": "tinygrad_wb.debug.step", "step": "tinygrad_wb.debug.terminal",
    "save_page": "tinygrad_wb.debug.page",
    "explain": "tinygrad_wb.debug.explain", "Explanation": "tinygrad_wb.debug.explain",
    "compile": "tinygrad_wb.program", "Compiled": "tinygrad_wb.program", "Program": "tinygrad_wb.program",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    room = importlib.import_module(_ON_USE[name])
    found = globals()[name] = getattr(room, name, room)  # `plot` is the room itself
    return found


def __dir__() -> list[str]:
    return sorted({name for name in {*globals(), *_ON_USE} if name[0] != "_"} - {"TYPE_CHECKING", "Any"})
