"""Saving and loading, and the way to other libraries and back."""

from tinygrad_wb.saving.checkpoint import Checkpoint
from tinygrad_wb.saving.state import load, save

__all__ = ["Checkpoint", "load", "save"]
