"""`compile`: a function's arithmetic as one program, which runs in memory that is kept."""

from tinygrad_wb.compiling.compiled import Compiled, Report, compile, compiled_step

__all__ = ["Compiled", "Report", "compile", "compiled_step"]
