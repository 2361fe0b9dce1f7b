"""Damage: the environment takes or changes one object, and what has nothing to do with it must not suffer."""

from __future__ import annotations

import re
from random import Random

from prag_core.bank import Bank
from prag_core.errors import BankError
from tests.simulation import corpus as texts
from tests.simulation.actors import URI, Hands
from tests.simulation.corpus import Seen
from tests.simulation.store import SimulatedFileSystem

OBJECTS = {  # the newest by name is struck; a bank that has none of a kind is left alone
    "manifest": r"bank/snapshots/\d+-[0-9a-f]+/manifest\.json",
    "claim": r"bank/published/\d+\.json",
    "claim's copy": r"bank/snapshots/\d+-[0-9a-f]+/published\.json",
    "marker": r"bank/commits/adapters/s0\.json",
    "commit": r"bank/commits/adapters/s0\.0-.*",
    "rows": r"bank/rows/s0-.*",
    "event": r"bank/deletions/.*",
    "catalog": r"bank/(catalog/.*|snapshots/.*\.parquet)",
}
VIEWS = (
    "manifest",
    "claim",
    "catalog",
)  # without which nobody can say what the corpus is, until it is repaired
TOUCHED = set(texts.SHARDS["s0"])  # the documents that damage of one shard may touch


class Damage:
    """One object's loss or damage. `kind` as in `roles.DAMAGES`."""

    def __init__(self, kind: str, hands: Hands, chance: Random) -> None:
        self.kind, self.hands, self.chance = kind, hands, chance
        self.object, _, self.how = kind.partition(": ")
        self.number = 0  # of the newest snapshot when it happened
        hands.oracle.damaged = True

    def strike(self) -> None:
        """Lose or damage the object."""
        objects = SimulatedFileSystem.objects
        path = max((path for path in objects if re.fullmatch(OBJECTS[self.object], path)), default=None)
        if path is None:
            return
        snapshot = Bank.open(URI).latest_snapshot()
        self.number = snapshot.number if snapshot else 0
        self.hands.scheduler.note("(store)", f"{self.kind}: {path}")
        if self.how == "lost":
            del objects[path]
            return
        data = bytearray(objects[path].data)
        data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        objects[path] = objects[path]._replace(data=bytes(data))

    def check(self) -> None:
        """Check what holds whatever was lost: nobody is shown an older snapshot; documents elsewhere can be deleted and read; a
        repair makes the bank sound, and names what it took."""
        oracle, hands = self.hands.oracle, self.hands
        bank = Bank.open(URI)
        try:
            snapshot = bank.latest_snapshot()
            shown = snapshot.number if snapshot else 0
        except BankError as error:
            shown = self.number
            hands.scheduler.note(hands.name, "open the newest snapshot", str(error))
        if shown < self.number:
            oracle.violate("damage", f"snapshot {shown} is shown in place of {self.number}, which is lost")
        if self.object not in VIEWS:
            self._others_work(bank)
        self._repair(bank)

    def _others_work(self, bank: Bank) -> None:
        oracle, hands = self.hands.oracle, self.hands
        if not hands.delete(bank, ["d4"]):
            oracle.violate("damage", f"{self.kind}: d4, which has nothing to do with it, cannot be deleted")
        hands.publish(bank, texts.whole(texts.OLD))
        seen, _ = hands.read(bank) or ({}, {})
        lost = self._lost(seen)
        if lost - TOUCHED or (lost and self.object != "rows"):
            oracle.violate("damage", f"{self.kind}: {', '.join(sorted(lost))} missing in the newest snapshot")

    def _repair(self, bank: Bank) -> None:
        """Repair the bank, and check that all is whole that the repair did not name."""
        oracle, hands = self.hands.oracle, self.hands
        report = hands.repair(bank)
        if report is None or report.beyond_repair:
            named = [problem.path for problem in report.beyond_repair] if report else "it fails"
            oracle.violate("damage", f"{self.kind}: not repaired: {named}")
            return
        oracle.damaged = False
        hands.verify(bank)
        hands.publish(bank, texts.whole(texts.OLD))
        seen, values = hands.read(bank) or ({}, {})
        lost = self._lost(seen) - set(report.documents)
        if lost or seen.keys() != values.keys():
            oracle.violate(
                "damage", f"{self.kind}: {', '.join(sorted(lost)) or 'bytes'} missing after the repair"
            )

    def _lost(self, seen: Seen) -> set[str]:
        """Documents that ought to be seen, and are not."""
        return {
            doc_id for doc_id in texts.OLD if not self.hands.oracle.naming("delete", doc_id)
        } - seen.keys()
