"""Saving and loading, and the way to other libraries and back."""

from tinygrad_wb.saving.checkpoint import Checkpoint
from tinygrad_wb.saving.keras import from_keras, to_keras
from tinygrad_wb.saving.pytorch import from_torch, to_torch
from tinygrad_wb.saving.state import load, save

__all__ = ["Checkpoint", "from_keras", "from_torch", "load", "save", "to_keras", "to_torch"]
