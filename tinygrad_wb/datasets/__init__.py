"""Data to learn on: real handwritten digits and names that ship with the package, and two moons made on the spot."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Split", "digits", "moons", "names"]


class Split(NamedTuple):
    """Examples to learn from, and others to be tested on."""

    x_train: np.ndarray[Any, Any]
    y_train: np.ndarray[Any, Any]
    x_test: np.ndarray[Any, Any]
    y_test: np.ndarray[Any, Any]


def digits() -> Split:
    """1,797 handwritten digits: x (n, 64) floats, the ink of 8 × 8 pixels from 0 to 1; y (n,) integers 0 to 9.

    The split is fixed: every fifth digit (359 of them) is for testing, the other 1,438 are for training.
    Source: UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), CC BY 4.0.

    >>> import tinygrad_wb as wb
    >>> x_train, y_train, x_test, y_test = wb.datasets.digits()
    >>> x_train.shape, x_test.shape
    ((1438, 64), (359, 64))
    """
    from pathlib import Path  # slow to import, and wanted only here

    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as data:
        x = data["images"].reshape(-1, 64) / 16.0
        y = data["labels"].astype(np.int64)
    test = np.arange(len(y)) % 5 == 4
    return Split(x[~test], y[~test], x[test], y[test])


def names() -> list[str]:
    """32,033 first names in lower case, letters a to z, in the order of their file.

    That is girls' names and then boys', the most common first; a name that is both stands there twice.
    Source: names.txt of makemore (Karpathy, 2022), MIT licence.

    >>> import tinygrad_wb as wb
    >>> names = wb.datasets.names()
    >>> len(names), names[:3]
    (32033, ['emma', 'olivia', 'ava'])
    """
    import gzip
    from pathlib import Path

    with gzip.open(Path(__file__).with_name("names.txt.gz"), "rt", encoding="ascii") as file:
        return file.read().split()


def moons(samples: int = 100, noise: float = 0.1, seed: int | None = None) -> tuple[Any, Any]:
    """Two half circles that reach into each other: x (samples, 2), y (samples,) of 0 (upper) and 1 (lower).

    ``noise`` is the standard deviation added to each coordinate; the order is shuffled. The same shape as
    scikit-learn's ``make_moons``.

    >>> import tinygrad_wb as wb
    >>> x, y = wb.datasets.moons(10, seed=0)
    >>> x.shape, int(y.sum())
    ((10, 2), 5)
    """
    if not isinstance(samples, (int, np.integer)) or samples < 2:
        raise ValueError(f"moons: samples must be a whole number of at least 2, one for each moon, got {samples!r}")
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"moons: noise is a standard deviation, 0 or more, got {noise!r}")
    rng = np.random.default_rng(seed)
    y = np.arange(samples) % 2
    angle = np.empty(samples)
    for moon in (0, 1):
        angle[y == moon] = np.linspace(0.0, np.pi, int((y == moon).sum()))
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.where(y[:, None] == 0, upper, lower) + rng.normal(0.0, noise, (samples, 2))
    order = rng.permutation(samples)
    return x[order], y[order]
