"""The oracle: what was asked of the bank and when each call ended, and whether what it shows is what it promises.

The promises, by the words that violations bear:

- `committed`: a document whose commit returned, that is wanted and not deleted, can be read once the bank is at rest;
- `deleted`: who opens the bank after a deletion returned does not see the document, until a restore has begun;
- `erased`: nor does anybody after gc, whoever brings the document again;
- `accounted`: a document of one snapshot is in the next, unless it was deleted or left the corpus, and a publish has all that was
  committed and nothing that its corpus lacks;
- `readers`: numbers never go back, and what is read is right or a BankError;
- `verify`: a bank that nobody damaged has no error;
- `cleared`: gc, twice, leaves nothing but what is referred to, and no byte of a deleted document;
- `typed`: whatever fails, fails with an error that says what to do;
- `damage`: what an object's loss must not touch, it does not touch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tests.simulation.corpus import WORDINGS, Corpus, Seen, hash_of, number_of

PROMISES = ("committed", "deleted", "erased", "accounted", "readers", "verify", "cleared", "typed", "damage")
PUBLISHING = ("publish", "delete", "restore", "gc", "repair")


class Violation(Exception):
    """A promise that was not kept."""

    def __init__(self, promise: str, message: str) -> None:
        super().__init__(f"{promise}: {message}")
        self.promise, self.message = promise, message


@dataclass(eq=False)
class Operation:
    """One call of the bank by an actor. `end`: when it returned, failed or its actor died; `ok`: it returned."""

    kind: str
    names: tuple[str, ...]  # documents; of a commit or publish their content hashes
    begin: int
    end: int | None = None
    ok: bool = False

    @property
    def last(self) -> float:
        return float("inf") if self.end is None else self.end


@dataclass
class Oracle:
    """What happened in one history. `checked`: the promises whose violation counts. `exclusive`: of the store."""

    exclusive: bool
    checked: Collection[str] = PROMISES
    before: Collection[Operation] = ()  # what was done before the history begins
    damaged: bool = False

    def __post_init__(self) -> None:
        self._operations: defaultdict[str, list[Operation]] = defaultdict(list)
        self._numbers: list[tuple[int, int]] = []  # (end of opening, number)
        for operation in self.before:
            self.add(operation)
        self._published = {content for publish in self.among("publish") for content in publish.names}

    def violate(self, promise: str, message: str) -> None:
        if promise in self.checked:
            raise Violation(promise, message)

    def add(self, operation: Operation) -> None:
        self._operations[operation.kind].append(operation)

    def end(self, operation: Operation, step: int) -> None:
        operation.end = step

    def among(self, *kinds: str) -> Iterable[Operation]:
        return (operation for kind in kinds for operation in self._operations.get(kind, ()))

    def naming(self, kind: str, name: str) -> list[Operation]:
        return [operation for operation in self.among(kind) if name in operation.names]

    # -- deletions ------------------------------------------------------------------------------------------------------

    def is_deleted(self, doc_id: str, begin: int, end: float) -> Operation | None:
        """The deletion that holds for whoever looks between `begin` and `end`, if one does for certain."""
        restores = self.naming("restore", doc_id)
        for deletion in self.naming("delete", doc_id):
            lifted = any(r.begin <= end and r.last >= deletion.begin for r in restores)
            if deletion.ok and deletion.last <= begin and not lifted:
                return deletion
        return None

    def check_deleted(self, seen: Collection[str], begin: int, end: float, where: str) -> None:
        for doc_id in seen:
            deletion = self.is_deleted(doc_id, begin, end)
            if deletion:
                cleared = any(gc.last >= deletion.begin for gc in self.among("gc"))
                message = f"{doc_id} is in {where}, and its deletion returned at step {deletion.end}"
                self.violate("erased" if cleared else "deleted", message)

    # -- snapshots ------------------------------------------------------------------------------------------------------

    def check_opened(self, number: int, begin: int, end: int, who: str) -> None:
        """Check the number of a snapshot that was opened between two steps."""
        newer = [known for ended, known in self._numbers if ended <= begin and known > number]
        if newer:
            self.violate("readers", f"{who} opens snapshot {number} after {max(newer)} was opened")
        self._numbers.append((end, number))

    def check_wordings(self, seen: Seen) -> None:
        for doc_id, content in seen.items():
            if WORDINGS.get(content, ("", 0))[0] != doc_id:
                self.violate("readers", f"{doc_id} has a content hash that it never had: {content[:12]}")

    def check_values(self, values: dict[str, float], seen: Seen) -> None:
        for doc_id, value in values.items():
            if value != number_of(*WORDINGS[seen[doc_id]]):
                self.violate("readers", f"the adapter of {doc_id} is not its own: {value}")

    def check_accounted(self, seen: Seen, step: int, where: str, publish: Operation | None = None) -> None:
        """Check that the newest snapshot, with the documents `seen`, has lost none of those before it, and has all that was
        committed before `publish` began, where it asked for them."""
        if not self.exclusive and self._publishing(step):
            return  # of two snapshots with one number the later hides the other until its publisher has looked once more
        due = {content for content in self._published if not self._may_lack(content, step)}
        if publish:
            committed = self._committed(before=publish.begin)
            due |= {c for c in publish.names if c in committed and not self._may_lack(c, step)}
        missing = sorted(WORDINGS[content][0] for content in due - set(seen.values()))
        if missing:
            self.violate("accounted", f"{', '.join(missing)} missing in {where}")
        if publish and not self._overlapped(publish):
            extra = {d for d, c in seen.items() if c not in publish.names and not self.naming("restore", d)}
            if extra:
                self.violate("accounted", f"{', '.join(sorted(extra))} in {where}, after a publish without")
        self._published |= set(seen.values())

    def _overlapped(self, publish: Operation) -> bool:
        """Whether another corpus was being published at the same time."""
        others = (other for other in self.among("publish") if other.names != publish.names)
        return any(other.last > publish.begin for other in others)

    def _publishing(self, step: int) -> bool:
        return any(not o.ok or o.last > step for o in self.among(*PUBLISHING))

    def _may_lack(self, content: str, step: float) -> bool:
        """Whether a document may be missing: somebody began to delete it, or a corpus without it was published."""
        if self.naming("delete", WORDINGS[content][0]):
            return True
        return self._has_left(content)

    def _has_left(self, content: str) -> bool:
        """Whether a corpus without this document may have been published since it was first committed."""
        first = min((commit.begin for commit in self.naming("commit", content)), default=0)
        publishes = (publish for publish in self.among("publish") if publish.last >= first)
        return any(content not in publish.names for publish in publishes)

    def _committed(self, before: float = float("inf")) -> set[str]:
        return {c for o in self.among("commit") if o.ok and o.last <= before for c in o.names}

    # -- at rest --------------------------------------------------------------------------------------------------------

    def check_at_rest(self, seen: Seen, values: dict[str, float], corpus: Corpus, when: str) -> None:
        """Check a bank in which nobody is at work, after a publish of the whole corpus."""
        self.check_deleted(seen, self.now, self.now, f"the newest snapshot {when}")
        committed = self._committed()
        for doc_id, wording in corpus.items():
            content = hash_of(doc_id, wording)
            if content in committed and self._must_be_there(doc_id, content) and seen.get(doc_id) != content:
                self.violate("committed", f"{doc_id} was committed and is not in the newest snapshot {when}")
        unread = seen.keys() - values.keys()
        if unread:
            self.violate("committed", f"{', '.join(sorted(unread))} cannot be read {when}")

    def _must_be_there(self, doc_id: str, content: str) -> bool:
        deletions = self.naming("delete", doc_id)
        if not deletions:
            return not (self._has_left(content) and any(self.among("gc")))
        first, last = min(d.begin for d in deletions), max(d.last for d in deletions)
        cleared = [(gc.begin, gc.last) for gc in self.among("gc")]
        return any(
            restore.ok
            and restore.begin >= last
            and not any(begin <= restore.last and end >= first for begin, end in cleared)
            for restore in self.naming("restore", doc_id)
        )

    @property
    def now(self) -> int:
        return 1 << 60
