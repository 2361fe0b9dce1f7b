"""Make runs of real processes on a bank over a folder, OpenStack Swift and radosgw, and check every promise after each.

python -m tests.faults --runs 50 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import SWIFT_VENV, S3Server, install_swift, s3_place
from tests.faults.campaign import Result, run

PLACES = (("local", False), ("swift", False), ("radosgw", False), ("swift", True), ("radosgw", True))
SECONDS = {"local": 3.0, "swift": 6.0, "radosgw": 6.0}  # that the processes of a run work


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        servers = Servers(stack)
        for seed in range(options.seed, options.seed + options.runs):
            begin = time.monotonic()
            store, network = PLACES[seed % len(PLACES)]
            with place(servers, store) as (uri, folder, variables):
                result = run(seed, uri, folder, variables, network=network, seconds=SECONDS[store])
            results.append(result)
            what = f"{'network' if network else 'processes'} on {store}"
            print(f"--seed {seed}: {what}, {tell(result)}, {time.monotonic() - begin:.0f} s", flush=True)
            if result.violation:
                print("\n".join([*result.history, f"BROKEN: {result.violation}"]), flush=True)
    return summarize(results)


def tell(result: Result) -> str:
    faults = f", {result.faults.total()} network faults" if result.faults else ""
    verdict = f"BROKEN: {result.violation.promise}" if result.violation else "every promise kept"
    calls = f"{result.calls} calls ({result.failed} failed)"
    return f"{result.processes} processes, {result.kills} kills{faults}, {calls}: {verdict}"


def summarize(results: Sequence[Result]) -> int:
    """Print what all runs came to. Returns the exit code."""
    faults: Counter[str] = sum((result.faults for result in results), Counter())
    broken = sum(result.violation is not None for result in results)
    named = ", ".join(f"{count} {name}" for name, count in sorted(faults.items())) or "none"
    print(
        f"{len(results)} runs, {sum(r.processes for r in results)} processes, {sum(r.kills for r in results)} kills, "
        f"{sum(r.calls for r in results)} calls ({sum(r.failed for r in results)} failed), network faults: {named}; "
        f"broken: {broken or 'nothing'}"
    )
    return 1 if broken else 0


class Servers:
    """The S3 servers, each started when it is first asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack, self.started = stack, dict[str, S3Server]()

    def variables(self, store: str) -> dict[str, str]:
        if store not in self.started:
            settings = {}
            if store == "swift":
                install_swift()
                settings = {"VENV": str(SWIFT_VENV)}
            root = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="prag-faults-"))
            server = S3Server(f"{store}.sh", Path(root), **settings)
            self.stack.callback(server.stop)
            server.start()
            self.started[store] = server
        return self.started[store].variables


@contextlib.contextmanager
def place(servers: Servers, store: str) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """A place for a bank, a folder for the journal, and the variables that reach the store."""
    with tempfile.TemporaryDirectory(prefix="prag-faults-") as name, pytest.MonkeyPatch.context() as patch:
        if store == "local":
            yield f"{name}/bank", Path(name), {}
            return
        variables = servers.variables(store)
        with contextlib.contextmanager(s3_place)(variables, patch) as uri:
            yield uri, Path(name), variables


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=50, help="how many to make (default 50)")
    parser.add_argument(
        "--seed", type=int, default=0, help="the seed of the first; it draws store, actors, kills and faults"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
