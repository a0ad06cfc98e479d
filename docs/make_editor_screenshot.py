"""Takes the documents' picture of VS Code stepping backwards: `python docs/make_editor_screenshot.py COMMAND...`.

COMMAND runs code-server, which is VS Code in a browser (`npm install code-server` has it): `code-server`, or `node
node_modules/code-server/out/node/entry.js`. It takes playwright and a chromium, too. Every button is pressed and
everything shown is waited for, so that this is a trial of `step --dap` in the editor itself.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from make_transcripts import ENV, STEPPED
from playwright.sync_api import expect, sync_playwright

DOCS = Path(__file__).parent
EXTENSION = DOCS / "vscode" / "extension" / "package.json"
SIZE = {"width": 1180, "height": 740}
SETTINGS = {
    "chat.disableAIFeatures": True,
    "debug.console.fontSize": 13,
    "debug.toolBarLocation": "docked",
    "editor.minimap.enabled": False,
    "extensions.ignoreRecommendations": True,
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "workbench.colorTheme": "Default Light Modern",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}


@contextlib.contextmanager
def running(command, announcement, **how):
    """A process, and what it announces on its standard error or output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)  # noqa: S603
    try:
        line = next(found for line in process.stdout if (found := re.search(announcement, line)))
        yield line[1]
    finally:
        process.terminate()
        process.wait()


def extended(editor, work):
    """The editor's command line, with the extension that knows our kind of debugging."""
    packed = work / "backprop.vsix"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(EXTENSION, "extension/package.json")
    (work / "settings" / "User").mkdir(parents=True)
    (work / "settings" / "User" / "settings.json").write_text(json.dumps(SETTINGS))
    places = {"--config": "none.yaml", "--user-data-dir": "settings", "--extensions-dir": "extensions"}
    editor = [*editor, *(word for option, name in places.items() for word in (option, work / name))]
    subprocess.run([*editor, "--install-extension", packed], check=True)  # noqa: S603
    return [*editor, "--auth", "none", "--bind-addr", f"127.0.0.1:{free_port()}", "--disable-telemetry"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def walk(page):
    """To a breakpoint, on, and back again; then a question."""

    def see(*texts):
        for text in texts:
            expect(page.get_by_text(text).first).to_be_visible(timeout=20_000)

    def press(button, *texts):
        page.get_by_role("button", name=button, exact=False).first.click()
        see(*texts)

    page.get_by_role("treeitem", name="train.py").dblclick()
    page.locator(".view-line", has_text="tanh").click()
    page.keyboard.press("Control+Shift+D")
    see("Step through backprop")
    page.wait_for_timeout(2000)  # until breakpoints are known, too; nothing shows that
    page.locator(".view-line", has_text="tanh").click()
    page.keyboard.press("F9")
    expect(page.locator(".codicon-debug-breakpoint").first).to_be_visible()
    page.keyboard.press("F5")
    see("Paused on entry, 0 of 10 steps back")
    page.get_by_role("button", name="Watch Section").click()  # nothing is watched, so its room is the variables'
    press("Continue", "Paused on breakpoint, 7 of 10 steps back", "h = tanh(z)")
    press("Step Over", "Paused on step, 8 of 10 steps back", "z = multiply_1 + b")
    press("Step Over", "Paused on step, 10 of 10 steps back")
    press("Reverse", "Paused on breakpoint, 7 of 10 steps back")
    page.locator(".repl-input-wrapper .monaco-editor").click()
    for asked, answer in {"z": "∂L/∂z = −0.085087", "step.local * g": "-0.0850"}.items():
        page.keyboard.type(asked)
        page.keyboard.press("Enter")
        see(answer)
    press("Step Back", "Paused on step, 6 of 10 steps back", "subtract_1 = h - 1")
    page.locator(".view-line", has_text="print").hover()
    page.wait_for_timeout(2500)  # until what has changed is marked no more


def main(*editor, folder=DOCS / "pictures"):
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        work = Path(place)
        project = work / "neuron"
        (project / ".vscode").mkdir(parents=True)
        (project / "train.py").write_text(STEPPED, encoding="utf-8")
        stepping = [sys.executable, "-m", "tinygrad_wb", "step", "--dap", "0", "train.py"]
        token = secrets.token_urlsafe()
        env = {**os.environ, **ENV, "TINYGRAD_WB_TOKEN": token}
        port = stack.enter_context(running(stepping, r"127\.0\.0\.1:(\d+)", cwd=project, env=env))
        how = {"name": "Step through backprop", "type": "backprop", "request": "attach", "debugServer": int(port)}
        how["token"] = token
        launch = {"version": "0.2.0", "configurations": [how]}
        (project / ".vscode" / "launch.json").write_text(json.dumps(launch))
        address = stack.enter_context(running(extended(editor, work), r"listening on (http://\S+)"))
        playwright = stack.enter_context(sync_playwright())
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(60_000)
        page.goto(f"{address}?folder={project}")
        walk(page)
        page.screenshot(path=Path(folder) / "stepping_editor.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
