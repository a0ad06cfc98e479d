"""Who takes part: one row here, one file in this folder.

What a file has depends on the work it is asked to do (see ``work.py``):

- ``make_step(net)`` gives a function that does one training step and returns its loss; whoever takes part in work on
  further layers says in ``MODELS`` how each is built;
- ``make_product(work)`` gives a function from a direction to the Hessian's product with it;
- for graphs of scalars: ``Value``, ``row`` (how a sample's numbers are given to it), ``NO_GRADIENT`` (what resets
  ``.grad``), and, if it compiles functions, ``compile`` and ``replays`` (whether what that gave is compiled by now);
- for work without gradients: ``array`` (how a NumPy array is given to it), ``inference`` (the context in which nothing is
  recorded), ``make_chain(chain)`` and ``make_predict(net)``, which give functions from such an array to an array;
- ``fit(net, x, y, epochs, on_epoch)``, which gives the loss of each epoch;
- ``source_lines``, the context in which the lines of the source are recorded;
- for what compiling costs: ``make_both(piece)``, a function as it is and compiled, and ``make_guard(layers)``;
- ``kernels()``: which kernels its matrix products run, if those are not NumPy's;
- ``problem()``: asked after the work, why it does not count; "" if it does.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata


class NotHere(Exception):
    """This peer can't run on this machine; the text says why."""


@dataclass(frozen=True)
class Peer:
    """A framework, and the kinds of work it is asked to do. ``file`` may be "file:name", if the file has several."""

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
FOLLOWED, KNOWN, PROMISED = COMPILED = tuple(f"{OURS} {way}" for way in ("followed", "known", "promised"))
ARRAYS = ("Net", "Chain", "Row")
LAYERED = ("Convolution", "Letters", "Transformer")
SCALARS = ("Moons", "Compiling")
PEERS = (
    Peer(
        "ours",
        OURS,
        "tinygrad_wb",
        (
            *(*ARRAYS, *LAYERED, *SCALARS, "OwnNet"),
            *("Curvature", "ScalarMemory", "ChainMemory", "StepMemory", "Fit", "Looking"),
        ),
    ),
    Peer("ours_compiled:followed", FOLLOWED, "tinygrad_wb", ("Net", "OwnNet", *LAYERED, "Around")),
    Peer("ours_compiled:known", KNOWN, "tinygrad_wb", ("OwnNet", "Convolution", "Letters", "Fit", "Guarding")),
    Peer(
        "ours_compiled:promised",
        PROMISED,
        "tinygrad_wb",
        (*ARRAYS, *LAYERED, *SCALARS, "OwnNet", "ChainMemory", "StepMemory"),
    ),
    Peer("by_hand", "NumPy by hand", "numpy", (*ARRAYS, "ChainMemory", "StepMemory")),
    Peer("pytorch", "PyTorch", "torch", (*ARRAYS, *LAYERED, "Curvature", "StepMemory")),
    Peer("pytorch_compiled", "torch.compile", "torch", (*ARRAYS, *LAYERED)),
    Peer("jax_jit", "jax.jit", "jax", (*ARRAYS, "Curvature")),
    Peer("hips", "HIPS autograd", "autograd", ("Net", "Curvature")),
    Peer("my_grad", "MyGrad", "mygrad"),
    Peer("micro", "micrograd", "micrograd", (*SCALARS, "ScalarMemory")),
)
