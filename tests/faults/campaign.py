"""One run: processes work on one bank at once, some are killed and started again, the network fails; then the bank is checked.

A seed draws who works, who is killed when, and how often the network fails. The operating system draws the rest: the same seed is
the same campaign, not the same history.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

from prag_core.bank import Bank
from tests.faults.journal import count_calls, history, judge
from tests.faults.process import Life, World, cast, live
from tests.faults.proxy import FaultyProxy
from tests.faults.rest import check_at_rest
from tests.simulation import corpus as texts
from tests.simulation.actors import Hands
from tests.simulation.oracle import Oracle, Violation

SECOND = 1_000_000_000
LONGEST = 180.0  # seconds after which a process that has not ended hangs
RATES = (0.01, 0.03)  # network faults, a piece of traffic

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.process"])


@dataclass
class Result:
    """How a run went. `violation`: the promise that was broken, if one was."""

    processes: int = 0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    failed: int = 0
    violation: Violation | None = None
    history: list[str] = field(default_factory=list)


def run(
    seed: int, uri: str, folder: Path, variables: dict[str, str], *, network: bool, seconds: float
) -> Result:
    """Make the run of a seed on a bank at `uri`, of so many seconds. `folder`: for the journal; `variables`: those that reach the
    store, set in this process too; `network`: whether the network fails."""
    return _Run(seed, uri, folder / "journal", variables, seconds).make(network=network)


class _Run:
    def __init__(self, seed: int, uri: str, journal: Path, variables: dict[str, str], seconds: float) -> None:
        self.seed, self.uri, self.journal, self.variables = seed, uri, journal, variables
        self.seconds = seconds
        journal.touch()
        self.chance, self.result, self.died = Random(seed), Result(), dict[str, int]()
        self.corpus, self.roles = cast(Random(seed))
        self.oracle = Oracle(exclusive=False)
        self.world = World(self.chance, self.oracle)
        self.hands = Hands("at rest", self.world, self.oracle, uri)

    def make(self, *, network: bool) -> Result:
        self._prepare()
        try:
            with self._network() if network else contextlib.nullcontext(self.variables) as variables:
                self._work(variables)
            if self.variables:
                time.sleep(1.0)  # what dead processes have sent arrives
            judge(self.journal, self.oracle, self.died)
            check_at_rest(self.hands, self.world, self.corpus)
        except Violation as error:
            self.result.violation, self.result.history = error, list(history(self.journal))
        self.result.calls, self.result.failed = count_calls(self.journal)
        return self.result

    def _prepare(self) -> None:
        """A bank of six documents in three shards, published, one perhaps deleted."""
        bank = Bank.create(self.uri, texts.RECIPE, texts.LAYOUT, texts.factors(0))
        for shard in ("s0", "s1", "s2"):
            self.hands.commit(bank, shard, texts.whole(texts.SHARDS[shard]), augment=shard == "s0")
        self.hands.publish(bank, texts.whole(texts.OLD))
        if self.chance.random() < 0.5:
            self.hands.delete(bank, ["d5"])

    @contextlib.contextmanager
    def _network(self) -> Iterator[dict[str, str]]:
        """A network that fails. Yields the variables that lead through it."""
        rate, chance = self.chance.choice(RATES), Random(self.chance.random())
        with FaultyProxy(self.variables["AWS_ENDPOINT_URL"], chance, rate) as proxy:
            self.result.faults = proxy.faults
            yield self.variables | {"AWS_ENDPOINT_URL": proxy.url}

    def _work(self, variables: dict[str, str]) -> None:
        """Have all work at once; kill some, and start them again."""
        first = CONTEXT.Process(target=int)  # the others start quickly once the first has imported everything
        first.start()
        first.join()
        begin = time.monotonic()
        end = int((begin + self.seconds) * SECOND)
        lives = [
            Life(f"{name}-{number}", number, self.seed, self.uri, self.journal, end, variables)
            for number, (name, _) in enumerate(self.roles)
        ]
        self.result.processes = len(lives)
        working = {life: start(life) for life in lives}
        try:
            for moment in sorted(
                self.chance.uniform(0.1, self.seconds) for _ in range(self.chance.randint(2, 6))
            ):
                time.sleep(max(0.0, begin + moment - time.monotonic()))
                self._kill(self.chance.randrange(len(working)), working)
            for life, process in working.items():
                process.join(max(0.0, begin + LONGEST - time.monotonic()))
                if process.exitcode != 0:
                    how = "is still at work" if process.is_alive() else f"ended with {process.exitcode}"
                    self.oracle.violate("typed", f"{life.name} {how} after {LONGEST:.0f} s at most")
        finally:
            for process in working.values():
                process.kill()

    def _kill(self, number: int, working: dict[Life, ForkServerProcess]) -> None:
        life = sorted(working, key=lambda life: life.number)[number]
        process = working[life]
        if not process.is_alive():
            return
        process.kill()
        process.join()
        self.died[life.name] = time.monotonic_ns()
        self.result.kills += 1
        del working[life]
        again = replace(life, name=f"{life.name}+")
        working[again] = start(again)


def start(life: Life) -> ForkServerProcess:
    process = CONTEXT.Process(target=live, args=(life,), daemon=True)
    process.start()
    return process
