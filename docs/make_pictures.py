"""Draws the documents' pictures with the package as it is: `python docs/make_pictures.py`."""

from pathlib import Path

import matplotlib as mpl

import tinygrad_wb as wb

PICTURES = Path(__file__).with_name("pictures")


def neuron():
    """The sunny-day neuron, as a loss to learn from."""
    w_sky, w_clouds, bias = wb.Value(0.6, name="w_sky"), wb.Value(-0.4, name="w_clouds"), wb.Value(0.2, name="bias")
    score = w_sky * 1.0 + w_clouds * 1.0 + bias
    score.name = "score"
    loss = (score - 1.0) ** 2
    loss.name = "loss"
    loss.backward()
    wb.draw(loss).save(PICTURES / "neuron.svg")


def digits():
    """The graph of the digits' loss, and how it was learnt."""
    x_train, y_train, x_test, y_test = wb.datasets.digits()
    model = wb.MLP(64, [128], 10, seed=0)
    history = wb.fit(
        model, x_train, y_train, loss="cross_entropy", optimizer=wb.SGD(model.parameters(), 0.1, momentum=0.9),
        epochs=15, validation=(x_test, y_test), metrics=["accuracy"], seed=0, progress=False,
    )  # fmt: skip
    ax = history.plot()
    ax.figure.savefig(PICTURES / "training_curve.svg", metadata={"Date": None})
    loss = wb.cross_entropy(model(x_train[:32]), y_train[:32])
    loss.name = "loss"
    loss.backward()
    wb.draw(loss).save(PICTURES / "digits.svg")


if __name__ == "__main__":
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tinygrad_wb"  # the same picture from every run
    PICTURES.mkdir(exist_ok=True)
    neuron()
    digits()
