"""torch.compile: model and loss in one compiled function, its backward compiled with it; the optimizer as it comes."""

import torch

from peers import NotHere, pytorch

array, inference, kernels = pytorch.array, pytorch.inference, pytorch.kernels


def _works():
    # Compile something tiny first, so that what can't compile at all is told from what goes wrong in the net.
    try:
        torch.compile(lambda x: torch.relu(x) + 1.0)(torch.ones(2))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise NotHere(f"torch.compile does not work here: {type(error).__name__}: {reason}") from error


def make_step(net):
    _works()
    return pytorch.make_step(net, wrap=torch.compile)


def make_chain(chain):
    _works()
    return pytorch.make_chain(chain, wrap=torch.compile)


def make_predict(net):
    _works()
    return pytorch.make_predict(net, wrap=torch.compile)
