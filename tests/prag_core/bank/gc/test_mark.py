from __future__ import annotations

from pathlib import Path

from prag_core.bank.gc.mark import mark
from prag_core.config.schema import RetrievalConfig
from prag_core.retrieval import build_index
from prag_core.storage import list_files
from tests.prag_core.bank.world import Filled, World


def test_every_file_of_a_bank_without_leftovers_is_marked(filled: Filled) -> None:
    snapshot = filled.bank.require_snapshot()
    build_index(filled.bank, snapshot, RetrievalConfig())
    files = list_files(filled.bank.fs, filled.bank.root)
    assert mark(filled.bank, files, [snapshot]) == set(files)


def test_an_attempt_that_lost_is_not_marked(filled: Filled, world: World) -> None:
    before = set(list_files(filled.bank.fs, filled.bank.root))
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)
    files = set(list_files(filled.bank.fs, filled.bank.root))
    assert mark(filled.bank, files, filled.bank.snapshots()) == before < files


def test_of_an_index_whose_marker_is_damaged_every_file_is_marked(filled: Filled) -> None:
    snapshot = filled.bank.require_snapshot()
    folder = Path(build_index(filled.bank, snapshot, RetrievalConfig()))
    (folder / "index.json").write_text("damaged")
    (folder / "another").write_text("file")
    files = list_files(filled.bank.fs, filled.bank.root)
    assert mark(filled.bank, files, [snapshot]) == set(files)
    unmarked = set(files) - mark(filled.bank, files, [])
    assert any(name.startswith("indexes/") for name in unmarked)
