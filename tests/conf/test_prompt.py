"""The wording of each dataset loads, and its worked examples end in an answer that scoring finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.config.load import CONF, load_config
from prag_core.evaluation.metrics import extract_answer
from prag_core.models.prompts import DEFAULT_NEW_TOKENS
from prag_core.questions.examples import load_fewshot
from prag_core.questions.formats import PUBLISHED

WORKED = {
    "2wiki": True,
    "hotpotqa": True,
    "popqa": False,
    "cwq": False,
}  # as published: reasoning, or a direct answer


def test_every_published_question_set_has_its_wording() -> None:
    assert {path.stem for path in (CONF / "prompt").glob("*.yaml")} == set(WORKED) == set(PUBLISHED)


@pytest.mark.parametrize("name", WORKED)
def test_a_dataset_is_worded_as_published_over_whatever_else_is_configured(name: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: mini\nretrieval: {top_k: 5}\n")
    config = load_config(["bank.tier=bf16"], str(mine), str(CONF / "prompt" / f"{name}.yaml"))
    assert (config.recipe, config.retrieval.top_k, config.bank.tier.value) == ("mini", 5, "bf16")
    assert config.prompt.cot == WORKED[name] and not config.prompt.with_title
    assert DEFAULT_NEW_TOKENS[config.prompt.cot] == (128 if WORKED[name] else 20)


@pytest.mark.parametrize("name", WORKED)
def test_a_worked_example_ends_in_the_answer_that_is_scored(name: str) -> None:
    examples = load_fewshot(load_config([], str(CONF / "prompt" / f"{name}.yaml")).prompt.fewshot)
    assert len(examples) >= 8
    for question, worked in examples:
        answer = extract_answer(worked, cot=True)
        assert answer and worked.endswith(f". So the answer is {answer}."), question
