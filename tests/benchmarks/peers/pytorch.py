"""PyTorch, eager: nn.Sequential, the losses of nn.functional, torch.optim.SGD."""

from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional
from work import THREADS

array = torch.from_numpy
inference = torch.inference_mode
FUNCTIONS = SimpleNamespace(sqrt=torch.sqrt, maximum=torch.clamp_min, minimum=torch.clamp_max)


def kernels():
    library = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    return f"{library}, {torch.backends.cpu.get_cpu_capability()}"


def net(work):
    modules = [m for sizes in pairwise(work.sizes) for m in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*modules[:-1])


def convolution(work):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def letters(work):
    return nn.Sequential(
        nn.Embedding(27, 10),
        nn.Flatten(),
        nn.Linear(30, 200, bias=False),
        nn.BatchNorm1d(200),
        nn.Tanh(),
        nn.Linear(200, 27),
    )


class Block(nn.Module):
    """Written out, as is usual for a GPT, and quicker than nn.TransformerEncoderLayer."""

    def __init__(self):
        super().__init__()
        self.norm1, self.attend, self.out = nn.LayerNorm(32), nn.Linear(32, 96), nn.Linear(32, 32)
        self.norm2, self.expand, self.contract = nn.LayerNorm(32), nn.Linear(32, 128), nn.Linear(128, 32)

    def forward(self, x):
        parts = self.attend(self.norm1(x)).view(*x.shape[:2], 3, 4, 8).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(found.transpose(1, 2).reshape(x.shape))
        return x + self.contract(torch.relu(self.expand(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.letters, self.places = nn.Embedding(27, 32), nn.Embedding(16, 32)
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.scores = nn.LayerNorm(32), nn.Linear(32, 27)
        self.register_buffer("order", torch.arange(16))

    def forward(self, x):
        return self.scores(self.norm(self.blocks(self.letters(x) + self.places(self.order)))).flatten(0, 1)


def transformer(work):
    return GPT()


MODELS = {"Net": net, "Convolution": convolution, "Letters": letters, "Transformer": transformer}


def build(net):
    torch.set_num_threads(THREADS)
    model = MODELS[type(net).__name__](net)
    weights = map(torch.from_numpy, net.weights())
    with torch.no_grad():
        for module in model.modules():
            for p in module.parameters(recurse=False):  # a Linear has its weight the other way round
                p.copy_(next(weights).T if isinstance(module, nn.Linear) and p.ndim == 2 else next(weights))
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


def make_product(work):
    torch.set_num_threads(THREADS)
    x, targets, point = map(torch.from_numpy, (*work.net.data(), work.point()))

    def loss_of(flat):
        *hidden, (w_out, b_out) = work.layers(flat)
        h = x
        for w, b in hidden:
            h = torch.relu(torch.addmm(b, h, w))
        return functional.cross_entropy(torch.addmm(b_out, h, w_out), targets)

    # Of a symmetric matrix the product from the left is the same, and what PyTorch's documentation advises for speed.
    return lambda v: torch.autograd.functional.vhp(loss_of, point, v)[1]


def make_chain(chain, wrap=lambda function: function):
    torch.set_num_threads(THREADS)
    return wrap(lambda x: chain(x, FUNCTIONS))


def make_predict(net, wrap=lambda model: model):
    return wrap(build(net)[0])
