"""Taking turns: every peer in a process of its own, one after another, round after round, with a pause between.

Two frameworks in one process, or straight after one another, would disturb each other: their idle threads go on
spinning for a while, and whoever comes second looks slower than it is. Other programs disturb just as much: two
threads that wait for one another lose whole time slices. So a turn during which others were busy is taken again.
"""

from __future__ import annotations

import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from work import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peers import Peer

PAUSE, SHORT_PAUSE = 0.5, 0.2  # seconds; the short one in a short run
BUSY = 0.1  # processors that other programs may use during a turn
TRIES = 5
TIMEOUT = 600  # seconds, for one turn
TOLERANCE = 1e-3  # relative, between a peer's losses and the reference
THREAD_SETTINGS = {
    name: str(THREADS)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
}
CORETYPE = "OPENBLAS_CORETYPE"  # forces the kernels of NumPy's OpenBLAS
WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Outcome:
    """One value per round; or the reason why there is none. ``disturbed`` counts rounds that others were busy in.

    ``kernels`` are those that matrix products ran on, as the processes said.
    """

    rounds: list[float] = field(default_factory=list)
    disturbed: int = 0
    kernels: set[str] = field(default_factory=set)
    problem: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


Results = dict[str, dict[str, Outcome]]  # by name of the work, then by title of the peer


def ratio(outcomes: dict[str, Outcome], of: str, to: str) -> float | None:
    """``of`` divided by ``to``, round by round, then the median; None where either is missing."""
    a, b = outcomes.get(of), outcomes.get(to)
    if a is None or b is None or a.problem or b.problem:
        return None
    return statistics.median(x / y for x, y in zip(a.rounds, b.rounds))


def environment(coretype: str | None = None) -> dict[str, str]:
    """Of all processes that are measured: OpenBLAS picks its kernels by itself, as others do, or they are forced."""
    kept = {name: value for name, value in os.environ.items() if name != CORETYPE}
    return kept | THREAD_SETTINGS | ({CORETYPE: coretype} if coretype else {})


def take_turns(
    number: int, work: Any, peers: Sequence[Peer], quick: bool, env: Mapping[str, str]
) -> dict[str, Outcome]:
    """All rounds of one piece of work."""
    outcomes = {peer.title: Outcome(problem=None if peer.version else "not installed") for peer in peers}
    reference = functools.cache(work.reference)
    for round in range(max(1, work.rounds // 2) if quick else work.rounds):
        for peer in peers:
            outcome = outcomes[peer.title]
            if outcome.problem:
                continue
            answer, disturbed = _undisturbed(peer, number, quick, env)
            outcome.problem = answer.get("problem") or _disagreement(answer["losses"], reference)
            if outcome.problem:
                print(f"  {peer.title}: {outcome.problem}", flush=True)
                continue
            outcome.rounds.append(answer["value"] * work.scale)
            outcome.disturbed += disturbed
            outcome.kernels.add(answer["kernels"])
            note = "   (other programs were busy)" if disturbed else ""
            value = f"{outcome.rounds[-1]:12,.{1 if outcome.rounds[-1] >= 10 else 3}f}"
            print(f"  round {round + 1}  {peer.title:<20} {value} {work.unit}{note}", flush=True)
    return outcomes


def _undisturbed(peer: Peer, number: int, quick: bool, env: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
    """A turn's answer, after a few tries to have the machine alone, and whether even the last was disturbed."""
    for _ in range(1 if quick else TRIES):
        time.sleep(SHORT_PAUSE if quick else PAUSE)
        start, others = time.perf_counter(), _others_seconds()
        answer = _turn(peer, number, quick, env)
        disturbed = _others_seconds() - others > BUSY * (time.perf_counter() - start)
        if not disturbed or "value" not in answer:
            break
    return answer, disturbed


def _others_seconds() -> float:
    """Processor time that programs other than this one and its finished workers have had, where the system tells."""
    try:
        user, nice, system = map(int, Path("/proc/stat").read_text().split(maxsplit=4)[1:4])
    except (OSError, ValueError):
        return 0.0
    ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - sum(use.ru_utime + use.ru_stime for use in ours)


def _turn(peer: Peer, number: int, quick: bool, env: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, str(WORKER), peer.file, str(number), "quick" if quick else "full"]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": f"error: no answer after {TIMEOUT} s"}
    if done.returncode:
        return {"problem": "error: " + (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    answer = json.loads(done.stdout.splitlines()[-1])
    return {"problem": f"skipped: {answer['not_here']}"} if "not_here" in answer else answer


def _disagreement(losses: list[float], reference: Callable[[int], list[float]]) -> str | None:
    """What is wrong where a peer computed something other than the reference did."""
    for step, (loss, wanted) in enumerate(zip(losses, reference(len(losses)), strict=True), 1):
        if not math.isclose(loss, wanted, rel_tol=TOLERANCE):
            return f"error: its loss at step {step} is {loss:.6g}, the reference's {wanted:.6g}"
    return None


# -- importing --------------------------------------------------------------------------------------------------

IMPORTS = {"python alone": "pass", "import numpy": "import numpy", "import tinygrad_wb": "import tinygrad_wb"}


def import_times(times: int, env: Mapping[str, str]) -> dict[str, Outcome]:
    """Milliseconds that whole processes take, in turn. All read the same kind of bytecode cache, filled beforehand."""
    outcomes = {name: Outcome() for name in IMPORTS}
    with tempfile.TemporaryDirectory() as cache:
        env = {k: v for k, v in env.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPYCACHEPREFIX": cache}
        for round in range(times + 1):
            for name, code in IMPORTS.items():
                start = time.perf_counter()
                done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
                took = time.perf_counter() - start
                if done.returncode:
                    outcomes[name].problem = "error: " + done.stderr.decode().strip().splitlines()[-1]
                elif round:  # the first fills the cache
                    outcomes[name].rounds.append(took * 1e3)
    return outcomes
