"""tinygrad_wb: every partial derivative in sight.

A `Value` records the operations that it goes through; `backward()` finds ∂Loss/∂v for every Value behind a loss.
`Dense` layers and optimizers stand on top: `w ← w − η·∂Loss/∂w`.
"""

from typing import TYPE_CHECKING, Any

from tinygrad_wb import datasets
from tinygrad_wb.check_gradients import check_gradients
from tinygrad_wb.derivatives import grad, hessian, hvp, jacobian, value_and_grad
from tinygrad_wb.errors import GradientError, LoadError, ShapeError, StaleGraphError
from tinygrad_wb.nn import (
    GRU,
    LSTM,
    MLP,
    RNN,
    Activation,
    AveragePool,
    BatchNorm,
    Conv1d,
    Conv2d,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    MaxPool,
    Module,
    MultiHeadAttention,
    Residual,
    Sequential,
    TransformerBlock,
)  # fmt: skip
from tinygrad_wb.notices import GradientWarning
from tinygrad_wb.operations.activations import *
from tinygrad_wb.operations.arithmetic import *
from tinygrad_wb.operations.arranging import *
from tinygrad_wb.operations.attention import *
from tinygrad_wb.operations.convolution import *
from tinygrad_wb.operations.decompositions import *
from tinygrad_wb.operations.einsum import *
from tinygrad_wb.operations.functions import *
from tinygrad_wb.operations.indexing import *
from tinygrad_wb.operations.joining import *
from tinygrad_wb.operations.linear_algebra import *
from tinygrad_wb.operations.losses import *
from tinygrad_wb.operations.matrices import *
from tinygrad_wb.operations.neural import *
from tinygrad_wb.operations.normalisation import *
from tinygrad_wb.operations.norms import *
from tinygrad_wb.operations.padding import *
from tinygrad_wb.operations.pooling import *
from tinygrad_wb.operations.reductions import *
from tinygrad_wb.operations.rounding import *
from tinygrad_wb.operations.scans import *
from tinygrad_wb.operations.shaping import *
from tinygrad_wb.operations.sorting import *
from tinygrad_wb.operations.trigonometry import *
from tinygrad_wb.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from tinygrad_wb.recording import ReplayError, no_grad, source_lines
from tinygrad_wb.training import (
    EMA,
    Callback,
    EarlyStopping,
    History,
    LearningRates,
    accuracy,
    confusion_matrix,
    evaluate,
    f1,
    find_learning_rate,
    fit,
    precision,
    recall,
)  # fmt: skip
from tinygrad_wb.value import Value

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tinygrad_wb import plot
    from tinygrad_wb.compiling import Compiled, compile
    from tinygrad_wb.debug.anomaly import AnomalyError, detect_anomaly
    from tinygrad_wb.debug.diagnose import Diagnosis, Finding, diagnose
    from tinygrad_wb.debug.explain import Explanation, explain
    from tinygrad_wb.debug.page import save_page
    from tinygrad_wb.debug.step import Step
    from tinygrad_wb.debug.stepper import Stepper
    from tinygrad_wb.debug.terminal import step
    from tinygrad_wb.draw import Drawing, draw
    from tinygrad_wb.onnx import export_onnx
    from tinygrad_wb.program import Program
    from tinygrad_wb.saving import Checkpoint, from_keras, from_torch, load, save, to_keras, to_torch
    from tinygrad_wb.schedules import CosineDecay, StepDecay, WarmUp

# Loaded on use, so that `import tinygrad_wb` is little more than `import numpy`.
_ON_USE = {
    "AnomalyError": "tinygrad_wb.debug.anomaly", "detect_anomaly": "tinygrad_wb.debug.anomaly",
    "diagnose": "tinygrad_wb.debug.diagnose", "Diagnosis": "tinygrad_wb.debug.diagnose",
    "Finding": "tinygrad_wb.debug.diagnose",
    "draw": "tinygrad_wb.draw", "Drawing": "tinygrad_wb.draw",
    "plot": "tinygrad_wb.plot",
    "Stepper": "tinygrad_wb.debug.stepper", "Step": "tinygrad_wb.debug.step", "step": "tinygrad_wb.debug.terminal",
    "save_page": "tinygrad_wb.debug.page",
    "explain": "tinygrad_wb.debug.explain", "Explanation": "tinygrad_wb.debug.explain",
    "Checkpoint": "tinygrad_wb.saving", "load": "tinygrad_wb.saving", "save": "tinygrad_wb.saving",
    "from_torch": "tinygrad_wb.saving", "to_torch": "tinygrad_wb.saving",
    "from_keras": "tinygrad_wb.saving", "to_keras": "tinygrad_wb.saving",
    "CosineDecay": "tinygrad_wb.schedules", "StepDecay": "tinygrad_wb.schedules", "WarmUp": "tinygrad_wb.schedules",
    "export_onnx": "tinygrad_wb.onnx",
    "compile": "tinygrad_wb.compiling", "Compiled": "tinygrad_wb.compiling", "Program": "tinygrad_wb.program",
}  # fmt: skip


def _breakpoint(self: Value, when: Any = None) -> Any:
    """Let ``backward()`` stop where this Value's gradient is known and not yet handed on, if ``when(gradient)`` holds.

    Without ``when`` it stops each time: in the stepper, after the step that completed the gradient; or, if you have set
    ``PYTHONBREAKPOINT`` or ``sys.breakpointhook``, in that debugger (0 is for none), in a frame that has ``loss``,
    ``value`` and ``gradient``. What was computed later than the Value has its ``.grad`` by then. Returns a `Listener`,
    whose ``remove()`` takes the breakpoint away.
    """
    from tinygrad_wb.debug.breakpoints import breakpoint

    return breakpoint(self, when)


Value.breakpoint = _breakpoint  # type: ignore[method-assign]


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    room = importlib.import_module(_ON_USE[name])
    found = globals()[name] = getattr(room, name, room)  # `plot` is the room itself
    return found


def __dir__() -> list[str]:
    return sorted({name for name in {*globals(), *_ON_USE} if name[0] != "_"} - {"TYPE_CHECKING", "Any"})
