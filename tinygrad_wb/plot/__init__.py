"""Pictures of learning, on matplotlib: each function draws on ``ax``, or on axes of its own, and returns the axes."""

from tinygrad_wb.plot.boundary import decision_boundary
from tinygrad_wb.plot.confusion import confusion
from tinygrad_wb.plot.curve import training_curve
from tinygrad_wb.plot.histograms import Distributions, distributions
from tinygrad_wb.plot.images import weights
from tinygrad_wb.plot.layers import activations
from tinygrad_wb.plot.rates import learning_rates

__all__ = [
    "Distributions", "activations", "confusion", "decision_boundary", "distributions", "learning_rates",
    "training_curve", "weights",
]  # fmt: skip
