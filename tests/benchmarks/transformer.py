"""A tiny GPT as work for the frameworks, and its backward pass by hand, from NumPy in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from layered import Layered, cross_entropy

LETTERS, PLACES, WIDTH, HEADS, BLOCKS = 27, 16, 32, 4, 2
EPSILON = 1e-5


@dataclass(frozen=True)
class Transformer(Layered):
    """The network of examples/tiny_gpt.py, with 27 letters: what comes after each of 16."""

    batch: int = 16

    @property
    def name(self) -> str:
        return f"tiny GPT, batch {self.batch}"

    description = (
        f"Rows of {PLACES} letters of {LETTERS}: Embedding({LETTERS} → {WIDTH}) and one of places, {BLOCKS} causal transformer blocks of "
        f"{HEADS} heads with {4 * WIDTH} relu neurons, LayerNorm({WIDTH}), Dense({WIDTH} → {LETTERS})"
    )

    def data(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(1)
        return rng.integers(0, LETTERS, (self.batch, PLACES)), rng.integers(0, LETTERS, self.batch * PLACES)

    def weights(self) -> list[Any]:
        n = WIDTH
        norm = [(n,), (n,)]
        block = [*norm, (n, 3 * n), (3 * n,), (n, n), (n,), *norm, (n, 4 * n), (4 * n,), (4 * n, n), (n,)]
        return self.normal((LETTERS, n), (PLACES, n), *block * BLOCKS, *norm, (n, LETTERS), (LETTERS,))

    def backward(self, x: Any, targets: Any, letters: Any, places: Any, *weights: Any) -> tuple[float, Any]:
        h, blocks = letters[x] + places, []
        for i in range(BLOCKS):
            h, kept = block(h, *weights[12 * i : 12 * i + 12])
            blocks.append(kept)
        gain, shift, w, b = weights[-4:]
        normed, kept_norm = norm(h, gain, shift)
        flat = normed.reshape(-1, WIDTH)
        loss, g = cross_entropy(flat @ w + b, targets)
        gradients = [flat.T @ g, g.sum(0)]
        g, *of_norm = norm_back((g @ w.T).reshape(h.shape), gain, *kept_norm)
        gradients = [*of_norm, *gradients]
        for i in reversed(range(BLOCKS)):
            g, of_block = block_back(g, *blocks[i], *weights[12 * i : 12 * i + 12])
            gradients = [*of_block, *gradients]
        of_letters = np.zeros_like(letters)
        np.add.at(of_letters, x, g)
        return loss, [of_letters, g.sum(0), *gradients]


def norm(x: Any, gain: Any, shift: Any) -> tuple[Any, Any]:
    scale = 1.0 / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    z = (x - x.mean(-1, keepdims=True)) * scale
    return gain * z + shift, (z, scale)


def norm_back(g: Any, gain: Any, z: Any, scale: Any) -> tuple[Any, Any, Any]:
    inner = g * gain
    by_x = scale * (inner - inner.mean(-1, keepdims=True) - z * (inner * z).mean(-1, keepdims=True))
    return by_x, (g * z).sum((0, 1)), g.sum((0, 1))


def dense_back(g: Any, x: Any, w: Any) -> tuple[Any, Any, Any]:
    return g @ w.T, np.einsum("nti,nto->io", x, g), g.sum((0, 1))


def heads(x: Any) -> Any:
    return x.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2)


def block(x, gain1, shift1, w_qkv, b_qkv, w_out, b_out, gain2, shift2, w1, b1, w2, b2):
    a, norm1 = norm(x, gain1, shift1)
    q, k, v = map(heads, np.split(a @ w_qkv + b_qkv, 3, -1))
    scores = np.where(np.tri(PLACES, dtype=bool), q @ k.swapaxes(2, 3) / np.sqrt(WIDTH / HEADS), -np.inf)
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    found = (share @ v).swapaxes(1, 2).reshape(x.shape)
    h = x + found @ w_out + b_out
    c, norm2 = norm(h, gain2, shift2)
    hidden = np.maximum(c @ w1 + b1, 0.0)
    return h + hidden @ w2 + b2, (a, norm1, q, k, v, share, found, c, norm2, hidden)


def block_back(
    g, a, norm1, q, k, v, share, found, c, norm2, hidden,
    gain1, shift1, w_qkv, b_qkv, w_out, b_out, gain2, shift2, w1, b1, w2, b2,
):  # fmt: skip
    inner, *of_second = dense_back(g, hidden, w2)
    inner, *of_first = dense_back(inner * (hidden > 0.0), c, w1)
    inner, *of_norm2 = norm_back(inner, gain2, *norm2)
    g = g + inner
    inner, *of_out = dense_back(g, found, w_out)
    inner = heads(inner)
    by_share = inner @ v.swapaxes(2, 3)
    by_scores = share * (by_share - (by_share * share).sum(-1, keepdims=True)) / np.sqrt(WIDTH / HEADS)
    by_qkv = (by_scores @ k, by_scores.swapaxes(2, 3) @ q, share.swapaxes(2, 3) @ inner)
    inner = np.concatenate([part.swapaxes(1, 2).reshape(g.shape) for part in by_qkv], -1)
    inner, *of_qkv = dense_back(inner, a, w_qkv)
    inner, *of_norm1 = norm_back(inner, gain1, *norm1)
    return g + inner, [*of_norm1, *of_qkv, *of_out, *of_norm2, *of_first, *of_second]
