"""A question counts exactly where greedy decoding gives its answer. Oracle: transformers' own greedy generation with the factors
added to dense weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from prag_core.config.schema import Prefill, PromptConfig
from prag_core.models.lora import AdapterLayout, layout_of
from prag_core.models.prompts import encode_question
from prag_core.records import IGNORED, AdapterFactors, Augmentation, Document, Factors, QAPair, Sample
from prag_core.training.exam import Spellings, exam_questions, examine
from prag_core.training.kernels import stacked_lora
from prag_core.training.samples import build_samples
from tests.prag_core.models.tokenizers import STYLES

PROMPTS = [(3, 14, 15, 9, 26), (5, 35, 8), (9, 3, 2, 38, 4, 1, 6), (27, 18, 28)]
TOKENS = 4  # of an answer
Exam = tuple[Any, AdapterLayout, list[AdapterFactors], list[list[tuple[int, ...]]]]


def sample(prompt: Sequence[int], answer: Sequence[int]) -> Sample:
    return Sample((*prompt, *answer), (*[IGNORED] * len(prompt), *answer))


def other(answer: Sequence[int], place: int) -> list[int]:
    """The answer with another token in one place."""
    return [token if i != place else (token + 1) % 64 for i, token in enumerate(answer)]


@pytest.fixture
def exam(tiny_model: Callable[..., Any], greedy: Callable[..., tuple[int, ...]]) -> Exam:
    """Three adapters, and what each says by greedy decoding after every prompt."""
    model = tiny_model("llama", torch.float64)
    layout = layout_of(model, rank=2, alpha=32.0, targets=["gate_proj", "up_proj", "down_proj"])
    draw = np.random.default_rng(0)
    adapters: list[AdapterFactors] = [
        {
            name: Factors(*(0.3 * draw.normal(size=shape).astype("f4") for shape in shapes))
            for name, *shapes in layout.shapes()
        }
        for _ in range(3)
    ]
    said = [[greedy(model, layout, adapter, prompt, TOKENS) for prompt in PROMPTS] for adapter in adapters]
    return model, layout, adapters, said


def test_the_score_is_the_share_of_answers_that_greedy_decoding_gives(exam: Exam) -> None:
    model, layout, adapters, said = exam
    assert len({answer for by_prompt in said for answer in by_prompt}) > len(PROMPTS), (
        "adapters that say different things"
    )
    questions: list[list[Spellings]] = [
        [[sample(PROMPTS[0], said[0][0])], [sample(PROMPTS[1], said[0][1])]],
        [[sample(PROMPTS[i], other(said[1][i], place))] for i, place in enumerate((0, 1, TOKENS - 1))],
        [[sample(PROMPTS[i], said[2][i] if i else other(said[2][i], TOKENS - 1))] for i in range(4)],
    ]
    assert examine(model, layout, adapters, questions) == [1.0, 0.0, 0.75]


def test_an_adapter_does_not_know_what_another_says(exam: Exam) -> None:
    model, layout, adapters, said = exam
    prompts = [i for i in range(len(PROMPTS)) if said[0][i] != said[1][i]]
    own, others = ([[sample(PROMPTS[i], said[n][i])] for i in prompts] for n in (0, 1))
    assert prompts
    assert examine(model, layout, adapters[:2], [own, own]) == [1.0, 0.0]
    assert examine(model, layout, adapters[:2], [others, others]) == [0.0, 1.0]


def test_an_answer_in_any_of_its_spellings_counts_and_counts_once(exam: Exam) -> None:
    model, layout, adapters, said = exam
    right, wrong = sample(PROMPTS[0], said[0][0]), sample(PROMPTS[0], other(said[0][0], 0))
    assert examine(
        model, layout, adapters[:1], [[[wrong, right], [right, wrong], [right, right], [wrong, wrong]]]
    ) == [0.75]


@pytest.mark.parametrize("rank_multiple", [1, 8])
def test_together_equals_one_by_one(exam: Exam, monkeypatch: pytest.MonkeyPatch, rank_multiple: int) -> None:
    monkeypatch.setitem(stacked_lora.RANK_MULTIPLE, "cpu", rank_multiple)
    model, layout, adapters, said = exam
    questions: list[list[Spellings]] = [
        [[sample(PROMPTS[i], said[(n + i) % 3][i])] for i in range(1, count + 1)]
        for n, count in enumerate((1, 3, 2))
    ]
    alone = [
        examine(model, layout, [adapter], [asked])[0]
        for adapter, asked in zip(adapters, questions, strict=True)
    ]
    assert examine(model, layout, adapters, questions) == alone
    assert len(set(alone)) > 1


def test_an_exam_leaves_the_model_as_it_was(exam: Exam) -> None:
    model, layout, adapters, said = exam
    tokens = torch.tensor([PROMPTS[0]])
    before = model(input_ids=tokens).logits
    examine(model, layout, adapters[:1], [[[sample(PROMPTS[0], said[0][0])]]])
    torch.testing.assert_close(model(input_ids=tokens).logits, before, rtol=0, atol=0)


AUGMENTATION = Augmentation(
    "d", 0, "h", (), (QAPair("Who ?", "Ada", "Ada wrote it"), QAPair("Why?", "a bet.", "A bet.")), "g"
)


def test_questions_are_asked_as_serving_asks_them_and_cover_the_full_stop(tiny_tokenizer: Any) -> None:
    for prompt, answers in (
        (PromptConfig(), ["Ada.", "a bet."]),
        (PromptConfig(cot=True), ["Ada wrote it.", "A bet."]),
    ):
        fewshot = (("Where?", "Here"),) if prompt.cot else ()
        questions = exam_questions(AUGMENTATION, tiny_tokenizer, prompt, fewshot)
        for spellings, pair, answer in zip(questions, AUGMENTATION.qa_pairs, answers, strict=True):
            (only,) = spellings
            asked = encode_question(tiny_tokenizer, pair.question, (), prompt, fewshot)
            assert only.token_ids[: len(asked)] == asked
            assert only.labels == (IGNORED,) * len(asked) + only.token_ids[len(asked) :]
            assert tiny_tokenizer.decode(only.token_ids[len(asked) :]) == answer


def test_where_a_space_belongs_to_the_word_after_it_both_spellings_are_right(tiny_tokenizer: Any) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(tiny_tokenizer.get_vocab(), key=tiny_tokenizer.get_vocab().get)
    merged = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate([*alphabet, "ĠA"])}, merges=[("Ġ", "A")]))
    merged.pre_tokenizer = tiny_tokenizer.backend_tokenizer.pre_tokenizer
    merged.decoder = tiny_tokenizer.backend_tokenizer.decoder
    spaced: Any = PreTrainedTokenizerFast(tokenizer_object=merged)
    spaced.chat_template = tiny_tokenizer.chat_template
    augmentation = replace(AUGMENTATION, qa_pairs=AUGMENTATION.qa_pairs[:1])
    ((alone, taught),) = exam_questions(augmentation, spaced, PromptConfig())
    start = len(encode_question(spaced, "Who?", (), PromptConfig()))
    assert [spaced.decode(way.token_ids[start:]) for way in (alone, taught)] == ["Ada.", " Ada."]
    assert alone.token_ids[:start] == taught.token_ids[:start]


@pytest.mark.parametrize("cot", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_with_an_aligned_prefill_an_answer_goes_on_as_it_was_trained(style: str, cot: bool) -> None:
    tokenizer, prompt = STYLES[style](), PromptConfig(cot=cot, prefill=Prefill.aligned)
    document = Document("d", "Ada wrote it.")
    trained = build_samples(
        document, AUGMENTATION, tokenizer, prompt, max_length=9999, repeat_without_passage=True
    )
    bare = trained[1:]  # the first question over the passage, then each without
    questions = exam_questions(AUGMENTATION, tokenizer, prompt)
    assert [spelling.token_ids for (spelling,) in questions] == [sample.token_ids for sample in bare]
    for (spelling,), pair in zip(questions, AUGMENTATION.qa_pairs, strict=True):
        asked = encode_question(tokenizer, pair.question, (), prompt)
        assert spelling.labels == (IGNORED,) * len(asked) + spelling.token_ids[len(asked) :]
