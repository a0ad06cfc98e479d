"""docs/gallery.md: its code makes its pictures, and they are those that the page shows."""

import re
import shutil
import xml.etree.ElementTree as ET

import pytest
from docs_scripts import DOCS, docs_script

GALLERY = DOCS / "gallery.md"
pytestmark = [
    pytest.mark.skipif(not GALLERY.exists(), reason="the tests run apart from the project's sources: no docs/"),
    pytest.mark.skipif(shutil.which("dot") is None, reason="the dot executable is not installed"),
]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder that the page's code was run in, and what it printed."""
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    make_pictures = docs_script("make_pictures")
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "pictures").mkdir()
    return folder, make_pictures.run(GALLERY.read_text(encoding="utf-8"), folder)


def words(picture):
    """What is written in a picture, with numbers as #: their last digits depend on the machine."""
    texts = ["".join(text.itertext()) for text in ET.parse(picture).getroot().iter(f"{SVG}text")]
    return [re.sub(r"−?\d[\d.]*(e[−+]?\d+)?", "#", text.replace("\xa0", " ")) for text in texts]


def test_every_picture_of_the_page_is_made_and_no_other(made):
    folder, _ = made
    shown = set(re.findall(r"\(pictures/([\w.]+)\)", GALLERY.read_text(encoding="utf-8")))
    assert {path.name for path in (folder / "pictures").iterdir()} == shown
    assert shown <= {path.name for path in (DOCS / "pictures").iterdir()}


def test_the_pictures_are_those_that_the_documents_show(made):
    folder, _ = made
    compared = sorted((folder / "pictures").glob("*.svg"))
    assert len(compared) >= 10
    for path in compared:
        assert words(path) == words(DOCS / "pictures" / path.name), f"{path.name}: run `python docs/make_pictures.py`"


def test_what_is_printed_is_what_the_page_shows(made):
    _, printed = made
    page = GALLERY.read_text(encoding="utf-8")
    for name, text in printed.items():
        shown = re.search(rf"<!-- begin: {name} -->\n(.*?)<!-- end: {name} -->", page, re.DOTALL)
        assert shown is not None
        assert shown[1] == text, f"{name}: run `python docs/make_pictures.py`"


def test_pictures_of_the_readme_exist():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme)
    assert pictures
    for picture in pictures:
        assert (DOCS.parent / picture).exists(), picture
