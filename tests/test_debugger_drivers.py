"""The drivers of real debuggers, pdb and debugpy, tried on a script that runs code compiled from a second file."""

import importlib.util
import os
import re
import time

import pytest
from debuggers.dap_client import DapClient, DapError
from debuggers.pdb_session import PdbError, PdbSession

needs_pty = pytest.mark.skipif(
    importlib.util.find_spec("termios") is None, reason="pdb is driven at a pseudo-terminal, which this system has not"
)
needs_debugpy = pytest.mark.skipif(
    importlib.util.find_spec("debugpy") is None, reason="debugpy is not installed; the tests of stepping drive it"
)

GENERATED = """\
def run(x):
    double = x * 2.0
    η = double + 1.0
    square = η * η
    less = square - double
    half = less / 2.0
    return half
"""

SCRIPT = """\
from pathlib import Path

path = Path(__file__).with_name("generated.py")
space = {}
exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), space)
print("before")
result = space["run"](2.0)
print("result", result)
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "generated.py").write_text(GENERATED, encoding="utf-8")
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def written(folder, text):
    path = folder / "other.py"
    path.write_text(text, encoding="utf-8")
    return path


# -- pdb ------------------------------------------------------------------------------------------------------------


@needs_pty
def test_pdb_steps_through_a_generated_file_and_back(script):
    generated = script.with_name("generated.py")
    with PdbSession(script) as pdb:
        assert pdb.opening.endswith("script.py(1)<module>()\n-> from pathlib import Path\n")
        assert pdb.send(f"b {generated}:3") == f"Breakpoint 1 at {generated}:3\n"
        assert pdb.send("c") == f"before\n> {generated}(3)run()\n-> η = double + 1.0\n"
        assert pdb.send("p double") == "4.0\n"
        assert pdb.send("n") == f"> {generated}(4)run()\n-> square = η * η\n"
        assert pdb.send("") == f"> {generated}(5)run()\n-> less = square - double\n", "an empty line: once more"
        assert pdb.send("p η, square") == "(5.0, 25.0)\n"
        # Python 3.12 and later warn, above this, of locals that were not set yet
        assert pdb.send("jump 2").endswith(f"> {generated}(2)run()\n-> double = x * 2.0\n")
        assert pdb.send("x = 3.0") == "", (
            "after the jump: before Python 3.13, `jump` forgets what was assigned before it"
        )
        assert pdb.send("n").endswith("-> η = double + 1.0\n")
        for _ in range(3):
            pdb.send("n")
        assert pdb.send("p double, η, square, less") == "(6.0, 7.0, 49.0, 43.0)\n"
        assert pdb.send("c").startswith("result 21.5\nThe program finished and will be restarted\n")
        assert pdb.exit_code is None
        assert pdb.send("q") == ""
        assert pdb.exit_code == 0
        assert "\n(Pdb) p η, square\n(5.0, 25.0)\n(Pdb) jump 2\n" in pdb.transcript
        assert "-> double = x * 2.0\n(Pdb) x = 3.0\n(Pdb) n\n" in pdb.transcript
        assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", pdb.transcript) is None, "no colours, no cursor movements"


@needs_pty
def test_pdb_of_a_script_that_calls_breakpoint(tmp_path):
    path = written(tmp_path, "import sys\nbreakpoint()\nvalue = sys.argv[1:]\nprint(value)\nsys.exit(3)\n")
    with PdbSession(path, ["a", "b"], under_pdb=False) as pdb:
        if "-> breakpoint()" in pdb.opening:  # Python 3.13 stops at the call, those before it at what follows
            pdb.send("n")
        assert pdb.send("n").endswith("-> print(value)\n")
        assert pdb.send("c") == "['a', 'b']\n"
        assert pdb.exit_code == 3
        with pytest.raises(PdbError, match=r"'n' was to be sent, but .* exit code 3.*\n(.*\n)*\(Pdb\) c\n"):
            pdb.send("n")


@needs_pty
def test_pdb_tells_the_echo_from_the_answer(script):
    with PdbSession(script) as pdb:
        assert pdb.send("1") == "1\n"
        assert pdb.send("'(Pdb) '") == "'(Pdb) '\n"
        assert pdb.send("!print('abc', end='')") == "abc", "what is printed right before the prompt"
        long = repr("long" * 400)
        assert pdb.send(long) == f"{long}\n", "what is typed is not scrolled sideways or broken"
        lines = "".join(f"{i}\n" for i in range(3000))
        assert pdb.send("!for i in range(3000): print(i)") == lines


@needs_pty
def test_pdb_does_not_wait_for_ever_and_shows_what_was_seen(tmp_path):
    path = written(tmp_path, "print('one')\ninput('and your name? ')\n")
    with PdbSession(path, timeout=10.0) as pdb:
        pdb.send("n")
        pdb.timeout = 0.5
        with pytest.raises(PdbError, match=r"no prompt after 0.5 s.*\n(.*\n)+one\n(.*\n)+\(Pdb\) n\nand your name\? $"):
            pdb.send("n")
    assert pdb.exit_code not in {0, None}, "close() ends it"


@needs_pty
def test_pdb_reads_nobodys_own_settings(script, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".pdbrc").write_text("p 'my own settings'\n", encoding="utf-8")
    (home / ".inputrc").write_text("set enable-bracketed-paste on\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    with PdbSession(script) as pdb:
        assert "my own" not in pdb.opening
        assert "\x1b" not in pdb.opening + pdb.send("p 'something longer than the columns that are set'")


# -- debugpy --------------------------------------------------------------------------------------------------------


@needs_debugpy
def test_debugpy_steps_through_a_generated_file_and_back(script):
    generated = script.with_name("generated.py")
    with DapClient() as debugger:
        debugger.launch(script, script.parent)
        (breakpoint_,) = debugger.set_breakpoints(generated, [2])
        assert breakpoint_["verified"], breakpoint_
        assert breakpoint_["line"] == 2
        debugger.configuration_done()
        assert debugger.wait_stopped()["reason"] == "breakpoint"
        assert debugger.where() == ("generated.py", 2, "run")
        caller = debugger.stack()[1]
        assert (caller["source"]["path"], caller["line"]) == (str(script), 7)
        for line in range(3, 8):
            debugger.next()
            assert debugger.wait_stopped()["reason"] == "step"
            assert debugger.where() == ("generated.py", line, "run")
        frame = debugger.stack()[0]["id"]
        names = {"x": "2.0", "double": "4.0", "η": "5.0", "square": "25.0", "less": "21.0", "half": "10.5"}
        assert debugger.variables(frame) == names
        assert debugger.evaluate("η + half", frame) == "15.5"
        debugger.evaluate("x = 3.0", frame)
        debugger.set_breakpoints(generated, [])
        debugger.goto(generated, 2)
        assert debugger.wait_stopped()["reason"] == "goto"
        assert debugger.where() == ("generated.py", 2, "run")
        debugger.next()
        debugger.wait_stopped()
        assert debugger.variables(debugger.stack()[0]["id"])["double"] == "6.0"
        debugger.continue_()
        assert debugger.wait_terminated() == 0
        assert "before\n" in debugger.output
        assert "result 21.5\n" in debugger.output
    (launched,) = (line for line in debugger.log if line.startswith("-> request launch "))
    assert "justMyCode" not in launched, "the adapter's own default applies"


@needs_debugpy
def test_debugpy_steps_into_a_generated_file_and_tells_what_it_refuses(script):
    generated = script.with_name("generated.py")
    with DapClient() as debugger:
        debugger.launch(script, just_my_code=True)
        missing, found = (
            *debugger.set_breakpoints(script.with_name("no.py"), [1]),
            *debugger.set_breakpoints(script, [7]),
        )
        assert (missing["verified"], found["verified"]) == (False, True)
        debugger.configuration_done()
        debugger.wait_stopped()
        debugger.step_in()
        debugger.wait_stopped()
        assert debugger.where() == ("generated.py", 2, "run")
        with pytest.raises(DapError, match=r"'goto' was refused: .*line 99.*(.*\n)+-> request gotoTargets"):
            debugger.goto(generated, 99)
        with pytest.raises(DapError, match=r"'evaluate' was refused: (.*\n)+NameError: name 'nothing_of"):
            debugger.evaluate("nothing_of_this_name", debugger.stack()[0]["id"])
        debugger.step_out()
        debugger.wait_stopped()
        assert debugger.where()[0] == "script.py"
        debugger.continue_()
        with pytest.raises(DapError, match="event 'terminated' came while 'stopped' was waited for"):
            debugger.wait_stopped()


@needs_debugpy
def test_debugpy_tells_the_exit_code_and_what_was_printed(tmp_path):
    path = written(tmp_path, "import os, sys\nprint(sys.argv[1:], os.environ['WHAT'], os.getcwd())\nsys.exit(3)\n")
    with DapClient() as debugger:
        debugger.launch(path, tmp_path.parent, args=["a", "b c"], env={"WHAT": "ever"})
        debugger.configuration_done()
        stopped = debugger.wait_stopped()
        assert (stopped["reason"], stopped["text"]) == ("exception", "SystemExit"), "an editor stops here too"
        debugger.continue_()
        assert debugger.wait_terminated() == 3
        assert debugger.output == f"['a', 'b c'] ever {tmp_path.parent}\n"


@needs_debugpy
def test_debugpy_does_not_wait_for_ever_and_leaves_nothing_running(tmp_path):
    path = written(tmp_path, "print('on and on', flush=True)\nwhile True:\n    pass\n")
    with DapClient() as debugger:
        debugger.launch(path)
        debugger.configuration_done()
        process = debugger.wait_event("process")["systemProcessId"]
        os.kill(process, 0) if os.name == "posix" else None
        debugger.timeout = 0.5
        with pytest.raises(DapError, match=r"no event 'stopped' after 0.5 s(.*\n)+-> request launch (.*\n)+<- event"):
            debugger.wait_stopped()
        debugger.timeout = 10.0
    if os.name == "posix":
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline and running(process):
            time.sleep(0.05)
        assert not running(process)
    with pytest.raises(DapError, match="'threads' could not be sent: the adapter ended"):
        debugger.request("threads")


def running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@needs_debugpy
def test_debugpy_tells_what_cannot_be_launched(tmp_path):
    with (
        DapClient(python=str(tmp_path / "no_python")) as debugger,
        pytest.raises(DapError, match=r"no event 'initialized': .*no_python(.*\n)+-> request launch"),
    ):
        debugger.launch(written(tmp_path, ""))
