"""Makes the documents' pictures with the package as it is: `python docs/make_pictures.py`.

The code is the gallery's own: its blocks are run one after another, and what they print is put below them.
"""

import contextlib
import io
import os
import re
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parent
GALLERY = DOCS / "gallery.md"
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


def main():
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tinygrad_wb"  # the same picture from every run
    (DOCS / "pictures").mkdir(exist_ok=True)
    page = GALLERY.read_text(encoding="utf-8")
    for name, text in run(page, DOCS).items():
        page = re.sub(
            rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)",
            lambda m, t=text: m[1] + t + m[2],
            page,
            flags=re.DOTALL,
        )
    GALLERY.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
