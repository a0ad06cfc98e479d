"""A layer that turns whole numbers, such as words, into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.initializers import initial, whole_sizes
from tinygrad_wb.nn.module import Module
from tinygrad_wb.operations.neural import embedding

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Embedding"]


class Embedding(Module):
    """A vector for each label: integers (…) from 0 to labels - 1 give (…, features).

    ``weight`` has shape (labels, features) and starts with normally distributed numbers, as in PyTorch. Other options
    are Dense's.

    >>> import tinygrad_wb as wb
    >>> wb.Embedding(27, 2, seed=0)([[0, 1, 2], [1, 2, 26]]).shape
    (2, 3, 2)
    """

    def __init__(
        self,
        labels: int,
        features: int,
        weight_init: str | Callable[..., Any] = "normal",
        seed: int | np.random.Generator | None = None,
        dtype: Any = np.float64,
    ) -> None:
        whole_sizes("Embedding", labels=labels, features=features)
        rng = np.random.default_rng(seed)
        self.weight = initial("Embedding", "weight_init", weight_init, (labels, features), rng, dtype)

    def forward(self, x: Any) -> Any:
        return embedding(self.weight, x)

    def describe(self) -> str:
        return " → ".join(map(str, self.weight.shape))
