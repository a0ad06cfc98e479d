"""Makes the documents' pictures with the package as it is: `python docs/make_pictures.py`.

The gallery's code is its own: its blocks are run one after another, and what they print is put below them. The pictures
of concepts.md are the examples', and what these print is put there part by part, as empty lines divide it.
"""

import contextlib
import io
import os
import re
import runpy
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

DOCS = Path(__file__).parent
GALLERY = DOCS / "gallery.md"
CONCEPTS = DOCS / "concepts.md"
EXAMPLES = ("cake", "best_fit_line", "decision_boundary", "exploding_weights", "recommender", "convolution")
LONG = ("tiny_gpt",)  # of which only pictures are shown, for the tests don't wait for it
PRINTED = re.compile(
    r"(?P<begin><!-- begin: (?P<name>\w+)\.py, part (?P<part>\d) -->\n)(?P<shown>.*?)(?P<end><!-- end -->)", re.DOTALL
)
CODE = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n<!-- begin: (?P<name>\w+) -->\n(?P<shown>.*?)<!-- end: (?P=name) -->\n)?",
    re.DOTALL | re.MULTILINE,
)


def run(page, folder):
    """Run a page's blocks in ``folder``, where there is a folder ``pictures``; what each of the named ones printed."""
    printed = {}
    names = {"__name__": "gallery"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in CODE.finditer(page):
            said = io.StringIO()
            line = page.count("\n", 0, block.start("code"))
            with contextlib.redirect_stdout(said):
                exec(compile("\n" * line + block["code"], str(GALLERY), "exec"), names)  # noqa: S102 - our own page
            if block["name"]:
                language = "mermaid" if block["name"] == "mermaid" else "text"
                printed[block["name"]] = f"\n```{language}\n{said.getvalue().rstrip()}\n```\n\n"
    finally:
        os.chdir(before)
    return printed


def parts(out):
    """What an example printed, without where its pictures are, divided at empty lines."""
    return re.sub(r"^Pictures in .*\n", "", out, flags=re.MULTILINE).strip("\n").split("\n\n")


def run_example(name, folder):
    """Run an example that puts its pictures into ``folder``; the parts of what it printed."""
    said, before = io.StringIO(), sys.argv
    script = DOCS.parent / "examples" / f"{name}.py"
    sys.argv = [str(script), str(folder)]
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    plt.close("all")
    return parts(said.getvalue())


def main():
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tinygrad_wb"  # the same picture from every run
    pictures = DOCS / "pictures"
    pictures.mkdir(exist_ok=True)
    page = GALLERY.read_text(encoding="utf-8")
    for name, text in run(page, DOCS).items():
        page = re.sub(
            rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)",
            lambda m, t=text: m[1] + t + m[2],
            page,
            flags=re.DOTALL,
        )
    GALLERY.write_text(page, encoding="utf-8")
    printed = {name: run_example(name, pictures) for name in EXAMPLES}
    for name in LONG:
        run_example(name, pictures)
    page = PRINTED.sub(
        lambda m: f"{m['begin']}\n```text\n{printed[m['name']][int(m['part']) - 1]}\n```\n\n{m['end']}",
        CONCEPTS.read_text(encoding="utf-8"),
    )
    CONCEPTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
