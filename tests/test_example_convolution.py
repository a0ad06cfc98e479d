"""examples/convolution.py: a convolutional network reads digits, and shows its filters."""

import re

import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def test_convolution(tmp_path):
    need_pictures()
    out = run("convolution.py", tmp_path)
    assert out.startswith("1438 pictures to learn from, 359 to be tested on, (1, 8, 8) each\n")
    accuracy, wrong = re.search(r"Read (\d+\.\d)% .* \((\d+) of 359 wrong\)$", out, re.MULTILINE).groups()
    assert int(wrong) <= 5, "98.5% and more are right"
    assert float(accuracy) == pytest.approx(100.0 * (1.0 - int(wrong) / 359.0), abs=0.051)
    check_pictures(out, tmp_path, {"filters.png": (800, 700), "feature_maps.png": (1500, 500)})
