"""A convolutional network reads handwritten digits: small windows that slide over the picture, and what they look for.

    python examples/convolution.py [FOLDER]

The digits are those of digits.py. There, every neuron looks at all 64 pixels; here a few weights look at 3 × 3 pixels,
and at every place they are the same. Pictures go to FOLDER.
"""

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "convolution_pictures")
folder.mkdir(parents=True, exist_ok=True)

# %% Digits as pictures
# A convolution takes pictures: (how many, channels, height, width). Ours are grey, so they have one channel.

x_train, y_train, x_test, y_test = wb.datasets.digits()
x_train, x_test = (x.reshape(-1, 1, 8, 8).astype("float32") for x in (x_train, x_test))
print(f"{len(x_train)} pictures to learn from, {len(x_test)} to be tested on, {x_train.shape[1:]} each")

# %% The network
# The first layer has 16 filters of 3 × 3 weights. Each slides over the picture, and says at every place how much what
# is there is like itself: the dot product. So a stroke is found wherever it is. The second layer looks for patterns in
# what the first has found. Then of each 2 × 2 places only the strongest answer is kept: where exactly it was does not
# matter. The last layer weighs the 512 answers.

EPOCHS, BATCH = 40, 32
kind = {"weight_init": "he_normal", "dtype": "float32"}
model = wb.Sequential(
    wb.Conv2d(1, 16, 3, padding="same", activation="relu", seed=1, **kind),
    wb.Conv2d(16, 32, 3, padding="same", activation="relu", seed=2, **kind),
    wb.MaxPool(2),
    wb.Flatten(),
    wb.Dropout(0.5, seed=3),  # half of the answers go missing in training, so that none is relied on too much
    wb.Dense(32 * 4 * 4, 10, seed=4, **kind),
)
print(model.summary())

steps = EPOCHS * -(-len(x_train) // BATCH)
wb.fit(
    model,
    x_train,
    y_train,
    loss="cross_entropy",
    optimizer=wb.Adam(model.parameters(), learning_rate=wb.CosineDecay(0.003, steps)),
    epochs=EPOCHS,
    batch_size=BATCH,
    seed=0,
)

found = wb.evaluate(model, x_test, y_test, loss="cross_entropy", metrics=["accuracy"])
wrong = round(len(y_test) * (1.0 - found["accuracy"]))
print(f"\nRead {found['accuracy']:.1%} of the digits that it had not seen ({wrong} of {len(y_test)} wrong)")

# %% What the filters look for
# Blue weights ask for ink, red ones for paper. Where one side is blue and the other red, it is an edge that a filter
# looks for. Nobody has told it of edges: that is what the gradient made of random weights.

ax = wb.plot.weights(model[0])
ax.set_title("The 16 filters of the first layer")
ax.figure.savefig(folder / "filters.png", dpi=150)

# %% What they find in a digit
# Each filter's answers make a picture again, a feature map. The second layer's, after pooling, are coarser.

model.eval()
digit = x_test[:1]
with wb.no_grad():
    first = model[0](digit)
    second = model[2](model[1](first))

figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained", width_ratios=[2, 4, 3])
axes[0].imshow(digit[0, 0], cmap="gray_r")
axes[0].set(xticks=[], yticks=[], title=f"A digit: {y_test[0]}")
for ax, maps, title in zip(axes[1:], (first, second), ("First layer", "Second layer, pooled")):
    answers = wb.Value(maps.data.swapaxes(0, 1), name="answer")  # one picture for each filter
    wb.plot.weights(answers, ax=ax)
    ax.set(xlabel=f"{maps.shape[2]} × {maps.shape[3]} answers each", title=title)
figure.suptitle("What the filters find")
figure.savefig(folder / "feature_maps.png", dpi=150)

# %%
print(f"Pictures in {folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
