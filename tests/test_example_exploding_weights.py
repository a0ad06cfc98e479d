"""examples/exploding_weights.py: what runs away, what gets nowhere, and what brings it back."""

import math
import re

import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def test_exploding_weights(tmp_path):
    need_pictures()
    out = run("exploding_weights.py", tmp_path)
    sizes = {
        name: [float(size) for size in numbers.split()]
        for name, numbers in re.findall(r"^  (σ = 1|He|σ = 0\.01) +((?:\S+ *){5})$", out, re.MULTILINE)
    }
    assert all(after > 2.0 * before for before, after in zip(sizes["σ = 1"], sizes["σ = 1"][1:]))
    assert all(after < before / 5.0 for before, after in zip(sizes["σ = 0.01"], sizes["σ = 0.01"][1:]))
    assert max(sizes["He"]) < 3.0 * min(sizes["He"])

    lost = dict(re.findall(r"^  (.*η = 2) +(\S+) .* ran away in epoch \d+$", out, re.MULTILINE))
    assert list(lost) == ["σ = 1, no biases, η = 2", "He, no biases, η = 2"]
    assert float(lost["σ = 1, no biases, η = 2"]) > 100.0
    assert float(lost["He, no biases, η = 2"]) < 1.0, "a good start, thrown away by long steps"

    ended = {
        name: [float(first), float(last), float(right)]
        for name, first, last, right in re.findall(r"^  (.*η = \S+) +(\S+) +(\S+) +(\d+)%$", out, re.MULTILINE)
    }
    nowhere, without, with_biases = ended.values()
    assert nowhere[:2] == [pytest.approx(math.log(2.0), abs=1e-4)] * 2
    assert without[1] < 0.3
    assert 80.0 < without[2] < 95.0
    assert with_biases[1] < 0.05
    assert with_biases[2] == 100.0
    pictures = dict.fromkeys(["exploding_layers.png", "exploding_losses.png", "exploding_biases.png"], (1000, 400))
    check_pictures(out, tmp_path, pictures)
