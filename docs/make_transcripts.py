"""Writes the programs and the debuggers' transcripts that reading_backprop.md shows: `python docs/make_transcripts.py`.

Everything between `<!-- begin: name -->` and `<!-- end: name -->` there is replaced by what the package does today. It
takes debugpy and a system with terminals. The debuggers' drivers are those of the tests.
"""

import contextlib
import io
import os
import re
import runpy
import sys
import tempfile
from pathlib import Path

import tinygrad_wb as wb

PAGE = Path(__file__).with_name("reading_backprop.md")
ROOT = Path(__file__).resolve().parents[1]
ENV = {"PYTHONPATH": str(Path(wb.__file__).parents[1]), "PYTHONWARNINGS": ""}
WIDEST = 88  # of what a variables pane shows of an array

NEURON = """\
import tinygrad_wb as wb

sky, clouds = 1.0, 0.5  # a clear sky, some clouds

w_sky = wb.Value(0.5, name="w_sky")
w_clouds = wb.Value(-0.5, name="w_clouds")
bias = wb.Value(0.25, name="bias")

with wb.source_lines():
    score = w_sky * sky + w_clouds * clouds + bias
    error = score - 1.0
    loss = error**2

program = loss.program()
program.debug()
"""


# -- the programs ---------------------------------------------------------------------------------------------------


def neuron_program(folder):
    return _run(folder, "neuron.py", NEURON)[1]["program"].source


def neuron_saved(folder):
    """What the saved script prints, run on its own."""
    program = _run(folder, "neuron.py", NEURON)[1]["program"]
    saved = program.save(folder / "neuron_backprop.py")
    return f"$ python neuron_backprop.py\n{_run(folder, saved.name, saved.read_text(encoding='utf-8'))[0]}"


def two_layers_program(folder):
    return _run(folder, "two_layers.py", two_layers())[1]["program"].source


def two_layers():
    """The example, told to debug its program before it does anything else with it."""
    text = (ROOT / "examples" / "two_layers.py").read_text(encoding="utf-8")
    return text.replace("program.check()", "program.debug()\nprogram.check()", 1)


def _run(folder, name, text):
    """What a script prints, and its variables."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    out = io.StringIO()
    argv, sys.argv = sys.argv, [name]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out):
            found = runpy.run_path(name, run_name="__main__")
    finally:
        sys.argv = argv
    return out.getvalue(), found


# -- the debuggers --------------------------------------------------------------------------------------------------


def pdb_walk(folder):
    """Into the neuron's program, through it, back, and what would have been if the score had been right."""
    from debuggers.pdb_session import PdbSession

    script = folder / "neuron.py"
    script.write_text(NEURON, encoding="utf-8")
    lines = neuron_program(folder).splitlines()
    with PdbSession(script, env=ENV) as pdb:
        pdb.send(f"b {_line(NEURON.splitlines(), 'program.debug()')}")
        for command in (
            "c",
            "s",
            "s",
            "n",
            "p multiply_1",
            f"until {_line(lines, 'd_loss = ')}",
            "p score, error, loss",
        ):
            pdb.send(command)
        for command in ("n", "n", "p d_error", f"until {_line(lines, 'return ')}", "p d_w_sky, d_w_clouds, d_bias"):
            pdb.send(command)
        pdb.send(f"jump {_line(lines, 'error = ')}")
        for command in ("score = 1.0", f"until {_line(lines, 'return ')}", "p loss, d_w_sky, d_w_clouds, d_bias"):
            pdb.send(command)
        for command in (f"jump {_line(lines, 'multiply_1 = ')}", "c", "q"):
            pdb.send(command)
        return f"$ python -m pdb neuron.py\n{_anywhere(pdb.transcript, folder)}"


def editor_walk(folder):
    """The two-layer program, as an editor steps it: what it was asked, where it stood then, what it showed."""
    from debuggers.dap_client import DapClient

    program = _run(folder, "two_layers.py", two_layers())[1]["program"]
    lines = program.source.splitlines()
    said = []
    with DapClient(timeout=60.0) as debugger:

        def stands(action, *shown):
            debugger.wait_stopped()
            frame = debugger.stack()[0]
            number, path = frame["line"], _anywhere(frame["source"]["path"], folder)
            said.append(f"{action:<16}{Path(path).name}, line {number}:  {lines[number - 1].split('  #')[0].strip()}")
            variables = debugger.variables(frame["id"])
            for name in shown:
                content = " ".join(variables[name].split())
                content = content if len(content) <= WIDEST else f"{content[: WIDEST - 1]}…"
                said.append(f"{'':<20}{name} = {content}")

        debugger.launch(folder / "two_layers.py", folder, env=ENV)
        start = _line(lines, "d_loss = ")
        (breakpoint_,) = debugger.set_breakpoints(program.path, [start])
        said.append(f"{'Breakpoint':<16}{program.path.name}, line {start}: {_verified(breakpoint_)}")
        debugger.configuration_done()
        stands("Start", "error")
        said.append(f"{'Call stack':<16}{debugger.where()[2]} ← two_layers.py, line {debugger.stack()[1]['line']}")
        for name in ("d_loss", "d_power_1", "d_error", "d_prediction"):
            debugger.next()
            stands("Step over", name)
        debugger.goto(program.path, _line(lines, "d_power_1 = "))
        stands("Jump to cursor", "d_loss")
        debugger.evaluate("d_loss = 10.0", debugger.stack()[0]["id"])
        said.append(f"{'Debug console':<16}d_loss = 10.0")
        for name in ("d_power_1", "d_error"):
            debugger.next()
            stands("Step over", name)
        debugger.set_breakpoints(program.path, [])
        debugger.continue_()
        said.append(f"{'Continue':<16}two_layers.py runs to its end, exit code {debugger.wait_terminated()}")
    return "\n".join(said)


def _verified(breakpoint_):
    return "verified" if breakpoint_["verified"] else "not verified"


def _line(lines, start):
    """The number of the first line that starts so."""
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(start))


def _anywhere(text, folder):
    """Without the names of this machine's folders."""
    for here in {str(folder), str(folder.resolve())}:
        text = text.replace(f"{here}{os.sep}", f"…{os.sep}")
    return text


# -- the page -------------------------------------------------------------------------------------------------------

BLOCKS = {
    "neuron script": ("python", lambda folder: NEURON),
    "neuron program": ("python", neuron_program),
    "neuron saved": ("text", neuron_saved),
    "two layers program": ("python", two_layers_program),
    "pdb": ("text", pdb_walk),
    "editor": ("text", editor_walk),
}
BLOCK = re.compile(r"<!-- begin: (?P<name>.+?) -->\n(?P<body>.*?)<!-- end: (?P=name) -->", re.DOTALL)


def made(name):
    """A block as it would be today."""
    language, make = BLOCKS[name]
    with tempfile.TemporaryDirectory() as folder:
        return f"\n```{language}\n{make(Path(folder).resolve()).strip()}\n```\n\n"


def shown(page):
    """Each block as the page shows it."""
    return {block["name"]: block["body"] for block in BLOCK.finditer(page)}


def main():
    sys.path.insert(0, str(ROOT / "tests"))  # where the debuggers' drivers are
    page = PAGE.read_text(encoding="utf-8")
    new = BLOCK.sub(
        lambda block: f"<!-- begin: {block['name']} -->\n{made(block['name'])}<!-- end: {block['name']} -->", page
    )
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
