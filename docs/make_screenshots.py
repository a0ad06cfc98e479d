"""Takes the documents' screenshots of the page, with the package as it is: `python docs/make_screenshots.py`.

It takes playwright and a chromium. The page is of the script that stepping.md begins with.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from make_transcripts import STEPPED
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
SHOTS = {"stepping_page.png": (1180, 720, 6), "stepping_phone.png": (390, 760, 6)}  # width, height, step


def main(folder=DOCS / "pictures"):
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        page_file = Path(work) / "run.html"
        (Path(work) / "train.py").write_text(STEPPED, encoding="utf-8")
        command = [sys.executable, "-m", "tinygrad_wb", "page", "-o", "run.html", "train.py"]
        subprocess.run(command, cwd=work, check=True)  # noqa: S603 - our own script
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for name, (width, height, step) in SHOTS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
            page.goto(f"{page_file.as_uri()}#step={step}")
            page.wait_for_timeout(500)
            page.screenshot(path=Path(folder) / name)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
