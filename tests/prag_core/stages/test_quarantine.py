"""A document whose text makes tokenizer or engine raise is quarantined, its neighbours commit, and it can be tried again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prag_core.bank import Bank, Stage
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.errors import EngineError
from prag_core.identity import content_hash
from prag_core.planning.plan import Plan
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Augmentation, QAPair
from prag_core.stages.shard import AugmentStage, TrainStage

NAMES = ("ada", "bo", "cy", "di", "poison")


class RaisingTokenizer:
    """A real tokenizer that cannot bear one word."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, text: Any, *arguments: Any, **options: Any) -> Any:
        return self._tokenizer(self._borne(text), *arguments, **options)

    def encode(self, text: Any, *arguments: Any, **options: Any) -> Any:
        return self._tokenizer.encode(self._borne(text), *arguments, **options)

    def apply_chat_template(self, messages: Any, *arguments: Any, **options: Any) -> Any:
        self._borne(str(messages))
        return self._tokenizer.apply_chat_template(messages, *arguments, **options)

    def _borne(self, text: Any) -> Any:
        if "poison" in str(text):
            raise OverflowError("a word too strange\nsecond line")
        return text


class RefusingEngine:
    """A real tokenizer and an engine that writes well, except about one document."""

    max_length = 4096

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        if any("poison" in self.tokenizer.decode(list(r.token_ids)) for r in requests):
            raise EngineError("request 4: refused")
        return [Generation(self._text(r, sampling), (0,), "stop") for r in requests]

    def _text(self, request: Request, sampling: Sampling) -> str:
        if sampling.json_schema is None:
            return f"In other words {request.seed}."
        asked = [f"Question {request.seed} {i}?" for i in range(3)]
        return json.dumps([{"question": q, "answer": "Oslo", "full_answer": "It is Oslo."} for q in asked])

    def close(self) -> None: ...


@pytest.fixture
def config(tmp_path: Path) -> Config:
    lines = [json.dumps({"doc_id": name, "text": f"A short text about {name}."}) for name in NAMES]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    return load_config(
        [f"corpus.uri={tmp_path}/corpus.jsonl", f"bank.uri={tmp_path}/bank", "training.epochs=1"]
    )


def plan(config: Config, *, retry_failed: bool = False) -> Plan:
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    return make_plan(
        config, bank, read_corpus(config.corpus), prepared, write=True, retry_failed=retry_failed
    )


def tokenizer_of(config: Config) -> Any:
    return prepare_recipe(config).tokenizer


def check_quarantined(config: Config, made: Plan, stage: str, reason: str) -> None:
    """The poison alone is quarantined in the newest snapshot, for this reason, and is planned again on request alone."""
    snapshot = Bank.open(config.bank.uri).write_snapshot(made.wanted())
    assert [(f.doc_id, f.stage, f.reason) for f in snapshot.failures] == [("poison", stage, reason)]
    assert plan(config).shards == ()
    assert [shard.num_documents for shard in plan(config, retry_failed=True).shards] == [1]


def train(config: Config, made: Plan, tokenizer: Any = None) -> None:
    stage = TrainStage(config.bank.uri, config)
    if tokenizer is not None:
        stage.base = stage.base._replace(tokenizer=tokenizer)
    (shard,) = made.shards
    reports: list[int] = []
    result = stage.run(shard.shard_id, shard.documents_object, reports.append)
    assert result.num_documents == len(NAMES) - 1
    assert reports == list(range(len(NAMES))), "each document is reported when it is trained"


@pytest.mark.parametrize("culprit", ["tokenizer", "engine"])
def test_a_document_that_makes_augmenting_raise_is_quarantined_and_the_rest_commits(
    config: Config, culprit: str
) -> None:
    made, stage, tokenizer = plan(config), AugmentStage(config.bank.uri, config), tokenizer_of(config)
    stage.engine = RefusingEngine(RaisingTokenizer(tokenizer) if culprit == "tokenizer" else tokenizer)
    (shard,) = made.shards
    reports: list[int] = []
    result = stage.run(shard.shard_id, shard.documents_object, reports.append)
    assert (result.num_documents, result.num_failed) == (len(NAMES) - 1, 1)
    assert reports == sorted(reports) and (reports[0], reports[-1]) == (0, len(NAMES) - 1)
    train(config, made)
    reasons = {"tokenizer": "OverflowError: a word too strange", "engine": "EngineError: request 4: refused"}
    check_quarantined(config, made, "augment", reasons[culprit])


def test_a_document_that_makes_its_samples_raise_is_quarantined_and_the_rest_commits(config: Config) -> None:
    made, bank = plan(config), Bank.open(config.bank.uri)
    (shard,) = made.shards
    with bank.begin(Stage.augmentations, shard.shard_id) as writer:
        for document in bank.read_documents(shard.documents_object):
            asked = (QAPair("Who is it?", document.doc_id, "It is."),)
            writer.add(
                Augmentation(document.doc_id, 0, content_hash(document), (document.text,), asked, "hand")
            )
        writer.commit()
    train(config, made, RaisingTokenizer(tokenizer_of(config)))
    check_quarantined(config, made, "train", "OverflowError: a word too strange")
