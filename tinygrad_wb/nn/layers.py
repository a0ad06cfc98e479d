"""Layers: `Dense`, and ways to put layers together."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.initializers import initial, whole_sizes
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.names import named
from tinygrad_wb.operations import activations, functions, neural, trigonometry
from tinygrad_wb.operations.linear_algebra import affine, matmul
from tinygrad_wb.operations.shaping import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["MLP", "Activation", "Dense", "Dropout", "Sequential"]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        activations.relu, activations.leaky_relu, activations.elu, activations.selu, activations.gelu, activations.silu,
        activations.mish, activations.softsign, activations.hard_tanh, trigonometry.tanh, trigonometry.sin,
        functions.sigmoid, functions.softplus, neural.softmax, neural.log_softmax,
    )
}  # fmt: skip


class Dense(Module):
    """A layer of neurons: activation(x @ weight + bias).

    x (…, inputs) gives (…, outputs). ``weight`` has shape (inputs, outputs), ``bias`` (outputs); each output is one
    neuron, the dot product of the inputs with a column of weights, plus its bias. Weights start random (Glorot and
    Bengio, 2010) and biases at zero, as in Keras. ``activation`` is a name or a function; ``seed`` a number or a
    NumPy Generator; ``dtype`` float16, float32 or float64.

    >>> import tinygrad_wb as wb
    >>> layer = wb.Dense(3, 2, activation="tanh", seed=0)
    >>> layer([0.0, 0.0, 0.0]).data
    array([0., 0.])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | Callable[[Any], Any] | None = None,
        bias: bool = True,
        weight_init: str | Callable[..., Any] = "glorot_uniform",
        bias_init: str | Callable[..., Any] = "zeros",
        seed: int | np.random.Generator | None = None,
        dtype: Any = np.float64,
    ) -> None:
        whole_sizes("Dense", inputs=inputs, outputs=outputs)
        rng = np.random.default_rng(seed)
        self.activation = None if activation is None else named("activation", activation, ACTIVATIONS)
        self.weight = initial("Dense", "weight_init", weight_init, (inputs, outputs), rng, dtype)
        self.bias = initial("Dense", "bias_init", bias_init, (outputs,), rng, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        try:
            y = matmul(x, self.weight) if self.bias is None else affine(x, self.weight, self.bias)
        except ShapeError:
            if shape_of(x)[-1:] == self.weight.shape[:1]:
                raise  # x is right: weight and bias don't fit each other
            raise self._misfit(shape_of(x)) from None
        return y if self.activation is None else self.activation(y)

    def _misfit(self, shape: tuple[int, ...]) -> ShapeError:
        inputs = self.weight.shape[0]
        remedy = f"the last length must be {inputs}"
        if inputs in shape:
            remedy += "; transpose x?" if len(shape) == 2 else "; move that axis to the end"
        elif shape and int(np.prod(shape[1:])) == inputs:
            remedy += f"; x.reshape({shape[0]}, {inputs})?"
        elif not shape:
            remedy += "; a single number is [x]"
        else:
            remedy += f", or build the layer as Dense({shape[-1]}, {self.weight.shape[1]})"
        return ShapeError(f"{self.label} takes {inputs} inputs, got x of shape {shape}; {remedy}")

    def describe(self) -> str:
        inputs, outputs = self.weight.shape
        parts = [f"{inputs} → {outputs}"]
        if self.activation is not None:
            parts.append(name_of(self.activation))
        if self.bias is None:
            parts.append("no bias")
        return ", ".join(parts)


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


class Activation(Module):
    """A function as a layer, by name or as it is; it has no parameters."""

    def __init__(self, function: str | Callable[[Any], Any]) -> None:
        self.function = named("activation", function, ACTIVATIONS)

    def forward(self, x: Any) -> Any:
        return self.function(x)

    def describe(self) -> str:
        return name_of(self.function)


class Sequential(Module):
    """Layers one after another: each takes what the one before gives.

    A layer is a Module, or an activation by name or as a function.

    >>> import tinygrad_wb as wb
    >>> model = wb.Sequential(wb.Dense(4, 3), wb.tanh, wb.Dense(3, 1))
    >>> [path for path, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: str | Callable[[Any], Any]) -> None:
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            raise TypeError("Sequential takes layers, not a list of them: Sequential(*layers)")
        self.layers = tuple(layer if isinstance(layer, Module) else Activation(layer) for layer in layers)

    def members(self) -> Iterator[tuple[str, Any]]:
        yield from ((str(i), layer) for i, layer in enumerate(self.layers))
        yield from ((name, member) for name, member in super().members() if name != "layers")

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]


class MLP(Sequential):
    """A multi-layer perceptron: Dense layers of the sizes inputs → hidden … → outputs.

    The hidden layers have the ``activation``, the last has none, so that it gives scores. Other options are Dense's.

    >>> import tinygrad_wb as wb
    >>> wb.MLP(2, [16, 16], 1)
    MLP()
      0: Dense(2 → 16, relu)
      1: Dense(16 → 16, relu)
      2: Dense(16 → 1)
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str | Callable[[Any], Any] | None = "relu",
        seed: int | np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        if isinstance(hidden, (int, np.integer)):
            raise TypeError(f"MLP: the hidden sizes are one list, even of one: MLP({inputs}, [{hidden}, …], outputs)")
        rng = np.random.default_rng(seed)
        sizes = [inputs, *hidden, outputs]
        last = len(sizes) - 2
        super().__init__(*(
            Dense(n, m, activation if i < last else None, seed=rng, **options)
            for i, (n, m) in enumerate(itertools.pairwise(sizes))
        ))  # fmt: skip


class Dropout(Module):
    """In training, set each number to 0 with probability ``rate`` and scale the others by 1 / (1 - rate).

    In use (after ``model.eval()``) it passes everything on (Srivastava et al., 2014). ``seed`` makes it repeatable.
    """

    def __init__(self, rate: float, seed: int | np.random.Generator | None = None) -> None:
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"Dropout: rate is a probability from 0 to below 1, got {rate!r}")
        self.rate = float(rate)
        self.rng = np.random.default_rng(seed)

    def forward(self, x: Any) -> Any:
        return neural.dropout(x, self.rate, self.rng) if self.training else x

    def describe(self) -> str:
        return f"{self.rate:g}"
