"""This package, compiled: the same training code, with the loss as a program, in each of the ways that there are."""

import numpy as np

import tinygrad_wb as wb
from peers import ours
from tinygrad_wb.compiling import compiled_step
from tinygrad_wb.compiling.guards import guard_of


class Way:
    """A peer: ``compile`` makes a function, given with its model and loss, one that is called in the way ``name``."""

    Value, NO_GRADIENT = ours.Value, ours.NO_GRADIENT
    row, inference, array = map(staticmethod, (ours.row, ours.inference, np.asarray))

    def __init__(self, name, compile):
        self.name = name
        self._compile = compile
        self._compiled = []

    def compile(self, function, *roots):
        self._compiled.append(self._compile(function, *roots))
        return self._compiled[-1]

    def replays(self, loss_of):
        return loss_of.replaying

    def problem(self):
        """What was not compiled runs as it is, which would be the other peer's time under this one's name."""
        reports = [compiled.report() for compiled in self._compiled]
        return next((str(report) for report in reports if report.way != self.name), "")

    def make_step(self, net):
        return ours.make_step(net, self.compile)

    def make_predict(self, net):
        return ours.make_predict(net, self.compile)

    def fit(self, *work):
        return ours.fit(*work, compile=True)

    def make_chain(self, chain):
        function = self.compile(lambda x: chain(x, wb))
        return lambda x: function(x).data

    def make_both(self, piece):
        """A function of a few numbers, as it is and compiled."""
        w = wb.Value(np.ones(3))

        def function():
            return wb.sum(w * piece())

        return function, self.compile(function)

    def make_guard(self, layers):
        """What looks, in each call, whether a network is as it was."""
        return guard_of(wb.Sequential(*[wb.Dense(4, 4) for _ in range(layers)])).same


followed = Way("followed", lambda function, *roots: wb.compile(function))
known = Way("known", lambda function, *roots: compiled_step(function, *roots, pure=False))  # as `fit` does
promised = Way("promised", lambda function, *roots: wb.compile(function, pure=True))
