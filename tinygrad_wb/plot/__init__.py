"""Pictures of learning, on matplotlib: each function draws on ``ax``, or on axes of its own, and returns the axes."""

from tinygrad_wb.plot.boundary import decision_boundary
from tinygrad_wb.plot.curve import training_curve
from tinygrad_wb.plot.histograms import Distributions, distributions
from tinygrad_wb.plot.images import weights
from tinygrad_wb.plot.layers import activations

__all__ = ["Distributions", "activations", "decision_boundary", "distributions", "training_curve", "weights"]
