"""Layers that let the places of a sequence look at each other, and what deep stacks of them need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.initializers import initial, whole_sizes
from tinygrad_wb.nn.layers import Dense, Dropout, Sequential
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.normalisation import LayerNorm
from tinygrad_wb.operations.attention import scaled_dot_product_attention
from tinygrad_wb.operations.joining import split
from tinygrad_wb.operations.linear_algebra import affine, matmul
from tinygrad_wb.operations.shaping import reshape, shape_of, swapaxes
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MultiHeadAttention", "Residual", "TransformerBlock"]


class Residual(Sequential):
    """Layers one after another, and what goes in added to what comes out: x + layers(x).

    So each layer learns a difference, and the gradient has a way past all of them (He et al., 2016). The result must
    have x's shape.

    >>> import tinygrad_wb as wb
    >>> layer = wb.Residual(wb.Dense(2, 2, weight_init="zeros"))
    >>> layer([3.0, 4.0]).data
    array([3., 4.])
    """

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        if shape_of(y) != shape_of(x):
            raise ShapeError(
                f"{self.label} adds what goes in to what comes out: its layers must give x's shape {shape_of(x)}, "
                f"they gave {shape_of(y)}"
            )
        return x + y


class MultiHeadAttention(Module):
    """Each place of a sequence asks all others, with several questions at once: the ``heads``.

    query (…, queries, features), key and value (…, keys, features) give (…, queries, features). Without ``key``, the
    query attends to itself; without ``value``, the key is that too. All three go through dense layers (``weight`` and
    ``bias`` are those of the three side by side: features × 3·features) and are cut into heads. Each head attends for
    itself, by `scaled_dot_product_attention`, and a dense layer ``out`` mixes what they found (Vaswani et al., 2017).

    With ``causal``, no place sees those behind it. ``mask`` broadcasts to (…, heads, queries, keys): booleans, True
    where a query may look, or floats to add to the scores. Other options are Dense's.

    >>> import numpy as np, tinygrad_wb as wb
    >>> layer = wb.MultiHeadAttention(8, heads=2, causal=True, seed=0)
    >>> layer(np.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    _beside = "y, weights = layer(x), layer.attention_weights(x) for the weights, too"

    def __init__(
        self,
        features: int,
        heads: int,
        causal: bool = False,
        bias: bool = True,
        weight_init: str | Callable[..., Any] = "glorot_uniform",
        bias_init: str | Callable[..., Any] = "zeros",
        seed: int | np.random.Generator | None = None,
        dtype: Any = np.float64,
    ) -> None:
        layer = type(self).__name__
        whole_sizes(layer, features=features, heads=heads)
        if features % heads:
            raise ValueError(f"{layer}: {heads} heads must divide {features} features")
        rng = np.random.default_rng(seed)
        self.heads, self.causal = heads, causal
        self.weight = initial(layer, "weight_init", weight_init, (features, 3 * features), rng, dtype)
        self.bias = initial(layer, "bias_init", bias_init, (3 * features,), rng, dtype) if bias else None
        self.out = Dense(features, features, None, bias, weight_init, bias_init, rng, dtype)

    def forward(self, query: Any, key: Any = None, value: Any = None, mask: Any = None) -> Any:
        key = query if key is None else key
        value = key if value is None else value
        self._check(query, key, value)
        q, k, v = map(self._in_heads, self._projected(query, key, value))
        y = swapaxes(self._attended(q, k, v, mask), -2, -3)
        return self.out(reshape(y, (*shape_of(y)[:-2], shape_of(query)[-1])))

    def attention_weights(self, query: Any, key: Any = None, mask: Any = None) -> Any:
        """How much each query takes of each key's value: (…, heads, queries, keys), every row adding up to 1."""
        key = query if key is None else key
        self._check(query, key, key)
        q, k, _ = map(self._in_heads, self._projected(query, key, key))
        return self._attended(q, k, np.eye(shape_of(k)[-2], dtype=k.dtype), mask)  # the mean of one-hot rows

    def _attended(self, query: Any, key: Any, value: Any, mask: Any) -> Any:
        mask = 0.0 if mask is None else mask
        if shape_of(mask) and np.asarray(raw(mask)).dtype.kind in "iu":  # added to the scores, ones would hide nothing
            raise TypeError(
                f"{self.label}: the mask holds integers: give booleans, True where a query may look (mask != 0), "
                "or floats to add to the scores"
            )
        return scaled_dot_product_attention(query, key, value, mask, self.causal)

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """What to ask, what to answer to, what to tell: each through its dense layer."""
        if key is query and value is query:  # one product does for all three
            return split(self._dense(query, self.weight, self.bias), 3, axis=-1)
        weights = split(self.weight, 3, axis=-1)
        biases = [None] * 3 if self.bias is None else split(self.bias, 3)
        return list(map(self._dense, (query, key, value), weights, biases))

    @staticmethod
    def _dense(x: Any, weight: Any, bias: Any) -> Any:
        return matmul(x, weight) if bias is None else affine(x, weight, bias)

    def _in_heads(self, x: Any) -> Any:
        """(…, places, features) as (…, heads, places, features / heads)."""
        *before, features = shape_of(x)
        return swapaxes(reshape(x, (*before, self.heads, features // self.heads)), -2, -3)

    def _check(self, query: Any, key: Any, value: Any) -> None:
        features = self.weight.shape[0]
        shapes = {"query": shape_of(query), "key": shape_of(key), "value": shape_of(value)}
        if any(len(shape) < 2 or shape[-1] != features for shape in shapes.values()):
            told = ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items())
            raise ShapeError(f"{self.label} takes (…, places, {features}), got {told}")

    def describe(self) -> str:
        parts = [f"{self.weight.shape[0]}, {self.heads} heads"]
        parts += ["causal"] if self.causal else []
        parts += ["no bias"] if self.bias is None else []
        return ", ".join(parts)


class TransformerBlock(Module):
    """Places look at each other, then each thinks for itself: x + attention(norm(x)), then that + network(norm(that)).

    x (…, places, features) gives the same shape. The network of each place is Dense(features, hidden, activation) and
    Dense(hidden, features); ``hidden`` is 4 · features unless given. Each part is normalised before, as in GPT-2
    (Radford et al., 2019) and with PyTorch's ``norm_first=True``. In training, ``dropout`` acts on what the attention
    and both dense layers give. Other options are MultiHeadAttention's.

    >>> import numpy as np, tinygrad_wb as wb
    >>> block = wb.TransformerBlock(8, heads=2, causal=True, seed=0)
    >>> block(np.ones((3, 5, 8))).shape, sum(p.size for p in block.parameters())
    ((3, 5, 8), 872)
    """

    def __init__(
        self,
        features: int,
        heads: int,
        hidden: int | None = None,
        activation: str | Callable[[Any], Any] = "gelu",
        causal: bool = False,
        dropout: float = 0.0,
        seed: int | np.random.Generator | None = None,
        dtype: Any = np.float64,
        **options: Any,
    ) -> None:
        whole_sizes(type(self).__name__, features=features)
        hidden = 4 * features if hidden is None else hidden
        rng = np.random.default_rng(seed)
        options |= {"seed": rng, "dtype": dtype}
        self.norm1 = LayerNorm(features, dtype=dtype)
        self.attention = MultiHeadAttention(features, heads, causal, **options)
        self.norm2 = LayerNorm(features, dtype=dtype)
        self.expand = Dense(features, hidden, activation, **options)
        self.contract = Dense(hidden, features, **options)
        self.dropout = Dropout(dropout, rng)

    def forward(self, x: Any, mask: Any = None) -> Any:
        x = x + self.dropout(self.attention(self.norm1(x), mask=mask))
        return x + self.dropout(self.contract(self.dropout(self.expand(self.norm2(x)))))
