"""The plan of a run, and its files: shards, counts, and the corpus as the next snapshot shall hold it.

BANK/runs/<run>/wanted.parquet     doc_id, chunk, content_hash of the whole corpus
BANK/runs/<run>/members.parquet    shard_id, content_hash of the documents still to do
BANK/runs/<run>/config.yaml        the resolved settings
BANK/runs/<run>/versions.txt       the installed packages
BANK/runs/<run>/plan.json          counts, estimate, shards, and the digests of these files and of the shards' documents;
                                   sealed, and written last: with it the planning is finished
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prag_core.bank import Bank, ObjectInfo, Snapshot
from prag_core.bank.columns import conform
from prag_core.bank.names import OBJECT, SHA256, SHARD_ID, checked
from prag_core.bank.runs import PLAN_FILE
from prag_core.bank.sealed import seal
from prag_core.bank.tables import from_parquet
from prag_core.config.dump import as_yaml
from prag_core.config.schema import Config
from prag_core.errors import BankError, CorruptBankError
from prag_core.planning.estimate import Estimate
from prag_core.versions import installed_versions

MEMBERS = pa.schema([("shard_id", pa.dictionary(pa.int32(), pa.string())), ("content_hash", pa.string())])


@dataclass(frozen=True)
class Shard:
    """Documents that are augmented, trained and committed together; `num_tokens` is an estimate of training."""

    shard_id: str
    documents_object: str  # path within the bank; empty in a plan that wrote nothing
    num_documents: int
    num_tokens: int
    documents_bytes: int = 0
    documents_sha256: str = ""  # of the object; empty in a plan of before digests were kept

    @property
    def documents(self) -> str | ObjectInfo:
        """Its documents object, as `Bank.read_documents` takes it."""
        return documents_of(asdict(self))


def documents_of(fields: Mapping[str, Any]) -> str | ObjectInfo:
    """The documents object of a shard's fields: with its digest, if the plan has it."""
    path, sha256 = fields["documents_object"], fields.get("documents_sha256")
    return (
        ObjectInfo(path, fields["num_documents"], fields["documents_bytes"], sha256) if sha256 else str(path)
    )


@dataclass
class PlanCounts:
    """Numbers of the corpus's documents (chunks, where long ones were cut) by their status."""

    documents: int = 0  # in the corpus
    duplicates: int = 0  # repeated in the corpus, dropped
    rejected: int = 0  # rows of the corpus that are no usable document, left out
    done: int = 0  # have their adapter
    new: int = 0  # in shards of this plan, edited and retried ones included
    resumed: int = 0  # in shards that an earlier run left unfinished
    text_only: int = 0  # their adapter failed its exam, left so
    failed: int = 0  # quarantined earlier, left so
    retried: int = 0  # quarantined or text_only earlier, tried again
    deleted: int = 0  # deleted from the bank, stay out
    left: int = 0  # in the last snapshot, no longer in the corpus
    edited: int = 0  # in the last snapshot with another wording
    unspaced: int = 0  # in a script without spaces between words
    long: int = 0  # longer than the model's context: will be quarantined


@dataclass(frozen=True)
class Plan:
    """The shards still to do, and the whole corpus as a snapshot is asked to hold it."""

    run: str
    shards: tuple[Shard, ...]
    counts: PlanCounts
    estimate: Estimate
    long_documents: tuple[str, ...]  # the first few ids of those too long
    rejected_rows: tuple[str, ...]  # the first rejected rows: file, row and reason
    wanted_table: pa.Table = field(repr=False, compare=False)
    snapshot: str | None = None  # the newest when the plan was made
    left_ids: tuple[str, ...] = ()  # the first few of its documents that are no longer in the corpus

    def wanted(self) -> pa.Table:
        """Return doc_id, chunk, content_hash of every document that the next snapshot shall hold, if the bank has it by then."""
        return self.wanted_table

    def summary(self) -> str:
        """Summarise the plan in one line."""
        c = self.counts
        todo = sum(shard.num_documents for shard in self.shards)
        text_only = f"{c.text_only:,} text_only, " if c.text_only else ""
        return (
            f"{c.documents:,} documents: {c.done:,} done, {text_only}{c.failed:,} quarantined,"
            f" {todo:,} to do in {len(self.shards):,} shards"
            f" ({c.new:,} new, {c.resumed:,} left from an earlier run); {c.left:,} leave, {c.deleted:,} stay deleted"
        )

    def departures(self, published: Snapshot) -> list[str]:
        """Say in lines which documents of the last snapshot left it for this corpus, and whether another command published a
        snapshot after the plan was made."""
        lines = []
        if count := self.counts.left:
            ids = ", ".join(self.left_ids) + (", …" if count > len(self.left_ids) else "")
            what, verb = ("document", "is") if count == 1 else ("documents", "are")
            lines.append(
                f"{count:,} {what} of the last snapshot {verb} not in this corpus and left it: {ids}"
            )
        if other := published.overtook(self.snapshot):
            lines.append(
                f"another command published snapshot {other} during this run; its documents that are not in this corpus left"
                " it: give one run both corpora to keep all"
            )
        return lines

    def rejections(self) -> list[str]:
        """Name the rejected rows of the corpus, in lines; none if every row was usable."""
        count = self.counts.rejected
        if not count:
            return []
        hidden = count - len(self.rejected_rows)
        more = [f"… {hidden:,} more"] if hidden else []
        title = f"{count:,} row{'s' if count > 1 else ''} rejected:"
        return [title, *(f"  {line}" for line in [*self.rejected_rows, *more])]


def save_plan(bank: Bank, plan: Plan, members: pa.Table, config: Config) -> None:
    """Write all of a plan under its run, with settings and versions, plan.json last."""
    versions = "".join(f"{package}=={version}\n" for package, version in installed_versions().items())
    files = {
        "wanted.parquet": _parquet(plan.wanted()),
        "members.parquet": _parquet(members.unify_dictionaries()),
        "config.yaml": as_yaml(config).encode(),
        "versions.txt": versions.encode(),
    }
    fields: dict[str, Any] = {
        "run": plan.run,
        "counts": asdict(plan.counts),
        "estimate": asdict(plan.estimate),
        "long_documents": plan.long_documents,
        "rejected_rows": plan.rejected_rows,
        "shards": [asdict(shard) for shard in plan.shards],
        "objects": [asdict(bank.write_run(plan.run, name, data)) for name, data in files.items()],
    }
    bank.write_run(plan.run, PLAN_FILE, seal(fields))


def load_unfinished(bank: Bank) -> tuple[tuple[Shard, ...], pa.Table]:
    """Load the newest saved plan's shards and their members (shard_id, content_hash); nothing where there is none. Raises
    CorruptBankError."""
    for run in sorted(bank.list_runs(), reverse=True):
        where = f"{bank.uri}/runs/{run}"
        try:
            fields = bank.read_run_sealed(run, PLAN_FILE)
            name = f"{where}/members.parquet"
            members = conform(from_parquet(bank.read_run(run, "members.parquet"), name), MEMBERS, name)
        except CorruptBankError:
            raise
        except BankError:
            continue  # a run that was stopped while planning
        return _shards(fields, f"{where}/{PLAN_FILE}"), members
    return (), MEMBERS.empty_table()


def _shards(fields: Any, where: str) -> tuple[Shard, ...]:
    """The shards of a saved plan. Raises CorruptBankError for ones that no plan has: their names are used as paths."""
    try:
        shards = tuple(Shard(**shard) for shard in fields["shards"])
    except (KeyError, TypeError):
        raise CorruptBankError(
            f"{where} is damaged; remove this run's folder, its work is planned again"
        ) from None
    for shard in shards:
        checked(shard.shard_id, SHARD_ID, where)
        checked(shard.documents_object, OBJECT, where)
        if shard.documents_sha256:
            checked(shard.documents_sha256, SHA256, where)
        sizes = (shard.num_documents, shard.num_tokens, shard.documents_bytes)
        if not all(isinstance(size, int | float) and size >= 0 for size in sizes):
            raise CorruptBankError(f"{where} gives shard {shard.shard_id} no plausible sizes")
    return shards


def members_table(name: str, hashes: Sequence[str]) -> pa.Table:
    """Make the table of one shard's documents, by their content hashes."""
    names = pa.array([name] * len(hashes), pa.string()).dictionary_encode()
    return pa.table({"shard_id": names, "content_hash": pa.array(hashes, pa.string())}, schema=MEMBERS)


def members_of(members: pa.Table, shards: Iterable[str]) -> pa.Table:
    """Select the members of some shards."""
    names = pa.array(list(shards), pa.string())
    return members.filter(pc.is_in(members["shard_id"].cast(pa.string()), names)).combine_chunks()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
