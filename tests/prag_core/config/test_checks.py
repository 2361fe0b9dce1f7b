"""What is out of range, of no known name or contradictory is refused by name, with the nearest name that there is."""

from __future__ import annotations

import re

import pytest

from prag_core.config.load import load_config
from prag_core.errors import ConfigError


def refusal(*settings: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(settings)
    return str(refused.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs=0", "a whole number, at least 1"),
        ("training.learning_rate=-1", "a number, above 0"),
        ("training.learning_rate=0", "a number, above 0"),
        ("training.learning_rate=.nan", "a number, above 0"),
        ("training.beta1=1.5", "a number, at least 0 and below 1"),
        ("training.eps=-1", "a number, above 0"),
        ("training.distill_hidden=-1", "a number, at least 0"),
        ("retrieval.top_k=0", "a whole number, at least 1"),
        ("retrieval.b=3", "a number, at least 0 and at most 1"),
        ("merge.density=0", "a number, above 0 and at most 1"),
        ("merge.density=1.1", "a number, above 0 and at most 1"),
        ("merge.density=.nan", "a number, above 0 and at most 1"),
        ("merge.rank=0", "a whole number, at least 1, or null"),
        ("merge.sharpness=-1", "a number, at least 0"),
        ("acceptance.threshold=1.01", "a number, at least 0 and at most 1, or null"),
        ("acceptance.threshold=-0.1", "a number, at least 0 and at most 1, or null"),
        ("acceptance.max_retries=-1", "a whole number, at least 0"),
        ("methods.lookahead_act_below=0", "a number, above 0 and at most 1"),
        ("methods.max_rounds=0", "a whole number, at least 1"),
        ("router.held_out=1", "a number, above 0 and below 1"),
        ("serve.port=99999", "a whole number, at least 1 and at most 65535"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range_and_the_meaning(setting: str, expected: str) -> None:
    name, _, _ = setting.partition("=")
    assert re.fullmatch(
        rf"{re.escape(name)}=\S+: expected {re.escape(expected)}\. [A-Z].*\.", refusal(setting)
    )


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("training.objective=nexttoken", "next_token"),
        ("merge.rule=SUM", "sum"),
        ("methods.dataset=2wikis", "2wiki"),
        ("engine.kind=vlm", "vllm"),
        ("bank.tier=int9", "int8"),
        ("corpus.format=json", "jsonl"),
        ("retrieval.stemmer=englich", "english"),
        ("retrieval.stopwords=german_plus", "german"),
        ("evaluate.methods=[rag,pragg]", "prag"),
        ("evaluate.methods=[pragg@old]", "prag"),
        ("evaluate.baselines=[rga]", "rag"),
        ("serve.methods=[flar+prag]", "flare+prag"),
        ("calibrate.methods=[drag_in]", "dragin"),
        ("router.strategies=[closedbook,rag]", "closed_book"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest_that_is(setting: str, nearest: str) -> None:
    said = refusal(setting)
    assert (
        said.startswith(setting.split("=")[0])
        and setting.split("=")[1].strip("[]").split(",")[-1][:3] in said
    )
    assert f"; did you mean {nearest}? " in said and (
        "expected one of" in said or "expected names among" in said
    )


def test_a_name_like_no_other_is_refused_with_all_that_there_are() -> None:
    said = refusal("evaluate.methods=[prag,zap]")
    assert said.startswith("evaluate.methods=[prag, zap]: expected names among closed_book, rag, prag,")
    assert "adaptive_prag, not zap. Methods that answer" in said


def test_a_label_needs_its_bank() -> None:
    config = load_config(
        ["evaluate.methods=[prag@old,rag]", "evaluate.baselines=[rag@old]", "evaluate.banks.old=b"]
    )
    assert config.evaluate.methods == ["prag@old", "rag"]
    said = refusal("evaluate.methods=[prag@odl]", "evaluate.banks.old=b")
    assert said == (
        "evaluate.methods=[prag@odl]: prag@odl needs evaluate.banks.odl, which is not set; did you mean old?"
    )
    assert "rag@x needs evaluate.banks.x" in refusal("evaluate.baselines=[rag@x]")
    assert "not prag@old" in refusal("serve.methods=[prag@old]", "evaluate.banks.old=b"), (
        "an endpoint has one bank"
    )


def test_an_exam_without_questions_is_refused() -> None:
    load_config(["acceptance.threshold=0.5", "augmentation.num_qa_pairs=1"])
    said = refusal("acceptance.threshold=0.5", "augmentation.num_qa_pairs=0")
    assert said.startswith("acceptance.threshold=0.5: an exam needs questions")


@pytest.mark.parametrize("objective", ["answer", "distill"])
def test_objectives_of_questions_are_refused_without_questions(objective: str) -> None:
    load_config([f"training.objective={objective}", "augmentation.num_qa_pairs=1"])
    said = refusal(f"training.objective={objective}", "augmentation.num_qa_pairs=0")
    assert said.startswith(f"training.objective={objective} needs questions")
