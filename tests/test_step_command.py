"""`python -m tinygrad_wb step SCRIPT` and `wb.step`: real processes, their input and output, their exit status."""

import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from debuggers.pdb_session import PdbSession
from docs_scripts import DOCS, docs_script

import tinygrad_wb as wb
from tinygrad_wb import recording
from tinygrad_wb.__main__ import COMMANDS
from tinygrad_wb.debug import commands
from tinygrad_wb.debug.terminal import Kept, Session

ENV = {**os.environ, "PYTHONPATH": str(Path(wb.__file__).parents[1]), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
needs_pty = pytest.mark.skipif(
    importlib.util.find_spec("termios") is None, reason="it takes a pseudo-terminal, which this system has not"
)

NEURON = """\
import sys
import tinygrad_wb as wb

w = wb.Value(0.5, name="w")
bias = wb.Value(0.25, name="bias")

def error_of(x, wanted):
    local = x * 2.0
    score = w * local + bias
    return score - wanted

for epoch in range(4):
    error = error_of(1.0, 3.0 + epoch)
    loss = error ** 2
    w.grad = bias.grad = None
    loss.backward()
    print(f"epoch {epoch}: {loss:.4f} {w.grad} {bias.grad}")
    w.data = w.data - 0.1 * w.grad
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.py").write_text(NEURON, encoding="utf-8")
    return tmp_path


def python(folder, *words, stdin=""):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        input=stdin, capture_output=True, text=True, encoding="utf-8", cwd=folder, env=ENV, check=False,
    )  # fmt: skip


def step(folder, *words, stdin="", status=0):
    done = python(folder, "-m", "tinygrad_wb", "step", *words, stdin=stdin)
    assert done.returncode == status, done.stderr
    return done


def said(done):
    """What was said after each command."""
    parts = re.split(r"^\(backprop\) ?", done.stdout, flags=re.MULTILINE)
    return dict((*part.partition("\n")[::2],) for part in parts[1:]) | {"": parts[0]}


def results(text):
    return [line for line in text.splitlines() if line.startswith("epoch")]


# -- a script runs as ever --------------------------------------------------------------------------------------------

SCRIPTS = {
    "prints": "print('hello')",
    "knows itself": "import sys\nprint(sys.argv, __name__, __file__, sys.path[0], __spec__, __package__, __doc__)",
    "has a docstring": "'''doc'''\nprint(__doc__)",
    "has a future": "from __future__ import annotations\ndef f(x: nothing): ...\nprint(f.__annotations__)",
    "imports its neighbour": "import neighbour\nprint(neighbour.x)",
    "is main": "import __main__\nx = 3\nprint(__main__.x, __main__.__file__)",
    "pickles": "import pickle\nclass A: ...\nprint(type(pickle.loads(pickle.dumps(A()))))",
    "exits 3": "import sys\nsys.exit(3)",
    "exits with a message": "raise SystemExit('good bye')",
    "exits with nothing": "import sys\nsys.exit()",
    "raises": "def f(): return 1 / 0\nf()",
    "raises from": "try:\n    {}['x']\nexcept KeyError as error:\n    raise ValueError('y') from error",
    "raises while": "try:\n    {}['x']\nexcept KeyError:\n    raise ValueError('y')",
    "has a syntax error": "x = (\nprint(1)",
    "has a hook": "import sys\nsys.excepthook = lambda kind, error, tb: print('hooked', kind, tb.tb_lineno)\nraise ValueError",
    "says so at the end": "import atexit\natexit.register(print, 'the end')\nraise ValueError",
    "warns": "import warnings\nwarnings.warn('look out', stacklevel=1)",
    "is interrupted": "raise KeyboardInterrupt",
    "cleans up": "try:\n    raise SystemExit(5)\nfinally:\n    print('cleaned')",
    "reads": "print(input('name? '))",
    "is in threads": "import threading\nt = threading.Thread(target=lambda: print(threading.current_thread() is t))\nt.start()",
    "has unknown letters": "# -*- coding: latin-1 -*-\nprint(len('\u00e9'))",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_output_errors_and_exit_status_are_pythons(tmp_path, name):
    (tmp_path / "script.py").write_text(SCRIPTS[name], encoding="latin-1")
    (tmp_path / "neighbour.py").write_text("x = 'from next door'")
    plain = python(tmp_path, "script.py", "--at", "2", "-x", "a b", stdin="Ada\n")
    under = python(tmp_path, "-m", "tinygrad_wb", "step", "script.py", "--at", "2", "-x", "a b", stdin="Ada\n")
    assert under.stdout == plain.stdout
    assert re.sub(r"step: neither backward\(\) nor wb.grad .* was called\n$", "", under.stderr) == plain.stderr
    # Python ends itself by the signal, which a shell tells as 130.
    assert under.returncode == {-2: 130}.get(plain.returncode, plain.returncode)


def test_from_another_folder_its_own_comes_first(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "script.py").write_text("import neighbour, sys\nprint(neighbour.x, sys.argv, __file__)")
    (inner / "neighbour.py").write_text("x = 'from next door'")
    (tmp_path / "neighbour.py").write_text("x = 'from the wrong house'")
    path = Path("inner", "script.py")
    assert step(tmp_path, path).stdout == python(tmp_path, path).stdout != ""


def test_a_module_runs_as_with_m(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("x = 'of the package'")
    (package / "__main__.py").write_text(
        "import sys\nfrom .part import x\nprint(x, sys.argv, __name__, __package__, __spec__.name)"
    )
    for name in ("package", "package.part"):
        assert step(tmp_path, "-m", name, "--at", "3").stdout == python(tmp_path, "-m", name, "--at", "3").stdout


def test_an_error_in_backward_has_no_frames_of_the_debugger(folder):
    (folder / "wrong.py").write_text(
        "import tinygrad_wb as wb\nw = wb.Value(1.0)\nloss = w * w\nw.data = 2.0\nloss.backward()\n"
    )
    done = step(folder, "wrong.py", status=1)
    assert 'File "' in done.stderr
    assert "StaleGraphError" in done.stderr
    assert f"debug{os.sep}" not in done.stderr
    assert "__main__.py" not in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ([], 2, "give a script to run"),
        (["nothere.py"], 2, "can't run 'nothere.py'"),
        (["."], 2, "is a folder"),
        (["-m", "no_such_module"], 2, "No module named no_such_module"),
        (["--at", "0", "train.py"], 2, "--at"),
        (["--at", "x", "train.py"], 2, "--at"),
        (["--line", "train.py", "train.py"], 2, "--line"),
        (["--when", "loss >", "train.py"], 2, "--when"),
        (["--unknown", "train.py"], 2, "--unknown"),
    ],
)
def test_a_call_that_is_wrong(folder, words, status, text):
    done = step(folder, *words, status=status)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_a_row_of_the_command_line(folder):
    assert "step" in COMMANDS
    assert "through its backward()" in python(folder, "-m", "tinygrad_wb", "--help").stdout
    assert "--when" in python(folder, "-m", "tinygrad_wb", "step", "--help").stdout


# -- where it stops ---------------------------------------------------------------------------------------------------


def stopped_in(done):
    """The epochs whose backward() was stopped in, by the losses that were shown."""
    seen, epoch = [], 0
    for line in done.stdout.splitlines():
        if line.startswith("> "):
            seen.append(epoch)
        epoch += line.startswith("epoch")
    return seen


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ([], [0]),
        (["--at", "3"], [2]),
        (["--line", "train.py:16"], [0, 1, 2, 3]),
        (["--line", "16"], [0, 1, 2, 3]),
        (["--line", "./train.py:16"], [0, 1, 2, 3]),
        (["--line", "elsewhere/train.py:16"], []),
        (["--line", "train.py:15"], []),
        (["--when", "epoch % 2"], [1, 3]),
        (["--when", "loss > 1.6 and epoch > 0"], [1, 2]),
        (["--at", "2", "--when", "epoch == 1", "--line", "16"], [1]),
        (["--at", "2", "--when", "epoch == 2"], []),
        (["--at", "9"], []),
    ],
)
def test_it_stops_where_it_was_told(folder, options, epochs):
    plain = python(folder, "train.py")
    done = step(folder, *options, "train.py", stdin="c\n" * len(epochs))
    assert stopped_in(done) == epochs
    assert results(done.stdout) == results(plain.stdout), "and the training is the same"
    assert ("never as asked" in done.stderr) == (not epochs)


def test_a_condition_that_fails_stops_and_says_why(folder):
    done = step(folder, "--at", "2", "--when", "nothing > 3", "train.py", stdin="c\n")
    assert stopped_in(done) == [1]
    assert "--when 'nothing > 3': NameError: name 'nothing' is not defined; so it stops here" in done.stderr


def test_a_line_on_the_way_to_the_call_counts(folder):
    (folder / "nested.py").write_text(
        "import tinygrad_wb as wb\n\ndef down(loss):\n    loss.backward()\n\nw = wb.Value(1.0)\ndown(w * 2.0)\ndown(w * 3.0)\n"
    )
    done = step(folder, "--line", "nested.py:8", "nested.py", stdin="c\n")
    assert "> nested.py:4 in down: 1 step back" in done.stdout
    assert len(stopped_in(done)) == 1


def test_the_lines_of_this_package_are_not_the_scripts(folder):
    last = len(Path(wb.__file__).with_name("__main__.py").read_text(encoding="utf-8").splitlines())
    assert stopped_in(step(folder, "--line", str(last), "train.py")) == []


def test_fit_is_stopped_in_too_though_it_compiles(folder):
    (folder / "fits.py").write_text(
        "import numpy as np\nimport tinygrad_wb as wb\n\nmodel = wb.MLP(2, [3], 1, seed=0)\nx = np.ones((8, 2))\n"
        "history = wb.fit(model, x, x[:, :1], loss='mean_squared_error', optimizer=wb.SGD(model.parameters(), 0.1),\n"
        "                 epochs=3, batch_size=8, seed=0, progress=False)\nprint(history['loss'])\n"
    )
    done = step(folder, "--at", "3", "fits.py", stdin="until affine\nwhere\nc\n")
    assert "> fits.py:6 in <module>: 7 steps back from " in done.stdout
    assert "fits.py:6  in Dense '1'" in said(done)["until affine"]
    assert done.stdout.splitlines()[-1] == python(folder, "fits.py").stdout.strip()


DERIVATIVES = """\
import numpy as np
import tinygrad_wb as wb

def f(v):
    cube = v ** 3
    return cube.sum()

x = np.array([1.0, 2.0])
print("result", wb.grad(f)(x))
print("result", wb.value_and_grad(f)(x))
print("result", wb.jacobian(lambda v: v * v)(x))
print("result", wb.hessian(f)(x))
print("result", wb.hvp(f)(x, np.ones(2)))
print("result", wb.grad(wb.grad(wb.grad(lambda t: t ** 4)))(2.0))
w = wb.Value([1.0, 2.0], name="w")
g = wb.grad(f)(w)
g.sum().backward()
print("result", g, w.grad)
"""

# For each line of it, the passes in their order, and what is said of how they belong together.
PASSES = {
    9: [""],
    10: [""],
    11: ["", ""],
    12: ["pass 5: an outer", "pass 6: it goes back through pass 5 too", "pass 7: it goes back through pass 5 too"],
    13: ["pass 8: an outer", "pass 9: it goes back through pass 8 too"],
    14: ["pass 10: an outer", "pass 11: it goes back through pass 10 too, and finds a derivative of that derivative; an outer",
         "pass 12: it goes back through pass 11 too"],
    16: [""],
    17: ["pass 14: it goes back through pass 13 too"],
}  # fmt: skip


@pytest.fixture
def derivatives(tmp_path):
    (tmp_path / "derive.py").write_text(DERIVATIVES, encoding="utf-8")
    return tmp_path


def test_passes_of_derivatives_are_stopped_in_each_by_its_number(derivatives):
    plain = python(derivatives, "derive.py").stdout
    done = step(derivatives, "derive.py", stdin="next 100\nnext\n" * 14 + "c\n")
    stops = re.findall(r"^(?:\(backprop\) .*\n)?> derive\.py:(\d+) in .*\n-> .*\n   (.*)$", done.stdout, re.MULTILINE)
    told = [(int(line), "" if text.startswith("at the start") else text) for line, text in stops]
    wanted = [(line, start) for line, notes in PASSES.items() for start in notes]
    assert [line for line, _ in told] == [line for line, _ in wanted]
    for (_, text), (_, start) in zip(told, wanted, strict=True):
        assert text.startswith(start), text
        assert bool(text) == bool(start)
    assert [line for line in plain.splitlines() if line not in done.stdout] == [], "the results are the same"


def test_in_a_pass_of_a_derivative_things_are_called_as_in_its_function(derivatives):
    done = step(derivatives, "derive.py", stdin="until v\nlist\nprint v\nwhy v\ncheck\nsource\nc\n")
    assert "cube = v ** 3" in said(done)["until v"]
    assert "derive.py:5" in said(done)["until v"]
    assert "∂L/∂v = 2: 3 … 12, norm 12.4" in said(done)["print v"]
    assert said(done)["check"].startswith("right: ")
    nested = step(derivatives, "--at", "6", "derive.py", stdin="where\nuntil v\nprint v\nc\n")
    assert "∂L/∂v = " in said(nested)["print v"]


def test_the_outer_pass_still_knows_the_variables_of_the_inner_function(tmp_path):
    (tmp_path / "outer.py").write_text(
        "import tinygrad_wb as wb\n\ndef f(t):\n    power = 3.0\n    cube = t ** power\n    return cube * cube\n\n"
        "def g(t):\n    slope = wb.grad(f)(t)\n    return slope * 2.0\n\nprint(wb.grad(g)(1.0))\n",
        encoding="utf-8",
    )
    done = step(tmp_path, "--at", "2", "outer.py", stdin="until 5\nprint power + 0.5\nc\n")
    assert said(done)["print power + 0.5"] == "3.5\n"
    assert "60.0" in done.stdout


def test_an_edited_derivative_goes_on_with_the_edit(derivatives):
    done = step(derivatives, "derive.py", stdin="next\nedit 100\nc\n")
    assert "result [ 300. 1200.]" in done.stdout
    inner = step(derivatives, "--at", "10", "derive.py", stdin="until t\nedit 7\nc\n")
    assert "result 0.0\n" in inner.stdout, "what is typed is a constant"


def test_options_and_breakpoints_count_passes_of_derivatives_too(derivatives):
    assert "> derive.py:12 in" in step(derivatives, "--line", "derive.py:12", "derive.py", stdin="c\n" * 3).stdout
    assert "> derive.py:13 in" in step(derivatives, "--when", "loss.data == 15", "derive.py", stdin="c\n").stdout
    done = step(derivatives, "derive.py", stdin="break power\nc\nc\nclear\nc\n")
    assert done.stdout.count("cube = v ** 3") == 2
    assert "> derive.py:10 in <module>: 2 steps back" in done.stdout
    none = step(derivatives, "--at", "99", "derive.py")
    assert none.stderr == "step: there were 14 backward passes, never as asked (--at 99)\n"


def test_a_function_that_is_compiled_or_printed_is_not_stopped_in(tmp_path):
    (tmp_path / "compiled.py").write_text(
        "import numpy as np\nimport tinygrad_wb as wb\nf = wb.compile(lambda x: (x * x).sum())\n"
        "for _ in range(4):\n    print('result', wb.grad(lambda x: f(x) * 2.0)(np.ones(2)))\n"
        "print(f.program(np.ones(2)).source.count('\\n') > 2)\n",
        encoding="utf-8",
    )
    done = step(tmp_path, "--at", "4", "compiled.py", stdin="where\nc\n")
    assert "> compiled.py:5 in <module>: 4 steps back" in done.stdout
    assert done.stdout.count("result [4. 4.]") == 4


def test_a_step_into_the_next_backward(folder):
    done = step(folder, "train.py", stdin="n 100\nn\nc\n")
    assert stopped_in(done) == [0, 1]
    assert len(results(done.stdout)) == 4


def test_breakpoints_last_from_one_backward_to_the_next(folder):
    done = step(folder, "train.py", stdin="break epoch == 2 and norm > 3\nc\nc\nclear\nc\n")
    assert stopped_in(done) == [0, 2]
    assert said(done)["break epoch == 2 and norm > 3"] == "break 1 at epoch == 2 and norm > 3\n"
    assert results(done.stdout) == results(python(folder, "train.py").stdout)


def test_quit_ends_the_program_and_its_cleaning_up_is_done(folder):
    (folder / "cleans.py").write_text(
        "import tinygrad_wb as wb\ntry:\n    wb.Value(1.0).tanh().backward()\nexcept Exception:\n    print('caught')\nfinally:\n    print('cleaned')\nprint('no')"
    )
    done = step(folder, "cleans.py", stdin="q\n")
    assert done.stdout.splitlines()[-1] == "cleaned"


def test_an_edited_pass_goes_on_with_the_edit(folder):
    done = step(folder, "train.py", stdin="edit 0\nc\n")
    assert results(done.stdout)[0] == "epoch 0: 3.0625 -0.0 -0.0"


def test_without_an_edit_gradients_are_the_same_to_the_bit_after_any_walk(folder):
    done = step(folder, "--line", "16", "train.py", stdin="n 3\nback 2\nuntil w\nback\nc\n" * 4)
    assert results(done.stdout) == results(python(folder, "train.py").stdout)


# -- what it says -----------------------------------------------------------------------------------------------------


SESSION = """\
> train.py:16 in <module>: 5 steps back from loss = 3.0625
-> loss.backward()
   at the start: ∂L/∂L = 1, L = loss
(backprop) n
step 1/5    loss = error ** 2                     train.py:14
   local    ∂loss/∂error = 2·error               = −3.5
   chain    ∂L/∂error += ∂L/∂loss · ∂loss/∂error = 1 · (−3.5) = −3.5
   total    ∂L/∂error   0 → −3.5                   (contribution 1 of 1)
(backprop)
step 2/5    error = score - 3                       train.py:10
   local    ∂error/∂score = 1
   chain    ∂L/∂score += ∂L/∂error · ∂error/∂score = −3.5 · 1 = −3.5
   total    ∂L/∂score   0 → −3.5                     (contribution 1 of 1)
(backprop) back
step 1/5    loss = error ** 2                     train.py:14
   local    ∂loss/∂error = 2·error               = −3.5
   chain    ∂L/∂error += ∂L/∂loss · ∂loss/∂error = 1 · (−3.5) = −3.5
   total    ∂L/∂error   0 → −3.5                   (contribution 1 of 1)
(backprop) until w
step 5/5    multiply_1 = w * 2                        train.py:9
   local    ∂multiply_1/∂w = 2
   chain    ∂L/∂w += ∂L/∂multiply_1 · ∂multiply_1/∂w = −3.5 · 2 = −7
   total    ∂L/∂w   0 → −7                             (contribution 1 of 1)
   that was the last step; back goes back, continue goes on with the program
(backprop) c
"""


def test_a_session_line_by_line(folder):
    done = step(folder, "train.py", stdin="n\n\nback\nuntil w\nc\n")
    found = "".join(line.rstrip() + "\n" for line in done.stdout.split("epoch")[0].splitlines())
    assert found == SESSION


def test_a_pipe_without_commands_gets_the_whole_transcript(folder):
    done = step(folder, "train.py")
    assert re.findall(r"^step (\d)/5 ", done.stdout, re.MULTILINE) == list("12345")
    assert results(done.stdout) == results(python(folder, "train.py").stdout)


def test_a_pipe_that_ends_lets_the_program_run_on(folder):
    done = step(folder, "train.py", stdin="n\n")
    assert done.stdout.count("step ") == 1
    assert results(done.stdout) == results(python(folder, "train.py").stdout)


def test_looking_around(folder):
    asked = ["where", "list", "n 2", "print epoch, error", "print score", "print bias", "p w * 2", "epoch + 1", "source",
             "check", "why w", "graph", "watch w", "u w", "watch", "break", "clear 3", "help", "h until", "nonsense", "p", "u", "b"]  # fmt: skip
    done = step(folder, "train.py", stdin="\n".join(asked) + "\nc\n")
    told = said(done)
    assert "0 of 5 steps are done" in told["where"]
    assert "   to come    error, score, multiply_1, bias, w\n" in told["where"]
    assert "  16 ->     loss.backward()\n" in told["list"]
    assert "(0, Value(-1.75, op=subtract))" in told["print epoch, error"]
    assert "score = multiply_1 + bias is 1.25" in told["print score"]
    assert "∂L/∂score = −3.5" in told["print score"]
    assert "∂L/∂bias is not computed yet" in told["print bias"]
    assert told["p w * 2"] == "Value(1.0, op=multiply)\n"
    assert told["epoch + 1"] == "1\n"
    assert re.fullmatch(r"\d+: d_score = d_error +# ∂subtract/∂a: train.py:10\n", told["source"])
    assert told["check"].startswith("right: along a random direction it gives -")
    assert "∂L/∂w = −7, by 1 path from L = loss" in told["why w"]
    assert "gradient not computed" in told["graph"]
    assert "gradient -3.5" in told["graph"]
    assert told["watch w"] == "watch w: ∂L/∂w is not computed yet\n"
    assert "   watch    w: ∂L/∂w = −7\n" in told["u w"]
    assert told["watch"] == "w: ∂L/∂w = −7\n"
    assert "no breakpoints" in told["b"]
    assert told["clear 3"] == "*** ValueError: there are 0 breakpoints, no number 3\n"
    for command in commands.COMMANDS:
        assert command.usage in told["help"]
        assert command.summary in told["help"]
    assert "until WHAT" in told["h until"]
    assert told["nonsense"] == "*** NameError: name 'nonsense' is not defined\n"
    assert told["p"].startswith("*** ValueError: print what?")
    assert told["u"].startswith("*** ValueError: until what?")


def test_what_is_watched_is_shown_when_it_has_changed(folder):
    asked = ["watch bias", "n", "n", "u bias", "n", "back", "back", "watch epoch"]
    told = [part.partition("watch    ")[2].strip() for part in step(folder, "train.py", stdin="\n".join(asked) + "\nn\nc\n").stdout.split("(backprop) ")]  # fmt: skip
    assert [bool(text) for text in told] == [False] * 4 + [True, False, False, True, False, True, False]
    assert told[4].startswith("bias: ∂L/∂bias = −3.5")
    assert told[7].startswith("bias: ∂L/∂bias is not computed yet")


def test_until_says_if_nothing_came(folder):
    told = said(step(folder, "train.py", stdin="u error\nu score\nu error\nc\n"))
    assert "no step" not in told["u score"]
    assert told["u error"].endswith("   no step up to here was error\n")


def test_elements_have_the_names_of_arrays(tmp_path):
    (tmp_path / "train.py").write_text(
        "import tinygrad_wb as wb\nnet = wb.MLP(2, [3], 1, seed=0)\n(net([[1.0, 2.0]]) ** 2).sum().backward()\n"
    )
    told = said(step(tmp_path, "train.py", stdin="why 1.weight[2, 0]\np 0.weight[0, 1] * 0\np 0.weight[9]\nc\n"))
    assert told["why 1.weight[2, 0]"].startswith("∂L/∂1.weight[2, 0] = ")
    assert told["p 0.weight[0, 1] * 0"] == "Value(-0.0, op=multiply)\n"
    assert "out of bounds" in told["p 0.weight[9]"]


def test_a_list_is_of_the_forward_line(folder):
    done = step(folder, "train.py", stdin="u w\nlist\nc\n")
    assert "   9 ->     score = w * local + bias\n" in said(done)["list"]


def test_break_takes_lines_and_refuses_what_is_nowhere(folder):
    done = step(folder, "train.py", stdin="b 9\nb train.py:1\nb nothing\nb\nc\nq\n")
    told = said(done)
    assert re.fullmatch(r"break 1 at .*train.py:9\n", told["b 9"])
    assert "no operation in this backward pass comes from train.py:1; there are: train.py:10, " in told["b train.py:1"]
    assert "nothing in this backward pass is called 'nothing'" in told["b nothing"]
    assert told["b"].count("\n") == 1
    assert "train.py:9" in told["c"]


def test_a_picture_in_a_file(folder):
    done = step(folder, "train.py", stdin="n\ngraph here.dot\nc\n")
    assert "written to here.dot" in said(done)["graph here.dot"]
    assert (folder / "here.dot").read_text(encoding="utf-8").startswith("digraph")


def test_a_picture_opens_where_there_is_a_display(folder):
    """As the desktop's browser stands a script that notes what it was given."""
    browser = folder / "browser.py"
    browser.write_text("import pathlib, sys\npathlib.Path('given.txt').write_text(sys.argv[1])\n")
    env = {**ENV, "DISPLAY": ":0", "WAYLAND_DISPLAY": "", "BROWSER": f"{sys.executable} {browser} %s"}
    words = [sys.executable, "-m", "tinygrad_wb", "step", "train.py"]
    how = {"input": "n\ngraph open\nc\n", "capture_output": True, "text": True, "encoding": "utf-8", "cwd": folder}
    done = subprocess.run(words, env=env, check=True, **how)
    page = Path(re.search(r"^opened: (.*)$", said(done)["graph open"], re.MULTILINE)[1])
    assert (folder / "given.txt").read_text() == page.as_uri()
    assert "∂" in page.read_text(encoding="utf-8")
    shutil.rmtree(page.parent)
    if sys.platform == "linux":
        done = subprocess.run(words, env=env | {"DISPLAY": ""}, check=True, **how)
        assert "gradient not computed" in said(done)["graph open"]
        assert said(done)["graph open"].endswith(
            "there is no display here, so this is text; graph FILE writes a picture\n"
        )


def test_pdb_has_the_users_variables_and_comes_back(folder):
    done = step(folder, "train.py", stdin="n\npdb\np epoch, error\nw\nq\nn\nc\n")
    assert "(Pdb) p epoch, error\n(0, Value(-1.75, op=subtract))\n" in done.stdout
    assert "step 2/5" in done.stdout
    assert len(results(done.stdout)) == 4


def test_pdb_goes_to_the_forward_frame_if_it_still_runs(folder):
    (folder / "nested.py").write_text(
        "import tinygrad_wb as wb\n\ndef down(loss):\n    inner = 1\n    loss.backward()\n\ndef up():\n    mine = 42\n    down(wb.Value(1.0) * 2.0)\n\nup()\n"
    )
    done = step(folder, "nested.py", stdin="n\npdb\np mine\nq\nc\n")
    assert "pdb, in up, which is still running" in done.stdout
    assert "(Pdb) p mine\n42\n" in done.stdout


MODEL = """\
import tinygrad_wb as wb

scale = "the model's"

def halves(x, times):
    if times:
        x = halves(x, times - 1)
    half = x / 2.0
    return half * 1.0

def forward(w):
    factor = 3.0
    scaled = w * factor
    factor = "overwritten"
    return scaled + 1.0
"""
RETURNED = """\
import tinygrad_wb as wb
from model import forward, halves

scale = factor = "the script's"
w = wb.Value(0.5, name="w")
for epoch in range(3):
    (halves(forward(w), 2) * (epoch + 1.0)).backward()
    print("epoch", epoch, w.grad)
"""


@pytest.fixture
def returned(tmp_path):
    """A script whose forward pass is in functions that have returned when it calls backward()."""
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    (tmp_path / "train.py").write_text(RETURNED, encoding="utf-8")
    return tmp_path


def test_pdb_in_a_function_that_has_returned_has_its_variables(returned):
    asked = "u w\npdb\np (factor, scaled, w, scale)\nlist\nup\np epoch\ndown\nwhere\nq\nback\nc\n"
    done = step(returned, "--at", "2", "train.py", stdin=asked)
    assert "pdb, in forward, which has returned: its variables are as they were then; q comes back here" in done.stdout
    shown = "('overwritten', Value(1.5, op=multiply), Value(0.5, name='w'), \"the model's\")"
    assert (
        f"model.py(13)forward()\n-> scaled = w * factor\n(Pdb) p (factor, scaled, w, scale)\n{shown}\n" in done.stdout
    )
    assert " 13  >>\t    scaled = w * factor\n" in done.stdout
    assert " 15  ->\t    return scaled + 1.0\n" in done.stdout
    assert re.search(
        r"train.py\(7\)<module>\(\)\n-> .*backward\(\)\n\(Pdb\) p epoch\n1\n\(Pdb\) down\n> .*model.py\(13\)",
        done.stdout,
    )
    assert re.search(r"^  .*train.py\(7\)<module>\(\)\n-> .*\n> .*model.py\(13\)forward", done.stdout, re.MULTILINE)
    assert results(done.stdout) == results(python(returned, "train.py").stdout)


def test_pdb_tells_the_calls_of_a_function_apart(returned):
    done = step(returned, "train.py", stdin="u divide\npdb\np times\nq\nu divide\npdb\np times\nq\nc\n")
    assert re.findall(r"p times\n(\d)\n", done.stdout) == ["2", "1"]


def test_pdb_in_a_generator_that_has_ended_shows_its_caller(tmp_path):
    (tmp_path / "train.py").write_text(
        "import tinygrad_wb as wb\nw = wb.Value(2.0, name='w')\n\ndef dot(xs):\n    bias = 0.5\n"
        "    return sum((w * x for x in xs), wb.Value(bias))\n\ndot([1.0, 3.0]).backward()\n"
    )
    done = step(tmp_path, "train.py", stdin="u w\npdb\np xs, bias\nq\nc\n")
    assert "pdb, in dot, which has returned" in done.stdout
    assert "train.py(6)dot()" in done.stdout
    assert "([1.0, 3.0], 0.5)\n" in done.stdout


def test_print_knows_the_function_of_the_step_first_and_then_where_backward_was_called(returned):
    asked = ["p factor", "u w", "p factor", "p scale", "p epoch", "p scaled", "edit len(factor)", "b scale == 'x'", "watch scale"]  # fmt: skip
    told = said(step(returned, "train.py", stdin="\n".join(asked) + "\nc\n"))
    first, then = (part for name, part in told.items() if name in {"p factor", "p scale"})
    assert (first, then) == ("'overwritten'\n", '"the model\'s"\n')
    assert told["p epoch"] == "0\n"
    assert told["p scaled"].startswith("scaled = w * 3 is 1.5\n")
    assert "→ 11 " in told["edit len(factor)"]
    assert told["watch scale"] == 'watch scale: "the script\'s"\n', "what is watched means the same at every step"


@needs_pty
def test_pdb_in_a_function_that_has_returned_at_a_terminal(returned):
    words = ["tinygrad_wb", "step", "train.py"]
    env = {"PYTHONPATH": ENV["PYTHONPATH"]}
    with PdbSession("-m", words, under_pdb=False, cwd=returned, env=env) as terminal:
        assert "step 9/9" in terminal.send("until w")
        assert "pdb, in forward, which has returned" in terminal.send("pdb")
        assert terminal.send("p factor") == "'overwritten'\n"
        assert "(13)forward()" in terminal.send("w")
        assert "step" not in terminal.send("q")
        assert terminal.send("p epoch") == "0\n"
        assert "step 8/9" in terminal.send("back")
        terminal.send("c")
        assert terminal.exit_code == 0


def test_variables_are_kept_for_one_forward_pass_and_make_no_cycles(tmp_path):
    (tmp_path / "train.py").write_text(
        "import gc, weakref\nimport tinygrad_wb as wb\ngc.disable()\nalive = weakref.WeakSet()\nw = wb.Value(2.0)\n"
        "class Witness: ...\n"
        "def forward():\n    witness = Witness()\n    alive.add(witness)\n    h = w * w\n    return h * 2.0\n\n"
        "for epoch in range(4):\n    loss = forward()\n    print('epoch', len(alive))\n    loss.backward()\n    loss.backward()\n"
    )
    assert results(python(tmp_path, "train.py").stdout) == ["epoch 0"] * 4
    done = step(tmp_path, "--at", "8", "train.py", stdin="n\npdb\np witness\nq\nc\n")
    assert results(done.stdout) == ["epoch 1"] * 4
    assert "<__main__.Witness" in done.stdout, "a second backward() of the same pass finds them still"


def test_of_a_forward_pass_without_end_the_latest_variables_are_kept(monkeypatch):
    class Witness: ...

    def forward():
        witness = Witness()
        alive.add(witness)
        return w * 2.0

    monkeypatch.setattr(recording.Frames, "MOST", 3)
    alive, w = weakref.WeakSet(), wb.Value(1.0)
    with recording.frames_kept():
        for _ in range(10):
            last = forward()
        assert len(alive) == 3
        assert recording.kept_frames().of(last).f_code is forward.__code__
    assert len(alive) == 0
    assert recording.kept_frames() is None


def test_pdb_says_what_it_has_not(tmp_path):
    """Within a script of one's own, lines are recorded, but no variables are kept."""
    (tmp_path / "own.py").write_text(
        "import tinygrad_wb as wb\ndef forward(w):\n    return w * 2.0\n\nwith wb.source_lines():\n"
        "    loss = forward(wb.Value(1.0))\nwb.step(loss)\n"
    )
    done = python(tmp_path, "own.py", stdin="n\npdb\nq\nc\n")
    assert "pdb, in <module>, which is still running; forward, which computed this step, has returned" in done.stdout


def test_arrays_have_shape_norm_range_and_a_cropped_block(folder):
    (folder / "arrays.py").write_text(
        "import numpy as np\nimport tinygrad_wb as wb\nw = wb.Value(np.arange(600.0).reshape(20, 30), name='w')\n(w * w).sum().backward()\n"
    )
    text = said(step(folder, "arrays.py", stdin="u w\nc\n"))["u w"]
    assert "20×30: 0 … 599, norm 8.47e+03" in text
    assert "..." in text
    assert len(text.splitlines()) == 9


def test_output_that_cannot_show_a_letter_shows_another(folder):
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_wb", "step", "train.py"], input=b"", capture_output=True, cwd=folder,
        env={**ENV, "PYTHONIOENCODING": "ascii"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"local    ?h" in done.stdout or b"?loss/?error" in done.stdout


# -- wb.step ----------------------------------------------------------------------------------------------------------


def test_wb_step_stands_in_for_backward(folder):
    text = NEURON.replace("loss.backward()", "wb.step(loss)").replace("import sys\n", "")
    (folder / "own.py").write_text(text, encoding="utf-8")
    done = python(folder, "own.py", stdin="n\nback\nc\n")
    assert done.returncode == 0, done.stderr
    assert results(done.stdout) == results(python(folder, "train.py").stdout)
    assert "> own.py:15 in <module>" in done.stdout
    assert "own.py:13" not in done.stdout, "lines are recorded only under source_lines"


def test_where_nobody_can_be_asked_all_is_shown(capsys, monkeypatch):
    def nobody(prompt=""):
        raise OSError("reading from stdin while output is captured")

    monkeypatch.setattr("builtins.input", nobody)
    w = wb.Value(2.0, name="w")
    loss = w * w
    assert wb.step(loss) is None
    assert w.grad == 4.0
    assert "step 2/2" in capsys.readouterr().out


def test_every_abbreviation_means_one_command():
    names = [name for command in commands.COMMANDS for name in command.names]
    assert len(names) == len(set(names))
    for command in commands.COMMANDS:
        assert all(commands.found(name) is command for name in command.names)
    for word, full in {
        "n": "next",
        "b": "break",
        "c": "continue",
        "p": "print",
        "l": "list",
        "w": "where",
        "q": "quit",
        "h": "help",
    }.items():
        assert commands.found(word).names[0] == full, "as in pdb"
    assert commands.found("con").names[0] == "continue"
    assert commands.found("wa").names[0] == "watch"
    assert commands.found("xyz") is None


def test_completion_knows_commands_and_names():
    w = wb.Value(2.0, name="weight")
    session = Session(wb.Stepper(w * w), sys._getframe(), Kept())
    assert session._completions("wh", True) == ["where ", "why "]
    assert session._completions("wei", False) == ["weight"]
    assert "multiply" in session._completions("mul", False)


@needs_pty
def test_at_a_terminal_there_is_history_and_completion(folder):
    if importlib.util.find_spec("readline") is None:
        pytest.skip("this Python has no readline")
    text = NEURON.replace("loss.backward()", "wb.step(loss)")
    script = folder / "own.py"
    script.write_text(text, encoding="utf-8")
    with PdbSession(script, under_pdb=False, env={"PYTHONPATH": ENV["PYTHONPATH"]}) as terminal:
        assert "> own.py:16" in terminal.opening
        assert "step 1/5" in terminal.send("n")
        assert "step 2/5" in terminal.send("")
        assert "step 4/5" in terminal.typed("unt\tbi\t\n"), "completed"
        assert "until bias" in terminal.transcript
        assert "step 3/5" in terminal.send("back")
        assert "step 4/5" in terminal.typed("\x1b[A\x1b[A\n"), "the line before the last, from history"


@needs_pty
def test_at_a_terminal_q_and_the_end_of_input_quit(folder):
    script = folder / "own.py"
    script.write_text(NEURON.replace("loss.backward()", "wb.step(loss)"), encoding="utf-8")
    for ending in ("q\n", "\x04"):
        with PdbSession(script, under_pdb=False, env={"PYTHONPATH": ENV["PYTHONPATH"]}) as terminal:
            assert "epoch" not in terminal.typed(ending)
            assert terminal.exit_code == 0


def test_steps_are_no_part_of_a_pickle():
    """A stepper looks at a live graph; what is kept of a Value is its data, as ever."""
    w = wb.Value(2.0)
    loss = w * w
    wb.Stepper(loss).step()
    assert pickle.loads(pickle.dumps(loss)).inputs == ()


def test_breakpoints_that_outlive_the_input_tell_where_they_are_met_and_no_more(folder):
    done = step(folder, "train.py", stdin="break bias\n")
    assert stopped_in(done) == [0, 1, 2, 3]
    assert done.stdout.count("step ") == 3
    assert results(done.stdout) == results(python(folder, "train.py").stdout)


# -- the page that shows all this -----------------------------------------------------------------------------------------

PAGE = DOCS / "stepping.md"
BLOCKS = [
    "stepped script",
    "there and back",
    "why and what if",
    "returned script",
    "returned",
    "misfit script",
    "misfit",
    "homeward script",
    "homeward",
    "the hunt",
    "twice script",
    "twice",
]
needs_page = pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")


@pytest.fixture(scope="module")
def transcripts():
    return docs_script("make_transcripts")


@needs_page
def test_the_page_has_the_blocks_that_are_made(transcripts):
    assert sorted(transcripts.shown(PAGE.read_text(encoding="utf-8"))) == sorted(transcripts.STEPPING) == sorted(BLOCKS)


@needs_page
@pytest.mark.parametrize("name", BLOCKS)
def test_the_page_shows_what_the_package_prints(transcripts, name):
    again = "run `python docs/make_transcripts.py` to write the page anew, and read it again"
    assert transcripts.made(name) == transcripts.shown(PAGE.read_text(encoding="utf-8"))[name], again
