"""What a warm-up is taught: first answers, or the model's own reasoning where it is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prag_core.config.load import load_config
from prag_core.config.schema import PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.errors import ConfigError, CorpusError
from prag_core.models.prompts import encode_question
from prag_core.records import Question
from prag_core.training import warmup_questions
from prag_core.training.warmup_questions import Lesson, make_lessons, read_questions, write_reasoning


def question(text: str, *answers: str) -> Question:
    return Question(text, text, answers)


class Reasoner:
    """Says what was written for each question."""

    max_length = 4096

    def __init__(self, tokenizer: Any, said: dict[str, Any]) -> None:
        self.tokenizer, self.said = tokenizer, said
        self.asked: list[tuple[int, ...]] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        assert sampling.temperature == 0.0 and sampling.max_new_tokens == 50
        assert all(request.adapter is None for request in requests)
        self.asked += [request.token_ids for request in requests]
        found = [self.tokenizer.decode(request.token_ids) for request in requests]
        return [
            Generation(*next(said for text, said in self.said.items() if text in prompt)) for prompt in found
        ]

    def close(self) -> None: ...


ENDED = "stop"
SAID = {
    "right?": ("Ada was born in Rome. So the answer is Rome.", (), ENDED),
    "also right?": (" Bo wrote it.\n\nSo the answer is the Iris \n", (), ENDED),
    "wrong?": ("Ada was born in Rome. So the answer is Rome.", (), ENDED),
    "nearly?": ("So the answer is Rome in Italy.", (), ENDED),
    "unsaid?": ("Rome.", (), ENDED),
    "cut off?": ("So the answer is Rome. The next thing that", (), "length"),
}
GOLDS = {"wrong?": ("Paris",), "also right?": ("Iris", "Irides")}
QUESTIONS = [question(text, *GOLDS.get(text, ("Rome",))) for text in SAID]


def test_reasoning_is_kept_only_where_it_ends_and_its_answer_is_right(tiny_tokenizer: Any) -> None:
    engine: Any = Reasoner(tiny_tokenizer, {f"Question: {text}": said for text, said in SAID.items()})
    kept = write_reasoning(QUESTIONS, engine, PromptConfig(cot=True), 10, 50)
    assert kept == [
        Lesson("right?", "Ada was born in Rome. So the answer is Rome."),
        Lesson("also right?", "Bo wrote it.\n\nSo the answer is the Iris"),
    ]


def test_it_is_written_over_the_few_shot_prompt_in_order_until_enough_are_right(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmup_questions, "BATCH", 2)
    shots = tmp_path / "shots.jsonl"
    shots.write_text(json.dumps({"question": "Where?", "answer": "There. So the answer is there."}))
    prompt = PromptConfig(cot=True, fewshot=str(shots))
    right = ("So the answer is Rome.", (), ENDED)
    engine: Any = Reasoner(tiny_tokenizer, {"Question": right})
    asked = [question(f"Question number {i}?", "Rome") for i in range(7)]
    ticks: list[tuple[str, int, int]] = []
    kept = write_reasoning(asked, engine, prompt, 3, 50, lambda *tick: ticks.append(tick))
    assert [lesson.question for lesson in kept] == [q.question for q in asked[:3]]
    examples = (("Where?", "There. So the answer is there."),)
    assert engine.asked == [
        encode_question(tiny_tokenizer, q.question, (), prompt, examples) for q in asked[:4]
    ]
    assert [done for _, done, _ in ticks] == [0, 2, 3]


def test_no_right_reasoning_at_all_is_an_error_that_says_what_to_do(tiny_tokenizer: Any) -> None:
    engine: Any = Reasoner(tiny_tokenizer, {"": ("So the answer is Oslo.", (), ENDED)})
    with pytest.raises(
        CorpusError, match=r"of 6 questions the model reasoned out none right.*prompt\.fewshot"
    ):
        write_reasoning(QUESTIONS, engine, PromptConfig(cot=True), 3, 50)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question_id": f"q{i}", "question": f"Which {i}?", "answers": [f"a{i}", "other"]} for i in range(5)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_direct_lessons_are_the_first_questions_first_answers(file: Path) -> None:
    config = load_config([f"warmup.questions={file}", "warmup.num_questions=2"])
    assert make_lessons(config, read_questions(config), lambda *_: None) == [
        Lesson("Which 0?", "a0"),
        Lesson("Which 1?", "a1"),
    ]


def test_reasoning_may_use_every_question_of_the_file(file: Path) -> None:
    assert (
        len(
            read_questions(
                load_config([f"warmup.questions={file}", "warmup.num_questions=2", "prompt.cot=true"])
            )
        )
        == 5
    )


def test_as_many_are_wanted_as_were_published() -> None:
    assert warmup_questions.num_wanted(load_config([])) == 2000
    assert warmup_questions.num_wanted(load_config(["prompt.cot=true"])) == 600


def test_questions_that_are_not_there_name_their_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"warmup\.questions is not set"):
        read_questions(load_config([]))
    with pytest.raises(CorpusError, match=r"warmup\.questions=.*no such file"):
        read_questions(load_config([f"warmup.questions={tmp_path}/none.jsonl"]))
