"""Layers that read a sequence step by step, and carry a state from each step to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.initializers import initial, whole_sizes
from tinygrad_wb.nn.layers import name_of
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.names import named
from tinygrad_wb.numpy_warnings import at_the_users_line
from tinygrad_wb.operations.activations import relu
from tinygrad_wb.operations.functions import sigmoid
from tinygrad_wb.operations.joining import split, stack
from tinygrad_wb.operations.linear_algebra import affine
from tinygrad_wb.operations.shaping import shape_of
from tinygrad_wb.operations.trigonometry import tanh

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GRU", "LSTM", "RNN"]


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: all but what happens in one step.

    Every step has a dot product of x and one of the state before, ``gates`` of them for each output, side by side.
    """

    gates: int
    _beside = "y, state = layer.run(x) for the state after the last step, too"
    state_parts: int = 1  # 1: the state is the output; more: a tuple of so many arrays like it, the output first

    def __init__(
        self,
        inputs: int,
        outputs: int,
        weight_init: str | Callable[..., Any] = "glorot_uniform",
        recurrent_init: str | Callable[..., Any] = "orthogonal",
        bias_init: str | Callable[..., Any] = "zeros",
        seed: int | np.random.Generator | None = None,
        dtype: Any = np.float64,
    ) -> None:
        layer = type(self).__name__
        whole_sizes(layer, inputs=inputs, outputs=outputs)
        rng = np.random.default_rng(seed)
        wide = self.gates * outputs
        self.weight = initial(layer, "weight_init", weight_init, (inputs, wide), rng, dtype)
        self.recurrent_weight = initial(layer, "recurrent_init", recurrent_init, (outputs, wide), rng, dtype)
        self.bias = initial(layer, "bias_init", bias_init, (wide,), rng, dtype)
        self.recurrent_bias = initial(layer, "bias_init", bias_init, (wide,), rng, dtype)

    def forward(self, x: Any, state: Any = None) -> Any:
        return self.run(x, state)[0]

    @at_the_users_line
    def run(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """The output of every step, and the state after the last, to go on from: ``y, state = layer.run(x, state)``."""
        shape, inputs = shape_of(x), self.weight.shape[0]
        if len(shape) < 2 or shape[-1] != inputs or not shape[-2]:
            raise ShapeError(f"{self.label} takes (…, steps, {inputs}) with one step at least, got x of shape {shape}")
        state = self._start(shape[:-2]) if state is None else self._checked(state, shape[:-2])
        ahead = affine(x, self.weight, self.bias)  # for all steps at once: it needs no state
        outputs = []
        for t in range(shape[-2]):
            state = self._step(ahead[..., t, :], state)
            outputs.append(state if self.state_parts == 1 else state[0])
        return stack(outputs, axis=-2), state

    def _step(self, z: Any, state: Any) -> Any:
        """The next state; z is x @ weight + bias of this step."""
        raise NotImplementedError

    def _from_state(self, h: Any) -> Any:
        return affine(h, self.recurrent_weight, self.recurrent_bias)

    def _start(self, batch: tuple[int, ...]) -> Any:
        zeros = np.zeros((*batch, self.recurrent_weight.shape[0]), self.weight.dtype)
        return zeros if self.state_parts == 1 else (zeros,) * self.state_parts

    def _checked(self, state: Any, batch: tuple[int, ...]) -> Any:
        wanted = (*batch, self.recurrent_weight.shape[0])
        parts = (state,) if self.state_parts == 1 else state
        if not (isinstance(parts, (tuple, list)) and len(parts) == self.state_parts):
            raise TypeError(f"{self.label}: its state is {self.state_parts} arrays (h, c), got {state!r:.80}")
        for part in parts:
            if shape_of(part) != wanted:
                raise ShapeError(f"{self.label}: for this x a state has shape {wanted}, got {shape_of(part)}")
        return state

    def describe(self) -> str:
        inputs, outputs = self.weight.shape[0], self.recurrent_weight.shape[0]
        return f"{inputs} → {outputs}"


class RNN(_Recurrent):
    """A recurrent layer: hₜ = activation(xₜ @ weight + bias + hₜ₋₁ @ recurrent_weight + recurrent_bias).

    x (…, steps, inputs) gives the output of every step, (…, steps, outputs); the last alone is ``y[..., -1, :]``.
    h begins at 0, or at ``state``; ``run(x, state)`` gives the last one too (Elman, 1990). ``activation`` is "tanh",
    "relu" or a function. The recurrent weights start orthogonal (Saxe et al., 2014), as in Keras; the two biases are
    PyTorch's. Other options are Dense's.

    >>> import tinygrad_wb as wb
    >>> layer = wb.RNN(1, 1, "relu", weight_init="ones", recurrent_init="ones")
    >>> layer([[1.0], [2.0], [3.0]]).data.ravel()  # with weights of 1, it adds up
    array([1., 3., 6.])
    """

    gates = 1

    def __init__(
        self, inputs: int, outputs: int, activation: str | Callable[[Any], Any] = "tanh", **options: Any
    ) -> None:
        self.activation = named("activation", activation, {"tanh": tanh, "relu": relu})
        super().__init__(inputs, outputs, **options)

    def _step(self, z: Any, h: Any) -> Any:
        return self.activation(z + self._from_state(h))

    def describe(self) -> str:
        return f"{super().describe()}, {name_of(self.activation)}"


class LSTM(_Recurrent):
    """Long short-term memory: gates say what the memory c lets in, keeps, and shows as the output h.

    i, f, g, o = xₜ @ weight + bias + hₜ₋₁ @ recurrent_weight + recurrent_bias, side by side, then
    cₜ = σ(f) · cₜ₋₁ + σ(i) · tanh(g) and hₜ = σ(o) · tanh(cₜ) (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

    x (…, steps, inputs) gives h of every step, (…, steps, outputs). The state is (h, c), at first 0; ``run(x, state)``
    gives the last one too. The bias of f starts at 1, so that it remembers (Jozefowicz et al., 2015), as in Keras.
    Options are RNN's.

    >>> import numpy as np, tinygrad_wb as wb
    >>> layer = wb.LSTM(3, 4, seed=0)
    >>> y, (h, c) = layer.run(np.ones((2, 5, 3)))
    >>> y.shape, h.shape, bool(np.all(y.data[:, -1] == h.data))
    ((2, 5, 4), (2, 4), True)
    """

    gates, state_parts = 4, 2

    def __init__(self, inputs: int, outputs: int, **options: Any) -> None:
        super().__init__(inputs, outputs, **options)
        self.bias.data[outputs : 2 * outputs] += 1.0

    def _step(self, z: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = split(z + self._from_state(h), 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRU(_Recurrent):
    """Gated recurrent unit: each output moves from its last value towards a new one, as far as a gate lets it.

    With r, z, n of xₜ @ weight + bias and r', z', n' of hₜ₋₁ @ recurrent_weight + recurrent_bias,
    new = tanh(n + σ(r + r') · n') and hₜ = new + σ(z + z') · (hₜ₋₁ - new) (Cho et al., 2014; as in PyTorch, and in
    Keras with ``reset_after``).

    x (…, steps, inputs) gives h of every step, (…, steps, outputs). Options are RNN's.

    >>> import numpy as np, tinygrad_wb as wb
    >>> wb.GRU(3, 4, seed=0)(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    gates = 3

    def _step(self, z: Any, h: Any) -> Any:
        r, keep, n = split(z, 3, axis=-1)
        r_h, keep_h, n_h = split(self._from_state(h), 3, axis=-1)
        new = tanh(n + sigmoid(r + r_h) * n_h)
        return new + sigmoid(keep + keep_h) * (h - new)
