from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from prag_core.bank import Stage, encode
from prag_core.storage import TEMPORARY
from tests.prag_core.bank.world import Filled, World, object_of


@pytest.mark.parametrize("tier", ["fp32", "bf16", "int8", "int4"])
def test_the_bytes_at_start_and_length_are_the_encoded_adapter(
    tmp_path: Path, world: World, tier: str
) -> None:
    filled = world.fill(world.bank(str(tmp_path / "bank")), tier=tier)
    entries = filled.bank.require_snapshot().lookup(filled.keys)
    assert len(entries) == 4
    for key, entry in entries.items():
        path, start, end = entry.place
        raw = Path(filled.bank.root, path).read_bytes()[start:end]
        assert raw == encode(filled.factors[key], world.layout, tier)
        assert hashlib.sha256(raw).hexdigest() == entry.sha256 and entry.tier == tier


def test_pyarrow_reads_the_columns_of_the_contract(filled: Filled, world: World) -> None:
    for path in Path(filled.bank.root, "adapters").glob("*.parquet"):
        table = pq.read_table(path)
        assert table.column_names == [
            "doc_id",
            "chunk",
            "content_hash",
            "tier",
            "value_sha256",
            "steps",
            "tokens",
            "loss_first",
            "loss_last",
            "accepted",
            "value",
        ]
        assert not table.schema.field("value").nullable
        for row in table.to_pylist():
            assert row["value"] == encode(filled.factors[row["doc_id"], 0], world.layout, "fp32")
            assert hashlib.sha256(row["value"]).hexdigest() == row["value_sha256"]
            figures = [row[name] for name in ("steps", "tokens", "loss_first", "loss_last", "accepted")]
            assert figures == [5, 900, 3.5, 1.25, None]


def test_where_an_exam_was_held_the_score_is_one_more_column_and_value_is_still_last(
    examined: Filled,
) -> None:
    (path,) = Path(examined.bank.root, "adapters").glob("*.parquet")
    table = pq.read_table(path)
    assert table.column_names[-3:] == ["accepted", "score", "value"]
    assert table["accepted"].to_pylist() == [True, False, True] and table["score"].to_pylist() == [
        1.0,
        0.25,
        0.5,
    ]


def test_one_row_a_group_uncompressed_plain_with_value_last(filled: Filled) -> None:
    (path,) = Path(filled.bank.root, "adapters").glob("shard0-*.parquet")
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == metadata.num_rows == 2
    for group in range(metadata.num_row_groups):
        column = metadata.row_group(group).column(metadata.num_columns - 1)
        assert column.path_in_schema == "value" and column.compression == "UNCOMPRESSED"
        assert column.dictionary_page_offset is None and "PLAIN" in column.encodings
    about = json.loads(metadata.metadata[b"prag"])
    assert about["layout"]["rank"] == 2 and len(about["matrices"]) == 4 and about["byte_order"] == "little"


def test_page_checksums_are_on(filled: Filled) -> None:
    (path,) = Path(filled.bank.root, "adapters").glob("shard0-*.parquet")
    data = bytearray(path.read_bytes())
    entry = filled.bank.require_snapshot().lookup([("a", 0)])["a", 0]
    data[entry.place.start] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.ParquetFile(path, page_checksum_verification=True).read()


@pytest.mark.parametrize("stage", list(Stage))
def test_an_error_in_mid_write_leaves_nothing_visible(bank_uri: str, world: World, stage: Stage) -> None:
    bank = world.bank(bank_uri)
    before = set(bank.fs.find(bank.root))
    (document,) = world.documents(["a"])
    with pytest.raises(RuntimeError), bank.begin(stage, "shard") as writer:
        writer.add(world.adapter(document, 0) if stage is Stage.adapters else world.augmentation(document))
        raise RuntimeError("killed")
    assert set(bank.fs.find(bank.root)) == before
    assert bank.find_commit(stage, "shard") is None


def test_leaving_without_commit_publishes_nothing(filled: Filled, world: World) -> None:
    (document,) = world.documents(["e"])
    with filled.bank.begin(Stage.adapters, "shard2") as writer:
        writer.add(world.adapter(document, 0))
    assert filled.bank.committed_shards(Stage.adapters) == {"shard0", "shard1"}
    assert not [
        name for name in filled.bank.fs.find(filled.bank.root) if "shard2" in name or TEMPORARY in name
    ]


def test_what_a_killed_writer_leaves_is_ignored(filled: Filled) -> None:
    root = Path(filled.bank.root)
    for folder in ("adapters", "commits/adapters", "snapshots"):
        (root / folder / f"{TEMPORARY}deadbeef").write_bytes(b"half a fi")
    (root / "snapshots" / ("00000009-" + "0" * 16)).mkdir()
    (root / "snapshots" / ("00000009-" + "0" * 16) / "index.parquet").write_bytes(b"no manifest yet")
    assert filled.bank.committed_shards(Stage.adapters) == {"shard0", "shard1"}
    assert filled.bank.require_snapshot().number == 1


def test_a_record_of_another_stage_is_refused(filled: Filled, world: World) -> None:
    (document,) = world.documents(["e"])
    with (
        filled.bank.begin(Stage.augmentations, "shard2") as writer,
        pytest.raises(TypeError, match="Adapter"),
    ):
        writer.add(world.adapter(document, 0))


def test_a_shard_without_any_adapter_is_committed_with_its_failures(filled: Filled, world: World) -> None:
    documents = world.documents(["e", "f"])
    commit = world.train(filled.bank, "shard2", documents, failed=["e", "f"])
    assert commit.object("adapters") is None and object_of(commit, "failures").rows == 2
    snapshot = filled.bank.write_snapshot(world.wanted(documents))
    assert {failure.doc_id for failure in snapshot.failures} == {"e", "f"}
