"""One history: a seed draws store, faults, actors and their clocks; it runs; in the end every promise is checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from random import Random

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank import Bank, Problem
from tests.simulation import corpus as texts
from tests.simulation import roles, virtual
from tests.simulation.actors import URI, Hands
from tests.simulation.corpus import LAYOUT, RECIPE, Corpus
from tests.simulation.damage import Damage
from tests.simulation.oracle import PROMISES, Operation, Oracle, Violation
from tests.simulation.scheduler import Actor, Endless, Faults, Scheduler
from tests.simulation.store import FLAVORS, FOLDER, Flavor, SimulatedFileSystem, Stored

DAY = 24 * 3600.0
SKEWS = (0.0, 0.0, 0.0, 25 * 3600.0, -25 * 3600.0)
CONTENT = re.compile(r"bank/(documents|augmentations|adapters|rows|failures)/")


@dataclass
class Told:
    """How a history went. `violation`: the promise that it broke, if it did."""

    seed: int
    scenario: str
    scheduler: Scheduler
    violation: Violation | None = None

    @property
    def lines(self) -> Iterator[str]:
        """The history, a line an event: hours, minutes and seconds since its beginning, who, what, what came of it."""
        names: dict[str, str] = {}

        def short(match: re.Match[str]) -> str:
            return names.setdefault(match[0], match[0][:4])

        start = self.scheduler.events[0].clock if self.scheduler.events else 0.0
        for event in self.scheduler.events:
            minutes, seconds = divmod(event.clock - start, 60)
            time = f"{int(minutes // 60):3}:{int(minutes % 60):02}:{seconds:05.2f}"
            what = re.sub(r"[0-9a-f]{16,}", short, f"{event.what}".replace("bank/", ""))
            note = re.sub(r"[0-9a-f]{16,}", short, event.note)
            yield f"{time}  {event.who:<10} {what}" + (f"  -- {note}" if note else "")


class Simulation:
    """Runs histories. Use inside `prepared()`."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(Random(0), FOLDER, Faults())
        self._banks: dict[str, tuple[dict[str, Stored], list[Operation]]] = {}

    def tell(
        self, seed: int, checked: Collection[str] = PROMISES, scenarios: Collection[str] = roles.SCENARIOS
    ) -> Told:
        """Run one history to its end or to the first promise that it breaks. One of another scenario is not begun."""
        chance = Random(seed)
        flavor, faults = chance.choice((FOLDER, *FLAVORS.values())), Faults.draw(chance)
        start, scenario = chance.choice(("whole", "deleted")), roles.draw(chance)
        objects, before = self._bank(start)
        scheduler = self._enter(chance, flavor, faults, objects)
        told = Told(seed, f"{scenario.name} {scenario.damage or ''}".strip(), scheduler)
        if scenario.name in scenarios:
            try:
                _History(scheduler, Oracle(flavor.exclusive, checked, before), scenario).run()
            except Violation as error:
                told.violation = error
            except Endless as error:
                told.violation = Violation("typed", str(error))
        return told

    def _enter(self, chance: Random, flavor: Flavor, faults: Faults, objects: dict[str, Stored]) -> Scheduler:
        self.scheduler = Scheduler(chance, flavor, faults)
        SimulatedFileSystem.objects, SimulatedFileSystem.calls = dict(objects), self.scheduler
        return self.scheduler

    def _bank(self, start: str) -> tuple[dict[str, Stored], list[Operation]]:
        """The bank that a history begins with: six documents in three shards, published, the last perhaps deleted."""
        if start not in self._banks:
            scheduler = self._enter(Random(1), FOLDER, Faults(), {})
            scheduler.clock -= 2 * DAY
            hands = Hands("before", scheduler, Oracle(exclusive=True))
            bank = Bank.create(URI, RECIPE, LAYOUT, texts.factors(0))
            for shard in ("s0", "s1", "s2"):
                hands.commit(bank, shard, texts.whole(texts.SHARDS[shard]), augment=shard == "s0")
            hands.publish(bank, texts.whole(texts.OLD))
            if start == "deleted":
                hands.delete(bank, ["d5"])
            before = list(hands.oracle.among("commit", "publish", "delete"))
            for operation in before:
                operation.begin = operation.end = -1
            self._banks[start] = dict(SimulatedFileSystem.objects), before
        return self._banks[start]


@contextmanager
def prepared() -> Iterator[Simulation]:
    """Put the simulation in the place of store, clock, chance and threads while the block runs."""
    fsspec.register_implementation("sim", SimulatedFileSystem, clobber=True)
    simulation = Simulation()
    with virtual.installed(lambda: simulation.scheduler):
        yield simulation


class _History:
    def __init__(self, scheduler: Scheduler, oracle: Oracle, scenario: roles.Scenario) -> None:
        self.scheduler, self.oracle, self.scenario = scheduler, oracle, scenario
        self.chance = scheduler.chance
        self.hands = Hands("at rest", scheduler, oracle)

    def run(self) -> None:
        damage = Damage(self.scenario.damage, self.hands, self.chance) if self.scenario.damage else None
        if damage:
            damage.strike()
        for number, (name, role) in enumerate(self.scenario.roles):
            self._start(f"{name}-{number}", role, restart=self.chance.random() < 0.5)
        self.scheduler.run()
        self.scheduler.faults = Faults()
        self.scheduler.clock += 2 * DAY
        if damage:
            damage.check()
        else:
            self._rest()

    def _start(self, name: str, role: roles.Role, *, restart: bool) -> None:
        """Start an actor. With `restart` somebody starts it again after it died."""
        chance = Random(self.chance.random())

        def live(actor: Actor) -> None:
            try:
                role(Hands(actor.name, self.scheduler, self.oracle), chance)
            finally:
                if actor.crashed and restart:
                    self._start(f"{name} again", role, restart=False)

        actor = Actor(name, live, self.chance.choice(SKEWS))
        actor.wake = self.scheduler.clock + self.chance.choice((0.0, 0.0, 1.0, 10.0, 7200.0))
        self.scheduler.actors.append(actor)

    def _rest(self) -> None:
        """Check a bank at which nobody works any more, then clear it, then let a late trainer bring everything once more."""
        bank, corpus = Bank.open(URI), self.scenario.corpus
        self._publish(bank, corpus, "at rest")
        self._clear(bank, corpus)
        if self._gone() and "erased" in self.oracle.checked and self.chance.random() < 0.3:
            self.hands.commit(bank, "late", texts.whole(sorted(self._gone())), augment=False)
            self._publish(bank, corpus, "after a trainer that came late")
            self._clear(bank, corpus)

    def _publish(self, bank: Bank, corpus: Corpus, when: str) -> None:
        if not self.hands.publish(bank, corpus):
            self.oracle.violate("committed", f"nothing can be published {when}: {self._last_note()}")
        self._check(bank, corpus, when)

    def _check(self, bank: Bank, corpus: Corpus, when: str) -> list[Problem]:
        looked = self.hands.read(bank)
        if looked is None:
            self.oracle.violate("committed", f"the bank cannot be read {when}: {self._last_note()}")
        else:
            self.oracle.check_at_rest(*looked, corpus, when)
            self.hands.read_documents(bank, looked[0])
        return self.hands.verify(bank) or []

    def _clear(self, bank: Bank, corpus: Corpus) -> None:
        for _ in range(2):
            self.scheduler.clock += 2 * DAY
            if not self.hands.gc(bank, timedelta(0)):
                self.oracle.violate("cleared", f"gc fails at rest: {self._last_note()}")
        problems = self._check(bank, corpus, "after gc")
        left = [f"{problem.path} {problem.message}" for problem in problems]
        if left:
            self.oracle.violate("cleared", f"two gcs left {'; '.join(left)}")
        for path, doc_ids in _contents():
            if doc_ids & self._gone():
                self.oracle.violate("cleared", f"{path} still has {doc_ids & self._gone()} after two gcs")

    def _gone(self) -> set[str]:
        """Documents whose deletion is in force."""
        now = self.oracle.now
        return {doc_id for doc_id in texts.OLD if self.oracle.is_deleted(doc_id, now, now)}

    def _last_note(self) -> str:
        return next((event.note for event in reversed(self.scheduler.events) if event.note), "")


def _contents() -> Iterator[tuple[str, set[str]]]:
    """Objects with rows of documents, and whose they are, read with pyarrow alone."""
    for path, stored in SimulatedFileSystem.objects.items():
        if CONTENT.match(path):
            yield path, _doc_ids(stored.data)


@lru_cache(maxsize=2048)
def _doc_ids(data: bytes) -> set[str]:
    table = pq.ParquetFile(pa.BufferReader(data)).read(["doc_id"], use_threads=False)
    return set(table["doc_id"].to_pylist())
