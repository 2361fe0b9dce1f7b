"""Estimates agree with counting, and with the published sizes."""

from typing import Any

import pytest

from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.planning.estimate import MEASURED_DOCUMENTS, QA_TOKENS, Estimator
from prag_core.records import Augmentation, Document, QAPair
from prag_core.training.samples import build_samples


def estimator(tokenizer: Any, *settings: str, num_parameters: int = 1_215_000_000) -> Estimator:
    return Estimator(load_config(settings), tokenizer, 3_932_160, num_parameters)


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
        document, augmentation, tiny_tokenizer, Config().prompt, max_length=10_000, distill=True
    )
    counted = sum(3 * len(sample.token_ids) + len(sample.teacher_ids) / 2 for sample in samples)
    counting = estimator(tiny_tokenizer, *settings)
    assert counting.train_tokens(document) == pytest.approx(counted, rel=0.05)
    wanted = (rewrites + 1 + rewrites) * len(text) + pairs * QA_TOKENS + 2 * counting.prompt_tokens
    assert counting.estimate(1, counting.train_tokens(document)).augment_tokens == pytest.approx(
        wanted, abs=3
    )


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
    assert cost.augment_tokens == pytest.approx(3 * 100 + 3 * QA_TOKENS + 2 * counting.prompt_tokens, abs=3)


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
