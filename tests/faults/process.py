"""One process of a run: a role of the simulation, played on a real bank until time is up or it is killed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

from prag_core.storage import patience, retries
from prag_core.storage.objects import S3_CONFIG
from tests.faults.journal import Journal
from tests.simulation import corpus as texts
from tests.simulation.actors import HOUR, Hands
from tests.simulation.corpus import Corpus
from tests.simulation.oracle import Oracle
from tests.simulation.roles import Role, collector, deleter, publisher, reader, restorer, run, verifier
from tests.simulation.scheduler import Actor

LONGEST_PAUSE = 0.2  # seconds, for what are hours in the simulation
PATIENCE = 20.0  # seconds


@dataclass
class World:
    """The real surroundings of an actor. Time cannot stand still here, so nobody looks on aside."""

    chance: Random
    oracle: Oracle
    last: str = field(default="", init=False)

    @property
    def step(self) -> int:
        return time.monotonic_ns()

    @step.setter
    def step(self, step: int) -> None:
        raise AssertionError("time passes by itself")

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_PAUSE))

    def note(self, who: str, what: str, note: str = "") -> None:
        self.last = note or self.last
        if isinstance(self.oracle, Journal):
            self.oracle.write("note", self.step, what, note)

    def current(self) -> Actor | None:
        return None

    def aside(self, work: Callable[[], None]) -> None:
        raise AssertionError("nobody stands still")


@dataclass(frozen=True)
class Life:
    """What a process is to do: the role `number` of the cast of `seed`, on the bank at `uri`, until `end` (nanoseconds of the
    monotonic clock). `variables`: of the environment."""

    name: str
    number: int
    seed: int
    uri: str
    journal: Path
    end: int
    variables: dict[str, str] = field(hash=False)


def live(life: Life) -> None:
    """Play a role once, and again and again until the time is up, and look at the bank after each time."""
    os.environ.update(life.variables)
    tempfile.tempdir = str(life.journal.parent)
    S3_CONFIG.update(connect_timeout=2, read_timeout=3)
    retries.SILENCE = 3.0
    journal, chance = Journal(life.journal, life.name), Random(f"{life.seed} {life.name}")
    hands = Hands(life.name, World(chance, journal), journal, life.uri)
    _, role = cast(Random(life.seed))[1][life.number]
    with patience(PATIENCE):
        working = True
        while working:
            role(hands, chance)
            hands.read(hands.open())
            working = time.monotonic_ns() < life.end


def cast(chance: Random) -> tuple[Corpus, list[tuple[str, Role]]]:
    """Draw the corpus that is wanted, and four to six who work at once. Every third gc is forced to spare nothing."""
    corpus = texts.whole() | {"d1": chance.randint(0, 1)}
    victims = chance.sample(texts.OLD, chance.randint(1, 3))
    graces = chance.choice(((HOUR,), (HOUR,), (timedelta(0), timedelta(seconds=1))))
    always: list[tuple[str, Role]] = [
        ("run", run(("s3", "s4", "s0"), corpus)),
        ("delete", deleter(victims[:2])),
        ("gc", collector(graces)),
    ]
    pool: list[tuple[str, Role]] = [
        ("run", run(("s4", "s3"), corpus, held=True)),
        ("run", run(("s0", "s1"), corpus, publish=False, held=True)),
        ("publish", publisher(corpus)),
        ("delete", deleter(victims[-1:])),
        ("restore", restorer(victims)),
        ("restore", restorer(["d5"])),
        ("gc", collector(graces)),
        ("read", reader),
        ("read", reader),
        ("verify", verifier),
    ]
    return corpus, always + chance.sample(pool, chance.randint(1, 3))
