"""Who takes part: one row here, one file in this folder.

A file has ``make_step(net)``, which gives a function that does one training step and returns its loss; or, for graphs
of scalars, ``Value``, ``row`` (how a sample's numbers are given to it) and ``NO_GRADIENT`` (what resets ``.grad``).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata


class NotHere(Exception):
    """This peer can't run on this machine; the text says why."""


@dataclass(frozen=True)
class Peer:
    """A framework, and the kinds of work it is asked to do."""

    file: str
    title: str
    package: str
    work: tuple[str, ...] = ("Net",)

    @property
    def version(self) -> str | None:
        """Of the installed package; None if there is none."""
        if importlib.util.find_spec(self.package) is None:
            return None
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "from source"


OURS = "tinygrad_wb"
PEERS = (
    Peer("ours", OURS, "tinygrad_wb", ("Net", "Moons", "ScalarMemory")),
    Peer("by_hand", "NumPy by hand", "numpy"),
    Peer("pytorch", "PyTorch", "torch"),
    Peer("pytorch_compiled", "torch.compile", "torch"),
    Peer("jax_jit", "jax.jit", "jax"),
    Peer("hips", "HIPS autograd", "autograd"),
    Peer("my_grad", "MyGrad", "mygrad"),
    Peer("micro", "micrograd", "micrograd", ("Moons", "ScalarMemory")),
)
