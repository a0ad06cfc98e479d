"""The graph as a Python program: read it, step it in any debugger, replay it fast."""

from tinygrad_wb.program.program import Program

__all__ = ["Program"]
