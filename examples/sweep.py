"""Many small networks at once: every combination of settings is trained, as many at a time as there are cores.

    python sweep.py

Each combination is one call of `train`, and joblib hands the calls to processes of their own. It needs
`python -m pip install joblib`. To use a whole cluster, only where the calls are sent changes; `train` stays as it is:

- Dask: with `from dask.distributed import Client` and `client = Client("tcp://scheduler:8786")`, put
  `with joblib.parallel_config(backend="dask"):` around the call of `sweep`.
- Ray: `from ray.util.joblib import register_ray; register_ray(); ray.init(address="auto")`, and then
  `with joblib.parallel_config(backend="ray"):` around it.

What goes there and comes back is pickled: settings out; the history, and the trained model, back.
"""

import itertools

import tinygrad_wb as wb

SETTINGS = {
    "hidden": [[4], [16], [16, 16]],
    "activation": ["relu", "tanh"],
    "learning_rate": [0.3, 0.03],
}


def train(hidden, activation, learning_rate, seed=0):
    """One network on the two moons: its history, and the network."""
    x, y = wb.datasets.moons(200, seed=seed)
    unseen = wb.datasets.moons(200, seed=seed + 1)
    model = wb.MLP(2, hidden, 2, activation=activation, seed=seed)
    optimizer = wb.SGD(model.parameters(), learning_rate, momentum=0.9)
    history = wb.fit(
        model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=20, validation=unseen, metrics=["accuracy"],
        seed=seed, progress=False,
    )  # fmt: skip
    return history, model


def sweep(settings):
    """`train` with every combination, in parallel: (combination, history, model) of each, the best first."""
    try:
        import joblib
    except ImportError as error:
        raise SystemExit("sweep.py sends its work out by joblib: python -m pip install joblib") from error
    combinations = [dict(zip(settings, values)) for values in itertools.product(*settings.values())]
    results = joblib.Parallel(n_jobs=-1)(joblib.delayed(train)(**combination) for combination in combinations)
    found = [(combination, *result) for combination, result in zip(combinations, results)]
    return sorted(found, key=lambda row: row[1]["val_loss"][-1])


def main():
    found = sweep(SETTINGS)
    print(f"{len(found)} networks, the best first:")
    for combination, history, _ in found:
        told = ", ".join(f"{name} {setting}" for name, setting in combination.items())
        print(f"  loss {history['val_loss'][-1]:.4f}, accuracy {history['val_accuracy'][-1]:6.1%}: {told}")
    _, history, model = found[0]
    x, y = wb.datasets.moons(1000, seed=2)
    again = wb.evaluate(model, x, y, loss="cross_entropy", metrics=["accuracy"])
    print(f"The best on 1000 new points: {again['accuracy']:.1%} right")


if __name__ == "__main__":
    main()
