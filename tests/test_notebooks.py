"""The notebooks in examples: each says what its script says, runs from top to bottom, and shows the script's pictures."""

import json
import re
from pathlib import Path

import pytest
from docs_scripts import DOCS, docs_script
from test_examples import EXAMPLES, need_pictures, run

import tinygrad_wb as wb

NAMES = sorted(path.stem for path in (EXAMPLES / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the tests run apart from the project's sources: no docs/")


@pytest.fixture(scope="module")
def maker():
    return docs_script("make_notebooks")


def plain(text):
    """A text without the signs of comments, cells and headings, each run of spaces as one."""
    return re.sub(r"[\s#%]+", " ", text)


def test_there_is_a_notebook_of_each(maker):
    assert sorted(maker.NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_script(maker, name):
    stored = (EXAMPLES / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    script = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert stored == maker.notebook(script), "run `python docs/make_notebooks.py`"
    cells = json.loads(stored)["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code"), "stored without outputs"
    text = plain("\n".join("".join(cell["source"]) for cell in cells))
    assert "folder" not in text
    for line in script.splitlines():  # nothing is lost but what is done for files
        if not re.search(r"folder|FOLDER|Path|import sys|mpl|python examples|\"\"\"", line):
            assert plain(line).strip() in text, line


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    need_pictures()
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; it runs notebooks")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed; notebooks run in it")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(Path(wb.__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(EXAMPLES / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(tmp_path))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    printed = "".join(output["text"] for output in outputs if output.output_type == "stream")
    (tmp_path / "script").mkdir()
    said = run(f"{name}.py", tmp_path / "script")
    assert printed == said[: said.rindex("Pictures in ")]
    shown = [kind for output in outputs for kind in output.get("data", ()) if kind in {"image/png", "image/svg+xml"}]
    files = [path.suffix for path in (tmp_path / "script").rglob("*.*")]
    assert shown.count("image/png") == files.count(".png")
    assert shown.count("image/svg+xml") == files.count(".svg")
