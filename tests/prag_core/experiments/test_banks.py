"""A bank is named by what is in it, and counts as made when its newest run ended well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.errors import CorpusError
from prag_core.experiments.banks import BankNames, find_made, with_source
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.planning.run_stats import write_run_stats
from prag_core.records import Document

OK = {"error": "", "adapters_reused": False, "adapters_seconds": 3.0, "adapters_num_documents": 2}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"doc_id": f"d{i}", "text": f"Text {i}."}) + "\n" for i in range(3)))
    return path


def configure(corpus: Path, *settings: str) -> Config:
    return load_config([f"corpus.uri={corpus}", *settings])


def test_what_changes_no_adapter_changes_no_bank(corpus: Path, tmp_path: Path) -> None:
    names = BankNames(str(tmp_path))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(corpus.read_bytes())
    first = names.name(configure(corpus))
    assert first.uri.startswith(f"{tmp_path}/") and first.config.bank.uri == first.uri
    for same in (
        "retrieval.top_k=1",
        "merge.rule=mean",
        "engine.kind=transformers",
        "training.threads=2",
        "bank.uri=elsewhere",
        "augmentation.max_attempts=9",
        f"corpus.uri={copy}",
        "corpus.limit=3",
        "ray.train_actors=3",
        "evaluate.seed=4",
    ):
        assert names.name(configure(corpus, same)).uri == first.uri, same


def test_what_changes_an_adapter_or_its_storage_is_another_bank(corpus: Path, tmp_path: Path) -> None:
    names = BankNames(str(tmp_path))
    others = (
        "training.rank=1",
        "training.epochs=2",
        "training.learning_rate=1",
        "augmentation.num_rewrites=0",
        "prompt.cot=true",
        "augmentation.num_qa_pairs=0",
        "bank.tier=int8",
        "corpus.limit=2",
        "corpus.long_documents=chunk",
        "model.max_length=2000",
        "acceptance.threshold=0.5",
        "recipe=mini",
    )
    uris = [
        names.name(configure(corpus, *settings)).uri for settings in ((), *((other,) for other in others))
    ]
    assert len(set(uris)) == len(others) + 1


def test_another_wording_of_the_corpus_is_another_bank(corpus: Path, tmp_path: Path) -> None:
    before = BankNames(str(tmp_path)).name(configure(corpus)).uri
    corpus.write_text(corpus.read_text().replace("Text 2.", "Text two."))
    assert BankNames(str(tmp_path)).name(configure(corpus)).uri != before


def test_a_corpus_that_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.jsonl"):
        BankNames(str(tmp_path)).name(configure(tmp_path / "none.jsonl"))


def is_made(uri: str) -> bool:
    return find_made(uri) is not None


def run(config: Config, rows: list[Any] | None) -> None:
    """A run of a bank: planned, and with `rows` ended."""
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, [Document("d", "t")], prepared, write=True)
    if rows is not None:
        bank.write_snapshot(plan.wanted())
        write_run_stats(bank, plan.run, rows)


def test_a_bank_is_made_when_its_newest_run_ended_without_a_failed_shard(
    corpus: Path, tmp_path: Path
) -> None:
    named = BankNames(str(tmp_path)).name(configure(corpus))
    assert find_made(named.uri) is None
    run(named.config, None)
    assert find_made(named.uri) is None, "cut short"
    run(named.config, [OK, OK | {"error": "a worker died"}])
    assert find_made(named.uri) is None, "a shard failed"
    run(
        named.config,
        [OK | {"adapters_seconds": 6.0}, OK | {"adapters_reused": True, "adapters_seconds": 0.0}],
    )
    made = find_made(named.uri)
    assert made is not None
    assert made.figures.seconds_per_document == pytest.approx((3.0 + 6.0) / (2 + 2)), (
        "of what was trained, in either run"
    )
    run(named.config, None)
    assert find_made(named.uri) is None, "another run has begun since"


def test_augmentations_come_from_the_first_made_bank_that_has_the_same(corpus: Path, tmp_path: Path) -> None:
    names = BankNames(str(tmp_path))
    settings = ("augmentation.num_qa_pairs=0", "training.rank=1", "training.rank=4", "training.epochs=2")
    other, unmade, first, wanted = banks = [names.name(configure(corpus, setting)) for setting in settings]
    assert with_source(wanted, banks, is_made).augmentation.uri is None
    for bank in (other, first):
        run(bank.config, [])
    assert with_source(wanted, banks, is_made).augmentation.uri == first.uri
    assert with_source(first, banks, is_made).augmentation.uri is None, "not from itself"
    given = names.name(configure(corpus, "training.epochs=3", "augmentation.uri=/mine"))
    assert with_source(given, banks, is_made).augmentation.uri == "/mine"
    assert unmade.writing == first.writing != other.writing
