"""Optimizers: from gradients to new weights, `w ← w − η·∂Loss/∂w` and its relatives.

Each says in `change` by how much a parameter is to fall, for a number or an array alike. What it must remember of a
parameter it keeps in that parameter's ``memory``; a missing entry counts as 0.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_wb.flat import Together
from tinygrad_wb.memory import bytes_of, keep_freed_memory
from tinygrad_wb.numpy_warnings import OF_STEPS, enter, leave, state
from tinygrad_wb.operations.functions import sqrt
from tinygrad_wb.recording import settle_noted, watcher, watchers
from tinygrad_wb.value import Value, next_tick, raw, settle, settled_since

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]


class Optimizer:
    """What all optimizers share: the parameters, the learning rate, clipping, and the walk over the parameters.

    ``learning_rate`` is a number, or a schedule: a function from the number of steps taken to a number.
    ``clip_norm`` scales all gradients down together when their common norm is larger (Pascanu et al., 2013);
    ``clip_value`` cuts each number of a gradient off at ± that value, which may turn the direction. Both are as in
    PyTorch's ``clip_grad_norm_`` and ``clip_grad_value_``, but what stands in ``.grad`` stays the true derivative.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        learning_rate: Any,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        if not isinstance(parameters, Iterable) or isinstance(parameters, Value):
            raise TypeError(
                f"{type(self).__name__}: give model.parameters() or a list of Values, got {parameters!r:.80}"
            )
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.clip_norm = None if clip_norm is None else float(clip_norm)
        self.clip_value = None if clip_value is None else float(clip_value)
        self.steps = 0
        keep_freed_memory()
        self.memory: list[dict[str, Any]] = [defaultdict(float) for _ in self.parameters]
        self._together = Together(self.parameters, self.memory)
        name = type(self).__name__
        if not self.parameters:
            raise ValueError(f"{name}: there are no parameters; give model.parameters(), or a list of Values")
        for p in self.parameters:
            if type(p) is not Value:
                raise TypeError(f"{name}: parameters are Values, got {p!r:.80}")
            if p.op is not None:
                raise TypeError(f"{name}: {p!r:.80} was computed; only leaves can be updated")
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError(f"{name}: a parameter is listed twice and would be updated twice")
        for word, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{name}: {word} must be positive, got {limit!r}")
        if clip_norm is not None and clip_value is not None:
            raise ValueError(f"{name}: gradients are clipped by clip_norm or by clip_value, not by both")
        if not callable(learning_rate) and not learning_rate >= 0:
            raise ValueError(f"{name}: learning_rate must not be negative, got {learning_rate!r}")

    @property
    def rate(self) -> float:
        """The learning rate η of the next step."""
        rate = self.learning_rate
        return rate if type(rate) is float else float(rate(self.steps) if callable(rate) else rate)

    def _setting(self, name: str, number: Any, below: float = math.inf) -> float:
        if not 0.0 <= number < below:
            limit = f" to below {below:g}" if below < math.inf else ""
            raise ValueError(f"{type(self).__name__}: {name} must be from 0{limit or ' up'}, got {number!r}")
        return float(number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.parameters)} parameters, learning_rate={self.learning_rate})"

    def __sizeof__(self) -> int:
        """Its bytes with those of what it remembers, without its parameters: what ``sys.getsizeof`` tells."""
        memories = self._together.memories()
        return object.__sizeof__(self) + sum(bytes_of(x) for memory in memories for x in memory.values())

    def zero_grad(self) -> None:
        """Set every parameter's ``.grad`` back to None, "not computed"."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Change every parameter by its gradient; ``ValueError``, and no change, if any has none."""
        token = enter(OF_STEPS[state()])
        try:
            self._step()
        finally:
            leave(token)

    def _step(self) -> None:
        settle_noted()
        if watchers and (watch := watcher()) is not None:
            watch.about_to_step(self)
        quiet = settled_since(-1)
        each = gradients = [p.grad for p in self.parameters]
        # A compiled function keeps weights side by side, and gradients too: then one change does for all.
        whole = self._together.gradients(gradients)
        if whole is not None:
            gradients = [whole]
        elif any(g is None for g in gradients):
            raise self._missing()
        gradients = self.clipped(gradients, each)
        rate = self.rate
        change = self.change
        if whole is not None:
            self._together.step(gradients[0], change, rate)
            for p in self.parameters:
                p.tick = next_tick()
        else:
            for p, g, memory in zip(self.parameters, gradients, self.memory):
                w = p._data
                if type(w) is np.ndarray:
                    # in place: the array stays the parameter's
                    w -= change(w, g if type(g) is np.ndarray else raw(g), memory, rate)
                else:
                    p._data = float(w - change(np.float64(w), np.float64(raw(g)), memory, rate))
                p.tick = next_tick()
        self.steps += 1
        if quiet:
            settle()

    def change(self, w: Any, g: Any, memory: dict[str, Any], rate: float) -> Any:
        raise NotImplementedError

    def clipped(self, gradients: list[Any], each: list[Any]) -> list[Any]:
        """The gradients that a step follows.

        The length of all of them, taken as one vector, is summed up from ``each`` parameter's, so that it is the same
        number however they stand in memory.
        """
        if self.clip_value is not None:
            return [np.clip(raw(g), -self.clip_value, self.clip_value) for g in gradients]
        if self.clip_norm is None:
            return gradients
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in map(raw, each)))
        factor = self.clip_norm / (norm + 1e-6)
        return gradients if factor >= 1.0 else [raw(g) * factor for g in gradients]  # nan, too, makes all nan

    def separate(self) -> None:
        """Let ``memory`` have what is remembered of each parameter, though a compiled function put them together."""
        self._together.separate()

    def __getstate__(self) -> dict[str, Any]:
        self.separate()
        return {name: x for name, x in vars(self).items() if name != "_together"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._together = Together(self.parameters, self.memory)

    def _missing(self) -> ValueError:
        names = [p.name or f"number {i}" for i, p in enumerate(self.parameters) if p.grad is None]
        return ValueError(
            f"{type(self).__name__}.step(): no gradient for {', '.join(names)}. Call loss.backward() first; if you do, "
            "the loss does not use them: leave them out of the optimizer, or make it anew, if the model was made or "
            "changed after it"
        )


class SGD(Optimizer):
    """Stochastic gradient descent: w ← w − η·∂Loss/∂w.

    ``momentum`` μ keeps a velocity v ← μ·v + g and follows it (Polyak, 1964), ``nesterov`` looks ahead along it
    (Sutskever et al., 2013); ``weight_decay`` λ adds λ·w to the gradient. The formulas are PyTorch's.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(1.0)
    >>> optimizer = wb.SGD([w], learning_rate=0.1)
    >>> (w * w).backward()
    >>> optimizer.step()
    >>> w.data
    0.8
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, clip_norm, clip_value)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov looks ahead along the momentum, so it needs momentum > 0")
        self.nesterov = nesterov
        self.momentum = self._setting("momentum", momentum)
        self.weight_decay = self._setting("weight_decay", weight_decay)

    def change(self, w: Any, g: Any, memory: dict[str, Any], rate: float) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * w
        if self.momentum:
            memory["velocity"] = v = self.momentum * memory["velocity"] + g
            g = g + self.momentum * v if self.nesterov else v
        return rate * g


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma and Ba, 2015).

    ``weight_decay`` λ adds λ·w to the gradient; see `AdamW` for decay apart from it.
    """

    def __init__(
        self,
        parameters: Iterable[Value],
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, clip_norm, clip_value)
        self.beta1, self.beta2 = self._setting("beta1", beta1, 1.0), self._setting("beta2", beta2, 1.0)
        self.epsilon = self._setting("epsilon", epsilon)
        self.weight_decay = self._setting("weight_decay", weight_decay)

    def change(self, w: Any, g: Any, memory: dict[str, Any], rate: float) -> Any:
        return self.adapted(g + self.weight_decay * w if self.weight_decay else g, memory, rate)

    def adapted(self, g: Any, memory: dict[str, Any], rate: float) -> Any:
        memory["mean"] = m = self.beta1 * memory["mean"] + (1.0 - self.beta1) * g
        memory["square"] = s = self.beta2 * memory["square"] + (1.0 - self.beta2) * (g * g)
        t = self.steps + 1  # both means start at 0; these divisors undo that
        m_hat, s_hat = m / (1.0 - self.beta1**t), s / (1.0 - self.beta2**t)
        return rate * m_hat / (sqrt(s_hat) + self.epsilon)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: w also falls by η·λ·w (Loshchilov and Hutter, 2019)."""

    def __init__(
        self, parameters: Iterable[Value], learning_rate: Any = 0.001, weight_decay: float = 0.01, **options: Any
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay=weight_decay, **options)

    def change(self, w: Any, g: Any, memory: dict[str, Any], rate: float) -> Any:
        return rate * self.weight_decay * w + self.adapted(g, memory, rate)


class RMSprop(Optimizer):
    """Steps scaled by a running mean of the squared gradient (Tieleman and Hinton, 2012)."""

    def __init__(
        self,
        parameters: Iterable[Value],
        learning_rate: Any = 0.01,
        decay: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, clip_norm, clip_value)
        self.decay, self.epsilon = self._setting("decay", decay, 1.0), self._setting("epsilon", epsilon)
        self.momentum = self._setting("momentum", momentum)
        self.weight_decay = self._setting("weight_decay", weight_decay)

    def change(self, w: Any, g: Any, memory: dict[str, Any], rate: float) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * w
        memory["square"] = s = self.decay * memory["square"] + (1.0 - self.decay) * (g * g)
        memory["velocity"] = v = self.momentum * memory["velocity"] + g / (sqrt(s) + self.epsilon)
        return rate * v


class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients so far (Duchi et al., 2011)."""

    def __init__(
        self,
        parameters: Iterable[Value],
        learning_rate: Any = 0.01,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(parameters, learning_rate, clip_norm, clip_value)
        self.epsilon = self._setting("epsilon", epsilon)
        self.weight_decay = self._setting("weight_decay", weight_decay)

    def change(self, w: Any, g: Any, memory: dict[str, Any], rate: float) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * w
        memory["square"] = s = memory["square"] + g * g
        return rate * g / (sqrt(s) + self.epsilon)
