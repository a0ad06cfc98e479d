"""examples/cake.py: the score of one cake, and the weights that are learnt from the judge."""

import re

import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")

TRUE = [0.6, 0.3, 0.1]


def test_cake(tmp_path):
    need_pictures()
    out = run("cake.py", tmp_path)
    assert out.startswith("A cake with 8 for taste, 6 for look and 9 for smell scores 7.5\n")
    slopes = dict(re.findall(r"∂score/∂w_(\w+) *= (\S+)", out))
    assert slopes == {"taste": "8", "look": "6", "smell": "9"}, "a weight's slope is its input"
    assert "[8. 6. 9.] @ [0.6 0.3 0.1] = 7.5" in out

    rows = [list(map(float, row.split())) for row in re.findall(r"^ +\d+(?: +-?\d+\.\d+){4}$", out, re.MULTILINE)]
    assert [row[0] for row in rows] == [0, 1, 2, 5, 10, 20, 50, 100]
    losses = [row[1] for row in rows]
    assert losses == sorted(losses, reverse=True), "downhill all the way"
    distances = [max(abs(w - true) for w, true in zip(row[2:], TRUE)) for row in rows]
    assert distances[0] > 0.3, "it starts from weights that know nothing"
    assert distances[-1] < 0.01
    assert distances[2:] == sorted(distances[2:], reverse=True), "each weight approaches the judge's"
    assert re.search(r"largest difference from the judge's own weights is 0\.00\d\d$", out, re.MULTILINE), out
    check_pictures(out, tmp_path, {"cake_score.svg": (400, 200), "cake_weights.png": (1000, 400)})
