"""Badly scaled random weights make scores and the loss run away; good ones, a smaller η and biases bring them back.

    python examples/exploding_weights.py [FOLDER]

Four hidden layers of 64 neurons are to tell two moons apart: five attempts. Pictures go to FOLDER.
"""

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "exploding_weights_pictures")
folder.mkdir(parents=True, exist_ok=True)

x, y = wb.datasets.moons(200, noise=0.1, seed=0)
EPOCHS, AWAY = 300, 1e9  # a loss above that has run away


def normal(spread):
    """Random weights around 0, most of them smaller than ``spread``."""
    return lambda shape, rng: rng.normal(0.0, spread, shape)


def network(weights, biases):
    return wb.MLP(2, [64, 64, 64, 64], 1, weight_init=weights, bias=biases, seed=1)


# %% How large are the numbers that come out of each layer?
# A relu neuron adds up 64 inputs, about half of them 0. If its weights have the spread σ, its output is σ·√(64/2) times
# as large as its inputs: 5.7 times for σ = 1, a 1/18 for σ = 0.01, and so in each layer again. He's weights have the
# spread √(2/64), which makes it 1.

starts = {"σ = 1": (normal(1.0), "#d55e00"), "He": ("he_normal", "#0072b2"), "σ = 0.01": (normal(0.01), "#888888")}
figure, (left, *others) = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained", width_ratios=[4, 8, 5])
print("The size (root mean square) of what comes out of each layer")
for name, (weights, color) in starts.items():
    model = network(weights, biases=False)
    outputs, sizes = x, []
    for layer in model:
        outputs = layer(outputs)
        sizes.append((outputs**2).mean().item() ** 0.5)
    print(f"  {name:8} {'  '.join(f'{size:8.3g}' for size in sizes)}")
    left.semilogy(sizes, "o-", color=color, linewidth=2.2)
    left.text(4.2, sizes[-1], name, color=color, va="center")
left.set(xlabel="layer", ylabel="size of its outputs", xticks=range(5), title="Layer by layer")
left.spines[["top", "right"]].set_visible(False)
for ax, name in zip(others, starts):
    wb.plot.activations(network(starts[name][0], biases=False), x, ax=ax)
    ax.set_title(f"{name}: what comes out")
figure.savefig(folder / "exploding_layers.png", dpi=150)

# %% Five attempts
# Each learns for 300 epochs, unless its loss runs away before.


def learn(weights, biases, η):
    """The model, and its loss in every epoch."""
    model = network(weights, biases)
    optimizer = wb.SGD(model.parameters(), learning_rate=η)
    losses = []
    while len(losses) < EPOCHS and (not losses or losses[-1] < AWAY):
        loss = wb.binary_cross_entropy(model(x), y[:, None])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, losses


attempts = {
    "σ = 1, no biases, η = 2": (normal(1.0), False, 2.0),
    "σ = 0.01, no biases, η = 2": (normal(0.01), False, 2.0),
    "He, no biases, η = 2": ("he_normal", False, 2.0),
    "He, no biases, η = 0.5": ("he_normal", False, 0.5),
    "He, biases, η = 0.5": ("he_normal", True, 0.5),
}
models, curves = {}, {}
print(f"\n{'':28} first loss   last loss   right")
for name, attempt in attempts.items():
    models[name], curves[name] = learn(*attempt)
    losses = curves[name]
    if losses[-1] >= AWAY:
        ending = f"{losses[-1]:9.0e}   ran away in epoch {len(losses)}"
    else:
        ending = f"{losses[-1]:9.4f}   {((models[name](x).data[:, 0] > 0.0) == (y == 1)).mean():.0%}"
    print(f"  {name:27} {losses[0]:9.4f}   {ending}")

# %% The losses
# Too large: the first step throws everything away. Too small: hardly any gradient comes back through five layers,
# nothing is learnt, and the loss stays at log 2, that of a coin. With He's weights it starts well, and steps that are
# too long throw it away all the same. With a smaller η it learns.

figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
for (name, losses), color in zip(curves.items(), ["#d55e00", "#888888", "#cc79a7", "#56b4e9", "#0072b2"]):
    ax.loglog(range(1, len(losses) + 1), losses, color=color, linewidth=2.2, label=name)
ax.set(xlabel="epoch", ylabel="loss", xlim=(1, EPOCHS), ylim=(1e-4, 1e6), title="Three attempts get nowhere, two learn")
ax.text(EPOCHS, 0.8, "log 2, that of a coin", ha="right", va="bottom")
ax.legend(frameon=False, loc="upper right")
ax.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "exploding_losses.png", dpi=150)

# %% What the biases add
# Without biases every neuron's line passes through the origin, so only directions from there can be told apart.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax, name in zip(axes, ["He, no biases, η = 0.5", "He, biases, η = 0.5"]):
    wb.plot.decision_boundary(models[name], x, y, ax=ax)
    ax.plot(0, 0, "+", color="black", markersize=12, markeredgewidth=2, zorder=4)  # the origin
    ax.set_title(name)
figure.savefig(folder / "exploding_biases.png", dpi=150)

# %%
print(f"Pictures in {folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
