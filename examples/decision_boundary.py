"""Where a neuron decides: weights turn the line w·x + b = 0, the bias shifts it, and a small network bends it.

    python examples/decision_boundary.py [FOLDER]

A neuron says yes where its score w·x + b is above 0, and no where it is below. Pictures go to FOLDER.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "decision_boundary_pictures")
folder.mkdir(parents=True, exist_ok=True)

# %% The line between yes and no
# It is where w₁·x₁ + w₂·x₂ + b = 0. The weights, as an arrow, stand at a right angle to it and point to the side of the
# yes. The line's distance from the origin is |b| / |w|.


def line(ax, w, b, color):
    """Draw the line w·x + b = 0, and its weights as an arrow from its point that is nearest to the origin."""
    length = np.linalg.norm(w)
    nearest, arrow = -b * w / length**2, 1.2 * w / length
    ax.axline(nearest, nearest + np.array([w[1], -w[0]]), color=color, linewidth=2.2)
    ax.arrow(*nearest, *arrow, color=color, width=0.03, head_width=0.2, length_includes_head=True)
    print(f"  w = ({w[0]:.1f}, {w[1]:.1f})  b = {b:4.1f}  {np.linalg.norm(nearest):.2f} from the origin")
    return nearest, arrow


# %% Weights turn it, the bias shifts it

figure, (turned, shifted) = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
shades = ["#0072b2", "#c67c00", "#d55e00"]

print("Other weights, no bias:")
for w, shade in zip([(1.0, 0.2), (0.8, 0.8), (0.2, 1.0)], shades):
    nearest, arrow = line(turned, np.array(w), 0.0, shade)
    turned.text(*(1.15 * arrow), f"w = ({w[0]:g}, {w[1]:g})", color=shade, va="center")
print("The same weights, another bias:")
for b, shade in zip([1.6, 0.0, -1.6], shades):
    nearest, arrow = line(shifted, np.array([0.8, 0.8]), b, shade)
    shifted.text(nearest[0] + 0.8, nearest[1] - 0.6, f"b = {b:g}".replace("-", "−"), color=shade, va="center")

turned.set_title("Other weights: the line turns")
shifted.set_title("Another bias: the line shifts")
for ax in (turned, shifted):
    ax.plot(0, 0, "o", color="black", markersize=6, zorder=3)
    ax.set(xlabel="x₁", ylabel="x₂", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    ax.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "boundary_lines.png", dpi=150)

# %% What the bias is good for
# Two clouds of points that no line through the origin can part. A neuron without a bias gives the origin a score of 0,
# whatever its weights: its line must pass through there. With a bias, the same neuron finds a line.

rng = np.random.default_rng(3)
labels = np.arange(120) % 2
points = np.where(labels[:, None] == 1, [2.4, 2.0], [0.9, 0.8]) + rng.normal(0.0, 0.33, (120, 2))


def learn(model, x, y, epochs):
    """Train the model on points x with labels y; the share that it then gets right."""
    optimizer = wb.Adam(model.parameters(), learning_rate=0.05)
    wb.fit(
        model, x, y[:, None], loss="binary_cross_entropy", optimizer=optimizer, epochs=epochs, seed=0, progress=False
    )
    return ((model(x).data[:, 0] > 0.0) == (y == 1)).mean()


def side_by_side(models, x, y):
    """A figure with one picture for each of two models, by its title."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for ax, (title, model) in zip(axes, models.items()):
        wb.plot.decision_boundary(model, x, y, ax=ax)
        ax.plot(0, 0, "+", color="black", markersize=12, markeredgewidth=2, zorder=4)  # the origin
        ax.set_title(title)
    return figure


models = {}
print()
for name, bias in (("Without a bias", False), ("With a bias", True)):
    neuron = wb.Dense(2, 1, bias=bias, seed=0)
    right = learn(neuron, points, labels, epochs=100)
    w, b = neuron.weight.data[:, 0], neuron.bias.data[0] if bias else 0.0
    score = neuron(np.zeros(2)).data[0]
    print(
        f"{name}: {right:.0%} right, score at the origin {score:.2f}, the line is {abs(b) / np.hypot(*w):.2f} from it"
    )
    models[f"{name}: {right:.0%} right"] = neuron
figure = side_by_side(models, points, labels)
figure.savefig(folder / "boundary_bias.png", dpi=150)

# %% Two moons: one line is not enough
# Each hidden neuron draws a line of its own, its activation bends what comes out, and the last neuron weighs the bends.

x, y = wb.datasets.moons(200, noise=0.12, seed=0)
network = wb.MLP(2, [16], 1, activation="tanh", seed=0)

models = {}
print()
for name, model in (("One neuron", wb.Dense(2, 1, seed=0)), ("16 hidden neurons", network)):
    right = learn(model, x, y, epochs=150)
    print(f"{name}: {right:.1%} of the moons right")
    models[f"{name}: {right:.1%} right"] = model
figure = side_by_side(models, x, y)
figure.savefig(folder / "boundary_moons.png", dpi=150)

# %%
print(f"Pictures in {folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
