"""Planning finds what is the same thing twice; runs share an engine when it serves them alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.corpus.reader import read_corpus
from prag_core.errors import BankError, ConfigError, ModelError
from prag_core.experiments.answering import engine_identity
from prag_core.experiments.banks import MadeBank, NamedBank, find_made
from prag_core.experiments.plan import PlannedTable
from prag_core.experiments.table_file import load_table
from prag_core.experiments.workspace import Workspace
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.planning.run_stats import write_run_stats
from prag_core.stages.shard import AugmentStage, TrainStage

LAYOUT = AdapterLayout((ModuleShape("layers.0.mlp.up_proj", 8, 4),), rank=2, alpha=32)


def plan(tmp_path: Path, *rows: dict[str, Any]) -> PlannedTable:
    (tmp_path / "corpus.jsonl").write_text(
        json.dumps({"doc_id": "d", "text": "Ada was born in Rome."}) + "\n"
    )
    asked: dict[str, Any] = {"question_id": "q", "question": "Where was Ada born?", "answers": ["Rome"]}
    asked["gold_doc_ids"] = ["d"]
    (tmp_path / "questions.jsonl").write_text(json.dumps(asked) + "\n")
    settings = {"corpus.uri": f"{tmp_path}/corpus.jsonl", "evaluate.questions": f"{tmp_path}/questions.jsonl"}
    table = tmp_path / "mine.yaml"
    table.write_text(yaml.safe_dump({"settings": settings, "methods": ["prag", "rag"], "rows": list(rows)}))
    return Workspace(str(tmp_path)).plan(load_table(str(table)))


def row(label: str, **settings: Any) -> dict[str, Any]:
    return {"label": label, "settings": {name.replace("__", "."): value for name, value in settings.items()}}


def test_rows_that_are_served_otherwise_share_a_bank_but_no_answers(tmp_path: Path) -> None:
    planned = plan(tmp_path, row("a"), row("k 1", retrieval__top_k=1), row("rank 1", training__rank=1))
    assert len(planned.banks) == 2
    assert len({run.identity for run in planned.runs}) == 6


def test_the_same_row_of_two_tables_is_one_run(tmp_path: Path) -> None:
    first, second = (plan(tmp_path, row(label)) for label in ("here", "there"))
    assert [run.identity for run in first.runs] == [run.identity for run in second.runs]


def test_a_row_that_changes_nothing_that_matters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="mine: prag@b is the same as prag@a: what its row sets changes nothing"
    ):
        plan(tmp_path, row("a"), row("b", training__threads=1))


def test_what_a_rows_model_lacks_is_told_with_its_name(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="mine, prag@b: "):
        plan(tmp_path, row("a"), row("b", augmentation__model=str(empty)))


def test_without_its_bank_a_run_has_no_answers_and_can_have_none(tmp_path: Path) -> None:
    planned, workspace = plan(tmp_path, row("a")), Workspace(str(tmp_path))
    assert workspace.find_answers(planned.runs[0]) is None
    with pytest.raises(BankError, match="the bank of prag@a is not there"):
        workspace.answer(planned.runs)
    assert not (tmp_path / "answers").exists()


def test_runs_share_an_engine_that_serves_them_alike() -> None:
    def identity(*settings: str, rank: int = 6, layout: AdapterLayout = LAYOUT) -> str:
        return engine_identity(load_config(list(settings)), layout, rank)

    usual, oracle = identity(), "engine.kind=transformers"
    assert identity("merge.rule=mean", "engine.max_new_tokens=7", "retrieval.top_k=2", rank=4) == usual
    assert identity(rank=10) != usual, "vLLM has slots of 8 and of 16"
    assert identity(oracle) == identity(oracle, rank=10) != usual
    assert identity("engine.dtype=float32") != usual
    assert (
        identity(layout=AdapterLayout((ModuleShape("layers.0.mlp.down_proj", 4, 8),), rank=2, alpha=32))
        != usual
    )


def make(bank: NamedBank) -> None:
    """Make a bank as a run does, without Ray: its passages are learned as plain text."""
    config, prepared = bank.config, prepare_recipe(bank.config)
    made = Bank.create(bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, made, read_corpus(config.corpus), prepared, write=True)
    for stage in (AugmentStage(bank.uri, config), TrainStage(bank.uri, config)):
        for shard in plan.shards:
            stage.run(shard.shard_id, shard.documents_object)
    made.write_snapshot(plan.wanted())
    write_run_stats(made, plan.run, [])


def test_answers_are_given_once_kept_and_reported_with_the_row_that_they_are_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmentation = {"engine": "transformers", "num_rewrites": 0, "num_qa_pairs": 0}
    settings = {"augmentation": augmentation, "engine": {"kind": "transformers", "max_new_tokens": 2}}
    rows = [row("a", **settings), row("k [/b] 1", **settings, retrieval__top_k=1)]
    table, workspace = plan(tmp_path, *rows), Workspace(str(tmp_path))
    (missing,) = workspace.missing_banks([table], retry_failed=False)
    make(missing)
    assert workspace.find_bank(missing.uri) is None, "looked up once"
    workspace.forget(missing.uri)
    assert workspace.missing_banks([table], retry_failed=False) == []
    told: list[str] = []
    workspace.answer(table.runs, lambda name, done, total: told.append(f"{name} {done}/{total}"))
    names = ["prag@a", "prag@k [/b] 1", "rag@a", "rag@k [/b] 1"]
    assert [line for line in told if line.endswith("1/1")] == [f"{name} 1/1" for name in names]
    monkeypatch.setattr("prag_core.experiments.answering.make_engine", None)
    opened: list[str] = []

    def find_and_note(uri: str) -> MadeBank | None:
        opened.append(uri)
        return find_made(uri)

    monkeypatch.setattr("prag_core.experiments.workspace.find_made", find_and_note)
    again = Workspace(str(tmp_path))
    report = again.report(table)
    assert opened == [missing.uri], "a bank is opened once for all runs"
    assert list(report.methods) == names and report.retrieval["hit@3"] == 1
    origin = report.origins["prag@k [/b] 1"]
    assert (origin.row, origin.adapters, origin.bank) == ("k [/b] 1", 1, missing.uri)
    assert {p.answer.adapters for p in report.predictions} == {(("d", 0),), ()}
