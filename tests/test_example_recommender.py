"""examples/recommender.py: tastes that are found in ratings alone."""

import re

import pytest
from test_examples import SCRIPTS, check_pictures, need_pictures, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")


def test_recommender(tmp_path):
    need_pictures()
    out = run("recommender.py", tmp_path)
    sizes = re.match(r"600 people have given ([\d,]+) ratings to 60 films; ([\d,]+) more are held back\n", out).groups()
    ratings, held = (int(size.replace(",", "")) for size in sizes)
    assert held == (ratings + held) // 10
    assert "An embedding is a table of weights, and a film is a row of it.\n" in out
    assert "The dot product of two rows says how alike they are" in out

    errors = dict(re.findall(r"^  (the mean alone|averages|with embeddings) +(\d\.\d+)$", out, re.MULTILINE))
    alone, averages, embeddings = map(float, errors.values())
    (mood,) = map(float, re.findall(r"nobody can foresee: (\S+)$", out, re.MULTILINE))
    assert averages < alone
    assert embeddings < 0.7 * averages
    assert mood < embeddings < 1.2 * mood, "near what is left to chance, and not below it"

    found = re.findall(r"^  (films|people) +funny (\S+) +thrilling (\S+)$", out, re.MULTILINE)
    assert [name for name, *_ in found] == ["films", "people"]
    assert min(float(correlation) for _, *both in found for correlation in both) > 0.93

    seen = re.search(r"^Person \d+ liked (.*),\nand did not like (.*)\.$", out, re.MULTILINE).groups()
    rows = re.findall(r"^  (The .{17}) +(\w+) +(\d\.\d\d(?: +[-+]?\d\.\d\d){5})$", out, re.MULTILINE)
    assert len(rows) == 5
    for film, _, numbers in rows:
        assert film.strip() not in ", ".join(seen).split(", "), "nothing that was seen already"
        *parts, expected, true = map(float, numbers.split())
        assert sum(parts) == pytest.approx(expected, abs=0.03)
        assert true == pytest.approx(expected, abs=0.6)
        assert true > 4.0, "far more than people give on average"

    alike = re.findall(r"^  The [\w ]+ \((\w+)\): (The [\w ]+) (\S+), ", out, re.MULTILINE)
    assert [genre for genre, *_ in alike] == ["comedy", "thriller", "drama", "adventure"]
    assert min(float(cosine) for *_, cosine in alike) > 0.95
    check_pictures(out, tmp_path, {"film_tastes.png": (1500, 500)})
