"""Run histories of the simulation, or tell one.

    python -m tests.simulation --histories 20000 --processes 2
    python -m tests.simulation --seed 123 --trace
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.history import Told, prepared
from tests.simulation.oracle import PROMISES

BATCH = 100


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if options.seed is not None:
        with prepared() as simulation:
            told = simulation.tell(options.seed, options.promises)
        show(told, trace=options.trace)
        return 1 if told.violation else 0
    return campaign(options)


def campaign(options: argparse.Namespace) -> int:
    """Run many histories. Returns the exit code."""
    begin, done, steps = time.monotonic(), 0, 0
    found: dict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
    for results in batches(options):
        for seed, taken, scenario, promise, message in results:
            done, steps = done + 1, steps + taken
            if promise:
                found[promise].append((taken, seed, scenario, message))
        rate = done / (time.monotonic() - begin)
        counts = ", ".join(f"{len(found[promise])} {promise}" for promise in found) or "nothing"
        print(f"{done} histories, {steps} storage calls, {60 * rate:.0f} histories a minute; found: {counts}", flush=True)
        if found and not options.keep_going:
            break
    report(found, options)
    return 1 if found else 0


def batches(options: argparse.Namespace) -> Iterator[list[tuple[int, int, str, str, str]]]:
    seeds = range(options.first, options.first + options.histories)
    parts = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    if options.processes == 1:
        yield from (batch(part, options.promises) for part in parts)
        return
    with ProcessPoolExecutor(options.processes) as pool:
        yield from pool.map(batch, parts, [options.promises] * len(parts))


def batch(seeds: Sequence[int], promises: Sequence[str]) -> list[tuple[int, int, str, str, str]]:
    """Run the histories of these seeds: for each seed, storage calls, scenario, and the promise broken with what was seen."""
    results = []
    with prepared() as simulation:
        for seed in seeds:
            told = simulation.tell(seed, promises)
            broken = told.violation
            results.append(
                (seed, told.steps, told.scenario, broken.promise if broken else "", broken.message if broken else "")
            )
    return results


def report(found: dict[str, list[tuple[int, int, str, str]]], options: argparse.Namespace) -> None:
    """Print the violations by promise, and the history of the shortest of each."""
    for promise, violations in found.items():
        scenarios = Counter(scenario for _, _, scenario, _ in violations)
        print(f"\n{promise}: {len(violations)} histories ({', '.join(f'{n} {s}' for s, n in scenarios.most_common())})")
        for taken, seed, scenario, message in sorted(violations)[: options.examples]:
            print(f"  --seed {seed}: {scenario}, {taken} calls: {message.splitlines()[0][:200]}")
        with prepared() as simulation:
            show(simulation.tell(min(violations)[1], options.promises), trace=True)


def show(told: Told, *, trace: bool) -> None:
    print(f"seed {told.seed}: {told.scenario} on {told.flavor}, {told.faults}, {told.steps} storage calls")
    if trace:
        print("\n".join(told.lines))
    print(f"VIOLATED: {told.violation}" if told.violation else "every promise was kept")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--histories", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1, help="processes to run them in")
    parser.add_argument("--seed", type=int, help="run the history of this seed alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every storage call")
    parser.add_argument("--promises", nargs="+", choices=PROMISES, default=PROMISES, help="the promises to check")
    parser.add_argument("--keep-going", action="store_true", help="run all, whatever is found")
    parser.add_argument("--examples", type=int, default=5, help="seeds to print of each promise that was broken")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
