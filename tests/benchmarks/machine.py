"""Where it was measured: everything about the machine and its software that moves the numbers."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from turns import CORETYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

# Settings that choose kernels or threads, or change how Python runs.
TELLING = (
    "OPENBLAS_",
    "OMP_",
    "MKL_",
    "GOMP_",
    "XLA_",
    "JAX_",
    "TORCH",
    "NPY_",
    "NUMPY_",
    "PYTHONOPTIMIZE",
    "PYTHONMALLOC",
)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def blas() -> str:
    """NumPy's in this process: its name, and the kernels that it runs where it tells."""
    from tinygrad_wb import doctor  # only when all is measured

    found = doctor.blas()
    return f"{found.name}, {found.kernels} kernels" if found.kernels else found.name


def facts(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` is the environment of the processes that were measured."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    settings = {k: v for k, v in env.items() if k.startswith(TELLING)}
    environment = ", ".join(f"`{k}={v}`" for k, v in sorted(settings.items()))
    if CORETYPE in os.environ and CORETYPE not in env:
        environment += (
            f". `{CORETYPE}`, which was `{os.environ[CORETYPE]}`, was unset for all: OpenBLAS picked its kernels itself"
        )
    return {
        "Processor": f"{processor()}, {usable} of {os.cpu_count()} cores usable",
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Environment": environment,
    }
