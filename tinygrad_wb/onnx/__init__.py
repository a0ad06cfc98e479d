"""Models as ONNX files, which other programs run."""

from tinygrad_wb.onnx.export import export_onnx

__all__ = ["export_onnx"]
