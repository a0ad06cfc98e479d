"""Training: `fit`, what it measures, and what can watch it."""

from tinygrad_wb.training.callbacks import Callback, EarlyStopping
from tinygrad_wb.training.history import History
from tinygrad_wb.training.loop import fit
from tinygrad_wb.training.measuring import evaluate

__all__ = ["Callback", "EarlyStopping", "History", "evaluate", "fit"]
