"""A network makes up names: it learns which letter comes next, after Andrej Karpathy's lectures on makemore.

    python examples/makemore.py [EPOCHS]

First by the letter before alone, counted and then learnt; then a backward pass by hand, held against the package's;
then by the three letters before, with an embedding and batch normalisation. The figures to beat are those in the
lectures' own notebooks (github.com/karpathy/nn-zero-to-hero, lectures/makemore, parts 1 to 4).
"""

import random
import sys
from types import SimpleNamespace

import numpy as np

import tinygrad_wb as wb

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
LETTERS = ".abcdefghijklmnopqrstuvwxyz"  # the dot stands before and after a name
BLOCK, FEATURES, HIDDEN = 3, 10, 200  # letters to look back to, numbers for each letter, hidden neurons
BATCH = 2048

names = wb.datasets.names()
print(f"{len(names):,} names, such as {', '.join(names[:3])}. A loss of log 27 = {np.log(27):.4f} is that of a guess.")


def contexts(names, block):
    """For each letter of each name: the numbers of the ``block`` letters before it, and its own."""
    x, y = [], []
    for name in names:
        numbers = [0] * block + [LETTERS.index(letter) for letter in name + "."]
        for i in range(block, len(numbers)):
            x.append(numbers[i - block : i])
            y.append(numbers[i])
    return np.array(x), np.array(y)


def made_up(count, chances, rng):
    """Names, letter by letter; ``chances`` says how likely each letter is after those so far."""
    made = []
    for _ in range(count):
        numbers = [0] * BLOCK
        while len(numbers) == BLOCK or numbers[-1] != 0:
            numbers.append(rng.choice(27, p=chances(numbers[-BLOCK:])))
        made.append("".join(LETTERS[i] for i in numbers[BLOCK:-1]))
    return ", ".join(made)


# %% The letter before, counted
# How often does each letter follow each other one? Each row of that table, divided by its sum, says how likely a letter
# comes next. The loss is the mean of -log(how likely the letter was that did come): 0 would be to know everything.

x, y = contexts(names, 1)
pairs = np.zeros((27, 27))
np.add.at(pairs, (x[:, 0], y), 1.0)
likely = pairs / pairs.sum(axis=1, keepdims=True)
counted = -np.log(likely[x[:, 0], y]).mean()
rng = np.random.default_rng(0)

print(f"\nOne letter back, counted: loss {counted:.4f} (the notebook prints 2.4765)")
print(f"  made up: {made_up(6, lambda before: likely[before[-1]], rng)}")

# %% The letter before, learnt
# A network of 27 × 27 weights: row i has the scores of what may follow letter i. (The lecture multiplies the letter, as
# a row of zeros with one 1, by the weights: that picks the row.) Equal pairs have an equal loss, so each of the 729 is
# computed once, and counts as often as it is there. The gradient leads to the same table that counting gave.

weights = wb.Value(rng.normal(size=(27, 27)), name="weights")
optimizer = wb.SGD([weights], learning_rate=50.0, momentum=0.9)


@wb.compile
def loss_of_pairs():
    return -(wb.log_softmax(weights) * (pairs / len(y))).sum()


for _ in range(3000):
    loss = loss_of_pairs()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

apart = np.abs(wb.softmax(weights).data - likely).max()
print(f"One letter back, learnt:  loss {loss:.4f} (the notebook prints 2.4818)")
print(f"  no probability is further than {apart:.4f} from the counted one")

# %% Every gradient by hand
# A network that looks three letters back, its softmax and batch normalisation made out step by step. `backward()`
# leaves a gradient in every Value on the way, not just in the weights.

random.Random(42).shuffle(names)  # as in the lecture, so that the same names are held back
most, more = int(0.8 * len(names)), int(0.9 * len(names))
(x, y), (x_dev, y_dev) = contexts(names[:most], BLOCK), contexts(names[most:more], BLOCK)

n, hidden = 32, 64
chosen = rng.integers(len(x), size=n)
x_few, y_few = x[chosen], y[chosen]

v = SimpleNamespace()  # a Value for each step
v.C = wb.Value(rng.normal(size=(27, FEATURES)))  # the embedding: each letter's row of numbers
v.W1 = wb.Value(rng.normal(size=(BLOCK * FEATURES, hidden)) / np.sqrt(BLOCK * FEATURES))
v.b1 = wb.Value(rng.normal(size=hidden) * 0.1)
v.W2 = wb.Value(rng.normal(size=(hidden, 27)) * 0.1)
v.b2 = wb.Value(rng.normal(size=27) * 0.1)
v.bngain = wb.Value(rng.normal(size=(1, hidden)) * 0.1 + 1.0)
v.bnbias = wb.Value(rng.normal(size=(1, hidden)) * 0.1)

v.emb = v.C[x_few]
v.embcat = v.emb.reshape(n, -1)
v.hprebn = v.embcat @ v.W1 + v.b1
v.bnmean = v.hprebn.sum(0, keepdims=True) / n
v.bndiff = v.hprebn - v.bnmean
v.bndiff2 = v.bndiff**2
v.bnvar = v.bndiff2.sum(0, keepdims=True) / (n - 1)
v.bnvar_inv = (v.bnvar + 1e-5) ** -0.5
v.bnraw = v.bndiff * v.bnvar_inv
v.hpreact = v.bngain * v.bnraw + v.bnbias
v.h = wb.tanh(v.hpreact)
v.logits = v.h @ v.W2 + v.b2
v.logit_maxes = v.logits.max(1, keepdims=True)
v.norm_logits = v.logits - v.logit_maxes  # so that exp can't overflow
v.counts = wb.exp(v.norm_logits)
v.counts_sum = v.counts.sum(1, keepdims=True)
v.counts_sum_inv = v.counts_sum**-1
v.probs = v.counts * v.counts_sum_inv
v.logprobs = wb.log(v.probs)
loss = -v.logprobs[np.arange(n), y_few].mean()
loss.backward()

# Now by the chain rule on paper, with plain arrays: d has ∂loss/∂ each of them, the last step first.

a = SimpleNamespace(**{name: value.data for name, value in vars(v).items()})
d = SimpleNamespace()
d.logprobs = -wb.one_hot(y_few, 27) / n
d.probs = d.logprobs / a.probs
d.counts_sum_inv = (a.counts * d.probs).sum(1, keepdims=True)
d.counts_sum = -(a.counts_sum**-2) * d.counts_sum_inv
d.counts = a.counts_sum_inv * d.probs + d.counts_sum  # two ways lead through counts: their gradients add up
d.norm_logits = a.counts * d.counts
d.logit_maxes = -d.norm_logits.sum(1, keepdims=True)  # 0 but for rounding: what is subtracted does not matter
d.logits = d.norm_logits + wb.one_hot(a.logits.argmax(1), 27) * d.logit_maxes
d.W2, d.b2 = a.h.T @ d.logits, d.logits.sum(0)
d.h = d.logits @ a.W2.T
d.hpreact = (1.0 - a.h**2) * d.h
d.bngain = (a.bnraw * d.hpreact).sum(0, keepdims=True)
d.bnbias = d.hpreact.sum(0, keepdims=True)
d.bnraw = a.bngain * d.hpreact
d.bnvar_inv = (a.bndiff * d.bnraw).sum(0, keepdims=True)
d.bnvar = -0.5 * (a.bnvar + 1e-5) ** -1.5 * d.bnvar_inv
d.bndiff2 = np.ones((n, 1)) / (n - 1) * d.bnvar
d.bndiff = a.bnvar_inv * d.bnraw + 2.0 * a.bndiff * d.bndiff2
d.bnmean = -d.bndiff.sum(0, keepdims=True)
d.hprebn = d.bndiff + d.bnmean / n
d.W1, d.b1 = a.embcat.T @ d.hprebn, d.hprebn.sum(0)
d.embcat = d.hprebn @ a.W1.T
d.emb = d.embcat.reshape(a.emb.shape)
d.C = np.zeros_like(a.C)
np.add.at(d.C, x_few, d.emb)  # a letter that is there several times gets the sum

print(f"\n{'by hand':15} {'shape':12} differs from .grad by")


def compare(name, by_hand, value):
    difference = np.abs(by_hand - value.grad).max()
    print(f"{name:15} {value.shape!s:12} {f'{difference:.1e}' if difference else 'exact'}")


for name, by_hand in vars(d).items():
    compare(name, by_hand, getattr(v, name))

# What took eight steps, softmax and loss, is one short formula on paper, and batch normalisation's seven are another.

all_in_one = (wb.softmax(a.logits) - wb.one_hot(y_few, 27)) / n
compare("logits at once", all_in_one, v.logits)
spread = a.bngain * a.bnvar_inv / n
common = d.hpreact.sum(0) + n / (n - 1) * a.bnraw * (d.hpreact * a.bnraw).sum(0)
compare("hprebn at once", spread * (n * d.hpreact - common), v.hprebn)

# %% Three letters back
# Now with layers, and for good. The lecture takes 200,000 steps of 32 letters; larger batches and Adam, with a learning
# rate that goes down to zero, take fewer steps, and arrive lower.

kind = {"dtype": "float32"}
model = wb.Sequential(
    wb.Embedding(27, FEATURES, seed=1, **kind),
    wb.Flatten(),
    wb.Dense(BLOCK * FEATURES, HIDDEN, bias=False, seed=2, **kind),  # no bias: the normalisation would take it off
    wb.BatchNorm(HIDDEN, **kind),
    wb.Activation("tanh"),
    wb.Dense(HIDDEN, 27, seed=3, **kind),
)
print(f"\n{model.summary()}")

steps = EPOCHS * -(-len(x) // BATCH)
optimizer = wb.Adam(model.parameters(), learning_rate=wb.CosineDecay(0.01, steps))
wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, seed=0)

train, dev = (wb.evaluate(model, *data, loss="cross_entropy")["loss"] for data in ((x, y), (x_dev, y_dev)))
print(f"Three letters back      train      dev   ({EPOCHS} epochs, {len(x):,} and {len(x_dev):,} letters)")
print(f"  this network         {train:.4f}   {dev:.4f}")
for what, *losses in [
    ("part 2, a first try", 2.1260, 2.1701),
    ("part 3, well started", 2.0356, 2.1027),
    ("part 3, normalised", 2.0668, 2.1048),
    ("part 4, by hand", 2.0705, 2.1099),
]:
    print(f"  {what:20} {losses[0]:.4f}   {losses[1]:.4f}")

# %% Names, letter by letter

model.eval()
with wb.no_grad():
    print(f"Made up: {made_up(20, lambda before: wb.softmax(model([before]).data.astype(float))[0], rng)}")
