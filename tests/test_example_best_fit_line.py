"""examples/best_fit_line.py: gradient descent arrives where least squares says, with one input and with three."""

import re

import numpy as np
import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def test_best_fit_line(tmp_path):
    need_pictures()
    out = run("best_fit_line.py", tmp_path)
    rows = [list(map(float, row.split())) for row in re.findall(r"^ +\d+(?: +-?\d+\.\d+){3}$", out, re.MULTILINE)]
    assert [row[0] for row in rows] == [0, 1, 10, 100, 1000, 4000]
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True), "downhill all the way"

    # The same forty rides, and least squares of our own: the normal equations.
    rng = np.random.default_rng(1)
    km = rng.uniform(0.0, 10.0, 40)
    fare = 2.0 * km + 4.0 + rng.normal(0.0, 1.5, 40)
    a = np.column_stack([km, np.ones(40)])
    exact = np.linalg.solve(a.T @ a, a.T @ fare)
    assert rows[-1][2:] == pytest.approx(exact, abs=5.1e-6)
    assert re.search(r"^ +least squares +(\S+) +(\S+)$", out, re.MULTILINE).groups() == tuple(
        f"{number:.5f}" for number in exact
    )
    assert float(re.search(r"^The line differs from it by (\S+)$", out, re.MULTILINE)[1]) < 1e-6


def test_several_dimensions_and_the_dot_product(tmp_path):
    need_pictures()
    out = run("best_fit_line.py", tmp_path)
    found = re.findall(r"^(\w[\w ()]+?) +([\d.]+) +(\d+\.\d{5}) +(\d+\.\d{5})$", out, re.MULTILINE)
    assert [row[0] for row in found] == ["kilometres", "minutes waiting", "luggage", "ride (the bias)"]
    for _, true, ours, numpys in found:
        assert ours == numpys
        assert float(ours) == pytest.approx(float(true), abs=0.5)
    assert float(re.search(r"^In several dimensions it differs by (\S+)$", out, re.MULTILINE)[1]) < 1e-6
    products = {int(angle): float(product) for angle, product in re.findall(r"^ +(\d+)° +(\S+)$", out, re.MULTILINE)}
    assert products == {0: 1.0, 45: 0.71, 90: 0.0, 135: -0.71, 180: -1.0}
    sizes = {"line_fit.png": (1000, 400), "line_graph.svg": (400, 200), "line_dot_product.png": (1000, 400)}
    check_pictures(out, tmp_path, sizes)
