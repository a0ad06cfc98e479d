"""examples/tiny_gpt.py: names by a transformer, and which letters it looks at."""

import re

import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def test_tiny_gpt(tmp_path):
    need_pictures()
    out = run("tiny_gpt.py", tmp_path, "pictures", "1")
    assert "27,804" in out, "parameters"
    dev, guess = map(float, re.search(r"has not seen: (\S+) \(a guess has (\S+)\)", out).groups())
    assert guess == 3.2958
    assert dev < 2.35, "after one round it knows more than the letter before, 2.45"
    before, after = (re.search(rf"^{when}: +(.*)$", out, re.MULTILINE)[1].split(", ") for when in ("Before", "After"))
    assert (len(before), len(after)) == (5, 10)
    assert all(re.fullmatch("[a-z]{1,15}", name) for name in after)
    assert not {*before} & {*after}
    check_pictures(out, tmp_path, {"attention.png": (1500, 800), "attention_learning.png": (600, 400)})
