"""Networks: modules, layers and their initial weights."""

from tinygrad_wb.nn.attention import MultiHeadAttention, Residual, TransformerBlock
from tinygrad_wb.nn.convolution import AveragePool, Conv1d, Conv2d, Flatten, MaxPool
from tinygrad_wb.nn.embedding import Embedding
from tinygrad_wb.nn.layers import MLP, Activation, Dense, Dropout, Sequential
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.normalisation import BatchNorm, LayerNorm
from tinygrad_wb.nn.recurrent import GRU, LSTM, RNN

__all__ = [
    "GRU", "LSTM", "MLP", "RNN", "Activation", "AveragePool", "BatchNorm", "Conv1d", "Conv2d", "Dense", "Dropout",
    "Embedding", "Flatten", "LayerNorm", "MaxPool", "Module", "MultiHeadAttention", "Residual", "Sequential",
    "TransformerBlock",
]  # fmt: skip
