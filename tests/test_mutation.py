"""The mutation runner, on a small function: what its tests notice is killed, and what they don't notice survives."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = ROOT / "tests" / "mutation" / "run.py"
PLAN = ROOT / "tests" / "mutation" / "plan.toml"

SOURCE = """
def total(numbers, start=0):
    ahead, result = list(numbers), start
    while ahead:
        result += ahead.pop()
    return result
"""
TESTS = """
from small import total

def test_total():
    assert total([3, 4], 0) == 7
"""
FILES = """
[[files]]
names = ["small.py"]
tests = [["test_small.py"]]
"""
EQUIVALENT = """
[[equivalent]]
file = "small.py"
lines = ["def total(numbers, start=1):"]
reason = "for this test"
"""
BECOMES = {
    "def total(numbers, start=1):": "survived",
    "while (not (ahead)):": "killed",
    "result -= ahead.pop()  # result += ahead.pop()": "killed",
    "pass  # result += ahead.pop()": "timed out",
    "return None  # return result": "killed",
}


@pytest.fixture
def run(tmp_path):
    """Runs the runner in a tree of that function; returns what it prints, its exit status, and what became of each line."""
    tree, log, plan = tmp_path / "tree", tmp_path / "log.jsonl", tmp_path / "plan.toml"
    tree.mkdir()
    (tree / "small.py").write_text(SOURCE)

    def run(*options, tests=TESTS, rows=FILES):
        (tree / "test_small.py").write_text(tests)
        plan.write_text(rows)
        command = [sys.executable, RUN, "--root", tree, "--plan", plan, "--log", log, "--extra", "3", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return done.stdout + done.stderr, done.returncode, {row["shown"]: row["result"] for row in rows}

    return run


def test_it_tells_what_is_tested_from_what_is_not(run):
    out, status, became = run()
    assert became == BECOMES
    assert "survived: small.py:2\n-def total(numbers, start=0):\n+def total(numbers, start=1):\n" in out
    assert "3 killed, 1 survived, 1 timed out: a score of 80.0%, seed 0" in out
    assert status == 1

    # Now with a test that fails, which would kill everything: what is known from the log is not run again …
    failing = "def test_nothing(): assert False"
    assert run(tests=failing)[1:] == (1, BECOMES)
    # … the seed decides which are drawn …
    drawn = [run("--sample", "3", "--seed", seed, tests=failing)[0].splitlines()[1:4] for seed in "11234"]
    assert drawn[0] == drawn[1] != drawn[4]
    # … an equivalent one does not count …
    out, status, _ = run(tests=failing, rows=FILES + EQUIVALENT)
    assert "4 of 5 mutants, seed 0; 1 are equivalent" in out
    assert "a score of 100.0%" in out
    assert status == 0
    # … and tests that fail on the code as it is are refused.
    out, status, _ = run("--again", tests=failing)
    assert "these tests fail without a mistake: pytest test_small.py" in out
    assert status == 1

    # The missing test: what survived is tried again.
    out, status, became = run("--again", tests=TESTS + "    assert total([3, 4]) == 7")
    assert became == BECOMES | {"def total(numbers, start=1):": "killed"}
    assert status == 0


def test_an_equivalent_row_without_a_mutant_is_told(run):
    out, _, became = run("--sample", "0", rows=FILES + EQUIVALENT.replace("start=1", "start=2"))
    assert "no such mutant: small.py: def total(numbers, start=2):" in out
    assert not became


def test_the_plan_names_files_that_there_are():
    for row in tomllib.loads(PLAN.read_text(encoding="utf-8"))["files"]:
        assert all(list(ROOT.glob(name)) for name in row["names"]), row["names"]
        assert row["tests"]
        for word in (word for stage in row["tests"] for word in stage if "/" in word):
            assert (ROOT / word).is_file(), word
