"""DOT to picture: by the `dot` executable, or by pygraphviz, which carries Graphviz inside itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from shutil import which

__all__ = ["PICTURES", "LayoutTimeoutError", "RendererNotFoundError", "render"]

PICTURES = ("svg", "png", "pdf")
PATIENCE = 60.0  # seconds that a layout may take

# In a process of its own, so that it can be ended.
WITH_PYGRAPHVIZ = """
import sys, pygraphviz
dot = sys.stdin.buffer.read().decode()
sys.stdout.buffer.write(pygraphviz.AGraph(string=dot).draw(format=sys.argv[1], prog="dot"))
"""


class RendererNotFoundError(RuntimeError):
    """Neither Graphviz's ``dot`` nor pygraphviz is installed; the message names both remedies."""

    def __init__(self, kept: str = "") -> None:
        super().__init__(
            "drawing a picture needs Graphviz: `apt install graphviz` (or your system's like) "
            f'or `pip install "tinygrad_wb[draw]"`{kept}'
        )


class LayoutTimeoutError(RuntimeError):
    """The layout took too long; the message says how to go on."""

    def __init__(self, seconds: float, kept: str = "") -> None:
        super().__init__(
            f"the layout of the drawing was not finished after {seconds:g} s: draw less (max_nodes=, depth=, around=, "
            f"path=), or give it longer (timeout=){kept}"
        )


def render(dot: str, format: str, timeout: float = PATIENCE) -> bytes:
    """The picture of DOT text in one of `PICTURES`.

    ``RendererNotFoundError`` if nothing is installed to draw it, ``LayoutTimeoutError`` after ``timeout`` seconds.
    """
    executable = which("dot")
    if executable is not None:
        command = [executable, f"-T{format}"]
    elif importlib.util.find_spec("pygraphviz") is not None:
        command = [sys.executable, "-c", WITH_PYGRAPHVIZ, format]
    else:
        raise RendererNotFoundError
    try:
        done = subprocess.run(command, input=dot.encode(), capture_output=True, timeout=timeout, check=True)  # noqa: S603 - our own command
    except subprocess.TimeoutExpired:
        raise LayoutTimeoutError(timeout) from None
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"Graphviz could not draw this: {error.stderr.decode(errors='replace')[-500:]}") from error
    return done.stdout
