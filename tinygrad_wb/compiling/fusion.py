"""Which steps become one: sums of products, and elementwise work that runs through large arrays together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.plan import Step, data_of
from tinygrad_wb.compiling.tiling import fits_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fusion_groups", "with_products"]

VDOT = SimpleNamespace(name="vdot", numpy="np.vdot({a}, {b})", scalar=None)


def with_products(steps: Sequence[Step]) -> list[Step]:
    """The steps, where the sum of a product that is used for nothing else becomes the dot product of the two.

    The sum's step itself is changed, since others know it; the product's is left out, and has no uses any more.
    """
    for step in steps:
        if step.op.name == "sum" and step.number and type(step.inputs[0]) is Step:
            (product,) = step.inputs
            pair = product.inputs * 2 if product.op.name == "square" else product.inputs
            if (
                product.op.name in ("multiply", "square")
                and product.uses == 1
                and all(map(_plain, pair, (product,) * 2))
            ):
                step.inputs, step.op, product.uses = pair, VDOT, 0
    return [step for step in steps if step.uses]


def _plain(x: Any, like: Step) -> bool:
    data = data_of(x)
    return (
        isinstance(data, np.ndarray)
        and data.shape == like.data.shape
        and data.dtype == like.data.dtype
        and data.dtype.char in "fd"
        and data.flags.c_contiguous
        and type(x) is Step
    )


def fusion_groups(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps, one by one, and neighbours that are elementwise work on large arrays of one shape together."""
    groups: list[list[Step]] = []
    for step in steps:
        if fits_tiles(step) and groups and fits_tiles(groups[-1][0]) and groups[-1][0].data.shape == step.data.shape:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups
