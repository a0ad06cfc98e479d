"""Writes examples/notebooks from the scripts in examples: `python docs/make_notebooks.py`.

The scripts are divided by lines `# %% Title`, which editors know. In the notebook each becomes a heading, the comment
below it text, and the rest code. What a script does only for its files is left out: a notebook shows its pictures.
"""

import ast
import json
import re
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = EXAMPLES / "notebooks"
NAMES = ("cake", "best_fit_line", "decision_boundary")

FOR_FILES = re.compile(
    r"^(import sys|from pathlib import Path|import matplotlib as mpl|mpl\.use\(.*|folder\b.*|\w+\.savefig\(folder .*"
    r'|print\(f"Pictures in .*)\n',
    re.MULTILINE,
)
SAVED = re.compile(r"\.save\(folder / [^)]*\)")  # of a drawing: as a cell's last line, it is shown
USAGE = re.compile(r"^    python .*\n\n| Pictures go to\s+FOLDER\.", re.MULTILINE)


def cells(script):
    """A script's text as pairs ("markdown" or "code", text)."""
    start, *parts = re.split(r"^# %% ?", script, flags=re.MULTILINE)
    title, rest = ast.get_docstring(ast.parse(script)).split("\n", 1)
    yield "markdown", f"# {title.removesuffix('.')}\n{USAGE.sub('', rest)}"
    yield "code", start.split('"""\n', 1)[1]
    for part in parts:
        title, rest = part.split("\n", 1)
        comment, code = re.fullmatch(r"((?:# [^\n]*\n)*)(.*)", rest, re.DOTALL).groups()
        yield "markdown", f"## {title}\n\n{re.sub('^# ', '', comment, flags=re.MULTILINE)}" if title else ""
        yield "code", code


def without_files(code):
    return re.sub(r"\n{3,}(?=import)", "\n\n", SAVED.sub("", FOR_FILES.sub("", code)))


def notebook(script):
    """The notebook of a script's text, as it stands in its file."""
    found = []
    for kind, text in cells(script):
        lines = (without_files(text) if kind == "code" else text).strip().splitlines(keepends=True)
        if lines:
            cell = {"cell_type": kind, "id": f"cell-{len(found)}", "metadata": {}}
            if kind == "code":
                cell |= {"execution_count": None, "outputs": []}
            found.append(cell | {"source": lines})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": found, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def main():
    NOTEBOOKS.mkdir(exist_ok=True)
    for name in NAMES:
        script = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        (NOTEBOOKS / f"{name}.ipynb").write_text(notebook(script), encoding="utf-8")


if __name__ == "__main__":
    main()
