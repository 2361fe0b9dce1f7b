"""Commits: which attempt at a shard counts, and which objects it is made of.

An attempt first writes a commit of its own under a unique name, then makes sure that none of its objects is about to be cleared
away, then creates the marker of the shard if there is none. The winner of a shard is its highest generation; within generation
0 the attempt in the marker or, without one, that with the smallest name; of several rewritings that with the smallest name. A
marker that is lost, damaged, or replaced on a store where two racing creates both succeed therefore loses nothing. Generations
above 0 are written by gc and repair: the same rows without those that were erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank.condemned import check_safe
from prag_core.bank.layout import COMMIT, ObjectInfo, Stage, commit_path, marker_path
from prag_core.bank.names import ATTEMPT, SHARD_ID, checked
from prag_core.bank.sealed import MOST_BYTES, once_more, seal, unseal
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import create_exclusive, list_files, put_whole, read, read_many, remove, storage_errors


@dataclass(frozen=True)
class Commit:
    """The attempt at a shard's stage that counts: the objects it wrote and those it was made from."""

    stage: Stage
    shard_id: str
    attempt: str
    objects: tuple[ObjectInfo, ...]
    generation: int = 0

    def object(self, kind: str) -> ObjectInfo | None:
        """The object of a kind: documents, augmentations, adapters, rows, or its own failures (`all` has earlier ones too)."""
        infos = [info for info in self.all(kind) if kind != "failures" or self.attempt in info.path]
        return infos[0] if infos else None

    def all(self, kind: str) -> list[ObjectInfo]:
        return [info for info in self.objects if info.kind == kind]

    @property
    def path(self) -> str:
        """Where this attempt keeps its commit, whether it wins or not."""
        return commit_path(self.stage, self.shard_id, self.generation, self.attempt)


@dataclass
class CommitFiles:
    """The commit files of one shard and stage, as a listing shows them."""

    stage: Stage
    shard_id: str
    marked: bool = False
    attempts: list[tuple[int, str]] = field(default_factory=list)  # generation, attempt

    @property
    def generation(self) -> int:
        return max((generation for generation, _ in self.attempts), default=0)

    def candidates(self) -> Iterator[str]:
        """Paths of the commits that may count, the winner first. The others stand in for it if it is damaged or lost."""
        marker = marker_path(self.stage, self.shard_id)
        for generation in sorted({generation for generation, _ in self.attempts} | {0}, reverse=True):
            if generation == 0 and self.marked:
                yield marker
            names = sorted(attempt for number, attempt in self.attempts if number == generation)
            yield from (commit_path(self.stage, self.shard_id, generation, name) for name in names)


def claim(store: BankStore, commit: Commit) -> Commit:
    """Commit an attempt whose objects are written. Returns the commit that counts. Raises BankError if gc clears the
    attempt's objects away, because it lay for longer than the grace period: then it does not count."""
    with storage_errors("writing", store.uri):
        put_whole(store.fs, store.path(commit.path), encode_commit(store, commit))
        try:
            check_safe(
                store, [info.path for info in commit.objects], f"the commit of shard {commit.shard_id}"
            )
        except BankError:
            remove(store.fs, store.root, [commit.path])
            raise
        if commit.generation == 0:
            marker = marker_path(commit.stage, commit.shard_id)
            if create_exclusive(store.fs, store.path(marker), encode_commit(store, commit)):
                return commit
    return find(store, commit.stage, commit.shard_id) or commit


def list_commit_files(store: BankStore, stage: Stage, shard_id: str = "") -> dict[str, CommitFiles]:
    """List the commit files of a stage, or of one of its shards, by shard. Reads none."""
    with storage_errors("reading", store.uri):
        names = list_files(store.fs, store.path(f"commits/{stage.value}"), shard_id)
    shards: dict[str, CommitFiles] = {}
    for name in names:
        if (match := COMMIT.fullmatch(name)) and shard_id in ("", match["shard"]):
            files = shards.setdefault(match["shard"], CommitFiles(stage, match["shard"]))
            if match["attempt"]:
                files.attempts.append((int(match["generation"]), match["attempt"]))
            else:
                files.marked = True
    return shards


def find(store: BankStore, stage: Stage, shard_id: str) -> Commit | None:
    """Read the commit of a shard that counts, or None if there is none. Raises CorruptBankError if no copy of it is whole."""
    files = list_commit_files(store, stage, shard_id).get(shard_id)
    return read_winner(store, files) if files else None


def read_winner(store: BankStore, files: CommitFiles) -> Commit | None:
    """Read the first of a shard's commits that is whole; None if the writer of each died while gc took its objects. Raises
    CorruptBankError, of the first, if they are damaged."""
    first: BankError | None = None
    for path in files.candidates():
        try:
            with storage_errors("reading", store.uri):
                commit = once_more(partial(read_commit, store, path))
                if is_whole(store, commit, path):
                    return commit
        except FileNotFoundError:
            continue  # swept since the listing
        except CorruptBankError as error:
            first = first or error
    if first is not None:
        raise first
    return None


def is_whole(store: BankStore, commit: Commit, path: str) -> bool:
    """Whether a commit's objects are there. What a marker names was made sure of before the marker was written."""
    if path == marker_path(commit.stage, commit.shard_id):
        return True
    return all(store.fs.exists(store.path(info.path)) for info in commit.objects)


def list_shards(store: BankStore, stage: Stage) -> set[str]:
    """List the shards that have a commit, reading none."""
    return set(list_commit_files(store, stage))


def list_all(store: BankStore, stage: Stage) -> dict[str, Commit]:
    """Read the commit that counts of every shard of a stage: one listing, then concurrent reads."""
    return read_winners(store, list(list_commit_files(store, stage).values()))


def read_winners(store: BankStore, shards: Sequence[CommitFiles]) -> dict[str, Commit]:
    """Read the winning commits of some shards at once, and a shard's others only where the first is not whole."""
    paths = [next(files.candidates()) for files in shards]
    commits: list[Commit | None]
    try:
        with storage_errors("reading", store.uri):
            contents = read_many(store.fs, [store.path(path) for path in paths])
            first = [decode_commit(store, data, path) for path, data in zip(paths, contents, strict=True)]
            commits = [
                commit if is_whole(store, commit, path) else read_winner(store, files)
                for commit, path, files in zip(first, paths, shards, strict=True)
            ]
    except (FileNotFoundError, CorruptBankError):
        commits = [read_winner(store, files) for files in shards]
    return {commit.shard_id: commit for commit in commits if commit}


def encode_commit(store: BankStore, commit: Commit) -> bytes:
    """Encode a commit as the content of its file and of the marker."""
    fields: dict[str, Any] = {
        "stage": commit.stage.value,
        "shard_id": commit.shard_id,
        "attempt": commit.attempt,
        "recipe_id": store.recipe.id,
        "objects": [asdict(info) for info in commit.objects],
    }
    return seal(fields | ({"generation": commit.generation} if commit.generation else {}))


def read_commit(store: BankStore, path: str) -> Commit:
    """Read the commit at `path`. Raises FileNotFoundError and what `decode_commit` raises."""
    return decode_commit(store, read(store.fs, store.path(path), MOST_BYTES + 1), path)


def decode_commit(store: BankStore, data: bytes, path: str) -> Commit:
    """Decode the commit at `path`. Raises CorruptBankError if it is damaged, BankError if it is of another recipe."""
    fields: dict[str, Any] = unseal(data, store.path(path))
    where = store.path(path)
    if fields.get("recipe_id") != store.recipe.id:
        raise BankError(
            f"{where} is of another recipe: two runs created this bank at once; start a bank for each"
        )
    try:
        objects = tuple(ObjectInfo.from_fields(info, where) for info in fields["objects"])
        stage, generation = Stage(fields["stage"]), int(fields.get("generation", 0))
        shard_id, attempt = (
            checked(fields["shard_id"], SHARD_ID, where),
            checked(fields["attempt"], ATTEMPT, where),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptBankError(f"{where} is no commit that this version can read: {error}") from None
    commit = Commit(stage, shard_id, attempt, objects, generation)
    if path not in (commit.path, marker_path(commit.stage, commit.shard_id)):
        raise CorruptBankError(
            f"{store.path(path)} is the commit of another shard ({commit.shard_id}); restore it from a copy"
        )
    return commit


def inputs_of(
    store: BankStore, stage: Stage, shard_id: str, inputs: Sequence[ObjectInfo]
) -> list[ObjectInfo]:
    """Complete the objects that an attempt was made from: `inputs`, then the shard's documents and augmentations if they are
    not among them.

    All documents objects of a shard hold the same documents, since a shard's name is made of theirs.
    """
    objects = list(inputs)
    kinds = {info.kind for info in inputs}
    if "documents" not in kinds:
        objects += _documents_of(store, shard_id)
    if stage is Stage.adapters and "augmentations" not in kinds:
        augmented = find(store, Stage.augmentations, shard_id)
        objects += [*augmented.all("augmentations"), *augmented.all("failures")] if augmented else []
    return objects


def _documents_of(store: BankStore, shard_id: str) -> list[ObjectInfo]:
    """Find a documents object of a shard: the first by name, or none."""
    names = list_files(store.fs, store.path("documents"), f"{shard_id}-")
    whole = sorted(name for name in names if not name.startswith("."))
    if not whole:
        return []
    data = read(store.fs, store.path(f"documents/{whole[0]}"))
    num_rows = pq.read_metadata(pa.BufferReader(data)).num_rows
    return [ObjectInfo(f"documents/{whole[0]}", num_rows, len(data), hashlib.sha256(data).hexdigest())]
