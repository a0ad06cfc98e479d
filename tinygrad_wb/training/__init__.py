"""Training: `fit`, what it measures, and what can watch it."""

from tinygrad_wb.training.averaging import EMA
from tinygrad_wb.training.callbacks import Callback, EarlyStopping
from tinygrad_wb.training.history import History
from tinygrad_wb.training.loop import fit
from tinygrad_wb.training.measuring import evaluate
from tinygrad_wb.training.metrics import accuracy, confusion_matrix, f1, precision, recall
from tinygrad_wb.training.rates import LearningRates, find_learning_rate

__all__ = [
    "EMA", "Callback", "EarlyStopping", "History", "LearningRates", "accuracy", "confusion_matrix", "evaluate", "f1",
    "find_learning_rate", "fit", "precision", "recall",
]  # fmt: skip
