"""The roles that actors of a history have, and the scenarios: which roles meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from tests.simulation import corpus as texts
from tests.simulation.actors import HOUR, Hands
from tests.simulation.corpus import Corpus
from tests.simulation.damage import OBJECTS

Role = Callable[[Hands, Random], None]


@dataclass
class Scenario:
    """Roles that meet in one history, the corpus that is wanted in the end, and what the environment damages meanwhile."""

    name: str
    roles: list[tuple[str, Role]]
    corpus: Corpus = field(default_factory=texts.whole)
    damage: str | None = None


def run(shards: tuple[str, ...], corpus: Corpus, *, publish: bool = True, held: bool = False) -> Role:
    """A run: commits shards that are not committed, then publishes its corpus. `held`: it works for hours on what it has read."""

    def work(hands: Hands, chance: Random) -> None:
        bank = hands.open()
        table = None if held else hands.do("look", (), "read what is committed", bank.committed_rows)
        known = set(table["content_hash"].to_pylist()) if table is not None else set()
        for shard in shards:
            part = {doc_id: corpus[doc_id] for doc_id in texts.SHARDS[shard] if doc_id in corpus}
            if part and not {texts.hash_of(*item) for item in part.items()} <= known:
                pause = chance.choice((0.0, 1.0, 3600.0, 100_000.0)) if held else 0.0
                name = f"{shard}x" if 1 in part.values() else shard
                hands.commit(bank, name, part, augment=chance.random() < 0.2, pause=pause)
        for _ in range(3 if publish else 0):
            if hands.publish(bank, corpus):
                return

    return work


def publisher(corpus: Corpus) -> Role:
    def work(hands: Hands, chance: Random) -> None:
        bank = hands.open()
        for _ in range(chance.randint(1, 2)):
            hands.publish(bank, corpus)

    return work


def deleter(doc_ids: list[str]) -> Role:
    """Deletes, and tries again as its user would."""

    def work(hands: Hands, chance: Random) -> None:
        bank = hands.open()
        for _ in range(3):
            if hands.delete(bank, doc_ids):
                return

    return work


def restorer(doc_ids: list[str]) -> Role:
    def work(hands: Hands, chance: Random) -> None:
        bank = hands.open()
        for _ in range(chance.randint(1, 3)):
            hands.scheduler.sleep(chance.choice((0.0, 1.0, 3.0)))
            if hands.restore(bank, doc_ids):
                return

    return work


def collector(graces: tuple[timedelta, ...] = (timedelta(0), timedelta(0), HOUR, 24 * HOUR)) -> Role:
    def work(hands: Hands, chance: Random) -> None:
        bank = hands.open()
        grace = chance.choice(graces)
        for _ in range(chance.randint(1, 2)):
            hands.gc(bank, grace)

    return work


def reader(hands: Hands, chance: Random) -> None:
    bank = hands.open()
    for _ in range(chance.randint(2, 4)):
        hands.read(bank)
        hands.scheduler.sleep(chance.choice((0.0, 0.5, 5.0)))


def verifier(hands: Hands, chance: Random) -> None:
    hands.verify(hands.open())


def repairer(hands: Hands, chance: Random) -> None:
    hands.repair(hands.open())


def _victims(chance: Random, most: int = 2) -> list[str]:
    return chance.sample(texts.OLD, chance.randint(1, most))


def deletions(chance: Random) -> Scenario:
    """Several who delete or restore, and those who publish."""
    corpus = texts.whole(texts.OLD)
    roles: list[tuple[str, Role]] = [
        ("delete", deleter(_victims(chance))) for _ in range(chance.randint(2, 4))
    ]
    roles += [("publish", publisher(corpus)) for _ in range(chance.randint(0, 2))]
    roles += [("run", run(("s3",), texts.whole()))] * chance.randint(0, 1)
    roles += [("restore", restorer(_victims(chance)))] * chance.randint(0, 1)
    roles += [("read", reader)] * chance.randint(0, 1)
    return Scenario("deletions", roles)


def runs(chance: Random) -> Scenario:
    """Runs of one corpus, which share shards."""
    shards = [("s3", "s4"), ("s4", "s3"), ("s3",), ("s4", "s0")]
    roles = [
        ("run", run(chance.choice(shards), texts.whole(), held=chance.random() < 0.3))
        for _ in range(chance.randint(2, 3))
    ]
    extra: list[tuple[str, Role]] = [
        ("read", reader),
        ("verify", verifier),
        ("delete", deleter(_victims(chance))),
    ]
    return Scenario("runs", roles + chance.sample(extra, chance.randint(0, 2)))


def clearing(chance: Random) -> Scenario:
    """Two who clear beside work."""
    roles: list[tuple[str, Role]] = [("gc", collector()) for _ in range(chance.randint(1, 2))]
    extra: list[tuple[str, Role]] = [
        ("delete", deleter(_victims(chance))),
        ("run", run(("s3",), texts.whole())),
        ("run", run(("s3", "s4"), texts.whole())),
        ("restore", restorer(["d5"])),
        ("read", reader),
        ("verify", verifier),
        ("repair", repairer),
    ]
    return Scenario("clearing", roles + chance.sample(extra, chance.randint(1, 3)))


def late(chance: Random) -> Scenario:
    """A trainer that has read documents before they are deleted and cleared, and commits them afterwards."""
    shard = chance.choice(("s0", "s1", "s2"))
    victims = [chance.choice(texts.SHARDS[shard])]
    roles: list[tuple[str, Role]] = [
        ("run", run((shard,), texts.whole(), held=True)),
        ("delete", deleter(victims)),
        ("gc", collector()),
    ]
    extra: list[tuple[str, Role]] = [
        ("gc", collector()),
        ("run", run(("s3",), texts.whole())),
        ("restore", restorer(victims)),
        ("read", reader),
    ]
    return Scenario("late", roles + chance.sample(extra, chance.randint(0, 2)))


def changes(chance: Random) -> Scenario:
    """Runs of different corpora: one has a document in another wording, one lacks another."""
    edited = texts.whole() | {"d1": 1}
    smaller = {doc_id: wording for doc_id, wording in edited.items() if doc_id != "d2"}
    roles: list[tuple[str, Role]] = [
        ("run", run(("s0", "s3"), edited)),
        ("run", run(("s3",), chance.choice((texts.whole(), smaller)))),
    ]
    extra: list[tuple[str, Role]] = [
        ("gc", collector()),
        ("delete", deleter(["d1"])),
        ("restore", restorer(["d1"])),
        ("delete", deleter(["d3"])),
        ("read", reader),
    ]
    return Scenario("changes", roles + chance.sample(extra, chance.randint(0, 3)), edited)


def everything(chance: Random) -> Scenario:
    """Anybody, and more of them."""
    victims = _victims(chance, 3)
    pool: list[tuple[str, Role]] = [
        ("run", run(("s3", "s4"), texts.whole())),
        ("run", run(("s4",), texts.whole(), held=True)),
        ("run", run(("s0", "s1"), texts.whole(), held=True)),
        ("publish", publisher(texts.whole())),
        ("delete", deleter(victims)),
        ("delete", deleter(_victims(chance))),
        ("restore", restorer(victims)),
        ("restore", restorer(["d5"])),
        ("gc", collector()),
        ("gc", collector((timedelta(0),))),
        ("repair", repairer),
        ("read", reader),
        ("read", reader),
        ("verify", verifier),
    ]
    return Scenario("everything", chance.sample(pool, chance.randint(3, 6)))


DAMAGES = [f"{name}: {how}" for name in OBJECTS for how in ("lost", "damaged")]


def damage(chance: Random) -> Scenario:
    """An object is lost or damaged while nobody looks; then somebody deletes, publishes, reads."""
    roles: list[tuple[str, Role]] = [
        ("delete", deleter(["d3"])),
        ("publish", publisher(texts.whole())),
        ("read", reader),
        ("verify", verifier),
    ]
    return Scenario("damage", chance.sample(roles, chance.randint(1, 3)), damage=chance.choice(DAMAGES))


MAKERS = (
    deletions,
    deletions,
    deletions,
    runs,
    clearing,
    clearing,
    late,
    late,
    changes,
    everything,
    everything,
    damage,
)
SCENARIOS = tuple(dict.fromkeys(maker.__name__ for maker in MAKERS))


def draw(chance: Random) -> Scenario:
    """Draw a scenario."""
    return chance.choice(MAKERS)(chance)
