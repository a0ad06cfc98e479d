"""`Drawing`: a graph as it was when it was drawn, in every form that it can be shown in."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_wb.draw.dot import dot_text
from tinygrad_wb.draw.listing import listing
from tinygrad_wb.draw.render import PICTURES, RendererNotFoundError, render

if TYPE_CHECKING:
    import os

    from tinygrad_wb.draw.graph import Graph

__all__ = ["Drawing"]

TEXTS = ("dot", "gv")
PNG_DPI = 144  # sharp on today's screens; the other formats have no pixels


@dataclass(frozen=True, repr=False)
class Drawing:
    """A picture of a computation. ``str()`` lists it as text, a notebook shows it; it does not change any more."""

    graph: Graph
    direction: str = "LR"

    @property
    def dot(self) -> str:
        """The drawing in DOT, Graphviz's language."""
        return dot_text(self.graph, self.direction)

    @property
    def svg(self) -> str:
        """The drawing as an SVG document; ``RendererNotFoundError`` where nothing can render."""
        return render(self.dot, "svg").decode()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing as its suffix says (.dot .gv .svg .png .pdf) and return the path.

        Where nothing can render, the DOT text is kept beside it and ``RendererNotFoundError`` says where.
        """
        path = Path(path)
        format = path.suffix[1:].lower()
        if format in TEXTS:
            return _write(path, self.dot.encode())
        if format not in PICTURES:
            known = ", ".join("." + name for name in (*TEXTS, *PICTURES))
            raise ValueError(f"save({str(path)!r}): the suffix says which format, one of {known}")
        try:
            picture = render(dot_text(self.graph, self.direction, PNG_DPI if format == "png" else None), format)
        except RendererNotFoundError:
            kept = _write(path.with_suffix(".dot"), self.dot.encode())
            raise RendererNotFoundError(f". The drawing is kept as DOT in {kept}") from None
        return _write(path, picture)

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.graph.nodes)} nodes: print it, .save(path), .svg, .dot>"

    def __str__(self) -> str:
        return listing(self.graph)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        shown = {"text/plain": str(self)}
        with contextlib.suppress(RendererNotFoundError):
            shown["image/svg+xml"] = self.svg
        return shown


def _write(path: Path, content: bytes) -> Path:
    """All or nothing: a reader of ``path`` never sees half a picture."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
