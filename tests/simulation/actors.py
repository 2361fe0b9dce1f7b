"""What actors do: each a process that opens the bank and calls its functions, as the jobs do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar

from prag_core.bank import (
    AdapterReader,
    Bank,
    ObjectInfo,
    RepairReport,
    Stage,
    delete_documents,
    gc,
    repair,
    restore_documents,
    verify,
)
from prag_core.bank.snapshot import Snapshot
from prag_core.errors import BankError, PragError
from tests.simulation import corpus as texts
from tests.simulation.corpus import Corpus, Seen
from tests.simulation.oracle import PUBLISHING, Operation, Oracle
from tests.simulation.scheduler import Actor

URI = "sim://bank"
KEYS = [(doc_id, 0) for doc_id in texts.OLD + texts.NEW]
HOUR = timedelta(hours=1)
T = TypeVar("T")


class Surroundings(Protocol):
    """What actors live in: the scheduler of the simulation, or the real world."""

    chance: Random
    step: int

    def sleep(self, seconds: float) -> None: ...
    def note(self, who: str, what: str, note: str = "") -> None: ...
    def current(self) -> Actor | None: ...
    def aside(self, work: Callable[[], None]) -> None: ...


@dataclass
class Hands:
    """An actor's calls of the bank, each told to the oracle when it begins and ends. `name` as in the history."""

    name: str
    scheduler: Surroundings
    oracle: Oracle
    uri: str = URI

    def do(self, kind: str, names: Sequence[str], what: str, work: Callable[[], T]) -> T | None:
        """Do one call. Returns None if it fails with an error that it may fail with."""
        operation = Operation(kind, tuple(names), self.scheduler.step)
        self.oracle.add(operation)
        self.scheduler.note(self.name, f"{what} …")
        try:
            result = work()
            operation.ok = True
        except PragError as error:
            self.scheduler.note(self.name, f"… {what}", f"{type(error).__name__}: {_short(error)}")
            return None
        except Exception as error:
            trace = "".join(traceback.format_tb(error.__traceback__)[-3:])
            self.scheduler.note(self.name, f"… {what}", f"{type(error).__name__}: {_short(error)}")
            self.oracle.violate("typed", f"{what} ends with {type(error).__name__}: {error}\n{trace}")
            return None
        finally:
            self.oracle.end(operation, self.scheduler.step)
        self.scheduler.note(self.name, f"… {what}", f"returns {_shown(result)}")
        if kind in PUBLISHING:
            self.observe(operation if kind == "publish" else None)
        return result

    # -- the calls ------------------------------------------------------------------------------------------------------

    def open(self) -> Bank:
        """Open the bank, trying again while the store fails."""
        while True:
            bank = self.do("open", (), "open the bank", lambda: Bank.open(self.uri))
            if bank:
                return bank
            self.scheduler.sleep(5.0)

    def commit(self, bank: Bank, shard: str, part: Corpus, *, augment: bool, pause: float = 0.0) -> bool:
        """Write documents and, `pause` seconds later, commit their adapters. Tries again from the beginning, as a run does."""
        names = [texts.hash_of(*item) for item in part.items()]
        for _ in range(3):
            written = self.do(
                "write", (), f"write the documents of {shard}", lambda: _write(bank, shard, part)
            )
            if written:
                self.scheduler.sleep(pause)
                work = partial(self._train, bank, shard, part, written, augment=augment)
                if self.do("commit", names, f"commit {shard} ({' '.join(part)})", work):
                    return True
        return False

    def _train(self, bank: Bank, shard: str, part: Corpus, written: ObjectInfo, *, augment: bool) -> str:
        inputs = [written]
        if augment:
            with bank.begin(Stage.augmentations, shard) as writer:
                for item in part.items():
                    writer.add(texts.augmentation(*item))
                inputs = list(writer.commit(inputs).objects)
        with bank.begin(Stage.adapters, shard) as writer:
            for item in part.items():
                writer.add(texts.adapter(*item, self.scheduler.chance.random()))
            return writer.commit(inputs).attempt[:4]

    def publish(self, bank: Bank, corpus: Corpus) -> Snapshot | None:
        names = [texts.hash_of(*item) for item in corpus.items()]
        what = f"publish {' '.join(d + '*' * w for d, w in corpus.items())}"
        return self.do("publish", names, what, lambda: bank.write_snapshot(texts.wanted(corpus)))

    def delete(self, bank: Bank, doc_ids: Sequence[str]) -> Snapshot | None:
        what = f"delete {' '.join(doc_ids)}"
        return self.do("delete", doc_ids, what, lambda: delete_documents(bank, list(doc_ids)))

    def restore(self, bank: Bank, doc_ids: Sequence[str]) -> Snapshot | None:
        what = f"restore {' '.join(doc_ids)}"
        return self.do("restore", doc_ids, what, lambda: restore_documents(bank, list(doc_ids)))

    def gc(self, bank: Bank, grace: timedelta) -> Any:
        work = partial(gc, bank, grace, dry_run=False, force=grace < HOUR)
        return self.do("gc", (), f"gc with a grace of {grace}", work)

    def repair(self, bank: Bank) -> RepairReport | None:
        return self.do("repair", (), "repair", lambda: repair(bank, dry_run=False))

    def verify(self, bank: Bank) -> list[Any] | None:
        problems = self.do("verify", (), "verify", lambda: verify(bank))
        errors = [problem for problem in problems or () if problem.severity == "error"]
        if errors and not self.oracle.damaged:
            self.oracle.violate("verify", "; ".join(f"{p.path} {p.message}" for p in errors))
        return problems

    def read(self, bank: Bank) -> tuple[Seen, dict[str, float]] | None:
        """Open the newest snapshot and read all it has. Returns its documents, and the number in each adapter."""
        begin = self.scheduler.step
        opened = self.do("read", (), "open the newest snapshot", lambda: _look_up(bank))
        if opened is None:
            return None
        snapshot, seen = opened
        end = self.scheduler.step
        self.oracle.check_opened(snapshot.number, begin, end, self.name)
        self.oracle.check_deleted(seen, begin, end, f"snapshot {snapshot.number}, which {self.name} opened")
        self.oracle.check_wordings(seen)
        values = self.fetch(bank, snapshot, seen)
        return seen, values or {}

    def fetch(self, bank: Bank, snapshot: Snapshot, seen: Seen) -> dict[str, float] | None:
        what = f"read {' '.join(seen)}"
        values = self.do("fetch", (), what, lambda: _numbers(bank, snapshot, seen))
        if values:
            self.oracle.check_values(values, seen)
        return values

    def read_documents(self, bank: Bank, seen: Seen) -> None:
        """Read the texts of the newest snapshot, which has these documents."""
        read = self.do("fetch", (), "read the documents", lambda: list(bank.require_snapshot().documents()))
        expected = {texts.document(*texts.WORDINGS[content]).text for content in seen.values()}
        if read is None or {document.text for document in read} != expected:
            self.oracle.violate(
                "committed", "the documents of the newest snapshot cannot be read, or are others"
            )

    def observe(self, publish: Operation | None = None) -> None:
        """Look at the newest snapshot while all others stand still."""
        if self.scheduler.current() is None:
            return
        self.scheduler.aside(lambda: self._observe(publish))

    def _observe(self, publish: Operation | None) -> None:
        step = self.scheduler.step
        try:
            snapshot, seen = _look_up(Bank.open(self.uri))
        except Exception as error:
            if not (self.oracle.damaged and isinstance(error, BankError)):
                self.oracle.violate(
                    "readers", f"no reader can open the bank: {type(error).__name__}: {error}"
                )
            return
        where = f"snapshot {snapshot.number}"
        self.oracle.check_opened(snapshot.number, step, step, "somebody")
        self.oracle.check_deleted(seen, step, step, where)
        self.oracle.check_accounted(seen, step, where, publish)


def _write(bank: Bank, shard: str, part: Corpus) -> ObjectInfo:
    return bank.write_documents(shard, [texts.document(*item) for item in part.items()])


def _look_up(bank: Bank) -> tuple[Snapshot, Seen]:
    snapshot = bank.latest_snapshot()
    if snapshot is None:
        raise BankError("no snapshot yet")
    found = snapshot.lookup(KEYS)
    return snapshot, {key[0]: entry.content_hash for key, entry in sorted(found.items())}


def _numbers(bank: Bank, snapshot: Snapshot, seen: Seen) -> dict[str, float]:
    factors = AdapterReader(bank, snapshot).fetch([(doc_id, 0) for doc_id in seen])
    return {key[0]: float(value["module"].a[0, 0]) for key, value in factors.items()}


def _shown(result: Any) -> str:
    if isinstance(result, Snapshot):
        return f"snapshot {result.name}"
    if isinstance(result, tuple) and isinstance(result[0], Snapshot):
        return f"snapshot {result[0].name} with {' '.join(result[1])}"
    if isinstance(result, str | dict | list):
        return f"{result}"
    return "" if result is None else type(result).__name__


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:160]
