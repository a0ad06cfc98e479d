"""PyTorch, eager: nn.Sequential, the losses of nn.functional, torch.optim.SGD."""

from types import SimpleNamespace

import torch
from torch.nn import functional
from work import THREADS

array = torch.from_numpy
inference = torch.inference_mode
FUNCTIONS = SimpleNamespace(sqrt=torch.sqrt, maximum=torch.clamp_min, minimum=torch.clamp_max)


def kernels():
    library = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    return f"{library}, {torch.backends.cpu.get_cpu_capability()}"


def build(net):
    torch.set_num_threads(THREADS)
    modules = []
    for w, b in net.layers():
        layer = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(w.T))
            layer.bias.copy_(torch.from_numpy(b))
        modules += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
    score = functional.binary_cross_entropy_with_logits if net.binary else functional.cross_entropy
    x, targets = map(torch.from_numpy, net.data())
    return model, lambda x, targets: score(model(x), targets), x, targets


def make_step(net, wrap=lambda loss_of: loss_of):
    model, loss_of, x, targets = build(net)
    loss_of = wrap(loss_of)
    optimizer = torch.optim.SGD(model.parameters(), lr=net.learning_rate)

    def step():
        optimizer.zero_grad()
        loss = loss_of(x, targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


def make_chain(chain, wrap=lambda function: function):
    torch.set_num_threads(THREADS)
    return wrap(lambda x: chain(x, FUNCTIONS))


def make_predict(net, wrap=lambda model: model):
    return wrap(build(net)[0])
