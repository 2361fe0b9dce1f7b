"""Training a shard with an exam, as a run does it: what is committed, listed, planned and left alone."""

from __future__ import annotations

import json

import pytest

from prag_core.bank import Bank, Stage, verify
from prag_core.bank.reader import read_adapter_rows
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.identity import content_hash
from prag_core.planning.plan import Plan
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Adapter, Augmentation, QAPair
from prag_core.stages.shard import TrainStage

LEARNABLE = {"ada": ("Where was Ada born?", "Oslo"), "bo": ("Who painted Iris?", "Bo")}
DOCUMENTS = [*LEARNABLE, "torn"]
EPOCHS, RETRIES = 2, 3


def pairs(doc_id: str) -> tuple[QAPair, ...]:
    """One question, asked of its adapter; of the torn document with two answers, which none can both give."""
    if doc_id in LEARNABLE:
        question, answer = LEARNABLE[doc_id]
        return (QAPair(question, answer, f"It is {answer}."),)
    return tuple(
        QAPair("What is the tower's colour?", answer, f"It is {answer}.") for answer in ("red", "blue")
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("stages")
    lines = [json.dumps({"doc_id": name, "text": f"A short text about {name}."}) for name in DOCUMENTS]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    settings = [f"corpus.uri={folder}/corpus.jsonl", f"bank.uri={folder}/bank", "bank.tier=int8"]
    settings += [
        "training.learning_rate=5e-3",
        f"training.epochs={EPOCHS}",
        "training.repeat_without_passage=true",
    ]
    return load_config([*settings, "acceptance.threshold=1", f"acceptance.max_retries={RETRIES}"])


def plan(config: Config, *, retry_failed: bool = False) -> Plan:
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    return make_plan(
        config, bank, read_corpus(config.corpus), prepared, write=True, retry_failed=retry_failed
    )


@pytest.fixture(scope="module")
def bank(config: Config) -> Bank:
    """A bank whose one shard is augmented by hand, trained and examined."""
    made = plan(config)
    bank = Bank.open(config.bank.uri)
    (shard,) = made.shards
    with bank.begin(Stage.augmentations, shard.shard_id) as writer:
        for document in bank.read_documents(shard.documents_object):
            asked = pairs(document.doc_id)
            writer.add(
                Augmentation(document.doc_id, 0, content_hash(document), (document.text,), asked, "hand")
            )
        writer.commit()
    stage = TrainStage(bank.uri, config)
    assert not stage.run(shard.shard_id, shard.documents_object).reused
    assert stage.run(shard.shard_id, shard.documents_object).reused, "what is committed is not trained again"
    bank.write_snapshot(made.wanted())
    return bank


def adapters(bank: Bank) -> dict[str, Adapter]:
    ((_, commit),) = bank.list_commits(Stage.adapters).items()
    (info,) = commit.all("adapters")
    return {adapter.doc_id: adapter for adapter in read_adapter_rows(bank, info.path)}


def test_who_knows_its_document_is_accepted_and_who_cannot_was_trained_longest(bank: Bank) -> None:
    found = adapters(bank)
    assert {name: (found[name].accepted, found[name].score) for name in LEARNABLE} == dict.fromkeys(
        LEARNABLE, (True, 1.0)
    )
    assert found["torn"].accepted is False and found["torn"].score in (0.0, 0.5)
    samples = 2 + 2  # the first pair over the passage, its rewrite, and alone; the second alone
    assert found["torn"].steps == samples * EPOCHS * 2**RETRIES


def test_every_document_is_one_of_the_three_and_the_bank_is_sound(bank: Bank) -> None:
    snapshot = bank.latest_snapshot()
    assert snapshot is not None
    assert dict(zip(*(snapshot.index[name].to_pylist() for name in ("doc_id", "status")), strict=True)) == {
        "ada": "adapter",
        "bo": "adapter",
        "torn": "text_only",
    }
    assert snapshot.failures == [] and verify(bank) == []


def test_a_text_only_document_is_planned_again_on_request_alone(bank: Bank, config: Config) -> None:
    again = plan(config)
    assert (again.shards, again.counts.done, again.counts.text_only, again.counts.failed) == ((), 2, 1, 0)
    retried = plan(config, retry_failed=True)
    assert [shard.num_documents for shard in retried.shards] == [1] and retried.counts.retried == 1
