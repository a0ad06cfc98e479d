"""examples/decision_boundary.py: what weights and the bias do to the line, and what a small network can do besides."""

import re

import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def test_decision_boundary(tmp_path):
    need_pictures()
    out = run("decision_boundary.py", tmp_path)
    lines = re.findall(r"w = \((\S+), (\S+)\)  b = +(\S+)  (\S+) from the origin", out)
    turned, shifted = lines[:3], lines[3:]
    assert len({w[:2] for w in turned}) == 3
    assert all(float(b) == float(distance) == 0.0 for *_, b, distance in turned), "no bias: through the origin"
    assert len({w[:2] for w in shifted}) == 1
    for w1, w2, b, distance in shifted:
        assert float(distance) == pytest.approx(abs(float(b)) / (float(w1) ** 2 + float(w2) ** 2) ** 0.5, abs=0.006)

    learnt = re.findall(
        r"^With(?:out)? a bias: (\d+)% right, score at the origin (\S+), .* (\S+) from it$", out, re.MULTILINE
    )
    (without, score, distance), (with_bias, _, shift) = ([float(number) for number in row] for row in learnt)
    assert score == distance == 0.0
    assert without < 70.0
    assert with_bias == 100.0
    assert shift > 1.0
    neuron, network = (float(right) for right in re.findall(r"(\S+)% of the moons right", out))
    assert 80.0 < neuron < 92.0, "a straight line can't part two moons"
    assert network >= 99.0
    sizes = dict.fromkeys(["boundary_lines.png", "boundary_bias.png", "boundary_moons.png"], (1000, 400))
    check_pictures(out, tmp_path, sizes)
