"""What this machine could do and does not: ``python -m tinygrad_wb doctor``.

Each examination returns findings, which are plain data; `report` makes them text. What cannot be found out is said to
be unknown, and faster kernels are recommended only after a trial on this machine, in a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Blas", "Finding", "Remedy", "Speed", "blas", "examine", "kernels_below", "measure", "report", "show"]

MACHINE, PRODUCTS, NUMPY, OPTIONAL = "This machine", "Matrix products", "NumPy", "Optional parts"
CORETYPE = "OPENBLAS_CORETYPE"
WORTHWHILE = 1.1  # times as fast: less could be the noise of the measurement


@dataclass(frozen=True)
class Remedy:
    """What would help and why, and the line that does it."""

    why: str
    line: str


@dataclass(frozen=True)
class Finding:
    """A line of the report; ``fine`` is None where nothing is known."""

    topic: str
    name: str
    says: str
    fine: bool | None = True
    remedy: Remedy | None = None


# -- the machine ------------------------------------------------------------------------------------------------------


def told(*command: str) -> str:
    """What a command prints, on either stream; nothing if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout + done.stderr).strip()


def cpuinfo(file: str = "/proc/cpuinfo") -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        first = Path(file).read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    fields = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def processor() -> str:
    """The processor's name."""
    name = told("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else cpuinfo().get("model name")
    return name or platform.processor() or platform.machine() or "unknown"


def usable_cores() -> int | None:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine(cores: int | None) -> list[Finding]:
    """The processor and the software."""
    from tinygrad_wb import __version__

    rows = {
        "Processor": f"{processor()}, {cores or 'unknown'} of {os.cpu_count() or 'unknown'} cores usable",
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "NumPy": np.__version__,
        "tinygrad_wb": __version__,
    }
    return [Finding(MACHINE, name, says) for name, says in rows.items()]


# -- the BLAS behind NumPy --------------------------------------------------------------------------------------------


class Blas(NamedTuple):
    """The library behind NumPy's matrix products, the kernels that it runs, on how many threads; None is unknown."""

    name: str = "unknown"
    kernels: str | None = None
    threads: int | None = None


def openblas_files() -> list[str]:
    """Files of the OpenBLAS that is loaded, NumPy's own before others."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        files = {line.split(maxsplit=5)[-1] for line in maps if "openblas" in line}
    except OSError:  # not on Linux: wheels of NumPy carry it beside the package (Windows), or inside it (macOS)
        package = Path(np.__file__).parent
        folders = (package.parent / "numpy.libs", package / ".dylibs")
        files = {str(file) for folder in folders for file in folder.glob("*openblas*")}
    return sorted(files, key=lambda file: ("numpy" not in file, file))


def ask_openblas(library: Any) -> Blas | None:
    """What a loaded OpenBLAS says of itself, however its functions are spelled; None if it is another library."""
    for prefix, suffix in itertools.product(("scipy_openblas_get_", "openblas_get_"), ("64_", "", "_64")):
        names = (prefix + name + suffix for name in ("config", "corename", "num_threads"))
        config, corename, num_threads = (getattr(library, name, None) for name in names)
        if config and corename and num_threads:
            config.restype = corename.restype = ctypes.c_char_p
            version = re.search(r"OpenBLAS +([\d.]+)", (config() or b"").decode())
            return Blas(
                f"OpenBLAS {version[1]}" if version else "OpenBLAS", (corename() or b"?").decode(), num_threads()
            )
    return None


def built_with(config: Mapping[str, Any]) -> str:
    """The BLAS that NumPy was built with, according to ``np.show_config(mode="dicts")``."""
    built = config.get("Build Dependencies", {}).get("blas", {})
    words = (str(built.get(key, "unknown")) for key in ("name", "version"))
    return " ".join(word for word in words if word not in ("", "none", "unknown")) or "unknown"


def blas() -> Blas:
    """The BLAS behind NumPy: OpenBLAS speaks for itself; of others is known what NumPy was built with."""
    for file in openblas_files():
        with contextlib.suppress(OSError):
            if found := ask_openblas(ctypes.CDLL(file)):
                return found
    config: Any = np.show_config(mode="dicts")
    return Blas(built_with(config or {}))


# -- its kernels and their speed --------------------------------------------------------------------------------------

# Widest first: instructions, the flags of a processor that has them, and OpenBLAS's kernels that use them.
LEVELS = (
    ("AVX-512", "avx512f avx512bw avx512dq avx512vl", "SkylakeX Cooperlake SapphireRapids"),
    ("AVX2", "avx2 fma", "Haswell Zen"),
)
OLDER = """
Katmai Coppermine Northwood Prescott Banias Atom Core2 Penryn Dunnington Nehalem Sandybridge
Athlon Opteron Opteron_SSE3 Barcelona Nano Bobcat Bulldozer Piledriver Steamroller Excavator
"""


def instructions_of(kernels: str | None) -> str | None:
    """The instructions that kernels of x86 processors use; None for others."""
    name = (kernels or "").lower()
    older = "older than AVX2" if name in OLDER.lower().split() else None
    return next((instructions for instructions, _, names in LEVELS if name in names.lower().split()), older)


def kernels_possible(flags: Iterable[str], levels: Iterable[tuple[str, str, str]] = LEVELS) -> str | None:
    """The widest kernels of these levels that a processor with these flags can run; None if there are none."""
    there = set(flags)
    return next((names.split()[0] for _, needed, names in levels if there.issuperset(needed.split())), None)


def kernels_below(kernels: str | None, flags: Iterable[str]) -> str | None:
    """The kernels on wider instructions that could run in place of ``kernels``; None if there are none."""
    here = instructions_of(kernels)
    wider = itertools.takewhile(lambda level: level[0] != here, LEVELS)
    return None if here is None else kernels_possible(flags, wider)


class Speed(NamedTuple):
    """A measured float32 product of two matrices ``size`` wide, and the kernels that it ran on."""

    kernels: str | None
    gflops: float
    size: int

    def __str__(self) -> str:
        return f"{self.gflops:.{0 if self.gflops >= 10 else 1}f} GFLOP/s"


def seconds(size: int, budget: float) -> float:
    """The shortest time of a float32 product, of as many as fit into ``budget`` seconds, after one to warm up."""
    a = np.random.default_rng(0).random((size, size), np.float32)
    times = [np.inf]
    np.matmul(a, a)
    end = time.perf_counter() + budget
    while len(times) < 4 or time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(a, a)
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


def measure(size: int | None = None) -> Speed:
    """How fast float32 products are, in well under a second: of smaller matrices where there is no real BLAS."""
    size = size or (1024 if seconds(256, 0.02) < 0.002 else 256)
    return Speed(blas().kernels, 2 * size**3 / seconds(size, 0.3) / 1e9, size)


def measure_apart(coretype: str | None, size: int) -> Speed | None:
    """`measure` in a process of its own, with this ``OPENBLAS_CORETYPE`` or without one; None if that fails."""
    environment = {name: value for name, value in os.environ.items() if name != CORETYPE}
    environment |= {CORETYPE: coretype} if coretype else {}
    code = f"import json, sys; sys.path[:] = {sys.path!r}; from tinygrad_wb.doctor import measure; "
    command = [sys.executable or "python", "-c", code + f"print(json.dumps(measure({size})))"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
        return Speed(*json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


Trial = Callable[[str | None, int], Speed | None]


def kernels(now: Speed, flags: Iterable[str], forced: str | None, trial: Trial = measure_apart) -> list[Finding]:
    """The kernels in use and their speed; where the processor has wider ones, also how fast those are in a trial.

    ``forced`` is the environment's ``OPENBLAS_CORETYPE``. Where there is one, doing without it is tried first.
    """
    wider, here = kernels_below(now.kernels, flags), instructions_of(now.kernels)
    runs = f"{now.kernels or 'unknown'}{f' ({here})' if here else ''}"
    speed = Finding(PRODUCTS, "Speed", f"{now}, float32, {now.size} × {now.size} matrices")
    if wider is None:
        return [Finding(PRODUCTS, "Kernels", runs, None if now.kernels is None else True), speed]
    runs += f", though the processor has {instructions_of(wider)}"
    return [Finding(PRODUCTS, "Kernels", runs, fine=False), speed, in_a_trial(now, flags, wider, forced, trial)]


def in_a_trial(now: Speed, flags: Iterable[str], wider: str, forced: str | None, trial: Trial) -> Finding:
    """What a trial of wider kernels gave; with the remedy only if they ran, and ran faster."""
    for coretype in (None, wider) if forced else (wider,):
        there = trial(coretype, now.size)
        if there is None or kernels_below(there.kernels, flags):
            continue  # it failed, or this is not the way to those kernels
        ratio = there.gflops / now.gflops
        says = f"{there} with {there.kernels} kernels, {ratio:.2f}× as fast"
        if ratio <= WORTHWHILE:
            return Finding(PRODUCTS, "In a trial", f"{says}: not worth a change")
        return Finding(PRODUCTS, "In a trial", says, True, kernels_remedy(now, there, coretype, forced))
    return Finding(PRODUCTS, "In a trial", f"{wider} kernels could not be had", fine=None)


def kernels_remedy(now: Speed, there: Speed, coretype: str | None, forced: str | None) -> Remedy:
    """How to get the kernels of a trial that went well: without the setting if ``coretype`` is None, or with it."""
    why, line = f"OpenBLAS picked {now.kernels} kernels.", f"export {CORETYPE}={coretype}"
    if coretype is None:
        why = f"{CORETYPE}={forced} is set in the environment, and forces {now.kernels} kernels. Without it,"
        line = f"unset {CORETYPE}"
    faster = (
        f"{there.kernels} kernels ran the same product {there.gflops / now.gflops:.2f}× as fast: {there}, not {now}."
    )
    return Remedy(f"{why} {faster} In the shell, before Python starts:", line)


# -- its threads ------------------------------------------------------------------------------------------------------

# The settings that each library reads; the first that is set decides.
THREAD_SETTINGS = {
    "openblas": ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "accelerate": ("VECLIB_MAXIMUM_THREADS",),
}


def thread_limit(name: str, environment: Mapping[str, str]) -> tuple[str, int] | None:
    """The setting that says how many threads the BLAS of this name may use, and how many."""
    settings = next((names for key, names in THREAD_SETTINGS.items() if key in name.lower()), ("OMP_NUM_THREADS",))
    counts = ((setting, re.match(r"\s*0*([1-9]\d*)", environment.get(setting, ""))) for setting in settings)
    return next(((setting, int(count[1])) for setting, count in counts if count), None)


def threads(found: Blas, cores: int | None, environment: Mapping[str, str]) -> Finding:
    """How many threads the BLAS uses; with a remedy if the environment keeps it to fewer than there are cores."""
    setting, limit = thread_limit(found.name, environment) or (None, None)
    count = found.threads or limit
    if count is None or cores is None or count >= cores:
        return Finding(PRODUCTS, "Threads", str(count or "unknown"), None if count is None else True)
    says = f"{count}, of {cores} usable cores"
    if setting is None or limit != count:
        return Finding(PRODUCTS, "Threads", says, fine=False)
    why = f"{setting}={environment[setting]} is set in the environment: products use {count} of {cores} usable cores. "
    remedy = Remedy(f"{why}Unless that is meant so, in the shell, before Python starts:", f"unset {setting}")
    return Finding(PRODUCTS, "Threads", says, False, remedy)


# -- faults of NumPy's own ---------------------------------------------------------------------------------------------


def negative_is_right() -> bool:
    """Whether `np.negative` reads every number of an array with gaps, where its result has gaps, too."""
    for dtype in (np.float32, np.float64):
        y = np.arange(64, dtype=dtype)[:: np.dtype(dtype).itemsize]  # the only gaps that NumPy 2.1 to 2.4 are wrong at
        wanted = 0 - y
        np.negative(y, out=y)
        if not np.array_equal(y, wanted):
            return False
    return True


def isfinite_is_right() -> bool:
    """Whether `np.isfinite` writes every result into an array with gaps."""
    y = np.zeros(128, bool)[::2]
    np.isfinite(np.ones(64), out=y)
    return bool(y.all())


class Fault(NamedTuple):
    """A function of NumPy's that may be wrong: how to see whether it is right, when it is wrong, and what to write."""

    name: str
    is_right: Callable[[], bool]
    when: str
    instead: str


FAULTS = (
    Fault(
        "np.negative",
        negative_is_right,
        "if x and y are not contiguous, np.negative(x, out=y) reads other numbers than those of x",
        "np.multiply(x, -1, out=y)",
    ),
    Fault(
        "np.isfinite",
        isfinite_is_right,
        "if y is not contiguous, np.isfinite(x, out=y), isnan and isinf leave most of y wrong",
        "y[...] = np.isfinite(x)",
    ),
)


def faults(known: Iterable[Fault] = FAULTS) -> list[Finding]:
    """Which known faults this NumPy has; with what to write in their place."""
    found = []
    for fault in known:
        right = fault.is_right()
        why = (
            f"NumPy {np.__version__} has a fault: {fault.when}. "
            "tinygrad_wb avoids it. Your own code with NumPy may meet it. Write:"
        )
        says = "right, also where arrays are not contiguous" if right else "wrong where arrays are not contiguous"
        found.append(Finding(NUMPY, fault.name, says, right, None if right else Remedy(why, fault.instead)))
    return found


# -- optional parts ---------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A program or package that may be there, what it does for us, and the extra of this package that brings it."""

    name: str
    does: str
    extra: str | None = None


PARTS = (
    Part("dot", "draws pictures (Graphviz itself)"),
    Part("pygraphviz", "draws pictures where there is no dot", "draw"),
    Part("matplotlib", "draws pictures of learning", "plot"),
    Part("safetensors", "saves and loads models and training", "save"),
    Part("h5py", "reads and writes Keras's files", "keras"),
    Part("onnx", "writes models for onnxruntime and others", "onnx"),
    Part("tqdm", "shows the progress of training"),
    Part("debugpy", "lets an editor step through programs"),
)


def version_of(part: str) -> str | None:
    """The version of a part; None if it is missing."""
    if part == "dot":
        version = re.search(r"version (\S+)", told("dot", "-V"))
        return version[1] if version else "unknown" if shutil.which("dot") else None
    try:
        return metadata.version(part)
    except (metadata.PackageNotFoundError, KeyError):
        return None


def command_for(part: Part) -> str:
    """The command that brings a missing part."""
    if part.name == "dot":
        return {"darwin": "brew", "win32": "winget"}.get(sys.platform, "apt") + " install graphviz"
    wanted = f'"tinygrad_wb[{part.extra}]"' if part.extra else part.name
    return f"python -m pip install {wanted}"


def parts(find: Callable[[str], str | None] = version_of) -> list[Finding]:
    """Which optional parts are there; with the command that brings it, for each that is missing."""
    found = []
    for part in PARTS:
        version = find(part.name)
        remedy = None if version else Remedy(f"{part.name} is missing, which {part.does}:", command_for(part))
        says = f"{version or 'missing':<9} {part.does}"
        found.append(Finding(OPTIONAL, part.name, says, version is not None, remedy))
    return found


# -- the report -------------------------------------------------------------------------------------------------------


def examine() -> list[Finding]:
    """Everything that there is to find out, in a second or two."""
    cores, found, flags = usable_cores(), blas(), cpuinfo().get("flags", "").split()
    return [
        *machine(cores),
        Finding(PRODUCTS, "BLAS", found.name, None if found.name == "unknown" else True),
        *kernels(measure(), flags, os.environ.get(CORETYPE)),
        threads(found, cores, os.environ),
        *faults(),
        *parts(),
    ]


def report(findings: Iterable[Finding], width: int = 80) -> str:
    """The findings as text, topic by topic, and the remedies behind them."""
    findings = list(findings)
    lines = []
    for topic, rows in itertools.groupby(findings, key=lambda finding: finding.topic):
        lines += ["", topic]
        for row in rows:
            mark = {True: "✓", False: "–", None: "?"}[row.fine]
            lines += textwrap.wrap(
                row.says, width, initial_indent=f"  {mark} {row.name:<13}", subsequent_indent=" " * 17
            )
    remedies = [finding.remedy for finding in findings if finding.remedy]
    lines += ["", "What would help" if remedies else "Nothing to mend."]
    for number, remedy in enumerate(remedies, 1):
        lines += textwrap.wrap(remedy.why, width, initial_indent=f"{number:>3} ", subsequent_indent="    ")
        lines += [f"        {remedy.line}", ""]
    return "\n".join([*lines, ""]).strip() + "\n"


def writable(text: str, encoding: str) -> str:
    """The text, in plainer characters where ``encoding`` lacks some of its own."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate({ord(character): other for character, other in zip("✓–×", "+-x")})
        return plain.encode(encoding, "replace").decode(encoding)
    return text


def show() -> None:
    """Examine this machine and print the report."""
    width = min(max(shutil.get_terminal_size().columns, 60), 100)
    sys.stdout.write(writable(report(examine(), width), sys.stdout.encoding or "utf-8"))
