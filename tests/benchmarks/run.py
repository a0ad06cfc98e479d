"""The benchmark: this package and every peer that is installed, on the same work, in turn, in one run.

python tests/benchmarks/run.py                     all of it; writes docs/performance.md
python tests/benchmarks/run.py --quick             fewer rounds and steps; prints the page instead
python tests/benchmarks/run.py --only moons        the work or the peers whose name contains this; may be repeated
python tests/benchmarks/run.py --coretype Haswell  with these kernels of NumPy's OpenBLAS, not those it picks itself
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import report
from peers import OURS, PEERS
from targets import IMPORTING
from turns import environment, import_times, take_turns
from work import WORK

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and steps")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of a work's or a peer's name")
    parser.add_argument("--coretype", metavar="NAME", help="kernels to force upon NumPy's OpenBLAS")
    options = parser.parse_args()
    env = environment(options.coretype)

    works, titles = [*(work.name for work in WORK), IMPORTING], [peer.title for peer in PEERS]
    chosen_works, chosen_titles = (
        [name for name in names if any(only.lower() in name.lower() for only in options.only)]
        for names in (works, titles)
    )
    if options.only and not (chosen_works or chosen_titles):
        sys.exit(f"--only {' '.join(options.only)}: it names none of {', '.join(works + titles)}")
    chosen_works = chosen_works or works
    chosen_titles = [OURS, *chosen_titles] if chosen_titles else titles

    results = {}
    for i, work in enumerate(WORK):
        kind = type(work).__name__
        peers = [peer for peer in PEERS if kind in peer.work and peer.title in chosen_titles]
        if work.name in chosen_works:
            print(work.name, flush=True)
            results[work.name] = take_turns(i, work, peers, options.quick, env)
    if IMPORTING in chosen_works:
        print("import", flush=True)
        results[IMPORTING] = import_times(5 if options.quick else 25, env)

    page = report.page(results, env)
    if options.quick or options.only or options.coretype:
        print("\n" + page)
    else:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
