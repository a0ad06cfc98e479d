"""This package, compiled: the same training code, with the loss recorded twice and then replayed."""

import functools
import warnings

import numpy as np

import tinygrad_wb as wb
from peers import ours

# What can't be compiled runs as it is, after a warning; here that would be the other peer's time under this one's name.
warnings.filterwarnings("error", message=".*not compiled", category=RuntimeWarning)

Value, NO_GRADIENT, row, inference = ours.Value, ours.NO_GRADIENT, ours.row, ours.inference
array = np.asarray
compile = wb.compile
make_step = functools.partial(ours.make_step, wrap=wb.compile)
make_predict = functools.partial(ours.make_predict, wrap=wb.compile)
fit = functools.partial(ours.fit, compile=True)


def replays(loss_of):
    return loss_of.replaying


def make_chain(chain):
    function = wb.compile(lambda x: chain(x, wb))
    return lambda x: function(x).data
