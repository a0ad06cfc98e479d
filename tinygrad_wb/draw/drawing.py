"""`Drawing`: a graph as it was when it was drawn, in every form that it can be shown in."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_wb.atomic import write
from tinygrad_wb.draw.dot import dot_text
from tinygrad_wb.draw.mermaid import mermaid_text
from tinygrad_wb.draw.render import PATIENCE, PICTURES, LayoutTimeoutError, RendererNotFoundError, render
from tinygrad_wb.draw.svg import embeddable
from tinygrad_wb.draw.tree import tree_text

if TYPE_CHECKING:
    import os

    from tinygrad_wb.draw.graph import Graph

__all__ = ["Drawing"]

TEXTS = {"dot": "dot", "gv": "dot", "mmd": "mermaid", "txt": "text"}
PNG_DPI = 144  # sharp on today's screens; the other formats have no pixels


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture of a computation. ``str()`` is it as text, a notebook shows it; it does not change any more."""

    graph: Graph
    opened: Graph  # with every layer open, for a page in which layers open and close
    direction: str = "LR"
    theme: str = "light"

    @property
    def dot(self) -> str:
        """The drawing in DOT, Graphviz's language."""
        return dot_text(self.graph, self.direction, self.theme)

    @property
    def svg(self) -> str:
        """The drawing as an SVG document; ``RendererNotFoundError`` where nothing can render."""
        return render(self.dot, "svg").decode()

    @property
    def mermaid(self) -> str:
        """The drawing in Mermaid, for READMEs."""
        return mermaid_text(self.graph, self.direction, self.theme)

    @property
    def text(self) -> str:
        """The drawing as a tree, for terminals."""
        return tree_text(self.graph)

    def save(self, path: str | os.PathLike[str], timeout: float = PATIENCE) -> Path:
        """Write the drawing as its suffix says (.svg .png .pdf .dot .gv .mmd .txt .html) and return the path.

        Where nothing can render, or a layout takes longer than ``timeout`` seconds, the DOT text is kept beside it,
        and the error (``RendererNotFoundError``, ``LayoutTimeoutError``) says where.
        """
        path = Path(path)
        format = path.suffix[1:].lower()
        if format in TEXTS:
            return write(path, getattr(self, TEXTS[format]).encode())
        if format not in (*PICTURES, "html"):
            known = ", ".join("." + name for name in (*PICTURES, "html", *TEXTS))
            raise ValueError(f"save({str(path)!r}): the suffix says which format, one of {known}")
        try:
            if format == "html":
                from tinygrad_wb.draw.page import page_text

                return write(path, page_text(self, timeout).encode())
            dot = dot_text(self.graph, self.direction, self.theme, PNG_DPI if format == "png" else None)
            return write(path, render(dot, format, timeout))
        except RendererNotFoundError:
            raise RendererNotFoundError(self._kept(path)) from None
        except LayoutTimeoutError:
            raise LayoutTimeoutError(timeout, self._kept(path)) from None

    def _kept(self, path: Path) -> str:
        """Keep the DOT text, and say so."""
        return f". The drawing is kept as DOT in {write(path.with_suffix('.dot'), self.dot.encode())}"

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.graph.nodes)} nodes: print it, .save(path), .svg, .mermaid, .dot>"

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        shown = {"text/plain": str(self)}
        with contextlib.suppress(RendererNotFoundError, LayoutTimeoutError):
            # Ids that no other output on the page has.
            shown["image/svg+xml"] = embeddable(self.svg, f"wb-{secrets.token_hex(4)}-")
        return shown
