"""examples/makemore.py: names letter by letter, and a backward pass by hand."""

import math
import re

import pytest
from test_examples import EXAMPLES, SCRIPTS, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")

STEPS = """logprobs probs counts_sum_inv counts_sum counts norm_logits logit_maxes logits W2 b2 h hpreact bngain bnbias
    bnraw bnvar_inv bnvar bndiff2 bndiff bnmean hprebn W1 b1 embcat emb C""".split()
WHOLE_TRAINING = "# %% Three letters back"


def differences(out):
    """The table of gradients by hand: by how much each differs."""
    rows = re.findall(r"^(\w+|\w+ at once) +\(.*\) +(exact|\d\.\de-\d\d)$", out, re.MULTILINE)
    return {name: 0.0 if found == "exact" else float(found) for name, found in rows}


def test_makemore(tmp_path):
    out = run("makemore.py", tmp_path, "4")
    assert out.startswith("32,033 names, such as emma, olivia, ava.")
    counted, learnt = (float(loss) for loss in re.findall(r"^One letter back, .*: +loss (\d\.\d+)", out, re.MULTILINE))
    assert counted == pytest.approx(2.4540, abs=1e-4), "what counting gives, whoever counts"
    assert counted < learnt + 1e-4 < counted + 1e-3, "and nothing that is learnt can be below"
    assert float(re.search(r"no probability is further than (\S+) from", out)[1]) < 1e-3

    found = differences(out)
    assert [*found] == [*STEPS, "logits at once", "hprebn at once"]
    assert max(found.values()) < 1e-9
    assert sum(difference == 0.0 for difference in found.values()) >= 8, "where no sum can be rounded in another order"

    assert "12,097" in out, "as many parameters as in the lecture"
    assert "(4 epochs, 182,625 and 22,655 letters)" in out, "the lecture's own division"
    train, dev = map(float, re.search(r"this network +(\S+) +(\S+)$", out, re.MULTILINE).groups())
    assert train < dev < 2.25, "far below one letter back, a few epochs only"
    samples = [line.split(": ")[1].split(", ") for line in re.findall(r"^ *[Mm]ade up: .*$", out, re.MULTILINE)]
    assert [len(names) for names in samples] == [6, 20]
    assert all(re.fullmatch("[a-z]*", name) for names in samples for name in names)
    assert 3.0 < sum(map(len, samples[1])) / 20 < 10.0, "about as long as names are"
    assert math.log(27.0) == pytest.approx(float(re.search(r"log 27 = (\S+) ", out)[1]), abs=1e-4)


def test_a_slip_of_the_hand_shows(tmp_path):
    """Bessel's correction forgotten on the way back: what comes after it is wrong, what came before is not."""
    script = (EXAMPLES / "makemore.py").read_text(encoding="utf-8").split(WHOLE_TRAINING)[0]
    right = "d.bndiff2 = np.ones((n, 1)) / (n - 1)"
    assert right in script
    (tmp_path / "slip.py").write_text(script.replace(right, "d.bndiff2 = np.ones((n, 1)) / n"), encoding="utf-8")
    found = differences(run(tmp_path / "slip.py", tmp_path))
    wrong = {name for name, difference in found.items() if difference > 1e-9}
    assert wrong == {"bndiff2", "bndiff", "hprebn", "W1", "embcat", "emb", "C"}
