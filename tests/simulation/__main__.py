"""Run histories of the simulation, or tell one.

python -m tests.simulation --histories 20000
python -m tests.simulation --seed 123 --trace
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

from tests.simulation.history import Told, prepared
from tests.simulation.oracle import PROMISES
from tests.simulation.roles import SCENARIOS

BATCH = 100


class Outcome(NamedTuple):
    """What came of one history: its storage calls and, if it broke a promise, which one and what was seen."""

    steps: int
    seed: int
    scenario: str
    promise: str
    message: str

    def __str__(self) -> str:
        message = self.message.splitlines()[0][:200] if self.message else ""
        return f"  --seed {self.seed}: {self.scenario}, {self.steps} calls; {self.promise}: {message}"


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if options.seed is None:
        return campaign(options)
    with prepared() as simulation:
        told = simulation.tell(options.seed, options.promises)
    show(told, trace=options.trace)
    return 1 if told.violation else 0


def campaign(options: argparse.Namespace) -> int:
    """Run many histories. Returns the exit code."""
    begin, done, calls = time.monotonic(), 0, 0
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcomes in batches(options):
        done, calls = done + len(outcomes), calls + sum(outcome.steps for outcome in outcomes)
        for outcome in outcomes:
            if outcome.promise:
                found[outcome.promise].append(outcome)
                print(outcome)
        rate = 60 * done / (time.monotonic() - begin)
        counts = ", ".join(f"{len(broken)} × {promise}" for promise, broken in found.items())
        print(
            f"{done} histories, {calls} storage calls, {rate:.0f} histories a minute; broken: {counts or 'nothing'}",
            flush=True,
        )
        if found and not options.keep_going:
            break
    for promise in found:
        report(found[promise], options)
    return 1 if found else 0


def batches(options: argparse.Namespace) -> Iterator[list[Outcome]]:
    seeds = range(options.first, options.first + options.histories)
    parts = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    run = partial(batch, promises=options.promises, scenarios=options.scenarios)
    if options.processes == 1:
        yield from map(run, parts)
        return
    with ProcessPoolExecutor(options.processes) as pool:
        yield from pool.map(run, parts)


def batch(seeds: Sequence[int], promises: Sequence[str], scenarios: Sequence[str]) -> list[Outcome]:
    """Run the histories of these seeds that are of these scenarios."""
    outcomes = []
    with prepared() as simulation:
        for seed in seeds:
            told = simulation.tell(seed, promises, scenarios)
            if told.scheduler.events:
                broken = told.violation
                what = (broken.promise, broken.message) if broken else ("", "")
                outcomes.append(Outcome(told.scheduler.step, seed, told.scenario, *what))
    return outcomes


def report(broken: list[Outcome], options: argparse.Namespace) -> None:
    """Print who broke a promise, and the shortest history that did."""
    scenarios = Counter(outcome.scenario for outcome in broken).most_common()
    print(
        f"\n{broken[0].promise}: {len(broken)} histories ({', '.join(f'{n} {name}' for name, n in scenarios)})"
    )
    for outcome in sorted(broken)[: options.examples]:
        print(outcome)
    with prepared() as simulation:
        show(simulation.tell(min(broken).seed, options.promises), trace=True)


def show(told: Told, *, trace: bool) -> None:
    print(f"seed {told.seed}: {told.scenario} on {told.scheduler.flavor.name}, {told.scheduler.faults}")
    if trace:
        print("\n".join(told.lines))
    print(f"BROKEN: {told.violation}" if told.violation else "Every promise was kept.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--histories", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1, help="processes to run them in")
    parser.add_argument("--seed", type=int, help="run the history of this seed alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every storage call")
    parser.add_argument(
        "--promises", nargs="+", choices=PROMISES, default=PROMISES, help="the promises to check"
    )
    parser.add_argument(
        "--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="the scenarios to run"
    )
    parser.add_argument("--keep-going", action="store_true", help="run all, whatever is found")
    parser.add_argument("--examples", type=int, default=5, help="seeds to print of each promise")
    return parser.parse_args(argv)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a history
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())
