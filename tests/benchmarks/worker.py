"""One turn of one framework, in a process of its own: ``worker.py PEER WORK-NUMBER QUICK``; prints JSON."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict

from machine import blas
from peers import NotHere
from work import THREADS, WORK


def main(file: str, number: str, quick: str) -> None:
    if hasattr(os, "sched_setaffinity"):  # no more processors than threads: some frameworks count the former
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    try:
        name, _, part = file.partition(":")
        peer = importlib.import_module(f"peers.{name}")
        peer = getattr(peer, part) if part else peer
        measured = WORK[int(number)].run(peer, quick == "quick")
        if problem := getattr(peer, "problem", str)():
            raise NotHere(problem)
    except NotHere as reason:
        print(json.dumps({"not_here": str(reason)}))
    else:
        print(json.dumps(asdict(measured) | {"kernels": getattr(peer, "kernels", blas)()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
