"""DOT to picture: by the `dot` executable, or by pygraphviz, which carries Graphviz inside itself."""

from __future__ import annotations

import graphviz

__all__ = ["PICTURES", "RendererNotFoundError", "render"]

PICTURES = ("svg", "png", "pdf")


class RendererNotFoundError(RuntimeError):
    """Neither Graphviz's ``dot`` nor pygraphviz is installed; the message names both remedies."""

    def __init__(self, kept: str = "") -> None:
        super().__init__(
            "drawing a picture needs Graphviz: `apt install graphviz` (or your system's like) "
            f'or `pip install "tinygrad_wb[draw]"`{kept}'
        )


def render(dot: str, format: str) -> bytes:
    """The picture of DOT text in one of `PICTURES`; ``RendererNotFoundError`` if nothing is installed to draw it."""
    try:
        picture: bytes = graphviz.pipe("dot", format, dot.encode())
    except graphviz.ExecutableNotFound:
        try:
            import pygraphviz
        except ImportError:
            raise RendererNotFoundError from None
        picture = pygraphviz.AGraph(string=dot).draw(format=format, prog="dot")
    return picture
