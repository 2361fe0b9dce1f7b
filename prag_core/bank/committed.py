"""What a bank has committed: the rows of adapters and failures, as the catalog takes them in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import Commit, CommitFiles, is_whole, list_commit_files, read_commit, read_winners
from prag_core.bank.layout import ObjectInfo, Stage
from prag_core.bank.sealed import once_more
from prag_core.bank.store import BankStore
from prag_core.errors import CorruptBankError
from prag_core.storage import storage_errors

BATCH_SHARDS = 256  # whose rows are held at once


class Committed(NamedTuple):
    """What some shards have committed: adapters and failures, one row each with the columns of an index (a table an object,
    unsorted, with repeats), every object by path, the commits, and what was passed over because it is damaged."""

    rows: list[pa.Table]
    objects: dict[str, ObjectInfo]
    commits: list[Commit]
    damaged: list[str]


def read_committed(store: BankStore, known: Collection[tuple[str, str, int]] = ()) -> Iterator[Committed]:
    """Read the commits that are not `known` (stage, shard, generation), and the rows of their adapters and failures, some shards
    at a time. What is damaged is passed over and named: it must not keep others waiting."""
    new: defaultdict[str, list[CommitFiles]] = defaultdict(list)
    for stage in Stage:
        for files in list_commit_files(store, stage).values():
            if (stage.value, files.shard_id, files.generation) not in known:
                new[files.shard_id].append(files)  # stages share objects: a shard's are read together
    shards = list(new.values())
    for start in range(0, len(shards), BATCH_SHARDS):
        yield _read(store, list(chain(*shards[start : start + BATCH_SHARDS])))


def _read(store: BankStore, shards: Sequence[CommitFiles]) -> Committed:
    """Read what some shards have committed; where one is damaged, each alone."""
    committed = Committed([], {}, [], [])
    try:
        winners = [
            commit
            for stage in Stage
            for commit in read_winners(store, [files for files in shards if files.stage is stage]).values()
        ]
        _add_rows(store, committed, winners)
    except (CorruptBankError, FileNotFoundError):
        committed = Committed([], {}, [], [])
        for files in shards:
            _add_first_whole(store, committed, files)
    return committed


def _add_first_whole(store: BankStore, committed: Committed, files: CommitFiles) -> None:
    """Add a shard by the first of its commits whose rows can be read, or name it among the damaged."""
    problem = ""
    for path in files.candidates():
        try:
            with storage_errors("reading", store.uri):
                commit = once_more(partial(read_commit, store, path))
                if is_whole(store, commit, path):
                    return _add_rows(store, committed, [commit])
        except FileNotFoundError:
            continue
        except CorruptBankError as error:
            problem = problem or str(error)
    if problem:
        committed.damaged.append(problem)
    return None


def _add_rows(store: BankStore, committed: Committed, commits: Sequence[Commit]) -> None:
    """Read the rows and failures of commits, each object once, and add them."""
    owners = {
        info: commit
        for commit in commits
        for kind in ("failures", "rows")
        for info in commit.all(kind)
        if info.path not in committed.objects
    }
    threshold = store.recipe.fields.get("acceptance", {}).get("threshold")
    contents = store.read_tables(list(owners))
    committed.rows.extend(
        _index_rows(commit, info, rows, threshold)
        for (info, commit), rows in zip(owners.items(), contents, strict=True)
    )
    committed.objects.update({info.path: info for commit in commits for info in commit.objects})
    committed.commits.extend(commits)


def _index_rows(commit: Commit, info: ObjectInfo, rows: pa.Table, threshold: float | None) -> pa.Table:
    """The rows or failures of one object as index rows. `threshold` is of the exam that adapters had to pass."""
    kinds = ("documents", "augmentations", "adapters")
    paths = {kind: named.path if (named := commit.object(kind)) else None for kind in kinds}
    trained = info.kind == "rows"
    constant: dict[str, str | None] = {
        "status": "adapter" if trained else "failed",
        "documents_object": paths["documents"],
        "augmentations_object": paths["augmentations"],
        "adapter_object": paths["adapters"] if trained else None,
    }
    if trained and "accepted" in rows.column_names and pc.any(pc.invert(rows["accepted"])).as_py():
        del constant["status"]
        rows = _with_verdicts(rows, threshold)
    return tables.index_rows(rows, constant)


def _with_verdicts(rows: pa.Table, threshold: float | None) -> pa.Table:
    """Add the status of each adapter to its row and, where that is text_only, the reason."""
    text_only = [accepted is False for accepted in rows["accepted"].to_pylist()]
    asked_for = "" if threshold is None else f", {threshold:.0%} are asked for"
    columns = {
        "status": ["text_only" if failed else "adapter" for failed in text_only],
        "stage": ["acceptance" if failed else None for failed in text_only],
        "reason": [
            f"its adapter answered {score:.0%} of the document's own questions{asked_for}" if failed else None
            for failed, score in zip(text_only, rows["score"].to_pylist(), strict=True)
        ],
    }
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows
