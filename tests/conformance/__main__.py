"""``python -m tests.conformance PATH... [--batch 1|7|all] [--mode rocks-0|rocks-10m] [--only ID]``.

Replays vector files (or all of a folder) and counts case x mode. A file whose topology uses an operator that is not
built yet is skipped, for no other reason. Ends with ``N passed, M failed, K skipped`` and exit status 1 when M > 0.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from pathlib import Path

from tests.conformance.replay import Difference, check_topology, replay
from tests.conformance.vectors import MODES, VECTORS, Vector, find, read

BATCHES: dict[str, int | None] = {"1": 1, "7": 7, "all": None}


class Totals:
    """The counts of a run."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.unbuilt: Counter[str] = Counter()

    def skip(self, vector: Vector, modes: list[str], unbuilt: set[str]) -> None:
        self.unbuilt.update(unbuilt)
        self.skipped += len(modes) * max(1, len(vector.cases))

    def file(self, vector: Vector, modes: list[str], batch_size: int | None, *, verbose: bool) -> None:
        """Replay a file and print how it first differs, if it does."""
        first: str | None = None
        failed = 0

        def failure(found: object, mode: str | None) -> None:
            nonlocal first, failed
            failed += 1
            first = first or (f"{mode} {found}" if mode else str(found))

        try:
            found = check_topology(vector)
        except Exception as error:
            found = _crash(error, verbose)
        if found is not None:
            failure(found, None)
        elif not vector.cases:
            self.passed += len(modes)
        for mode in modes:
            for case in vector.cases:
                try:
                    found = replay(vector, case, mode, batch_size)
                except Exception as error:
                    found = _crash(error, verbose, case["case"])
                if found is None:
                    self.passed += 1
                else:
                    failure(found, mode)
        self.failed += failed
        if first is not None:
            print(f"{vector.name}: {failed} failed, first at {first}", flush=True)


def _crash(error: Exception, verbose: bool, case: int | None = None) -> Difference:
    if verbose:
        traceback.print_exception(error)
    return Difference(case, None, "raised", "no exception", f"{type(error).__name__}: {error}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[VECTORS], help="vector files or folders of them")
    parser.add_argument("--batch", choices=list(BATCHES), default="1", help="records fed at once")
    parser.add_argument(
        "--mode", choices=list(MODES), action="append", help="recording to compare with; both if not given"
    )
    parser.add_argument("--only", metavar="ID", help="only the files of this id, such as W02 or W02/v1")
    parser.add_argument("--verbose", action="store_true", help="print tracebacks of unexpected exceptions")
    options = parser.parse_args(arguments)
    totals = Totals()
    for path in find(options.paths):
        vector = read(path)
        if options.only and options.only not in {vector.name, vector.header["id"]}:
            continue
        modes = vector.modes(options.mode or MODES)
        if not modes:
            continue
        unbuilt = vector.unbuilt()
        if unbuilt:
            totals.skip(vector, modes, unbuilt)
        else:
            totals.file(vector, modes, BATCHES[options.batch], verbose=options.verbose)
    if totals.unbuilt:
        operators = ", ".join(f"{name} ({count})" for name, count in sorted(totals.unbuilt.items()))
        print(f"not built yet (files): {operators}")
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
