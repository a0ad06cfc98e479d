"""The line of best fit, y = mx + b, by gradient descent; then in several dimensions, where mx becomes a dot product.

    python examples/best_fit_line.py [FOLDER]

What a taxi ride costs: so much for each kilometre (the slope m, a weight), and so much before it moves at all (the
intercept b, a bias). NumPy's least squares says where gradient descent must arrive. Pictures go to FOLDER.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "best_fit_line_pictures")
folder.mkdir(parents=True, exist_ok=True)

# %% Forty taxi rides
# The fare is 4 before the taxi moves, and 2 for each kilometre; tips and detours scatter it.

rng = np.random.default_rng(1)
km = rng.uniform(0.0, 10.0, 40)
fare = 2.0 * km + 4.0 + rng.normal(0.0, 1.5, 40)

# %% Downhill to the best line
# The loss is the mean squared error: how far the fares are from the line, squared. Its gradient says which way m and b
# make it larger, so we step the other way.

EPOCHS, η = 4000, 0.015

m, b = wb.Value(0.0, name="m"), wb.Value(0.0, name="b")
path = []

print("epoch       loss          m          b")
for epoch in range(EPOCHS + 1):
    loss = ((m * km + b - fare) ** 2).mean()
    path.append((m.data, b.data))
    if epoch in {0, 1, 10, 100, 1000, 4000}:
        print(f"{epoch:5}  {loss:9.4f}  {m:9.5f}  {b:9.5f}")

    m.grad = b.grad = None  # gradients add up, so each epoch starts with none
    loss.backward()
    m.data = m.data - η * m.grad
    b.data = b.data - η * b.grad

# %% Held against least squares
# For straight lines the lowest point can also be computed at once, and that is what NumPy does. It is the same point.

with_ones = np.column_stack([km, np.ones(40)])  # the bias is the weight of an input that is always 1
exact = np.linalg.lstsq(with_ones, fare)[0]
print(f"{'least squares':>16}  {exact[0]:9.5f}  {exact[1]:9.5f}")
print(f"The line differs from it by {np.abs(path[-1] - exact).max():.0e}")

# %% The line, and the way downhill
# On the left the line at some epochs: the slope is nearly right soon, the bias takes its time. On the right each point
# is a line, the paler the better. The way leads straight down into a long valley, and then along it.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
shown = [0, 1, 10, 100, EPOCHS]
shades = plt.get_cmap("viridis_r")(np.linspace(0.1, 0.9, len(shown)))
left.plot(km, fare, "o", color="#888888", markersize=4)
for epoch, shade in zip(shown, shades):
    slope, intercept = path[epoch]
    left.axline((0, intercept), slope=slope, color=shade, linewidth=2, label=f"epoch {epoch}")
left.legend(frameon=False)
left.set(xlabel="kilometres", ylabel="fare", xlim=(0, 10), ylim=(-1, 30), title=f"fare = {m:.2f} · km + {b:.2f}")

ms, bs = np.meshgrid(np.linspace(-0.4, 3.4, 120), np.linspace(-1.0, 6.5, 120))
losses = ((ms[..., None] * km + bs[..., None] - fare) ** 2).mean(axis=-1)
right.contourf(ms, bs, np.log10(losses), levels=16, cmap="Blues", alpha=0.7)
right.plot(*np.array(path).T, color="black", linewidth=1)
for epoch, shade in zip(shown, shades):
    right.plot(*path[epoch], "o", color=shade, markeredgecolor="black", markersize=8)
right.text(exact[0] + 0.13, exact[1] + 0.05, "least squares", va="center")
right.plot(*exact, "+", color="white", markersize=6, markeredgewidth=1.5)
right.set(xlabel="m", ylabel="b", title="The loss of every line, and the way downhill")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "line_fit.png", dpi=150)

# %% More inputs than one
# A fare has other reasons too: minutes of waiting, pieces of luggage. Each has its weight, and in place of m·x stands
# w₁·x₁ + w₂·x₂ + w₃·x₃, the dot product of the weights and the inputs. A neuron is just that, plus its bias: a Dense
# layer with one output. Nothing else changes: the same loss, the same steps downhill.

REASONS = ["kilometres", "minutes waiting", "luggage", "ride (the bias)"]
TRUE = np.array([2.0, 0.5, 1.0, 4.0])

rides = np.column_stack([km, rng.uniform(0.0, 6.0, 40), rng.integers(0, 4, 40)])
fares = (rides @ TRUE[:3] + TRUE[3] + rng.normal(0.0, 1.0, 40)).reshape(40, 1)

neuron = wb.Dense(3, 1, seed=0)
predicted = neuron(rides)
loss = wb.mean_squared_error(predicted, fares)
loss.backward()
wb.draw(loss, depth=1).save(folder / "line_graph.svg")  # before it has learnt: random weights, a bias of 0

# %% Downhill again, with an optimizer to take the steps

optimizer = wb.SGD(neuron.parameters(), learning_rate=0.015)
for _ in range(8000):
    loss = wb.mean_squared_error(neuron(rides), fares)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

exact = np.linalg.lstsq(np.column_stack([rides, np.ones(40)]), fares.ravel())[0]
found = np.append(neuron.weight.data, neuron.bias.data)
print(f"\n{'fare for each':17} {'true':>5}  {'descent':>9}  {'NumPy':>9}")
for reason, true, ours, numpys in zip(REASONS, TRUE, found, exact):
    print(f"{reason:17} {true:5g}  {ours:9.5f}  {numpys:9.5f}")
print(f"In several dimensions it differs by {np.abs(found - exact).max():.0e}")

# %% The dot product says how alike two arrows are
# Arrows of length 1: the dot product is 1 for the same direction, 0 for a right angle, −1 for the opposite. It is the
# cosine of the angle. So a neuron asks: how much are these inputs like my weights?

angles = np.array([0, 45, 90, 135, 180])
arrows = np.column_stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))])
w = np.array([1.0, 0.0])
alike = arrows @ w
print("\nangle  dot product")
for angle, product in zip(angles, alike):
    print(f"{angle:4}°  {product:11.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", width_ratios=[1.5, 1])
shades = plt.get_cmap("coolwarm_r")(0.5 + 0.5 * alike)
left.plot([0, 1], [0, 0], color="black", linewidth=12, alpha=0.15, solid_capstyle="round", zorder=0)
left.text(0.5, -0.13, "w", ha="center", va="center")
for arrow, product, shade in zip(arrows, alike, shades):
    left.arrow(0, 0, *arrow, color=shade, width=0.025, head_width=0.09, length_includes_head=True)
    left.text(*(1.16 * arrow), f"{product:.2f}".replace("-", "−"), ha="center", va="center")
left.set(xlim=(-1.4, 1.4), ylim=(-0.25, 1.25), aspect="equal", title="The dot product of w and each arrow x")
left.set_axis_off()
turn = np.linspace(0, 180, 181)
right.plot(turn, np.cos(np.radians(turn)), color="#888888")
right.scatter(angles, alike, s=60, c=shades, edgecolors="black", zorder=3)
right.axhline(0, color="black", linewidth=0.8)
right.set(
    xlabel="angle between w and x", ylabel="w · x", xticks=angles, yticks=[-1, 0, 1], title="The cosine of the angle"
)
right.xaxis.set_major_formatter("{x:g}°")
right.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "line_dot_product.png", dpi=150)

# %%
print(f"Pictures in {folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
