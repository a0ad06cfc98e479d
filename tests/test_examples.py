"""Every script in examples/ is run as a user runs it, and what it prints and leaves behind is checked."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import tinygrad_wb as wb

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def run(script, folder, *arguments):
    """The script's output, as UTF-8, run in ``folder`` by this Python with this package."""
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    try:
        importlib.metadata.distribution("tinygrad_wb")
    except importlib.metadata.PackageNotFoundError:
        env["PYTHONPATH"] = str(Path(wb.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


def need_pictures():
    """Skip a test of a script that draws, where it can't."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; the script draws with it")
    if shutil.which("dot") is None and importlib.util.find_spec("pygraphviz") is None:
        pytest.skip("neither Graphviz's dot nor pygraphviz is installed; the script draws a graph with one of them")


def check_pictures(out, ran_in, sizes):
    """The pictures that a script says it wrote: these and no other file, each with its least width and height."""
    from matplotlib import image

    named = re.search(r"Pictures in (.+): (.+)", out)
    assert named, out
    folder = Path(named[1])
    assert folder.parent == ran_in.resolve()
    assert set(named[2].split(", ")) == set(sizes)
    assert {path.name for path in ran_in.rglob("*") if path.is_file()} == set(sizes), "and nothing else is left"
    for name, (width, height) in sizes.items():
        if name.endswith(".svg"):
            drawn = ET.parse(folder / name).getroot()
            assert [float(drawn.get(side).removesuffix("pt")) for side in ("width", "height")] >= [width, height], name
            continue
        assert (folder / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = image.imread(folder / name)
        assert pixels.shape[1] >= width, name
        assert pixels.shape[0] >= height, name
        assert pixels.shape[0] * pixels.shape[1] < 2e7, name
        grey = pixels[..., :3].mean(axis=2)
        assert grey.std() > 0.02, f"{name} is blank"
        assert (grey < 0.6).any(), f"{name} has no ink"
        assert (grey > 0.95).any(), f"{name} has no paper"


def test_every_example_has_a_test():
    tested = {name.removeprefix("test_") + ".py" for name in globals() if name.startswith("test_")}
    tested |= {path.name.removeprefix("test_example_") for path in Path(__file__).parent.glob("test_example_*.py")}
    assert [script for script in SCRIPTS if script not in tested] == []


# -- sunny_day ------------------------------------------------------------------------------------------------------


def test_sunny_day(tmp_path):
    lines = run("sunny_day.py", tmp_path).splitlines()
    assert lines[:2] == ["Score: 0.7", "Sunny Day"]
    partials = dict(re.findall(r"∂Score/∂(\w+) *= *(\S+)", "\n".join(lines[2:])))
    # ∂Score/∂w is the input that w stands before, here 1 for each; of the bias it is always 1
    assert partials == {"w_sky": "1", "w_warmth": "1", "w_clouds": "1", "bias": "1"}


# -- update_rule ----------------------------------------------------------------------------------------------------


def tables(text):
    """Every run of lines that are numbers and nothing else, below a line of heads."""
    found = []
    for line in text.splitlines():
        if "prediction" in line and "∂Loss/∂w" in line and "epoch" in line:
            found.append([])
        elif found and re.fullmatch(r"[\s\d.e+-]+", line) and line.strip():
            found[-1].append([float(word) for word in line.split()])
    return found


def test_update_rule(tmp_path):
    out = run("update_rule.py", tmp_path)
    by_hand, by_sgd = tables(out)
    assert by_hand == by_sgd
    assert len(by_hand) >= 5
    x, actual, rate = 2.0, 10.0, 0.05
    w, b = 1.0, 0.0
    for number, row in enumerate(by_hand, 1):
        prediction = w * x + b
        dw, db = 2.0 * (prediction - actual) * x, 2.0 * (prediction - actual)
        w, b = w - rate * dw, b - rate * db
        assert row == pytest.approx([number, prediction, (prediction - actual) ** 2, dw, db, w, b], abs=6e-6)
    losses = [row[2] for row in by_hand]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 100.0
    assert out.rstrip().endswith("The same numbers.")


# -- scalar_moons ---------------------------------------------------------------------------------------------------


def test_scalar_moons(tmp_path):
    out = run("scalar_moons.py", tmp_path)
    accuracy = re.search(r"^Accuracy: (\d+)%$", out, re.MULTILINE)
    assert accuracy, out
    assert int(accuracy[1]) >= 97
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", out)]
    assert losses[-1] < losses[0] / 5.0
    assert out.startswith("337 parameters"), "2·16 + 16, 16·16 + 16, 16 + 1"


# -- sweep ----------------------------------------------------------------------------------------------------------


def test_sweep(tmp_path):
    pytest.importorskip("joblib", reason="joblib is not installed; sweep.py sends its work out by it")
    out = run("sweep.py", tmp_path)
    rows = re.findall(
        r"loss (\d\.\d+), accuracy +(\d+\.\d)%: hidden (\[.*\]), activation (\w+), learning_rate (\S+)$",
        out,
        re.MULTILINE,
    )
    assert out.startswith(f"{len(rows)} networks"), out
    assert len({row[2:] for row in rows}) == 3 * 2 * 2, "every combination once"
    losses = [float(row[0]) for row in rows]
    assert losses == sorted(losses)
    assert float(re.search(r"The best on 1000 new points: (\d+\.\d)% right", out)[1]) > 98.0


def test_sweep_without_joblib(tmp_path):
    (tmp_path / "joblib.py").write_text("raise ImportError('no joblib')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(wb.__file__).parents[1])])}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "sweep.py")], env=env, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode != 0
    assert done.stderr.strip() == "sweep.py sends its work out by joblib: python -m pip install joblib"


# -- digits ---------------------------------------------------------------------------------------------------------

# The pictures, and the least width and height in pixels that still show something.
PICTURES = {
    "training_curve.png": (600, 300),
    "first_layer.png": (800, 400),
    "wrong_digits.png": (600, 150),
    "loss_graph.png": (600, 100),
}


def test_digits(tmp_path):
    need_pictures()
    out = run("digits.py", tmp_path)
    assert "1438 digits to learn from, 359 to be tested on" in out
    read = re.search(r"Read (\d+\.\d)% of the digits .*\((\d+) of 359 wrong\)", out)
    assert read, out
    assert float(read[1]) >= 97.0
    assert float(read[1]) == pytest.approx(100.0 * (1.0 - int(read[2]) / 359.0), abs=0.051)
    check_pictures(out, tmp_path, PICTURES)
