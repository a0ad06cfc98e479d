"""The graph as a Python program: read it, and step it in any debugger."""

from tinygrad_wb.program.program import Program

__all__ = ["Program"]
