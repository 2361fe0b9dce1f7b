"""A bank that earlier code made opens under today's: the same recipe, the same adapters, nothing made anew.

`tests/data/bank_of_0_1` was made by commit 685a346, before the packages of `prag_core`: a random Llama of 3,200 weights and a
byte-level tokenizer (`model/`), three documents (`corpus.jsonl`), planned under SETTINGS by its `make_plan`, augmentations
written by hand (each text as its own rewrite, one pair), trained and examined by its `TrainStage`, and published (`bank/`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from prag_core.bank import Bank, Stage, verify
from prag_core.bank.reader import read_adapter_rows
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.planning.plan import Plan
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Adapter
from prag_core.stages.shard import TrainStage

MADE = Path(__file__).resolve().parents[2] / "data" / "bank_of_0_1"
RECIPE_ID = "d739672b6ea46ccf3bf7fd8b953705ffca2dee6d555192cf32041c8ca37b0893"
SETTINGS = [
    f"corpus.uri={MADE}/corpus.jsonl",
    f"model.path={MADE}/model",
    "bank.tier=int8",
    "augmentation.num_qa_pairs=1",
    "augmentation.max_new_tokens=64",
    "training.epochs=2",
    "training.learning_rate=5e-3",
    "prompt.with_title=true",
    "acceptance.threshold=0",
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Its settings, over a copy of the bank that may be written to."""
    shutil.copytree(MADE / "bank", tmp_path / "bank")
    return load_config([*SETTINGS, f"bank.uri={tmp_path}/bank"])


def open_and_plan(config: Config, *, write: bool = False) -> tuple[Bank, Plan]:
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    return bank, make_plan(config, bank, read_corpus(config.corpus), prepared, write=write)


def adapters(bank: Bank) -> dict[str, Adapter]:
    ((_, commit),) = bank.list_commits(Stage.adapters).items()
    (info,) = commit.all("adapters")
    return {adapter.doc_id: adapter for adapter in read_adapter_rows(bank, info.path)}


def test_its_recipe_has_todays_name_and_the_bank_is_sound(config: Config) -> None:
    bank = Bank.open(config.bank.uri)
    assert prepare_recipe(config).recipe.id == bank.recipe.id == RECIPE_ID
    assert verify(bank) == []


def test_nothing_of_it_is_planned_anew_and_its_next_snapshot_says_the_same(config: Config) -> None:
    before = {path: path.read_bytes() for path in Path(config.bank.uri).rglob("*") if path.is_file()}
    bank, plan = open_and_plan(config)
    assert (plan.counts.documents, plan.counts.done, plan.shards) == (3, 3, ())
    old = bank.require_snapshot()
    new = bank.write_snapshot(plan.wanted())  # in today's format, once
    assert new.index.equals(old.index) and bank.write_snapshot(plan.wanted()).name == new.name
    assert before == {path: path.read_bytes() for path in before} and verify(bank) == []


def test_its_documents_augmentations_and_adapters_are_read(config: Config) -> None:
    bank = Bank.open(config.bank.uri)
    snapshot = bank.require_snapshot()
    assert {document.doc_id: document.text for document in snapshot.documents()} == {
        "ada": "Ada was born in Oslo.",
        "bo": "Bo painted Iris.",
        "cy": "Cy sails a boat.",
    }
    assert snapshot.augmentations([("bo", 0)])["bo", 0].qa_pairs[0].question == "Who painted Iris?"
    found = adapters(bank)
    assert {name: (a.steps, a.tokens) for name, a in found.items()} == {
        "ada": (4, 872),
        "bo": (4, 832),
        "cy": (4, 840),
    }
    assert list(found["ada"].factors) == [module.name for module in bank.layout.modules]
    assert all(factor.any() for pair in found["ada"].factors.values() for factor in pair)


def test_training_its_documents_today_gives_the_same_adapters(config: Config, tmp_path: Path) -> None:
    """But for the last step of the int8 tier, since machines round differently."""
    old = Bank.open(config.bank.uri)
    config.bank.uri = str(tmp_path / "today")
    bank, plan = open_and_plan(config, write=True)
    (shard,) = plan.shards
    written = old.require_snapshot().augmentations([("ada", 0), ("bo", 0), ("cy", 0)])
    with bank.begin(Stage.augmentations, shard.shard_id) as writer:
        for augmentation in written.values():
            writer.add(augmentation)
        writer.commit()
    TrainStage(bank.uri, config).run(shard.shard_id, shard.documents_object)
    ours, theirs = adapters(bank), adapters(old)
    assert ours.keys() == theirs.keys()
    for name, adapter in ours.items():
        assert adapter.loss_last == pytest.approx(theirs[name].loss_last, rel=1e-4)
        for module, pair in adapter.factors.items():
            for one, other in zip(pair, theirs[name].factors[module], strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=2 * np.abs(other).max() / 127)
