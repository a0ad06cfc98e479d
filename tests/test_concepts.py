"""docs/concepts.md shows what the examples print today, and their pictures."""

import re

import pytest
from docs_scripts import DOCS, docs_script
from test_examples import need_pictures, run

PAGE = DOCS / "concepts.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")


@pytest.fixture(scope="module")
def maker():
    need_pictures()
    return docs_script("make_pictures")


def words(text):
    """Words and numbers in turn, so that numbers can be compared as such: another processor rounds otherwise."""
    for word in text.split():
        try:
            yield float(word.strip(",%()[]"))
        except ValueError:
            yield word


@pytest.mark.parametrize(
    "name", ["cake", "best_fit_line", "decision_boundary", "exploding_weights", "recommender", "convolution"]
)
def test_the_page_shows_what_the_example_prints_and_draws(maker, name, tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    assert name in maker.EXAMPLES
    printed = maker.parts(run(f"{name}.py", tmp_path))
    shown = [m for m in maker.PRINTED.finditer(page) if m["name"] == name]
    assert shown
    for block in shown:
        today = f"\n```text\n{printed[int(block['part']) - 1]}\n```\n\n"
        for ours, theirs in zip(words(block["shown"]), words(today), strict=True):
            near = ours if isinstance(ours, str) else pytest.approx(ours, rel=0.1, abs=1e-9)
            assert theirs == near, "run `python docs/make_pictures.py`, and read the page again"
    drawn = {path.name for path in tmp_path.rglob("*.*")}
    assert drawn
    assert drawn <= set(re.findall(r"\]\(pictures/(\S+)\)", page)), "every picture has its place"


def test_every_block_has_its_example(maker):
    page = PAGE.read_text(encoding="utf-8")
    names = {m["name"] for m in maker.PRINTED.finditer(page)}
    assert names == set(maker.EXAMPLES)
    assert len(maker.PRINTED.findall(page)) == page.count("<!-- begin: ") == page.count("<!-- end -->")
    for picture in re.findall(r"\]\(pictures/(\S+)\)", page):
        assert (PAGE.parent / "pictures" / picture).exists(), picture
