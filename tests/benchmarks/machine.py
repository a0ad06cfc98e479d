"""Where it was measured: everything about the machine and its software that moves the numbers."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
from turns import THREAD_SETTINGS

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
    """As NumPy reports it, and the kernels that were picked here where `threadpoolctl` can tell."""
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    text = f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()
    try:
        import threadpoolctl
    except ImportError:
        return text
    kernels = {pool["architecture"] for pool in threadpoolctl.threadpool_info() if "architecture" in pool}
    return f"{text}, {', '.join(sorted(kernels))} kernels" if kernels else text


def facts() -> dict[str, str]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    settings = {k: v for k, v in os.environ.items() if k.startswith(TELLING)} | THREAD_SETTINGS
    return {
        "Processor": f"{processor()}, {usable} of {os.cpu_count()} cores usable",
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "BLAS of NumPy": blas(),
        "Environment": ", ".join(f"`{k}={v}`" for k, v in sorted(settings.items())),
    }
