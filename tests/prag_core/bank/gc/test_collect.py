from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq
import pytest

from prag_core.bank import AdapterReader, Bank, Stage, delete_documents, encode, gc, restore_documents, verify
from prag_core.bank.condemned import condemn, read_condemned
from prag_core.bank.gc.collect import GcReport
from prag_core.bank.gc.erase import erase
from prag_core.bank.reader import read_adapter_rows
from prag_core.bank.tables import WANTED
from prag_core.errors import BankError
from prag_core.storage import TEMPORARY, list_uploads
from tests.prag_core.bank.world import Filled, World, committed, object_of

NOW = timedelta(0)


def everything(bank: Bank) -> dict[str, bytes]:
    return {name: bank.fs.cat_file(name) for name in bank.fs.find(bank.root)}


def test_deleted_bytes_are_erased_and_the_others_stay(bank_uri: str, world: World) -> None:
    filled = world.fill(world.bank(bank_uri), ["a", "secret-doc", "c", "d", "e"], tier="int8")
    bank, value = filled.bank, encode(filled.factors["secret-doc", 0], world.layout, "int8")
    assert any(value in data for data in everything(bank).values())
    delete_documents(bank, ["secret-doc"])
    report = gc(bank, NOW, dry_run=False, force=True)
    assert report.erased == ("secret-doc",) and report.rewritten == ("shard0",)
    for name, data in everything(bank).items():
        assert value not in data
        assert (
            b"secret-doc" not in data or "/deletions/" in name or "/snapshots/" in name
        )  # its id stays deleted
        if name.endswith(".parquet"):
            import io

            assert "secret-doc" not in str(pq.read_table(io.BytesIO(data)).to_pydict()), name
    kept = [key for key in filled.keys if key != ("secret-doc", 0)]
    snapshot = Bank.open(bank_uri).require_snapshot()
    found = AdapterReader(bank, snapshot).fetch(kept)
    for key in kept:
        name = world.layout.modules[0].name
        assert np.abs(found[key][name].a - filled.factors[key][name].a).max() < 0.05
    assert len(snapshot.augmentations(kept)) == 4 and len(list(snapshot.documents())) == 4
    assert verify(bank) == [] and set(bank.list_commits(Stage.adapters)) == {"shard0", "shard1"}


def test_scores_and_verdicts_survive_the_erasing_of_a_neighbour(examined: Filled) -> None:
    delete_documents(examined.bank, ["a"])
    assert gc(examined.bank, NOW, dry_run=False, force=True).erased == ("a",)
    index = examined.bank.require_snapshot().index.to_pydict()
    assert index["status"] == ["text_only", "adapter", "failed"] and index["score"] == [0.25, 0.5, None]
    commit = committed(examined.bank, Stage.adapters, "shard0")
    adapters = list(read_adapter_rows(examined.bank, object_of(commit, "adapters").path))
    assert [(a.doc_id, a.accepted, a.score) for a in adapters] == [("b", False, 0.25), ("c", True, 0.5)]
    assert verify(examined.bank) == []


def test_survivors_are_the_same_bytes(filled: Filled, world: World) -> None:
    delete_documents(filled.bank, ["a"])
    gc(filled.bank, NOW, dry_run=False, force=True)
    snapshot = filled.bank.require_snapshot()
    found = AdapterReader(filled.bank, snapshot).fetch([("b", 0), ("c", 0)])
    for key, factors in found.items():
        assert encode(factors, world.layout, "fp32") == encode(filled.factors[key], world.layout, "fp32")
    assert [f.doc_id for f in snapshot.failures] == ["d"]


def test_a_shard_of_which_nothing_is_left_stays_committed(filled: Filled) -> None:
    delete_documents(filled.bank, ["a", "b"])
    gc(filled.bank, NOW, dry_run=False, force=True)
    assert filled.bank.committed_shards(Stage.adapters) == {"shard0", "shard1"}
    assert not list(Path(filled.bank.root, "adapters").glob("shard0-*")) and verify(filled.bank) == []


def test_a_dry_run_says_what_and_changes_nothing(filled: Filled, world: World) -> None:
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)
    delete_documents(filled.bank, ["c"])
    before = everything(filled.bank)
    report = gc(filled.bank, NOW, force=True)
    assert report.dry_run and report.erased == ("c",) and report.rewritten == ("shard1",)
    assert {name.split("/")[0] for name in report.removed} >= {"adapters", "rows", "snapshots", "commits"}
    assert everything(filled.bank) == before


def test_nothing_young_is_touched(filled: Filled, world: World) -> None:
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)
    delete_documents(filled.bank, ["c"])
    before = everything(filled.bank)
    report = gc(filled.bank, timedelta(hours=1), dry_run=False)
    assert (report.erased, report.removed) == ((), {}) and {
        name.split("/")[0] for name in report.waiting
    } == {"adapters", "rows", "commits"}
    assert everything(filled.bank) == before


def test_a_superseded_snapshot_stays_readable_for_the_grace_period(filled: Filled) -> None:
    old = filled.bank.require_snapshot()
    delete_documents(filled.bank, ["a"])
    age(filled.bank, hours=2)
    gc(filled.bank, timedelta(hours=1), dry_run=False)
    assert set(AdapterReader(filled.bank, old).fetch([("a", 0)])) == {("a", 0)}


def test_leftovers_of_killed_writers_are_swept_and_named_files_are_not(filled: Filled, world: World) -> None:
    bank, root = filled.bank, Path(filled.bank.root)
    world.train(bank, "shard0", filled.documents[:2], seed=9)
    (root / "adapters" / f"{TEMPORARY}0123abcd").write_bytes(b"half")
    bank.write_run("run1", "config.yaml", b"a: 1")
    named = set(everything(bank)) - {bank.path(p.path) for p in verify(bank)}
    age(bank, hours=48)
    report = gc(bank, dry_run=False)
    assert len(report.removed) == 4 and set(everything(bank)) == named and verify(bank) == []


def test_a_file_that_is_being_written_is_left_alone_whatever_the_grace(filled: Filled) -> None:
    bank = filled.bank
    unfinished = f"adapters/{TEMPORARY}0123abcd"
    Path(bank.path(unfinished)).write_bytes(b"half")
    report = gc(bank, NOW, dry_run=False, force=True)
    assert report.waiting == {unfinished: 4} and unfinished not in report.removed
    age(bank, hours=2)
    assert gc(bank, NOW, dry_run=False, force=True).removed == {unfinished: 4}


def test_documents_that_a_plan_waits_for_are_kept(filled: Filled, world: World) -> None:
    info = filled.bank.write_documents("shard2", world.documents(["e"]))
    lost = filled.bank.write_documents("shard3", world.documents(["f"]))
    plan = {"shards": [{"shard_id": "shard2", "documents_object": info.path}]}
    filled.bank.write_run("run1", "plan.json", json.dumps(plan).encode())
    assert list(gc(filled.bank, NOW, dry_run=False, force=True).removed) == [lost.path]
    assert filled.bank.read_documents(info)


def test_retrieval_indexes_go_with_their_snapshot(filled: Filled) -> None:
    from prag_core.config.schema import RetrievalConfig
    from prag_core.retrieval import build_index, has_index

    settings, old = RetrievalConfig(), filled.bank.require_snapshot()
    build_index(filled.bank, old, settings)
    new = delete_documents(filled.bank, ["a"])
    build_index(filled.bank, new, settings)
    new = delete_documents(filled.bank, ["b"])
    build_index(filled.bank, new, settings)
    gc(filled.bank, timedelta(hours=1), dry_run=False)
    assert has_index(filled.bank, old, settings)
    gc(filled.bank, NOW, dry_run=False, force=True)
    assert not has_index(filled.bank, old, settings)
    assert not Path(filled.bank.root, "indexes").exists() or not list(
        Path(filled.bank.root, "indexes").iterdir()
    )


def test_stale_uploads_are_given_up(swift_uri: str, world: World) -> None:
    bank = world.bank(swift_uri)
    bucket, key, _ = bank.fs.split_path(bank.path("adapters/shard-0123456789abcdef.parquet"))
    bank.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    assert [upload.path for upload in list_uploads(bank.fs, bank.root)] == [f"{bucket}/{key}"]
    assert gc(bank, timedelta(hours=1), dry_run=False).uploads == ()
    assert gc(bank, NOW, dry_run=False, force=True).uploads == (f"{bucket}/{key}",)
    assert list_uploads(bank.fs, bank.root) == []


def test_an_empty_bank_has_nothing_to_clear(tmp_path: Path, world: World) -> None:
    assert gc(world.bank(str(tmp_path / "bank")), NOW, force=True) == GcReport(
        dry_run=True, erased=(), freed=0, rewritten=(), removed={}, waiting={}, uploads=()
    )


def test_a_deletion_stays_after_gc_and_the_same_corpus_again(filled: Filled, world: World) -> None:
    """Until it is restored; then the document is trained anew."""
    bank = filled.bank
    delete_documents(bank, ["a"])
    gc(bank, NOW, dry_run=False, force=True)
    again = world.documents(["a", "b"])[:1]
    world.train(bank, "again", again, world.augment(bank, "again", again).objects)
    snapshot = bank.write_snapshot(world.wanted(filled.documents))
    assert set(snapshot.deleted) == {"a"} and not snapshot.lookup([("a", 0)])
    assert gc(bank, NOW, dry_run=False, force=True).rewritten == ("again",)
    restored = restore_documents(bank, ["a"])
    assert not restored.deleted and not restored.lookup([("a", 0)])
    world.train(bank, "new", again, world.augment(bank, "new", again).objects)
    assert bank.write_snapshot(world.wanted(filled.documents)).lookup([("a", 0)])


def test_what_left_the_corpus_is_freed_with_its_bytes_and_can_come_back(filled: Filled, world: World) -> None:
    bank, edited = filled.bank, type(filled.documents[0])("a", "another text")
    value = encode(filled.factors["b", 0], world.layout, "fp32")
    corpus = [edited, *filled.documents[2:]]  # "a" has another wording, "b" has left
    world.train(bank, "edited", [edited], world.augment(bank, "edited", [edited]).objects)
    bank.write_snapshot(world.wanted(corpus))
    report = gc(bank, NOW, dry_run=False, force=True)
    assert (report.freed, report.rewritten) == (2, ("shard0",))
    assert not any(value in data for data in everything(bank).values())
    snapshot = bank.require_snapshot()
    assert set(AdapterReader(bank, snapshot).fetch([("a", 0), ("c", 0)])) == {("a", 0), ("c", 0)}
    assert "b" not in bank.committed_rows()["doc_id"].to_pylist()  # new, should it come back
    assert gc(bank, NOW, dry_run=False, force=True).freed == 0 and verify(bank) == []


def test_an_erasing_that_was_killed_before_its_publish_is_finished(filled: Filled) -> None:
    bank = filled.bank
    delete_documents(bank, ["a"])
    erase(bank, "shard0", ["a"], WANTED.empty_table())
    gc(bank, NOW, dry_run=False, force=True)
    assert not bank.require_snapshot().rows_of(["a"]).num_rows
    assert not any(b"text of a <0>" in data for data in everything(bank).values()) and verify(bank) == []


def test_what_comes_back_after_an_erasing_that_was_killed_keeps_no_other_alive(
    filled: Filled, world: World
) -> None:
    """Its shard is rewritten without it and without "a"; only the catalog names the objects of before, for its sake."""
    bank, (a, b, *others) = filled.bank, filled.documents
    bank.write_snapshot(world.wanted([a, *others]))
    delete_documents(bank, ["a"])
    erase(bank, "shard0", ["a"], world.wanted([b]).cast(WANTED))
    bank.write_snapshot(world.wanted([a, b, *others]))
    gc(bank, NOW, dry_run=False, force=True)
    assert not any(b"text of a <0>" in data for data in everything(bank).values()) and verify(bank) == []
    snapshot, name = bank.require_snapshot(), world.layout.modules[0].name
    found = AdapterReader(bank, snapshot).fetch([("b", 0)])
    assert (found["b", 0][name].a == filled.factors["b", 0][name].a).all()
    assert {document.doc_id for document in snapshot.documents()} == {"b", "c", "d"}


def test_a_plan_that_nobody_carries_out_keeps_no_deleted_document(filled: Filled, world: World) -> None:
    """ "a" waits to be trained in another wording. Its text stays for the grace period, and while the run is alive."""
    bank, edited = filled.bank, type(filled.documents[0])("a", "another wording")
    waiting, other = (bank.write_documents("x", [edited]), bank.write_documents("y", world.documents(["e"])))
    shards = [{"shard_id": name, "documents_object": o.path} for name, o in (("x", waiting), ("y", other))]
    bank.write_run("run1", "plan.json", json.dumps({"shards": shards}).encode())
    bank.write_run("run1", "lease", b"")
    age(bank, hours=48)
    delete_documents(bank, ["a"])
    assert waiting.path not in gc(bank, dry_run=False).removed
    age(bank, hours=48)
    Path(bank.path("runs/run1/lease")).touch()
    assert waiting.path not in gc(bank, dry_run=False).removed
    age(bank, hours=48)
    assert waiting.path in gc(bank, dry_run=False).removed
    assert bank.read_documents(other)


def test_augmentations_that_come_after_the_erasing_are_erased_too(filled: Filled, world: World) -> None:
    bank = filled.bank
    delete_documents(bank, ["a"])
    gc(bank, NOW, dry_run=False, force=True)
    world.augment(bank, "late", filled.documents[:2])  # by a run that had read "a" before
    assert gc(bank, NOW, dry_run=False, force=True).rewritten == ("late",)
    commit = committed(bank, Stage.augmentations, "late")
    assert [augmentation.doc_id for augmentation in bank.read_augmentations(commit)] == ["b"]


def test_a_number_that_was_claimed_is_never_free_again(filled: Filled, world: World) -> None:
    for count in (3, 2, 1):
        filled.bank.write_snapshot(world.wanted(filled.documents[:count]))
    gc(filled.bank, NOW, dry_run=False, force=True)
    assert len(list(Path(filled.bank.path("published")).iterdir())) == filled.bank.require_snapshot().number
    assert len(list(Path(filled.bank.path("snapshots")).iterdir())) == 1


def test_a_snapshot_that_lost_its_number_goes_with_what_it_alone_refers_to(filled: Filled) -> None:
    """Its publisher was killed before the claim; the number is somebody else's."""
    bank = filled.bank
    delete_documents(bank, ["a"])
    for name in ("published/00000002.json", f"snapshots/{bank.require_snapshot().name}/published.json"):
        Path(bank.path(name)).unlink()
    loser = next(
        path.name for path in Path(bank.path("snapshots")).iterdir() if path.name.startswith("00000002")
    )
    gc(bank, NOW, dry_run=False, force=True)
    assert loser not in {path.name for path in Path(bank.path("snapshots")).iterdir()} and verify(bank) == []


def test_a_document_restored_while_it_is_erased_stays_and_keeps_no_other_alive(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prag_core.bank.gc import collect

    def erase_late(store: Bank, *arguments: Any) -> None:
        erase(store, *arguments)
        if "a" in filled.bank.require_snapshot().deleted:
            restore_documents(filled.bank, ["a"])

    bank = filled.bank
    delete_documents(bank, ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(collect, "erase", erase_late)
        gc(bank, NOW, dry_run=False, force=True)
    snapshot = bank.require_snapshot()
    name = world.layout.modules[0].name
    found = AdapterReader(bank, snapshot).fetch([("a", 0), ("b", 0)])
    assert all((found[key][name].a == filled.factors[key][name].a).all() for key in found)
    delete_documents(bank, ["b"])
    gc(bank, NOW, dry_run=False, force=True)
    assert not any(b"text of b <1>" in data for data in everything(bank).values())
    snapshot = bank.require_snapshot()
    assert set(snapshot.lookup([("a", 0), ("b", 0)])) == {("a", 0)} and verify(bank) == []
    assert {d.doc_id for d in snapshot.documents()} == {"a", "c", "d"} and len(
        snapshot.augmentations([("a", 0)])
    ) == 1


def test_what_left_lately_is_kept(filled: Filled, world: World) -> None:
    filled.bank.write_snapshot(world.wanted(filled.documents[2:]))
    assert gc(filled.bank, dry_run=False).freed == 0
    assert filled.bank.write_snapshot(world.wanted(filled.documents)).counts["adapter"] == 3


def test_what_a_run_has_not_published_yet_is_kept(filled: Filled, world: World) -> None:
    bank, new = filled.bank, world.documents(["e"])
    world.train(bank, "shard2", new, world.augment(bank, "shard2", new).objects)
    for _ in range(3):
        assert gc(bank, NOW, dry_run=False, force=True).freed == 0
    assert bank.write_snapshot(world.wanted([*filled.documents, *new])).counts["adapter"] == 4


def test_files_that_are_not_the_banks_are_left_alone(filled: Filled, world: World) -> None:
    root = Path(filled.bank.root)
    others = [
        "notes.txt",
        "adapters/mine.parquet",
        "runs/run1/corpora/a.jsonl",
        "snapshots/parts/x",
        "commits/x.json",
    ]
    for name in others:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    nested = world.fill(world.bank(str(root / "documents" / "inner")))
    age(filled.bank, hours=48)
    before = {**everything(nested.bank), **{str(root / name): b"mine" for name in others}}
    assert gc(filled.bank, NOW, dry_run=False, force=True).removed == {}
    assert {
        **everything(nested.bank),
        **{str(root / name): (root / name).read_bytes() for name in others},
    } == before
    assert {problem.severity for problem in verify(filled.bank)} == {"info"}


def test_a_short_grace_must_be_forced(filled: Filled) -> None:
    with pytest.raises(BankError, match="force"):
        gc(filled.bank, timedelta(minutes=59))
    assert gc(filled.bank, timedelta(minutes=59), force=True).dry_run


def test_a_clock_that_is_a_day_ahead_makes_nothing_old(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prag_core.bank.gc import collect

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(UTC) + timedelta(hours=25)

    monkeypatch.setattr(collect, "datetime", Ahead)
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)
    delete_documents(filled.bank, ["c"])
    report = gc(filled.bank, dry_run=False)
    assert (report.removed, report.erased) == ({}, ())


def test_a_file_that_is_referred_to_after_it_was_condemned_is_spared(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever refers to it looks at what is condemned afterwards; here nothing was condemned when they looked."""
    from prag_core.bank.gc import collect

    bank, (document,) = filled.bank, world.documents(["e"])
    source = bank.write_documents("shard2", [document])
    original = condemn

    def condemn_late(store: Bank, files: set[str]) -> str:
        assert source.path in files
        world.train(bank, "shard2", [document], [source])
        return original(store, files)

    monkeypatch.setattr(collect, "condemn", condemn_late)
    assert source.path not in gc(bank, NOW, dry_run=False, force=True).removed
    assert list(bank.read_documents(source)) == [document] and not read_condemned(bank).records


def test_the_record_of_a_gc_that_was_killed_is_dropped_when_its_files_are_gone(
    filled: Filled, world: World
) -> None:
    lost = filled.bank.write_documents("shard3", world.documents(["f"]))
    condemn(filled.bank, [lost.path])
    assert read_condemned(filled.bank).files == {lost.path}
    gc(filled.bank, NOW, dry_run=False, force=True)
    assert not read_condemned(filled.bank).records and not filled.bank.fs.exists(filled.bank.path(lost.path))


def test_many_that_collect_at_once_lose_nothing(filled: Filled, world: World) -> None:
    delete_documents(filled.bank, ["a", "d"])

    def collect(_: int) -> GcReport:
        return gc(Bank.open(filled.bank.uri), NOW, dry_run=False, force=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(collect, range(4)))
    snapshot = filled.bank.require_snapshot()
    found = AdapterReader(filled.bank, snapshot).fetch([("b", 0), ("c", 0)])
    assert all(
        encode(f, world.layout, "fp32") == encode(filled.factors[k], world.layout, "fp32")
        for k, f in found.items()
    )
    assert not [problem for problem in verify(filled.bank) if problem.severity == "error"]


def age(bank: Bank, hours: float) -> None:
    """Make every file of a local bank look older."""
    then = time.time() - hours * 3600
    for name in bank.fs.find(bank.root):
        os.utime(name, (then, then))
