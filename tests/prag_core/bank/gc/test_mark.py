from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prag_core.bank import Bank, delete_documents
from prag_core.bank.condemned import Condemned
from prag_core.bank.gc.collect import own_files
from prag_core.bank.gc.mark import mark
from prag_core.config.schema import RetrievalConfig
from prag_core.retrieval import build_index
from tests.prag_core.bank.world import Filled, World

NONE = Condemned({})


def marked(bank: Bank, condemned: Condemned = NONE) -> set[str]:
    now = datetime.now(UTC)
    return mark(bank, own_files(bank), before=now, now=now, condemned=condemned)


def test_every_file_of_a_bank_without_leftovers_is_marked(filled: Filled) -> None:
    build_index(filled.bank, filled.bank.require_snapshot(), RetrievalConfig())
    assert own_files(filled.bank).keys() <= marked(filled.bank)


def test_an_attempt_that_lost_is_not_marked(filled: Filled, world: World) -> None:
    before = set(own_files(filled.bank))
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)
    assert marked(filled.bank) & own_files(filled.bank).keys() == before < own_files(filled.bank).keys()


def test_an_attempt_that_lost_is_marked_while_the_winner_is_condemned(filled: Filled, world: World) -> None:
    """A gc that was killed may have begun to remove the winner."""
    winner = next(name for name in own_files(filled.bank) if name.startswith("adapters/shard0"))
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)
    assert own_files(filled.bank).keys() <= marked(filled.bank, Condemned({"0": frozenset({winner})}))


def test_of_an_index_whose_marker_is_damaged_every_file_is_marked(filled: Filled) -> None:
    folder = Path(build_index(filled.bank, filled.bank.require_snapshot(), RetrievalConfig()))
    (folder / "index.json").write_text("damaged")
    indexes = {name for name in own_files(filled.bank) if name.startswith("indexes/")}
    assert len(indexes) > 5 and indexes <= marked(filled.bank)
    delete_documents(filled.bank, ["a"])
    assert not indexes & marked(filled.bank)


def test_plans_of_live_runs_keep_their_documents_beside_the_newest(filled: Filled, world: World) -> None:
    bank, infos = filled.bank, []
    for run, shard in (("run1", "waits1"), ("run2", "waits2"), ("run3", "waits3")):
        infos.append(bank.write_documents(shard, world.documents([shard])))
        plan = f'{{"shards": [{{"shard_id": "{shard}", "documents_object": "{infos[-1].path}"}}]}}'
        bank.write_run(run, "plan.json", plan.encode())
    bank.write_run("run1", "lease", b"")
    assert {info.path for info in infos} - marked(bank) == {infos[1].path}
    old = time.time() - timedelta(hours=1).total_seconds()
    os.utime(bank.path("runs/run1/lease"), (old, old))
    assert {info.path for info in infos} - marked(bank) == {infos[0].path, infos[1].path}
