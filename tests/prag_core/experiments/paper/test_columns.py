"""A published table becomes runs under the paper's settings, over the questions of each column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from prag_core.errors import ConfigError
from prag_core.experiments.paper.columns import (
    Reproduction,
    check_data,
    choose,
    column_questions,
    column_tables,
)
from prag_core.experiments.paper.description import load_paper_table, load_setup
from prag_core.models.prompts import DEFAULT_NEW_TOKENS

SETUP = load_setup()
MODELS, DATASETS = list(SETUP.models), list(SETUP.datasets)


def chosen(
    table: str, *overrides: str, models: Sequence[str] = (), datasets: Sequence[str] = ()
) -> Reproduction:
    return choose(load_paper_table(table, SETUP), SETUP, models, datasets, overrides)


def write_hotpot(path: Path, *types: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "_id": f"h{i}",
            "type": kind,
            "question": f"Who is {i}?",
            "answer": "Bo",
            "supporting_facts": [],
            "context": [],
        }
        for i, kind in enumerate(types)
    ]
    path.write_text(json.dumps(records))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_model_and_question_set_has_the_published_settings(model: str, dataset: str) -> None:
    config = chosen("main").config(SETUP.datasets[dataset], SETUP.models[model])
    training = config.training
    assert training.epochs == (
        2 if dataset == "popqa" or (model, dataset) == ("qwen2.5-1.5b", "hotpotqa") else 1
    )
    assert (training.rank, training.alpha, training.learning_rate, training.dtype.value) == (
        2,
        32.0,
        3e-4,
        "float32",
    )
    assert (config.retrieval.top_k, config.engine.dtype.value, config.bank.tier.value) == (
        3,
        "float32",
        "fp32",
    )
    assert config.augmentation.num_rewrites == 1 and config.augmentation.num_qa_pairs == 3
    assert DEFAULT_NEW_TOKENS[config.prompt.cot] == (128 if dataset in ("2wiki", "hotpotqa") else 20)
    assert config.evaluate.limit == 300 and config.model.path == SETUP.models[model].settings["model.path"]


def test_the_command_line_wins_over_the_table_and_the_row_over_the_command_line() -> None:
    made = chosen(
        "time", "engine.max_sequences=4", "engine.kind=vllm", "training.epochs=9", datasets=["2wiki"]
    )
    rows = {row.label: row for row in made.table.rows}
    config = made.config(made.datasets[0], made.models[0], rows["DRAGIN"])
    assert (config.engine.max_sequences, config.engine.kind.value, config.training.epochs) == (
        4,
        "transformers",
        9,
    )


def test_columns_are_the_first_questions_of_all_and_of_each_type(tmp_path: Path) -> None:
    write_hotpot(
        tmp_path / "hotpotqa/hotpot_dev_distractor_v1.json",
        "bridge",
        "comparison",
        "bridge",
        "comparison",
        "bridge",
    )
    made = chosen("warmup", f"paper.data={tmp_path}", "evaluate.limit=2", datasets=["hotpotqa"])
    asked = {
        name: [q.question_id for q in questions]
        for name, questions in column_questions(made, made.datasets[0]).items()
    }
    assert asked == {"Bridge": ["h0", "h2"], "Compare": ["h1", "h3"], "Total": ["h0", "h1"]}
    warm = {("llama-3-8b", "hotpotqa"): "/w"}
    tables = {
        (model, column): table for model, column, table in column_tables(made, {"hotpotqa": "/c.jsonl"}, warm)
    }
    assert set(tables) == {(model, ("hotpotqa", "Total")) for model in MODELS}
    runs = {run.name: run for run in tables["llama-3-8b", ("hotpotqa", "Total")].runs}
    assert [run.config.training.initial for run in runs.values()] == [None, "/w", "/w"]
    assert [run.name for run in tables["llama-3.2-1b", ("hotpotqa", "Total")].runs] == ["P-RAG random"]
    assert [run.config.merge.warm.value for run in runs.values()] == ["once", "every", "once"]
    assert {run.config.corpus.uri for run in runs.values()} == {"/c.jsonl"} and runs[
        "P-RAG warm"
    ].method == "prag"


def test_missing_files_are_all_named_with_where_they_are_had(tmp_path: Path) -> None:
    write_hotpot(tmp_path / "hotpotqa/hotpot_dev_distractor_v1.json", "bridge")
    with pytest.raises(ConfigError) as refused:
        check_data(chosen("main", f"paper.data={tmp_path}"))
    message = str(refused.value)
    assert message.startswith("4 files are not there") and "paper.data=FOLDER" in message
    for name, source in (
        ("2wikimultihopqa/dev.json", "github.com/Alab-NII/2wikimultihop"),
        ("popqa/popQA.tsv", "AlexTMallen/adaptive-retrieval"),
        ("complexwebquestions/ComplexWebQuestions_dev.json", "tau-nlp"),
        ("dpr/psgs_w100.tsv", "facebookresearch/DPR"),
    ):
        assert f"{tmp_path}/{name}\n" in message and source in message
    assert "hotpot_dev" not in message
    (tmp_path / "c.jsonl").write_text("{}")
    check_data(
        chosen("main", f"paper.data={tmp_path}", f"corpus.uri={tmp_path}/*.jsonl", datasets=["hotpotqa"])
    )


def test_what_a_table_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="--model llama-2: no such model; known"):
        chosen("main", models=["llama-2"])
    with pytest.raises(ConfigError, match="--dataset popqa: time has 2wiki, cwq"):
        chosen("time", datasets=["popqa"])
    with pytest.raises(ConfigError, match="there are 4 question sets; choose one with --dataset"):
        chosen("main", "evaluate.questions=q.jsonl")
    assert [model.name for model in chosen("time").models] == ["llama-3-8b"]
