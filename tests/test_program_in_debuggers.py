"""A loss's program in the debuggers that people use: pdb at a terminal, and debugpy as an editor drives it."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from debuggers.dap_client import DapClient
from debuggers.pdb_session import PdbSession
from docs_scripts import DOCS, docs_script

import tinygrad_wb as wb

needs_pty = pytest.mark.skipif(
    importlib.util.find_spec("termios") is None, reason="pdb is driven at a pseudo-terminal, which this system has not"
)
needs_debugpy = pytest.mark.skipif(
    importlib.util.find_spec("debugpy") is None, reason="debugpy is not installed; the tests of stepping drive it"
)

SCRIPT = """\
import json

import numpy as np

import tinygrad_wb as wb


class Net(wb.Module):
    def __init__(self):
        self.hidden = wb.Dense(2, 3, activation="tanh", seed=0)
        self.output = wb.Dense(3, 1, seed=1)

    def forward(self, x):
        return self.output(self.hidden(x))


net, x, wanted = Net(), np.array([[0.0, 1.0], [1.0, 0.5]]), np.array([[1.0], [0.0]])
with wb.source_lines():
    loss = ((net(x) - wanted) ** 2).mean()
loss.backward()
print("backward", json.dumps({v.name.replace(".", "_"): v.grad.tolist() for v in net.parameters()}))
program = loss.program()
value, gradients = program.debug()
print("debug", json.dumps({name: np.asarray(d).tolist() for name, d in gradients.items()}))
"""
CALL = SCRIPT.splitlines().index("value, gradients = program.debug()") + 1
NAMES = ["hidden_weight", "hidden_bias", "output_weight", "output_bias"]


def environment():
    """What the debuggee needs to find the package, and not to stumble over the warning of a jump."""
    env = {"PYTHONWARNINGS": ""}
    try:
        importlib.metadata.distribution("tinygrad_wb")
    except importlib.metadata.PackageNotFoundError:
        env["PYTHONPATH"] = str(Path(wb.__file__).parents[1])
    return env


@pytest.fixture
def script(tmp_path):
    return written(tmp_path, SCRIPT)


def written(folder, text):
    path = folder / "user.py"
    path.write_text(text, encoding="utf-8")
    return path


class Earlier:
    """A run without a debugger: the file that the program was written to, and what backward() found."""

    def __init__(self, script):
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=script.parent,
            env={**os.environ, **environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.output = done.stdout
        (path,) = re.findall(r"^.*\.py$", done.stdout, re.MULTILINE)
        self.path = Path(path)
        self.lines = self.path.read_text(encoding="utf-8").splitlines()
        self.gradients = printed("backward", done.stdout)
        assert self.path.parent == script.parent / ".tinygrad_wb"
        assert set(self.gradients) == set(NAMES)

    def line(self, name):
        """The number of the line that gives ``name`` what it holds."""
        (number,) = (n for n, line in enumerate(self.lines, 1) if re.match(rf" +{name} = ", line))
        return number

    def statements(self, start):
        """The numbers of the lines with statements, from ``start`` on."""
        return [n for n, line in enumerate(self.lines, 1) if n >= start and re.match(r" +(\w+ = |return )", line)]


def printed(what, text):
    (found,) = re.findall(rf"^{what} (.*)$", text, re.MULTILINE)
    return json.loads(found)


def returning(lines):
    """The number of the line with `return`."""
    return next(n for n, line in enumerate(lines, 1) if line.startswith("    return "))


def close(found, wanted):
    """To rounding: products of matrices may be added up in another order."""
    return np.shape(found) == np.shape(wanted) and np.allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_the_same_program_has_the_same_file(script):
    """What makes a breakpoint survive from one run to the next."""
    first, second = Earlier(script), Earlier(script)
    assert first.path == second.path
    assert [path.name for path in first.path.parent.glob("*.py")] == [first.path.name]
    assert printed("debug", first.output).keys() >= set(NAMES)
    other = Earlier(written(script.parent, SCRIPT.replace('"tanh"', '"sigmoid"')))
    assert other.path != first.path


# -- pdb ------------------------------------------------------------------------------------------------------------


@needs_pty
def test_pdb_stops_in_the_program_and_goes_back_in_it(script):
    earlier = Earlier(script)
    start = earlier.line("d_loss")
    steps = earlier.statements(start)
    with PdbSession(script, env=environment()) as pdb:

        def at(number, shown):
            return shown.endswith(
                f"> {earlier.path}({number})forward_and_backward()\n-> {earlier.lines[number - 1].strip()}\n"
            )

        def gradients_here():
            return {name: json.loads(pdb.send(f"p d_{name}.tolist()")) for name in NAMES}

        assert pdb.send(f"b {earlier.path}:{start}") == f"Breakpoint 1 at {earlier.path}:{start}\n"
        assert at(start, pdb.send("c"))
        assert pdb.send("p loss") == f"{float(pdb.send('p float(loss)'))}\n", (
            "the forward pass has been, in plain numbers"
        )
        assert "NameError" in pdb.send("p d_loss")
        for number in steps[1:]:
            assert at(number, pdb.send("n")), "one statement a line, each line in its turn"
        first = gradients_here()
        for name in NAMES:
            assert close(first[name], earlier.gradients[name]), name

        assert at(steps[1], pdb.send(f"jump {steps[1]}")), "back to the line after d_loss = 1.0"
        assert pdb.send("d_loss = 3.0") == ""
        for number in steps[2:]:
            assert at(number, pdb.send("n"))
        tripled = gradients_here()
        for name in NAMES:
            assert close(tripled[name], 3.0 * np.array(earlier.gradients[name])), "gradients are linear in the seed"

        assert at(start, pdb.send(f"jump {start}"))
        for _ in steps[1:]:
            pdb.send("n")
        assert gradients_here() == first, "redone from its own numbers, all is as it was"
        ended = pdb.send("c")
        assert printed("debug", ended).items() >= first.items(), "what the script gets is what was seen"
        assert "The program finished and will be restarted\n" in ended
        pdb.send("q")
        assert pdb.exit_code == 0


@needs_pty
def test_pdb_steps_into_the_program_with_nothing_between(script):
    with PdbSession(script, env=environment()) as pdb:
        pdb.send(f"tbreak {CALL}")
        backward = printed("backward", pdb.send("c"))
        path = Path(pdb.send("p str(program.path)").strip().strip("'"))
        assert not path.exists(), "it is written by debug()"
        assert "Breakpoint" not in pdb.send(f"b {path}:10"), "and pdb takes no breakpoint in a file that is not there"
        shown = pdb.send("s")
        assert shown.startswith(f"{path}\n--Call--\n> {path}("), "where it is, then the program: no frame of ours"
        assert "-> def forward_and_backward(" in shown
        assert path.exists()
        assert "can't jump from the 'call' trace event" in pdb.send("jump 12")
        lines = path.read_text(encoding="utf-8").splitlines()
        first = next(n for n, line in enumerate(lines, 1) if line == "    # forward") + 1
        assert pdb.send("s") == f"> {path}({first})forward_and_backward()\n-> {lines[first - 1].strip()}\n"
        above = pdb.send("u")
        assert above == f"> {script}({CALL})<module>()\n-> value, gradients = program.debug()\n"
        pdb.send("d")
        returned = pdb.send("r")
        assert "--Return--" in returned
        assert f"> {path}({returning(lines)})forward_and_backward()->(" in returned
        for name in NAMES:
            assert close(json.loads(pdb.send(f"p d_{name}.tolist()")), backward[name])
        assert pdb.send("n").endswith(f"> {script}({CALL + 1})<module>()\n-> {SCRIPT.splitlines()[CALL]}\n")
        assert "finished" in pdb.send("c")
        pdb.send("q")
        assert pdb.exit_code == 0


LOOP = """\
import tinygrad_wb as wb

w = wb.Value(3.0, name="w")
loss = (w * 2.0 - 1.0) ** 2
program = loss.program()
for number in range(3):
    try:
        print(number, program.debug())
    except TypeError as error:
        print(number, error)
"""


@needs_pty
def test_pdb_steps_into_it_again_even_after_it_failed(tmp_path):
    with PdbSession(written(tmp_path, LOOP), env=environment()) as pdb:
        pdb.send("b 8")
        pdb.send("c")
        for number in range(3):
            assert "-> def forward_and_backward(w):" in pdb.send("s")
            assert "-> multiply_1 = w * 2.0" in pdb.send("s")
            if number == 1:
                pdb.send("!w = 'not a number'")  # without the mark, `w` is pdb's where
                assert "1 can't multiply sequence by non-int" in pdb.send("c")
            else:
                assert f"{number} (25.0, {{'w': 20.0}})\n" in pdb.send("c")
        pdb.send("q")
        assert pdb.exit_code == 0


@needs_pty
def test_pdb_from_a_breakpoint_in_the_script(tmp_path):
    script = written(tmp_path, SCRIPT.replace("value, gradients = ", "breakpoint()\nvalue, gradients = "))
    with PdbSession(script, under_pdb=False, env=environment()) as pdb:
        backward = printed("backward", pdb.opening)
        if "-> breakpoint()" in pdb.opening:  # Python 3.13 stops at the call, those before it at what follows
            pdb.send("n")
        assert "--Call--\n" in pdb.send("s")
        while "-> return " not in pdb.send("n"):
            assert pdb.exit_code is None
        for name in NAMES:
            assert close(json.loads(pdb.send(f"p d_{name}.tolist()")), backward[name])
        assert printed("debug", pdb.send("c")).keys() >= set(NAMES)
        assert pdb.exit_code == 0


# -- debugpy --------------------------------------------------------------------------------------------------------


def launched(script, breakpoints):
    """A debugger whose debuggee runs, with its own defaults, and with these lines of these files as breakpoints."""
    debugger = DapClient(timeout=30.0)
    try:
        debugger.launch(script, script.parent, env=environment())
        for path, lines in breakpoints.items():
            for breakpoint_ in debugger.set_breakpoints(path, lines):
                assert breakpoint_["verified"], breakpoint_
        debugger.configuration_done()
    except BaseException:
        debugger.close()
        raise
    return contextlib.closing(debugger)


def gradients_seen(debugger):
    """The gradients in the debugger's variables, to the digits that it shows; and in full, from its console."""
    frame = debugger.stack()[0]["id"]
    variables = debugger.variables(frame)
    for name in NAMES:
        shown = variables[f"d_{name}"]
        full = json.loads(debugger.evaluate(f"d_{name}.tolist()", frame))
        digits = json.loads(
            re.fullmatch(r"array\((.*)\)", shown, re.DOTALL)[1].replace(".]", ".0]").replace(".,", ".0,")
        )
        assert np.allclose(digits, full, rtol=1e-7, atol=1e-8), shown
        yield name, full


@needs_debugpy
def test_debugpy_stops_in_the_program_and_goes_back_in_it(script):
    earlier = Earlier(script)
    start = earlier.line("d_loss")
    steps = earlier.statements(start)
    function = (earlier.path.name, "forward_and_backward")
    with launched(script, {earlier.path: [start]}) as debugger:
        assert debugger.wait_stopped()["reason"] == "breakpoint"
        assert debugger.where() == (function[0], start, function[1])
        caller = debugger.stack()[1]
        assert (Path(caller["source"]["path"]), caller["line"]) == (script, CALL), "no frame of ours between"
        for number in steps[1:6]:
            debugger.next()
            assert debugger.wait_stopped()["reason"] == "step"
            assert debugger.where() == (function[0], number, function[1])
        variables = debugger.variables(debugger.stack()[0]["id"])
        assert variables["d_loss"] == "1.0"
        assert {"x", "hidden_weight", "loss"} <= set(variables)
        assert "d_hidden_weight" not in variables, "that is still to come"
        for _ in steps[6:]:
            debugger.next()
            debugger.wait_stopped()
        assert debugger.where()[1] == returning(earlier.lines)
        first = dict(gradients_seen(debugger))
        for name in NAMES:
            assert close(first[name], earlier.gradients[name]), name

        debugger.goto(earlier.path, steps[1])
        assert debugger.wait_stopped()["reason"] == "goto"
        assert debugger.where() == (function[0], steps[1], function[1])
        debugger.evaluate("d_loss = 3.0", debugger.stack()[0]["id"])
        for _ in steps[2:]:
            debugger.next()
            debugger.wait_stopped()
        for name, tripled in gradients_seen(debugger):
            assert close(tripled, 3.0 * np.array(earlier.gradients[name])), name

        debugger.set_breakpoints(earlier.path, [])
        debugger.goto(earlier.path, start)
        debugger.wait_stopped()
        debugger.continue_()
        assert debugger.wait_terminated() == 0
        assert printed("debug", debugger.output).items() >= first.items(), "redone, all is as it was"
    (launch,) = (line for line in debugger.log if line.startswith("-> request launch "))
    assert "justMyCode" not in launch, "the adapter's own default applies"


@needs_debugpy
@pytest.mark.parametrize("just_my_code", [None, False])
def test_debugpy_steps_into_the_program_with_nothing_between(script, just_my_code):
    with DapClient(timeout=30.0) as debugger:
        debugger.launch(script, script.parent, just_my_code, env=environment())
        debugger.set_breakpoints(script, [CALL])
        debugger.configuration_done()
        debugger.wait_stopped()
        path = Path(debugger.evaluate("str(program.path)", debugger.stack()[0]["id"]).strip("'"))
        assert not path.exists()
        (before,) = debugger.set_breakpoints(path, [9])
        assert not before["verified"], "there is no file yet"
        debugger.step_in()
        assert debugger.wait_stopped()["reason"] == "step"
        lines = path.read_text(encoding="utf-8").splitlines()
        first = lines.index("    # forward") + 2
        assert debugger.where() == (path.name, first, "forward_and_backward")
        assert f"{path}\n" in debugger.output, "it says where it is"
        (now,) = debugger.set_breakpoints(path, [returning(lines)])
        assert now["verified"], now
        debugger.continue_()
        assert debugger.wait_stopped()["reason"] == "breakpoint"
        assert debugger.where() == (path.name, returning(lines), "forward_and_backward")
        for name, found in gradients_seen(debugger):
            assert close(found, printed("backward", debugger.output)[name]), name
        debugger.set_breakpoints(path, [])
        debugger.step_out()
        debugger.wait_stopped()
        assert debugger.where()[0] == script.name, "out of it, and back in the user's own code"
        debugger.continue_()
        assert debugger.wait_terminated() == 0


@needs_debugpy
def test_debugpy_takes_no_breakpoint_in_a_program_that_was_not_written(script):
    """What the tests above would see if debug() wrote no file: the same program, run without it."""
    script = written(script.parent, SCRIPT.replace("program.debug()", "program.run()"))
    with DapClient(timeout=30.0) as debugger:
        debugger.launch(script, script.parent, env=environment())
        debugger.set_breakpoints(script, [CALL])
        debugger.configuration_done()
        debugger.wait_stopped()
        path = Path(debugger.evaluate("str(program.path)", debugger.stack()[0]["id"]).strip("'"))
        (breakpoint_,) = debugger.set_breakpoints(path, [9])
        assert not breakpoint_["verified"]
        debugger.continue_()
        assert debugger.wait_terminated() == 0
        assert not path.exists()
        assert printed("debug", debugger.output).keys() >= set(NAMES)


# -- the page that shows all this --------------------------------------------------------------------------------------

PAGE = DOCS / "reading_backprop.md"
BLOCKS = ["neuron script", "neuron program", "neuron saved", "two layers program"]
needs_page = pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")


@pytest.fixture(scope="module")
def transcripts():
    return docs_script("make_transcripts")


AGAIN = "run `python docs/make_transcripts.py` to write the page anew, and read it again"


@needs_page
def test_the_page_has_the_blocks_that_are_made(transcripts):
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(transcripts.shown(text)) == sorted(transcripts.BLOCKS)
    assert text.count("<!-- begin: ") == text.count("<!-- end: ") == len(transcripts.BLOCKS)


@needs_page
@pytest.mark.parametrize("name", BLOCKS)
def test_the_page_shows_what_the_package_prints(transcripts, name):
    shown = transcripts.shown(PAGE.read_text(encoding="utf-8"))
    assert transcripts.made(name) == shown[name], AGAIN


@needs_page
@needs_pty
@pytest.mark.parametrize("name", ["pdb: in", "pdb: on", "pdb: back"])
def test_the_page_shows_what_pdb_prints(transcripts, name):
    today = re.sub(r".*: RuntimeWarning: assigning None to .*\n.*\n", "", transcripts.made(name))  # from Python 3.12 on
    assert today == transcripts.shown(PAGE.read_text(encoding="utf-8"))[name], AGAIN


@needs_page
@needs_debugpy
def test_the_page_shows_what_an_editor_shows(transcripts):
    assert transcripts.made("editor") == transcripts.shown(PAGE.read_text(encoding="utf-8"))["editor"], AGAIN
