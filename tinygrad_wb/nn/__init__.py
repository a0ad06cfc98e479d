"""Networks: modules, layers and their initial weights."""

from tinygrad_wb.nn.layers import MLP, Activation, Dense, Dropout, Sequential
from tinygrad_wb.nn.module import Module

__all__ = ["MLP", "Activation", "Dense", "Dropout", "Module", "Sequential"]
