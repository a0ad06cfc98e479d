"""How good is a cake? Taste, look and smell are weighed and added up; then the weights are learnt from a judge.

    python examples/cake.py [FOLDER]

A neuron is a weighted sum, and its weights say how much each input matters. Pictures go to FOLDER.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "cake_pictures")
folder.mkdir(parents=True, exist_ok=True)

# %% A weighted sum
# A cake gets marks out of ten for its taste, its look and its smell. To this judge taste matters most: the weight 0.6
# says how much. Each mark is multiplied by its weight, and the products are added up.

taste, look, smell = 8.0, 6.0, 9.0

w_taste = wb.Value(0.6, name="w_taste")
w_look = wb.Value(0.3, name="w_look")
w_smell = wb.Value(0.1, name="w_smell")

score = w_taste * taste + w_look * look + w_smell * smell
score.name = "score"
print(f"A cake with {taste:g} for taste, {look:g} for look and {smell:g} for smell scores {score:.1f}")

# %% What a weight is answerable for
# If a weight grew by a little, the score would grow by that little times the mark beside it: ∂score/∂w is the input.

score.backward()
for w in (w_taste, w_look, w_smell):
    print(f"  ∂score/∂{w.name:<8}= {w.grad:g}")

wb.draw(score).save(folder / "cake_score.svg")

# %% The same as a dot product
# Multiply pairwise, and add up: that is the dot product of two rows of numbers, `@` in Python.

marks = np.array([taste, look, smell])
true_weights = np.array([0.6, 0.3, 0.1])
print(f"As a dot product: {marks} @ {true_weights} = {marks @ true_weights:.1f}")

# %% Cakes that the judge has judged
# Now the weights are secret. All there is to learn from is 200 cakes: their marks, and what the judge said of each.
# Judges have moods: what they say is off by 0.1 or so.

MOOD = 0.1
rng = np.random.default_rng(0)
cakes = rng.uniform(0.0, 10.0, (200, 3)).round()
judged = cakes @ true_weights + rng.normal(0.0, MOOD, 200)

# %% Learning the weights
# Start with random weights. Then, epoch by epoch: predict, measure the error, find which way is downhill for each
# weight, and take a step of size η that way.

NAMES, COLORS = ["taste", "look", "smell"], ["#0072b2", "#d55e00", "#009e73"]
EPOCHS, η = 100, 0.005

weights = wb.Value(rng.uniform(-0.5, 0.5, 3), name="weights")
path, losses = [], []

print(f"\nepoch      loss   {'   '.join(f'{name:>6}' for name in NAMES)}")
for epoch in range(EPOCHS + 1):
    error = cakes @ weights - judged
    loss = (error**2).mean()
    path.append(weights.data.copy())
    losses.append(loss.item())
    if epoch in {0, 1, 2, 5, 10, 20, 50, 100}:
        print(f"{epoch:5}  {losses[-1]:8.4f}   {'   '.join(f'{w:6.3f}' for w in weights.data)}")

    weights.grad = None  # gradients add up, so each epoch starts with none
    loss.backward()
    weights.data = weights.data - η * weights.grad

print(f" true             {'   '.join(f'{w:6.3f}' for w in true_weights)}")
print(f"Learnt: {', '.join(f'{name} {w:.3f}' for name, w in zip(NAMES, path[-1]))}")
print(f"The largest difference from the judge's own weights is {np.abs(path[-1] - true_weights).max():.4f}")

# %% The weights on their way
# Each weight (a line) finds the one that the judge had in mind (dashed). The loss ends where the judge's moods are: no
# weights can foresee those.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=[3, 2])
for name, steps, true, color in zip(NAMES, np.array(path).T, true_weights, COLORS):
    left.plot(steps, color=color, linewidth=2.2)
    left.axhline(true, color=color, linestyle="--", linewidth=1, alpha=0.7)
    left.text(EPOCHS + 2, true, f"{name} {steps[-1]:.2f}", color=color, va="center")
left.set(xlabel="epoch", ylabel="weight", xlim=(-2, EPOCHS), title="The weights approach the judge's own (dashed)")
right.semilogy(losses, color="black", linewidth=2.2)
right.axhline(MOOD**2, color="black", linestyle="--", linewidth=1, alpha=0.7)
right.text(EPOCHS, 0.8 * MOOD**2, f"the judge's moods: {MOOD}²", ha="right", va="top")
right.set(xlabel="epoch", ylabel="loss", xlim=(-2, EPOCHS), ylim=(4e-3, 1e2), title="The loss goes downhill")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "cake_weights.png", dpi=150)

# %%
print(f"Pictures in {folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
