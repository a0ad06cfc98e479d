"""A small network learns to read real handwritten digits, and shows what it learnt in pictures.

    python examples/digits.py [FOLDER]

The 1,797 digits (8 × 8 pixels) ship with the package. Every fifth, 359 in all, is kept back for testing.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import tinygrad_wb as wb

mpl.use("Agg")  # pictures go to files, no window is needed
EPOCHS, BATCH = 60, 32


def main(folder):
    x_train, y_train, x_test, y_test = wb.datasets.digits()
    print(f"{len(x_train)} digits to learn from, {len(x_test)} to be tested on")

    model = wb.Sequential(
        wb.Dropout(0.1, seed=0),  # some pixels go missing in training, so that none is relied on too much
        wb.Dense(64, 128, activation="relu", weight_init="he_normal", seed=1),
        wb.Dropout(0.2, seed=2),
        wb.Dense(128, 10, seed=3),
    )
    print(model.summary())

    steps = EPOCHS * -(-len(x_train) // BATCH)
    optimizer = wb.SGD(model.parameters(), learning_rate=wb.CosineDecay(0.2, steps), momentum=0.9)
    history = wb.fit(
        model,
        x_train,
        y_train,
        loss="cross_entropy",
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=BATCH,
        validation=(x_test, y_test),
        metrics=["accuracy"],
        seed=0,
    )

    model.eval()
    with wb.no_grad():
        read = model(x_test).argmax(axis=1)
    wrong = np.flatnonzero(read != y_test)
    accuracy = 1 - len(wrong) / len(y_test)
    print(f"Read {accuracy:.1%} of the digits that it had not seen ({len(wrong)} of {len(y_test)} wrong)")

    folder.mkdir(parents=True, exist_ok=True)
    keep(wb.plot.training_curve(history), "Learning to read digits", folder / "training_curve.png")
    # Each neuron's 64 weights where its pixels are: blue says "ink here speaks for it", red against.
    looks_for = "What each of the 128 neurons of the first layer looks for"
    keep(wb.plot.weights(model[1], shape=(8, 8)), looks_for, folder / "first_layer.png")
    wrong_digits(x_test, y_test, read, wrong, folder / "wrong_digits.png")
    loss = wb.cross_entropy(model(x_train[:BATCH]), y_train[:BATCH])
    loss.name = "loss"
    loss.backward()
    wb.draw(loss).save(folder / "loss_graph.png")
    print(f"Pictures in {folder.resolve()}: {', '.join(sorted(p.name for p in folder.glob('*.png')))}")
    return accuracy


def keep(ax, title, path):
    ax.set_title(title)
    ax.figure.savefig(path, dpi=200)
    plt.close(ax.figure)


def wrong_digits(x, y, read, wrong, path):
    columns = 6
    rows = max(1, -(-len(wrong) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(8, 1.6 * rows + 0.6), layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, ax in zip(wrong, axes.flat):
        ax.imshow(x[i].reshape(8, 8), cmap="gray_r")
        ax.set_title(f"is {y[i]}, read {read[i]}", fontsize=9)
    figure.suptitle("The digits that it got wrong" if len(wrong) else "It got every digit right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "digits_pictures"))
