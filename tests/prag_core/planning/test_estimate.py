"""Estimates agree with counting, and with the published sizes."""

import json
from pathlib import Path
from typing import Any

import pytest

from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.errors import ConfigError
from prag_core.models.prompts import encode, qa_messages, rewrite_messages
from prag_core.planning.estimate import MEASURED_DOCUMENTS, QA_TOKENS, Estimator
from prag_core.questions.examples import ReplaySample
from prag_core.records import Augmentation, Document, QAPair
from prag_core.training.samples import build_samples


def estimator(tokenizer: Any, *settings: str, num_parameters: int = 1_215_000_000) -> Estimator:
    return Estimator(load_config(settings), tokenizer, 3_932_160, num_parameters)


def prompt_tokens(tokenizer: Any, messages: list[dict[str, str]]) -> int:
    return len(encode(tokenizer, messages))


@pytest.mark.parametrize(("pairs", "rewrites"), [(3, 1), (1, 1), (4, 2), (5, 0), (0, 1), (0, 0)])
def test_training_tokens_are_those_of_the_samples_when_rewrites_are_as_long_as_the_passage(
    tiny_tokenizer: Any, pairs: int, rewrites: int
) -> None:
    settings = (
        f"augmentation.num_qa_pairs={pairs}",
        f"augmentation.num_rewrites={rewrites}",
        "training.epochs=3",
    )
    text = "a passage of some length " * 4
    question = "q" * 15 + "?"
    qa = tuple(QAPair(question, "a" * 15, "f") for _ in range(pairs))  # 32 tokens with its full stop
    augmentation = Augmentation("a", 0, "h", (text,) * rewrites, qa, "g")
    samples = build_samples(
        Document("a", text), augmentation, tiny_tokenizer, Config().prompt, max_length=10_000
    )
    counted = 3 * sum(len(sample.token_ids) for sample in samples)
    estimated = estimator(tiny_tokenizer, *settings).train_tokens(Document("a", text))
    assert estimated == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize(("pairs", "rewrites"), [(3, 1), (2, 0)])
def test_what_a_teacher_reads_is_counted_once_and_by_half(
    tiny_tokenizer: Any, pairs: int, rewrites: int
) -> None:
    settings = (
        f"augmentation.num_qa_pairs={pairs}",
        f"augmentation.num_rewrites={rewrites}",
        "training.epochs=3",
        "training.objective=distill",
    )
    text = "a passage of some length " * 4
    qa = tuple(QAPair("q" * 15 + "?", "a" * 15, "f") for _ in range(pairs))
    augmentation = Augmentation("a", 0, "h", (text,) * rewrites, qa, "g")
    document = Document("a", text)
    samples = build_samples(
        document, augmentation, tiny_tokenizer, Config().prompt, max_length=10_000, objective="distill"
    )
    counted = sum(3 * len(sample.token_ids) + len(sample.teacher_ids) / 2 for sample in samples)
    counting = estimator(tiny_tokenizer, *settings)
    assert counting.train_tokens(document) == pytest.approx(counted, rel=0.05)
    prompts = rewrites * prompt_tokens(tiny_tokenizer, rewrite_messages(""))
    prompts += prompt_tokens(tiny_tokenizer, qa_messages("", pairs))
    wanted = (rewrites + 1 + rewrites) * len(text) + pairs * QA_TOKENS + prompts
    assert counting.estimate(1, counting.train_tokens(document)).augment_tokens == pytest.approx(
        wanted, abs=3
    )


def test_the_samples_counted_are_those_of_training_with_replay_and_repetition(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    replay = [ReplaySample(f"Who is {n}?", f"Person {n}", (f"Person {n} lives." * n,)) for n in range(4)]
    lines = [json.dumps({"question": r.question, "answer": r.answer, "passages": r.passages}) for r in replay]
    (tmp_path / "replay.jsonl").write_text("\n".join(lines) + "\n")
    settings = (f"training.replay_uri={tmp_path}/replay.jsonl", "training.replay_samples=4")
    text = "a passage of some length " * 4
    qa = tuple(QAPair("q" * 23, "a" * 7, "f") for _ in range(3))
    augmentation = Augmentation("a", 0, "h", (text,), qa, "g")
    options: dict[str, Any] = {"replay": replay, "repeat_without_passage": True, "max_length": 10_000}
    samples = build_samples(Document("a", text), augmentation, tiny_tokenizer, Config().prompt, **options)
    counting = estimator(tiny_tokenizer, *settings, "training.repeat_without_passage=true")
    assert counting.cost.num_samples == len(samples)
    counted = sum(len(sample.token_ids) for sample in samples)
    assert counting.train_tokens(Document("a", text)) == pytest.approx(counted, rel=0.01)


def test_more_replay_samples_than_the_pool_has_are_refused_before_any_work(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "replay.jsonl").write_text('{"question": "Who?", "answer": "Ada"}\n')
    with pytest.raises(ConfigError, match=r"training\.replay_samples=2: .* only 1"):
        estimator(tiny_tokenizer, f"training.replay_uri={tmp_path}/replay.jsonl", "training.replay_samples=2")


def test_control_tokens_in_a_passage_count_as_the_plain_text_that_training_makes_of_them(
    tiny_tokenizer: Any,
) -> None:
    document = Document("a", "see <|end|> here")
    assert estimator(tiny_tokenizer).passage_tokens(document) == len("see <|end|> here")


def test_documents_beyond_the_first_are_measured_by_their_bytes(tiny_tokenizer: Any) -> None:
    counting = estimator(tiny_tokenizer)
    for _ in range(MEASURED_DOCUMENTS):
        counting.passage_tokens(Document("a", "x" * 100))

    class NoMore:
        def encode(self, text: str, **_: Any) -> list[int]:
            raise AssertionError("tokenised although enough were")

    counting.tokenizer = NoMore()
    assert counting.passage_tokens(Document("b", "y" * 250)) == pytest.approx(250)


def test_cost_follows_the_stated_formulas(tiny_tokenizer: Any) -> None:
    cost = estimator(tiny_tokenizer).estimate(num_documents=1000, train_tokens=975_000)
    assert cost.bank_bytes == 1000 * 3_932_160
    assert cost.train_gpu_hours * 3600 == pytest.approx(975_000 * 4 * 1.215e9 / (790e12 * 0.5))
    assert cost.augment_gpu_hours * 3600 == pytest.approx(cost.augment_tokens * 2 * 1.215e9 / (790e12 * 0.1))
    assert cost.gpu_hours == cost.train_gpu_hours + cost.augment_gpu_hours


def test_augmentation_reads_the_passage_for_each_thing_it_writes(tiny_tokenizer: Any) -> None:
    counting = estimator(tiny_tokenizer)
    document = Document("a", "x" * 100)
    cost = counting.estimate(1, counting.train_tokens(document))
    prompts = prompt_tokens(tiny_tokenizer, rewrite_messages(""))
    prompts += prompt_tokens(tiny_tokenizer, qa_messages("", 3))
    assert cost.augment_tokens == pytest.approx(3 * 100 + 3 * QA_TOKENS + prompts, abs=3)


def test_every_assumption_is_stated_with_its_number(tiny_tokenizer: Any) -> None:
    stated = "\n".join(estimator(tiny_tokenizer, "training.epochs=2", "bank.tier=int8").assumptions())
    for number in (
        "5 samples x 2 epochs",
        "1,215,000,000",
        "790 TFLOP/s",
        "50%",
        "10%",
        "3,932,160 bytes",
        "int8",
    ):
        assert number in stated


def test_nothing_to_do_costs_nothing(tiny_tokenizer: Any) -> None:
    cost = estimator(tiny_tokenizer).estimate(0, 0)
    assert (cost.augment_tokens, cost.bank_bytes, cost.gpu_hours) == (0, 0, 0)


def test_it_says_that_an_exam_is_not_counted_where_one_is_held(tiny_tokenizer: Any) -> None:
    assert not any("acceptance" in line for line in estimator(tiny_tokenizer).assumptions())
    assert any(
        "acceptance" in line for line in estimator(tiny_tokenizer, "acceptance.threshold=0.5").assumptions()
    )


def test_passages_that_training_does_not_read_are_still_counted_for_augmentation(tiny_tokenizer: Any) -> None:
    document = Document("a", "a passage of some length " * 4)
    counting = estimator(tiny_tokenizer, "training.objective=answer", "augmentation.num_rewrites=1")
    longer = Document("a", document.text * 2)
    assert counting.train_tokens(document) == counting.train_tokens(longer)
    tokens = counting.estimate(1, counting.train_tokens(document)).augment_tokens
    assert tokens > 2 * len(document.text)  # a passage read for a rewrite and for pairs


def test_pairs_that_no_model_writes_cost_nothing(tiny_tokenizer: Any) -> None:
    settings = ("training.objective=answer", "augmentation.method=cloze", "augmentation.num_rewrites=0")
    counting = estimator(tiny_tokenizer, *settings)
    assert counting.estimate(9, 9 * counting.train_tokens(Document("a", "text"))).augment_tokens == 0
