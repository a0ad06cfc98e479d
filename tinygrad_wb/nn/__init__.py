"""Networks: modules, layers and their initial weights."""

from tinygrad_wb.nn.convolution import AveragePool, Conv1d, Conv2d, Flatten, MaxPool
from tinygrad_wb.nn.embedding import Embedding
from tinygrad_wb.nn.layers import MLP, Activation, Dense, Dropout, Sequential
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.normalisation import BatchNorm, LayerNorm

__all__ = [
    "MLP", "Activation", "AveragePool", "BatchNorm", "Conv1d", "Conv2d", "Dense", "Dropout", "Embedding", "Flatten",
    "LayerNorm", "MaxPool", "Module", "Sequential",
]  # fmt: skip
