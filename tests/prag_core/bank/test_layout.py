from __future__ import annotations

from prag_core.bank.layout import (
    INDEX_MARKER,
    MANIFEST,
    adapters_path,
    attempt_of,
    manifest_path,
    new_attempt,
    object_path,
    retrieval_files,
    retrieval_folder,
    retrieval_folders,
    retrieval_marker,
    rows_path,
)

SNAPSHOT = "00000007-0123456789abcdef"


def test_the_attempt_of_an_object_is_in_its_path() -> None:
    attempt = new_attempt()
    assert attempt_of(object_path("adapters", "a-shard", attempt)) == attempt != new_attempt()


def test_a_rows_object_lies_beside_its_adapters_object() -> None:
    adapters = object_path("adapters", "rows", "1")
    assert rows_path(adapters) == "rows/rows-1.parquet" and adapters_path(rows_path(adapters)) == adapters


def test_manifests_and_index_markers_are_recognised_in_a_listing() -> None:
    match = MANIFEST.fullmatch(manifest_path(SNAPSHOT))
    assert match is not None and match[1] == SNAPSHOT
    assert MANIFEST.fullmatch(f"snapshots/{SNAPSHOT}/.tmp-1") is None
    assert INDEX_MARKER.fullmatch(retrieval_marker(retrieval_folder(SNAPSHOT, "abc"))) is not None


def test_retrieval_indexes_are_found_by_their_markers_alone() -> None:
    """A folder without a marker, or a file of that name deeper inside, is none."""
    whole, unfinished = retrieval_folder(SNAPSHOT, "abc"), retrieval_folder(SNAPSHOT, "def")
    files = [
        retrieval_marker(whole),
        f"{retrieval_files(whole, 'attempt')}/documents.arrow",
        f"{retrieval_files(unfinished, 'attempt')}/index.json",
        "indexes/README/index.json",
    ]
    assert retrieval_folders(files) == {whole: SNAPSHOT}
