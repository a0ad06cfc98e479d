"""The rows, a file for each kind of operation, as in `tinygrad_wb/operations/`; each enters its own into the table."""

from tinygrad_wb.onnx.rows import (
    activations,
    arithmetic,
    arranging,
    functions,
    indexing,
    neural,
    padding,
    products,
    reductions,
    scans,
    shaping,
    windows,
)
from tinygrad_wb.onnx.table import ROWS

__all__ = [
    "ROWS", "activations", "arithmetic", "arranging", "functions", "indexing", "neural", "padding", "products",
    "reductions", "scans", "shaping", "windows",
]  # fmt: skip
