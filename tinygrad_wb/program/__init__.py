"""The graph as a Python program: read it, step it in any debugger, replay it fast."""

from tinygrad_wb.program.compiled import Compiled, compile
from tinygrad_wb.program.program import Program

__all__ = ["Compiled", "Program", "compile"]
