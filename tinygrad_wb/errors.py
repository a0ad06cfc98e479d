"""The errors that this package raises on its own account, each a kind of the built-in one that fits."""

__all__ = ["GradientError", "ShapeError", "StaleGraphError"]


class ShapeError(ValueError):
    """Shapes do not fit together; the message restates the call, the shapes and the remedy."""


class StaleGraphError(RuntimeError):
    """A leaf got new data after an operation had read the old: its gradient would be wrong."""


class GradientError(AssertionError):
    """``check_gradients`` found a derivative that finite differences contradict."""
