"""A tiny GPT makes up names: a transformer that reads the letters so far and guesses the next.

    python examples/tiny_gpt.py [FOLDER] [EPOCHS]

The same parts as its large relatives (Radford et al., 2019), only fewer: 28 signs, 16 places, 2 blocks of 4 heads. It
makes up names before and after it has learnt, and a picture shows which letters it looks at. Pictures go to FOLDER.
"""

import random
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tiny_gpt_pictures")
folder.mkdir(parents=True, exist_ok=True)
EPOCHS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
SIGNS = ".abcdefghijklmnopqrstuvwxyz "  # a dot before and after each name; spaces fill up the row
PLACES, WIDTH, HEADS, BLOCKS, BATCH = 16, 32, 4, 2, 64


def rows(names):
    """What is read, and what comes next: ``.emma`` and ``emma.``, each filled up to 16 signs."""
    x, y = ([[SIGNS.index(c) for c in text.ljust(PLACES)] for text in texts] for texts in (
        ["." + name for name in names], [name + "." for name in names]
    ))  # fmt: skip
    return np.array(x), np.array(y)


class GPT(wb.Module):
    """Each sign and each place has a vector; their sum goes through the blocks, and gives scores for what is next."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        kind = {"seed": rng, "dtype": "float32"}
        small = lambda shape, rng: rng.normal(0.0, 0.1, shape)
        self.signs = wb.Embedding(len(SIGNS), WIDTH, weight_init=small, **kind)
        self.places = wb.Embedding(PLACES, WIDTH, weight_init=small, **kind)
        self.blocks = [wb.TransformerBlock(WIDTH, HEADS, activation="relu", causal=True, **kind) for _ in range(BLOCKS)]
        self.norm = wb.LayerNorm(WIDTH, dtype="float32")
        self.scores = wb.Dense(WIDTH, len(SIGNS), **kind)

    def forward(self, x):
        h = self.signs(x) + self.places(np.arange(x.shape[-1]))
        for block in self.blocks:
            h = block(h)
        return self.scores(self.norm(h))


def loss(scores, y):
    """The mean of -log(how likely the sign was that did come); what only fills up the row does not count."""
    counts = np.array([1.0] * 27 + [0.0], "float32")
    return wb.cross_entropy(scores, y, class_weights=counts)


def made_up(model, count, rng):
    """Names, sign by sign, each drawn as likely as the model holds it to be."""
    made = []
    for _ in range(count):
        text = "."
        while len(text) < PLACES and (text == "." or text[-1] not in ". "):
            with wb.no_grad():
                scores = model(np.array([SIGNS.index(c) for c in text]))
            text += SIGNS[rng.choice(len(SIGNS), p=wb.softmax(scores[-1].data.astype(float)))]
        made.append(text.strip(". "))
    return ", ".join(made)


names = wb.datasets.names()
random.Random(42).shuffle(names)  # split as in examples/makemore.py, so that the losses compare
most, more = int(0.8 * len(names)), int(0.9 * len(names))
x, y = rows(names[:most])
x_dev, y_dev = rows(names[most:more])

model = GPT()
print(model.summary())
print(f"\nBefore: {made_up(model, 5, np.random.default_rng(0))}")

# %% Learning
# Quick steps at first, after a few small ones, for attention has to find out where to look; then smaller and smaller.

steps = EPOCHS * -(-len(x) // BATCH)
rate = wb.WarmUp(min(100, steps // 10 + 1), then=wb.CosineDecay(0.005, steps))
optimizer = wb.AdamW(model.parameters(), learning_rate=rate, weight_decay=0.01, clip_norm=1.0)
history = wb.fit(
    model, x, y, loss=loss, optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, validation=(x_dev, y_dev), seed=0
)

guess, dev = np.log(27), history["val_loss"][-1]
print(f"\nLoss of a letter, on {len(x_dev):,} names that it has not seen: {dev:.4f} (a guess has {guess:.4f})")
print(f"After:  {made_up(model, 10, np.random.default_rng(1))}")

# %% Who looks at whom?
# In a head, each place gives weights to itself and those before it. They add up to 1: a row of the picture.

text = ".christopher"
h = model.signs(np.array([SIGNS.index(c) for c in text])) + model.places(np.arange(len(text)))
figure, axes = plt.subplots(BLOCKS, HEADS, figsize=(11, 6), layout="constrained", sharex=True, sharey=True)
for i, block in enumerate(model.blocks):
    for head, (ax, weights) in enumerate(zip(axes[i], block.attention.attention_weights(block.norm1(h)).data)):
        ax.imshow(weights, cmap="Blues", vmin=0.0, vmax=1.0)
        ax.set_title(f"block {i + 1}, head {head + 1}", fontsize=10)
        ax.set_xticks(range(len(text)), text)
        ax.set_yticks(range(len(text)), text)
        ax.tick_params(length=0, labelsize=9)
    h = block(h)
figure.supxlabel("looks at")
figure.supylabel("the place after")
figure.savefig(folder / "attention.png", dpi=150, bbox_inches="tight")
history.plot().figure.savefig(folder / "attention_learning.png", dpi=150)
print(f"Pictures in {folder.resolve()}: attention.png, attention_learning.png")
