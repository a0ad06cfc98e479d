"""examples/two_layers.py: the program that it prints, and the script that it saves."""

import os
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from test_examples import SCRIPTS, run

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the tests run apart from the project's sources: no examples/")

NAMES = ["hidden_weight", "hidden_bias", "output_weight", "output_bias"]


def test_two_layers(tmp_path):
    out = run("two_layers.py", tmp_path)
    program, _, rest = out.partition("\nChecked: ")
    assert program.startswith('"""')
    compile(program, "program", "exec")
    for name in NAMES:
        assert re.search(rf"^    d_{name} = .*# ∂affine/∂[wb]: two_layers.py:\d+$", program, re.MULTILINE), name
    for name in ("features", "prediction", "error", "loss"):
        assert re.search(rf"^    {name} = ", program, re.MULTILINE), "the script's own variables keep their names"
        assert re.search(rf"^    d_{name} = ", program, re.MULTILINE), name
    assert re.match(r"a loss of 0\.8587, and every line agrees", rest)
    differences = dict(re.findall(r"^  (\S+) .* differs by (\S+) at most$", rest, re.MULTILINE))
    assert list(differences) == [name.replace("_", ".") for name in NAMES]
    assert max(map(float, differences.values())) < 1e-12

    saved = tmp_path / "two_layers_program.py"
    assert f"Saved: {saved.name} " in rest
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".py"] == [saved.name]
    alone = "import runpy, sys; sys.modules['tinygrad_wb'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    env = {name: content for name, content in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", alone, str(saved)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loss = 0.858")
    assert re.findall(r"^gradient of (\w+):", done.stdout, re.MULTILINE) == NAMES


def test_the_saved_program_agrees_with_finite_differences(tmp_path):
    run("two_layers.py", tmp_path)
    saved = runpy.run_path(str(tmp_path / "two_layers_program.py"))
    function = saved["forward_and_backward"]
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    numbers = {name: saved[name] for name in names}
    _, gradients = function(**numbers)
    step = 1e-6
    for name in NAMES:
        for place in np.ndindex(numbers[name].shape):
            up, down = numbers[name].copy(), numbers[name].copy()
            up[place] += step
            down[place] -= step
            slope = (function(**numbers | {name: up})[0] - function(**numbers | {name: down})[0]) / (2.0 * step)
            assert gradients[name][place] == pytest.approx(slope, rel=1e-6, abs=1e-8), (name, place)
