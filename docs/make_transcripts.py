"""Writes the programs and transcripts that the pages show: `python docs/make_transcripts.py`.

Everything between `<!-- begin: name -->` and `<!-- end: name -->` there is replaced by what the package does today. It
takes debugpy and a system with terminals. The debuggers' drivers are those of the tests.
"""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import tinygrad_wb as wb

DOCS = Path(__file__).parent
ROOT = Path(__file__).resolve().parents[1]
ENV = {"PYTHONPATH": str(Path(wb.__file__).parents[1]), "PYTHONWARNINGS": ""}

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


STEPPED = """\
import tinygrad_wb as wb

w = wb.Value(0.5, name="w")
b = wb.Value(0.25, name="b")

for epoch in range(3):
    z = w * 2.0 + b
    h = wb.tanh(z)
    loss = (h - 1.0) ** 2 + 0.1 * w**2
    w.grad = b.grad = None
    loss.backward()
    w.data -= 0.5 * w.grad
    b.data -= 0.5 * b.grad
    print(f"epoch {epoch}: loss {loss:.4f}")
"""

MISFIT = """\
import numpy as np
import tinygrad_wb as wb

batch = np.ones((32, 10))
w1 = wb.Value(np.full((10, 4), 0.1), name="w1")
w2 = wb.Value(np.ones((5, 2)), name="w2")

try:
    hidden = wb.tanh(batch @ w1)
    scores = hidden @ w2
except wb.ShapeError as error:
    print(wb.draw(error))
"""

TWICE = """\
import tinygrad_wb as wb


def height(t):
    fall = 4.9 * t**2
    return 20.0 - fall


speed = wb.grad(height)
print(wb.grad(speed)(1.5))
"""

RETURNED = """\
import tinygrad_wb as wb

w = wb.Value(0.5, name="w")


def score(x):
    scale = 3.0
    scaled = w * x * scale
    scale = 0.1
    return wb.tanh(scaled) + scale


loss = (score(2.0) - 1.0) ** 2
loss.backward()
"""

HOMEWARD = """\
import tinygrad_wb as wb

home = 3.0
w = wb.Value(1.0, name="w")

for epoch in range(5):
    away = w - home
    distance = wb.sqrt(away**2)
    w.grad = None
    distance.backward()
    w.data -= 1.0 * w.grad
    print(f"epoch {epoch}: {distance:.1f} away, the gradient is {w.grad}")
"""


HUNT = '''\
import numpy as np
import tinygrad_wb as wb

x, y = wb.datasets.moons(200, seed=0)
model = wb.MLP(2, [16], 2, activation="tanh", seed=0)
optimizer = wb.Adam(model.parameters(), learning_rate=0.03)
rng = np.random.default_rng(0)


def contrast(a, b, alike):
    """Pairs that are alike shall lie together, all others at least 1 apart."""
    gap = a - b
    distance = wb.sqrt(wb.sum(gap * gap, axis=1))
    return wb.mean(wb.where(alike, distance, wb.relu(1.0 - distance)))


for step in range(250):
    i, j = rng.integers(0, 200, 32), rng.integers(0, 200, 32)
    loss = contrast(model(x[i]), model(x[j]), y[i] == y[j])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:3}: loss {loss.data:.3f}")
'''


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


def _run(folder, name, text, out=None):
    """What a script prints (on ``out``), and its variables."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    out = out or io.StringIO()
    argv, sys.argv = sys.argv, [name]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out):
            found = runpy.run_path(name, run_name="__main__")
    finally:
        sys.argv = argv
    return out.getvalue(), found


# -- the debuggers --------------------------------------------------------------------------------------------------


def pdb_walk(folder, part):
    """Into the neuron's program, through it, then back, and what would have been if the score had been right."""
    from debuggers.pdb_session import PdbSession

    script = folder / "neuron.py"
    script.write_text(NEURON, encoding="utf-8")
    lines = neuron_program(folder).splitlines()
    debug, last = _line(NEURON.splitlines(), "program.debug()"), _line(lines, "return ")
    error, backward = f"jump {_line(lines, 'error = ')}", f"until {_line(lines, 'd_loss = ')}"
    look, look_again = "p d_w_sky, d_w_clouds, d_bias", "p loss, d_w_sky, d_w_clouds, d_bias"
    parts = [
        [f"b {debug}", "c", "s", "s"],
        ["n", "p multiply_1", backward, "p score, error, loss", "n", "n", "p d_error", f"until {last}", look],
        [error, "score = 1.0", f"until {last}", look_again, f"jump {_line(lines, 'multiply_1 = ')}", "c", "q"],
    ]
    with PdbSession(script, env=ENV) as pdb:
        said = ["$ python -m pdb neuron.py\n" + pdb.transcript.removesuffix("(Pdb) ")]
        for number, commands in enumerate(parts):
            said += [""] * (number >= len(said))
            for command in commands:
                said[number] += f"(Pdb) {command}\n{pdb.send(command)}"
        return _anywhere(said[part], folder)


def editor_walk(folder):
    """The two-layer program, as an editor steps it: what it was asked, where it stood then, what it showed."""
    from debuggers.dap_client import DapClient

    script = folder / "two_layers.py"
    script.write_text(two_layers(), encoding="utf-8")
    call = _line(two_layers().splitlines(), "program.debug()")
    said = []
    with DapClient(timeout=60.0) as debugger:

        def stop_at(path, number):
            (breakpoint_,) = debugger.set_breakpoints(path, [number])
            said.append(f"{'Breakpoint':<16}{path.name}, line {number}: {_verified(breakpoint_)}")

        def stands(action, *shown):
            debugger.wait_stopped()
            frame = debugger.stack()[0]
            path, number = Path(frame["source"]["path"]), frame["line"]
            line = path.read_text(encoding="utf-8").splitlines()[number - 1].split("  #")[0].strip()
            said.append(f"{action:<16}{number:>2}  {line}")
            variables = debugger.variables(frame["id"])
            said.extend(f"{'':<20}{name}: {' '.join(variables[name].split())}" for name in shown)
            return path

        debugger.launch(script, folder, env=ENV)
        stop_at(script, call)
        debugger.configuration_done()
        said.append(f"{'':<16}{script.name}:")
        stands("Start")
        debugger.step_in()
        path = stands("Step into", "wanted")
        said.insert(-2, f"{'':<16}{path.name}:")
        lines = path.read_text(encoding="utf-8").splitlines()
        stop_at(path, _line(lines, "d_loss = "))
        debugger.continue_()
        stands("Continue", "error")
        for name in ("d_loss", "d_power_1", "d_error"):
            debugger.next()
            stands("Step over", name)
        debugger.goto(path, _line(lines, "d_power_1 = "))
        stands("Jump to cursor", "d_loss")
        debugger.evaluate("d_loss = 10.0", debugger.stack()[0]["id"])
        said.append(f"{'Debug console':<16}d_loss = 10.0")
        for name in ("d_power_1", "d_error"):
            debugger.next()
            stands("Step over", name)
        debugger.set_breakpoints(path, [])
        said.append(f"{'Breakpoint':<16}{path.name}: removed")
        debugger.continue_()
        said.append(f"{'Continue':<16}{script.name} runs to its end, exit code {debugger.wait_terminated()}")
    return "\n".join(said)


# -- the stepper ----------------------------------------------------------------------------------------------------


def stepped(folder, name, text, options, commands):
    """A session of the command `step`, as it looks at a terminal."""
    (folder / name).write_text(text, encoding="utf-8")
    words = ["-m", "tinygrad_wb", "step", *options, name]
    env = {**os.environ, **ENV, "PYTHONIOENCODING": "utf-8"}
    typed = "".join(f"{command}\n" for command in commands)
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, *words], input=typed, capture_output=True, encoding="utf-8", cwd=folder, env=env, check=True
    )
    lines = [f"$ python {' '.join(words)}", *done.stdout.splitlines()]
    return _anywhere("\n".join(line.rstrip() for line in lines), folder)


def run_plainly(folder, name, text):
    return f"$ python {name}\n{_run(folder, name, text)[0]}"


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


# -- the hunt for a NaN ---------------------------------------------------------------------------------------------


def hunted(folder, text=HUNT):
    """What the script prints, as the terminal shows it; of an error, the last line."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), np.errstate(all="ignore"):
            _run(folder, "hunt.py", text, out)
    except wb.AnomalyError as error:
        out.write(f"Traceback (most recent call last):\n  …\n{type(error).__name__}: {error}\n")
    return f"$ python hunt.py\n{out.getvalue()}"


def _watched():
    """The loop of the script in a block."""
    before, loop = HUNT.split("\nfor step")
    lines = f"for step{loop}".splitlines()
    return f"{before}\nwith wb.detect_anomaly():\n" + "".join(f"    {line}\n" for line in lines)


def _mended():
    return _watched().replace("axis=1))", "axis=1) + 1e-12)")


# -- the page -------------------------------------------------------------------------------------------------------

BLOCKS = {
    "neuron script": ("python", lambda folder: NEURON),
    "neuron program": ("python", neuron_program),
    "neuron saved": ("text", neuron_saved),
    "two layers program": ("python", two_layers_program),
    "pdb: in": ("text", partial(pdb_walk, part=0)),
    "pdb: on": ("text", partial(pdb_walk, part=1)),
    "pdb: back": ("text", partial(pdb_walk, part=2)),
    "editor": ("text", editor_walk),
}
STEPPING = {
    "stepped script": ("python", lambda folder: STEPPED),
    "there and back": ("text", partial(
        stepped, name="train.py", text=STEPPED, options=[],
        commands=["next", "", "until z", "back 2", "where", "until w", "continue"],
    )),
    "why and what if": ("text", partial(
        stepped, name="train.py", text=STEPPED, options=["--at", "2"],
        commands=["until w", "why w", "until z", "check", "source", "edit 0", "until w", "continue"],
    )),
    "returned script": ("python", lambda folder: RETURNED),
    "returned": ("text", partial(
        stepped, name="score.py", text=RETURNED, options=[],
        commands=["until w", "print scaled", "print scale", "pdb", "p x, scale", "l 8, 10", "q", "quit"],
    )),
    "twice script": ("python", lambda folder: TWICE),
    "twice": ("text", partial(
        stepped, name="twice.py", text=TWICE, options=[],
        commands=["until t", "next 100", "next", "until t", "continue"],
    )),
    "misfit script": ("python", lambda folder: MISFIT),
    "misfit": ("text", partial(run_plainly, name="misfit.py", text=MISFIT)),
    "homeward script": ("python", lambda folder: HOMEWARD),
    "homeward": ("text", partial(run_plainly, name="home.py", text=HOMEWARD)),
    "the hunt": ("text", partial(
        stepped, name="home.py", text=HOMEWARD, options=[],
        commands=["break nan", "continue", "print away", "why away", "list", "quit"],
    )),
}  # fmt: skip
HUNTING = {
    "hunt script": ("python", lambda folder: HUNT),
    "hunt: nan": ("text", hunted),
    "hunt: found": ("text", lambda folder: hunted(folder, _watched())),
    "hunt: mended": ("text", lambda folder: hunted(folder, _mended())),
}
PAGES = {"reading_backprop.md": BLOCKS, "stepping.md": STEPPING, "debugging.md": HUNTING}
BLOCK = re.compile(r"<!-- begin: (?P<name>.+?) -->\n(?P<body>.*?)<!-- end: (?P=name) -->", re.DOTALL)


def made(name):
    """A block as it would be today."""
    language, make = next(blocks[name] for blocks in PAGES.values() if name in blocks)
    with tempfile.TemporaryDirectory() as folder:
        return f"\n```{language}\n{make(Path(folder).resolve()).strip()}\n```\n\n"


def shown(page):
    """Each block as the page shows it."""
    return {block["name"]: block["body"] for block in BLOCK.finditer(page)}


def main():
    sys.path.insert(0, str(ROOT / "tests"))  # where the debuggers' drivers are
    for name in PAGES:
        page = DOCS / name
        new = BLOCK.sub(
            lambda block: f"<!-- begin: {block['name']} -->\n{made(block['name'])}<!-- end: {block['name']} -->",
            page.read_text(encoding="utf-8"),
        )
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
