"""This package, compiled: the same training code, with the loss recorded once and replayed."""

import tinygrad_wb as wb
from peers import ours


def make_step(net):
    return ours.make_step(net, wrap=wb.compile)
