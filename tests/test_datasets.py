"""The data that comes with the package."""

import hashlib
import string
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb

FOLDER = Path(wb.datasets.__file__).parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

# -- digits ---------------------------------------------------------------------------------------------------------


def test_digits_counts_ranges_and_types():
    data = wb.datasets.digits()
    x_train, y_train, x_test, y_test = data
    assert x_train.shape == (1438, 64)
    assert x_test.shape == (359, 64)
    assert y_train.shape == (1438,)
    assert y_test.shape == (359,)
    assert data.x_train is x_train
    assert data.y_test is y_test
    for x, y in ((x_train, y_train), (x_test, y_test)):
        assert x.dtype == np.float64
        assert y.dtype == np.int64
        assert (x.min(), x.max()) == (0.0, 1.0)
        np.testing.assert_array_equal(x * 16.0, np.round(x * 16.0))
        np.testing.assert_array_equal(np.unique(y), np.arange(10))
    counts = np.bincount(y_train) + np.bincount(y_test)
    np.testing.assert_array_equal(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])  # as UCI states them


def test_the_split_is_fixed_disjoint_and_complete():
    data, again = wb.datasets.digits(), wb.datasets.digits()
    for one, other in zip(data, again, strict=True):
        np.testing.assert_array_equal(one, other)
    whole = everything()
    np.testing.assert_array_equal(data.x_test, whole[0][4::5])
    np.testing.assert_array_equal(data.y_test, whole[1][4::5])
    train, test = {row.tobytes() for row in data.x_train}, {row.tobytes() for row in data.x_test}
    assert len(train) == 1438, "no digit is there twice"
    assert len(test) == 359
    assert not train & test, "no test digit is learnt from"


def test_each_call_gives_arrays_of_its_own():
    first = wb.datasets.digits()
    first.x_train[:] = -1.0
    first.y_test[:] = -1
    second = wb.datasets.digits()
    assert second.x_train.min() == 0.0
    assert second.y_test.min() == 0


def everything():
    """All digits in the file's own order."""
    with np.load(FOLDER / "digits.npz", allow_pickle=False) as file:
        return file["images"].reshape(-1, 64) / 16.0, file["labels"]


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed; it has the same digits")
    theirs = datasets.load_digits()
    x, y = everything()
    np.testing.assert_array_equal(x * 16.0, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def test_the_file_is_small_holds_no_code_and_stands_beside_its_licence():
    file = FOLDER / "digits.npz"
    assert file.stat().st_size < 50_000
    with np.load(file, allow_pickle=False) as content:
        assert {name: (content[name].shape, content[name].dtype) for name in content.files} == {
            "images": ((1797, 8, 8), np.uint8),
            "labels": ((1797,), np.uint8),
        }
    licence = (FOLDER / "digits.LICENSE.txt").read_text(encoding="utf-8")
    for words in ("Optical Recognition of Handwritten Digits", "Alpaydin", "CC BY 4.0", "creativecommons.org", "UCI"):
        assert words in licence
    assert all(words in wb.datasets.digits.__doc__ for words in ("UCI", "CC BY 4.0"))


# -- names ----------------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_lectures():
    names = wb.datasets.names()
    assert len(names) == 32_033
    assert all(type(name) is str and 2 <= len(name) <= 15 for name in names)
    assert set("".join(names)) == set(string.ascii_lowercase)
    assert names[:4] == ["emma", "olivia", "ava", "isabella"]
    assert (names[18_028], names[18_029], names[-1]) == ("zyona", "liam", "zzyzx"), "girls' names, then boys'"
    assert len(set(names)) == 29_494
    assert max(Counter(names).values()) == 2
    same = hashlib.sha256("\n".join(names).encode()).hexdigest()
    assert same == "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d", "as makemore has names.txt"


def test_each_call_gives_a_list_of_its_own():
    wb.datasets.names().clear()
    assert len(wb.datasets.names()) == 32_033


def test_the_names_are_small_and_stand_beside_their_licence():
    file = FOLDER / "names.txt.gz"
    assert file.stat().st_size < 110_000
    assert file.read_bytes()[4:8] == b"\0\0\0\0", "no date: the same bytes whenever it is made"
    licence = (FOLDER / "names.LICENSE.txt").read_text(encoding="utf-8")
    for words in ("names.txt", "makemore", "MIT License", "Copyright (c) 2022 Andrej Karpathy", "WITHOUT WARRANTY"):
        assert words in licence
    assert all(words in wb.datasets.names.__doc__ for words in ("makemore", "MIT"))


# -- what is shipped ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyproject():
    if not PYPROJECT.exists():
        pytest.skip("these tests run apart from the project's sources, there is no pyproject.toml")
    return tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))


def test_the_wheel_carries_the_data_and_the_licence(pyproject):
    wheel = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["tinygrad_wb"], "the whole folder, data included"
    assert "exclude" not in wheel
    listed = pyproject["project"]["license-files"]
    assert {path.name for path in FOLDER.glob("*.LICENSE.txt")} == {Path(path).name for path in listed} - {"LICENSE"}


def test_a_wheel_that_is_built_has_the_data_in_it(pyproject, tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed; it builds the wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=PYPROJECT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        listed = file.namelist()
    assert {
        "tinygrad_wb/datasets/digits.npz",
        "tinygrad_wb/datasets/digits.LICENSE.txt",
        "tinygrad_wb/datasets/names.txt.gz",
        "tinygrad_wb/datasets/names.LICENSE.txt",
        "tinygrad_wb/py.typed",
    } <= set(listed)
    assert {name.split("/")[0].split("-")[0] for name in listed} == {"tinygrad_wb"}, "tests and examples stay at home"


# -- moons ----------------------------------------------------------------------------------------------------------


def test_moons_without_noise_lie_on_two_half_circles():
    x, y = wb.datasets.moons(200, noise=0.0, seed=0)
    upper, lower = x[y == 0], x[y == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1.0)
    np.testing.assert_allclose(np.hypot(*(lower - [1.0, 0.5]).T), 1.0)
    assert upper[:, 1].min() > -1e-12
    assert lower[:, 1].max() < 0.5 + 1e-12
    for moon, left, right in ((upper, -1.0, 1.0), (lower, 0.0, 2.0)):
        assert moon[:, 0].min() == pytest.approx(left)
        assert moon[:, 0].max() == pytest.approx(right)
        angles = np.sort(np.arccos(np.clip(moon[:, 0] - (left + right) / 2.0, -1.0, 1.0)))
        np.testing.assert_allclose(np.diff(angles), np.pi / 99.0, atol=1e-6)


def test_moons_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed; it has the same moons")
    (ours, y), (theirs, labels) = wb.datasets.moons(50, noise=0.0), datasets.make_moons(50, shuffle=False)

    def in_order(x):
        return x[np.lexsort(np.round(x, 9).T)]

    for moon in (0, 1):
        np.testing.assert_allclose(in_order(ours[y == moon]), in_order(theirs[labels == moon]), atol=1e-12)


@pytest.mark.parametrize(("samples", "lower"), [(2, 1), (3, 1), (100, 50), (101, 50)])
def test_moons_are_balanced(samples, lower):
    x, y = wb.datasets.moons(samples, seed=0)
    assert x.shape == (samples, 2)
    assert y.shape == (samples,)
    assert y.dtype.kind == "i"
    np.testing.assert_array_equal(np.bincount(y), [samples - lower, lower])


def test_moons_noise_is_the_standard_deviation():
    clean, y = wb.datasets.moons(20_000, noise=0.0, seed=3)
    noisy, same_y = wb.datasets.moons(20_000, noise=0.3, seed=3)
    np.testing.assert_array_equal(y, same_y)
    noise = noisy - clean
    assert noise.std(axis=0) == pytest.approx([0.3, 0.3], rel=0.03)
    assert abs(noise.mean()) < 0.01
    default = wb.datasets.moons(20_000, seed=3)[0] - clean
    assert default.std() == pytest.approx(0.1, rel=0.03)


def test_moons_repeat_by_seed_and_are_shuffled():
    x, y = wb.datasets.moons(60, seed=1)
    again, same_y = wb.datasets.moons(60, seed=1)
    other, _ = wb.datasets.moons(60, seed=2)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, same_y)
    assert not np.array_equal(x, other)
    assert len(wb.datasets.moons()[0]) == 100
    changes = np.sum(y[1:] != y[:-1])
    assert 10 < changes < 50, "neither sorted nor taking turns"


@pytest.mark.parametrize("samples", [1, 0, -3])
def test_moons_need_a_sample_for_each(samples):
    with pytest.raises(ValueError, match=f"moons: samples must be .* at least 2, one for each moon, got {samples}"):
        wb.datasets.moons(samples)


BAD_MOONS = {
    "a negative noise": {"noise": -0.1},
    "nan as noise": {"noise": float("nan")},
    "half a sample": {"samples": 4.5},
}


@pytest.mark.parametrize("options", BAD_MOONS.values(), ids=BAD_MOONS)
def test_moons_name_what_was_wrong(options):
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=f"moons: .*{name}"):
        wb.datasets.moons(**options)
