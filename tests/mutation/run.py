"""Mutation testing: is a test red when one thing in the engine is wrong?

python tests/mutation/run.py --sample 60 --seed 0    60 mutants, drawn from all files that plan.toml names
python tests/mutation/run.py --only optimizers       mutants of files with this in their path; may be repeated
python tests/mutation/run.py --log results.jsonl     keeps results, and goes on where a run with this file stopped
python tests/mutation/run.py --log … --again         tries what survived once more, after tests were added

A mutant is the package with one small mistake: `<` is `<=`, a condition is negated, a statement is missing. It is killed
when a test fails or doesn't come to an end, and survives when all pass. A survivor is a missing test, or it is
equivalent: no test through public names can tell it from the original. plan.toml lists those, each with its reason.
The score is killed / (all - equivalent). The exit status is 1 where it is below ``--at-least``.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from mutants import Mutant, mutants

MEMORY = 8 << 30  # bytes: a loop that fills a list without end must not take all of the machine's


def run_tests(tree: Path, tests: list[str], seconds: float | None = None, **env: str) -> str:
    """Run these tests in that tree, until one fails: "survived", "killed" or "timed out"."""
    own = {
        "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0", "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests], cwd=tree, start_new_session=True,
        env={**os.environ, **own, **env},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),  # noqa: PLW1509 - no threads here
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return "killed" if process.wait(seconds) else "survived"
    except subprocess.TimeoutExpired:
        return "timed out"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def usual_time(tree: Path, tests: list[str]) -> float:
    """How long these tests take on the package as it is, where they must pass. Its bytecode stays, for quick starts."""
    begin = time.perf_counter()
    if run_tests(tree, tests) != "survived":
        sys.exit(f"these tests fail without a mistake: pytest {' '.join(tests)}")
    return time.perf_counter() - begin


def attempt(tree: Path, mutant: Mutant, stages: list[list[str]], limits: dict[str, float], extra: float) -> str:
    """What becomes of a mutant: "survived" if every stage of its tests passes. Quick stages come first."""
    place = tree / mutant.file
    for tests in stages:
        if str(tests) not in limits:
            limits[str(tests)] = extra + 5.0 * usual_time(tree, tests)
        place.write_text(mutant.source, encoding="utf-8")
        try:  # the bytecode of a mutant could outlive it, so none is written
            result = run_tests(tree, tests, limits[str(tests)], PYTHONDONTWRITEBYTECODE="1")
        finally:
            place.write_text(mutant.original, encoding="utf-8")
        if result != "survived":
            return result
    return "survived"


def read_log(log: Path | None) -> dict[str, str]:
    if log is None or not log.exists():
        return {}
    rows = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return {row["key"]: row["result"] for row in rows}


def write_log(log: Path | None, mutant: Mutant, result: str) -> None:
    if log is not None:
        row = {"key": mutant.key, "result": result, "file": mutant.file, "line": mutant.line, "shown": mutant.shown}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def drawn(root: Path, plan: dict[str, Any], only: list[str], seed: int) -> list[tuple[Mutant, list[list[str]]]]:
    """All mutants in the order of the draw, each with its tests: those of the first row that names its file."""
    every = []
    rows = [({path for name in row["names"] for path in root.glob(name)}, row["tests"]) for row in plan["files"]]
    for path in sorted(set().union(*(paths for paths, _ in rows))):
        file = path.relative_to(root).as_posix()
        if not only or any(part in file for part in only):
            stages = next(stages for paths, stages in rows if path in paths)
            names = " or ".join(exported(path))
            stages = [[word.replace("{names}", names) for word in tests] for tests in stages]
            every += [(mutant, stages) for mutant in mutants(root, file)]
    # By hash, so that what is drawn first stays the same when a file or a kind of mistake is added elsewhere.
    return sorted(every, key=lambda item: hashlib.sha256(f"{seed} {item[0].key}".encode()).digest())


def exported(file: Path) -> list[str]:
    """The names in a file's ``__all__``."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], metavar="PART")
    parser.add_argument("--log", type=Path, metavar="FILE")
    parser.add_argument("--again", action="store_true")
    parser.add_argument(
        "--extra", type=float, default=30.0, help="seconds that tests may take besides 5 times as usual"
    )
    parser.add_argument("--at-least", type=float, default=0.97, metavar="SCORE")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="the tree with the package")
    parser.add_argument("--plan", type=Path, default=Path(__file__).with_name("plan.toml"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that tests in the middle of an endless loop end, too

    plan = tomllib.loads(options.plan.read_text(encoding="utf-8"))
    every = drawn(options.root, plan, options.only, options.seed)
    equivalent = {(row["file"], line) for row in plan.get("equivalent", []) for line in row["lines"]}
    for file, line in sorted(equivalent - {(mutant.file, mutant.shown) for mutant, _ in every}):
        if file in {mutant.file for mutant, _ in every}:
            print(f"plan.toml calls this equivalent, but there is no such mutant: {file}: {line}")
    meaningful = [(mutant, stages) for mutant, stages in every if (mutant.file, mutant.shown) not in equivalent]
    sample = meaningful[: options.sample]
    print(f"{len(sample)} of {len(every)} mutants, seed {options.seed}; {len(every) - len(meaningful)} are equivalent")

    known = read_log(options.log)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(options.root, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        results = []
        limits: dict[str, float] = {}
        for i, (mutant, stages) in enumerate(sample, 1):
            result = known.get(mutant.key)
            if result is None or (options.again and result == "survived"):
                result = attempt(tree, mutant, stages, limits, options.extra)
                write_log(options.log, mutant, result)
            results.append((mutant, result))
            print(f"{i:4} {result:9} {mutant.file}:{mutant.line}  {mutant.shown:.90}", flush=True)

    survivors = [mutant for mutant, result in results if result == "survived"]
    for mutant in survivors:
        print(f"\nsurvived: {mutant.file}:{mutant.line}", *mutant.differences, sep="\n")
    score = 1.0 - len(survivors) / max(len(results), 1)
    counts = ", ".join(f"{n} {result}" for result, n in sorted(Counter(result for _, result in results).items()))
    print(f"\n{counts}: a score of {score:.1%}, seed {options.seed}")
    sys.exit(score < options.at_least)


if __name__ == "__main__":
    main()
