"""The table of activations: what makes a network more than one large linear function.

`sigmoid`, `softplus`, `tanh` and `softmax` stand in other tables; networks know all of them by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.operation import operation
from tinygrad_wb.operations.arithmetic import absolute, clip, minimum, where
from tinygrad_wb.operations.functions import erf, exp, expm1, sigmoid, softplus
from tinygrad_wb.operations.trigonometry import tanh

__all__ = ["elu", "gelu", "hard_tanh", "leaky_relu", "mish", "relu", "selu", "silu", "softsign"]


@operation(da=lambda g, y, a: g * (y > 0.0))
def relu(a: Any) -> Any:
    """max(a, 0); the derivative at 0 is 0."""
    if type(a) is float:
        return 0.0 if a <= 0.0 else a  # noqa: FURB136 - max() would lose nan
    return np.maximum(a, 0.0)


@operation(da=lambda g, y, a, slope: where(a > 0.0, g, g * slope))
def leaky_relu(a: Any, slope: float = 0.01) -> Any:
    """a where it is positive, ``slope`` · a elsewhere (Maas et al., 2013)."""
    if type(a) is float:
        return a if a > 0.0 else a * slope
    return np.where(a > 0.0, a, a * slope)


def _left(a: Any) -> Any:
    """exp(a) where a is not positive: the slope of expm1, to the last digit also where expm1(a) + 1 is 0."""
    return exp(where(a > 0.0, 0.0, a))


@operation(da=lambda g, y, a, alpha: where(a > 0.0, g, g * (alpha * _left(a))))
def elu(a: Any, alpha: float = 1.0) -> Any:
    """a where it is positive, ``alpha`` · (exp(a) - 1) elsewhere (Clevert et al., 2015); its slope at 0 is alpha."""
    return where(a > 0.0, a, alpha * expm1(minimum(a, 0.0)))


# With these, layer after layer keeps mean 0 and variance 1.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@operation(da=lambda g, y, a: where(a > 0.0, g * _SELU_SCALE, g * (_SELU_SCALE * _SELU_ALPHA * _left(a))))
def selu(a: Any) -> Any:
    """1.0507 · elu(a, 1.6733), which keeps activations normalized (Klambauer et al., 2017)."""
    return _SELU_SCALE * elu(a, _SELU_ALPHA)


@operation(da=lambda g, y, a: g * (sigmoid(a) * (1.0 + a * (1.0 - sigmoid(a)))))
def silu(a: Any) -> Any:
    """a · sigmoid(a), also called swish (Elfwing et al., 2017)."""
    return a * sigmoid(a)


def _mish_da(g: Any, y: Any, a: Any) -> Any:
    t = tanh(softplus(a))
    return g * (t + a * (1.0 - t * t) * sigmoid(a))


@operation(da=_mish_da)
def mish(a: Any) -> Any:
    """a · tanh(softplus(a)) (Misra, 2019)."""
    return a * tanh(softplus(a))


_SQRT_2, _SQRT_2PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)
_CUBIC = 0.044715  # of the tanh form, from the paper


def _gelu_da(g: Any, y: Any, a: Any, approximate: bool) -> Any:
    if approximate:
        t = tanh((a + _CUBIC * a * a * a) * (2.0 / _SQRT_2PI))
        return g * (0.5 * (1.0 + t) + a * (1.0 - t * t) * (1.0 + 3.0 * _CUBIC * a * a) / _SQRT_2PI)
    # Φ(a) + a · φ(a), with the normal distribution's Φ and φ
    return g * (0.5 * (1.0 + erf(a / _SQRT_2)) + a * exp(-0.5 * a * a) / _SQRT_2PI)


@operation(da=_gelu_da)
def gelu(a: Any, approximate: bool = False) -> Any:
    """a · Φ(a), Φ the normal distribution function (Hendrycks and Gimpel, 2016).

    ``approximate=True`` uses the paper's tanh form, which is quicker on arrays.
    """
    if not isinstance(approximate, (bool, np.bool_)):  # PyTorch's "none" would count as True
        raise TypeError(f"approximate is True, the tanh form, or False, the exact one; got {approximate!r}")
    if approximate:
        return 0.5 * a * (1.0 + tanh((a + _CUBIC * a * a * a) * (2.0 / _SQRT_2PI)))
    return 0.5 * a * (1.0 + erf(a / _SQRT_2))


def _softsign_da(g: Any, y: Any, a: Any) -> Any:
    s = 1.0 + absolute(a)
    return g / (s * s)


@operation(da=_softsign_da)
def softsign(a: Any) -> Any:
    """a / (1 + abs(a)): squashes to (-1, 1), more gently than tanh (Turian et al., 2009)."""
    return a / (1.0 + absolute(a))


@operation(da=lambda g, y, a: g * ((a > -1.0) & (a < 1.0)))
def hard_tanh(a: Any) -> Any:
    """a, kept between -1 and 1 (Collobert, 2004); the derivative on these bounds is 0, as in PyTorch."""
    return clip(a, -1.0, 1.0)
