"""Warm-up learns from questions that no table comes near."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prag_core.errors import ConfigError
from prag_core.experiments.paper.columns import Reproduction, choose
from prag_core.experiments.paper.description import load_paper_table, load_setup
from prag_core.experiments.paper.warm import GAP, warm_config
from prag_core.questions.reader import load_questions

SETUP = load_setup()


def reproduction(folder: Path, *more: str, count: int = 1100) -> Reproduction:
    """Both directly answered question sets, `count` questions each."""
    (folder / "popqa").mkdir(parents=True)
    (folder / "complexwebquestions").mkdir()
    lines = "".join(f'{i}\tWhat is {i}?\t"[""p{i}""]"\n' for i in range(count))
    (folder / "popqa/popQA.tsv").write_text(f"id\tquestion\tpossible_answers\n{lines}")
    records = [
        {
            "ID": str(i),
            "question": f"Which is {i}?",
            "compositionality_type": "composition",
            "answers": [{"answer": f"c{i}"}],
        }
        for i in range(count)
    ]
    (folder / "complexwebquestions/ComplexWebQuestions_dev.json").write_text(json.dumps(records))
    overrides = [f"paper.data={folder}", "evaluate.limit=20", *more]
    return choose(load_paper_table("warmup", SETUP), SETUP, ["llama-3-8b"], ["popqa", "cwq"], overrides)


def test_questions_come_from_far_behind_those_that_are_scored_and_from_every_set_alike(
    tmp_path: Path,
) -> None:
    made = reproduction(tmp_path / "data")
    configs = [
        warm_config(made, made.models[0], dataset, str(tmp_path / "warm")) for dataset in made.datasets
    ]
    assert configs[0].warmup == configs[1].warmup and configs[0].warmup.questions
    questions = load_questions(configs[0].warmup.questions)
    numbers = [int(question.question_id.split("-")[1]) for question in questions]
    assert sorted(numbers) == sorted([*range(20 + GAP, 1100)] * 2) and numbers != sorted(numbers)
    assert {question.question_id.split("-")[0] for question in questions} == {"popqa", "cwq"}


def test_another_setting_is_another_adapter(tmp_path: Path) -> None:
    places = set()
    for number, more in enumerate(([], ["warmup.epochs=2"], ["training.rank=4"], ["model.path=other"])):
        made = reproduction(tmp_path / str(number), *more)
        places.add(warm_config(made, made.models[0], made.datasets[0], str(tmp_path / "warm")).warmup.out)
    assert len(places) == 4


def test_a_set_without_questions_left_is_refused_unless_others_are_given(tmp_path: Path) -> None:
    made = reproduction(tmp_path / "data", count=1000)
    with pytest.raises(
        ConfigError, match=r"popQA\.tsv: of 1000 questions none is left .* warmup\.questions=FILE"
    ):
        warm_config(made, made.models[0], made.datasets[0], str(tmp_path / "warm"))
    given = reproduction(tmp_path / "other", "warmup.questions=mine.jsonl", count=1000)
    assert str(
        warm_config(given, given.models[0], given.datasets[0], str(tmp_path)).warmup.questions
    ).endswith("mine.jsonl")
