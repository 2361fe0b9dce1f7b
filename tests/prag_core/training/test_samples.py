"""Samples are the published ones, token for token: checked against a construction written out by hand."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from prag_core.config.schema import Prefill, PromptConfig
from prag_core.config.schema.names import OBJECTIVES
from prag_core.errors import ConfigError, CorpusError
from prag_core.models.prompts import encode_question
from prag_core.questions.examples import ReplaySample
from prag_core.records import IGNORED, Augmentation, Document, QAPair, Sample
from prag_core.training.samples import SampleTooLongError, build_samples, choose_replay, interleave
from tests.prag_core.models.tokenizers import STYLES

TEXT, REWRITES = "Ada wrote Notes.", ("Notes is by Ada.", "Ada is Notes' author.")
DOCUMENT = Document("d1", TEXT, title="Ada")


def augmentation(num_pairs: int, num_rewrites: int) -> Augmentation:
    pairs = tuple(QAPair(f"Question {i}", f"answer {i}", f"The full answer {i}") for i in range(num_pairs))
    return Augmentation("d1", 0, "hash", REWRITES[:num_rewrites], pairs, "test")


def build(
    tokenizer: Any,
    num_pairs: int = 3,
    num_rewrites: int = 1,
    prompt: PromptConfig | None = None,
    **options: Any,
) -> list[Sample]:
    options = {"max_length": 2048, **options}
    return build_samples(
        DOCUMENT, augmentation(num_pairs, num_rewrites), tokenizer, prompt or PromptConfig(), **options
    )


def written_out(passages: str, question: str, answer: str) -> str:
    """The published prompt, copied from the method's description, in the tiny tokenizer's chat markers."""
    return (
        "<|start|>user\nYou should answer the question by referring to the knowledge provided below and integrating your own "
        f"knowledge.\n{passages}\n\nQuestion: {question}<|end|>\n<|start|>assistant\nThe answer is {answer}"
    )


def decoded(tokenizer: Any, samples: list[Sample]) -> list[str]:
    return [tokenizer.decode(sample.token_ids) for sample in samples]


def test_the_published_five_in_their_order(tiny_tokenizer: Any) -> None:
    original, rewrite = f"Passage 1: {TEXT}\n", f"Passage 1: {REWRITES[0]}\n"
    expected = [
        written_out(original, "Question 0?", "answer 0."),
        written_out(rewrite, "Question 0?", "answer 0."),
        written_out(original, "Question 1?", "answer 1."),
        written_out(rewrite, "Question 1?", "answer 1."),
        written_out("", "Question 2?", "answer 2."),
    ]
    samples = build(tiny_tokenizer)
    assert decoded(tiny_tokenizer, samples) == expected
    # token for token: the tokenizer has one token a byte, so the ids can be made without it
    vocabulary = tiny_tokenizer.get_vocab()
    ids = [
        vocabulary["<|start|>"],
        *(vocabulary[{" ": "Ġ", "\n": "Ċ"}.get(c, c)] for c in "user\nYou should"),
    ]
    assert list(samples[0].token_ids[: len(ids)]) == ids


@pytest.mark.parametrize("num_rewrites", [0, 1, 2])
@pytest.mark.parametrize(("num_pairs", "with_passage"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)])
def test_order_for_every_count_of_pairs_and_rewrites(
    tiny_tokenizer: Any, num_pairs: int, with_passage: int, num_rewrites: int
) -> None:
    expected = []
    for pair in range(num_pairs):
        for text in (TEXT, *REWRITES[:num_rewrites]) if pair < with_passage else [None]:
            passages = f"Passage 1: {text}\n" if text else ""
            expected.append(written_out(passages, f"Question {pair}?", f"answer {pair}."))
    assert decoded(tiny_tokenizer, build(tiny_tokenizer, num_pairs, num_rewrites)) == expected


def test_repeating_without_passage_asks_every_pair_of_the_parameters_alone_right_after_its_passages(
    tiny_tokenizer: Any,
) -> None:
    original, rewrite = f"Passage 1: {TEXT}\n", f"Passage 1: {REWRITES[0]}\n"
    shown = [(original, 0), (rewrite, 0), ("", 0), (original, 1), (rewrite, 1), ("", 1), ("", 2)]
    expected = [written_out(passages, f"Question {pair}?", f"answer {pair}.") for passages, pair in shown]
    assert decoded(tiny_tokenizer, build(tiny_tokenizer, repeat_without_passage=True)) == expected


def test_the_loss_is_on_every_token_and_nothing_follows_the_answer(tiny_tokenizer: Any) -> None:
    for sample in build(tiny_tokenizer):
        assert sample.labels == sample.token_ids
        assert tiny_tokenizer.decode(sample.token_ids[-1:]) == "."


def test_the_title_is_shown_only_when_asked_for(tiny_tokenizer: Any) -> None:
    samples = build(tiny_tokenizer, 1, 1, PromptConfig(with_title=True))
    expected = [
        written_out(f"Passage 1: Ada\n{TEXT}\n", "Question 0?", "answer 0."),
        written_out(f"Passage 1: Ada\n{REWRITES[0]}\n", "Question 0?", "answer 0."),
    ]
    assert decoded(tiny_tokenizer, samples) == expected


def test_worked_reasoning_trains_on_the_full_answer_after_the_examples(tiny_tokenizer: Any) -> None:
    samples = build(
        tiny_tokenizer, 1, 0, PromptConfig(cot=True), fewshot=[("Who?", "It was Bo. So the answer is Bo.")]
    )
    expected = (
        "<|start|>user\nYou should reference the knowledge provided below and combine it with your own knowledge to answer the "
        "question. Please follow the format of the example I provided above.\nHere are some examples about how to answer the "
        "questions.\nQuestion: Who?\nAnswer: It was Bo. So the answer is Bo.\n\nHere are some reference.\nPassage 1: Ada wrote "
        "Notes.\n\n\nLet's think step by step. Answer the questions in the same format as above.\nQuestion: Question 0?<|end|>\n"
        "<|start|>assistant\nAnswer: The full answer 0."
    )
    assert decoded(tiny_tokenizer, samples) == [expected]


def test_a_sample_longer_than_the_context_is_refused_with_document_tokens_and_limit(
    tiny_tokenizer: Any,
) -> None:
    longest = max(len(sample.token_ids) for sample in build(tiny_tokenizer))
    assert len(build(tiny_tokenizer, max_length=longest)) == 5
    with pytest.raises(
        SampleTooLongError, match=rf"'d1' chunk 0.* {longest} tokens.* {longest - 1};"
    ) as caught:
        build(tiny_tokenizer, max_length=longest - 1)
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("num_rewrites", [0, 1, 2])
def test_without_pairs_the_passage_and_each_rewrite_are_texts_of_their_own(
    tiny_tokenizer: Any, num_rewrites: int
) -> None:
    samples = build(tiny_tokenizer, num_pairs=0, num_rewrites=num_rewrites)
    assert decoded(tiny_tokenizer, samples) == [TEXT, *REWRITES[:num_rewrites]]
    assert all(sample.labels == sample.token_ids for sample in samples)
    titled = build(tiny_tokenizer, num_pairs=0, num_rewrites=1, prompt=PromptConfig(with_title=True))
    assert decoded(tiny_tokenizer, titled) == [f"Ada\n{TEXT}", f"Ada\n{REWRITES[0]}"]


def test_without_pairs_replay_is_still_spread_and_too_long_or_too_short_a_text_is_refused(
    tiny_tokenizer: Any,
) -> None:
    mixed = build(tiny_tokenizer, num_pairs=0, replay=[ReplaySample("Where is Bo", "Oslo")])
    assert [IGNORED in sample.labels for sample in mixed] == [False, True, False]
    with pytest.raises(SampleTooLongError, match=rf"'d1' chunk 0.* {len(TEXT)} tokens"):
        build(tiny_tokenizer, num_pairs=0, num_rewrites=0, max_length=len(TEXT) - 1)
    short, written = Document("d1", "A"), Augmentation("d1", 0, "hash", (), (), "test")
    with pytest.raises(CorpusError, match="no token after the first"):
        build_samples(short, written, tiny_tokenizer, PromptConfig(), max_length=9)


def test_replay_is_spread_evenly_and_leaves_the_documents_own_order(tiny_tokenizer: Any) -> None:
    replay = [
        ReplaySample("Where is Bo", "Oslo"),
        ReplaySample("Where is Cy", "Rome", ("Cy is in Rome.", "Di is in Bonn.")),
    ]
    texts = decoded(tiny_tokenizer, build(tiny_tokenizer, 3, 1, replay=replay))
    others = [
        written_out("", "Where is Bo?", "Oslo."),
        written_out("Passage 1: Cy is in Rome.\nPassage 2: Di is in Bonn.\n", "Where is Cy?", "Rome."),
    ]
    assert [texts.index(text) for text in others] == [1, 5]
    assert [text for text in texts if text not in others] == decoded(tiny_tokenizer, build(tiny_tokenizer))


def test_the_loss_is_on_every_token_of_the_documents_own_samples_and_on_a_replays_answer(
    tiny_tokenizer: Any,
) -> None:
    samples = build(tiny_tokenizer, 3, 1, replay=[ReplaySample("Where is Cy", "Rome", ("Cy is in Rome.",))])
    (replay,) = (sample for sample in samples if IGNORED in sample.labels)
    assert all(sample.labels == sample.token_ids for sample in samples if sample is not replay)
    kept = [token for token, label in zip(replay.token_ids, replay.labels, strict=True) if label != IGNORED]
    assert [label for label in replay.labels if label != IGNORED] == kept
    assert tiny_tokenizer.decode(kept) == "Rome."
    assert tiny_tokenizer.decode(replay.token_ids[: -len(kept)]).endswith("The answer is ")


def test_to_distill_each_pair_is_asked_bare_and_its_teacher_reads_the_original_then_each_rewrite(
    tiny_tokenizer: Any,
) -> None:
    samples = build(tiny_tokenizer, 3, 2, objective="distill")
    contexts = [f"Passage 1: {text}\n" for text in (TEXT, *REWRITES)]
    pairs = [(f"Question {i}?", f"answer {i}.") for i in range(3)]
    assert decoded(tiny_tokenizer, samples) == [written_out("", *pair) for pair in pairs] * 3
    read = [tiny_tokenizer.decode(sample.teacher_ids) for sample in samples]
    assert read == [written_out(context, *pair) for context in contexts for pair in pairs]
    assert build(tiny_tokenizer, 3, 2, objective="distill", repeat_without_passage=True) == samples


def test_to_distill_the_loss_is_on_answers_which_end_the_teachers_text_too(tiny_tokenizer: Any) -> None:
    replay = [ReplaySample("Where is Cy", "Rome", ("Cy is in Rome.",))]
    for cot, answer in ((False, "answer 0."), (True, "The full answer 0.")):
        samples = build(tiny_tokenizer, 1, 1, PromptConfig(cot=cot), objective="distill", replay=replay)
        assert len(samples) == 4
        for sample in samples:
            labels = [label for label in sample.labels if label != IGNORED]
            assert tiny_tokenizer.decode(labels) in (answer, "Rome.")
            assert tuple(labels) == sample.token_ids[-len(labels) :] == sample.teacher_ids[-len(labels) :]


def test_to_distill_replay_has_its_own_context_as_teacher_and_is_asked_once_more_without(
    tiny_tokenizer: Any,
) -> None:
    read, known = (
        ReplaySample("Where is Cy", "Rome", ("Cy is in Rome.",)),
        ReplaySample("Where is Bo", "Oslo"),
    )
    samples = build(tiny_tokenizer, 2, 1, objective="distill", replay=[read, known])
    own = build(tiny_tokenizer, 2, 1, objective="distill")
    assert samples[0] == own[0] and [sample for sample in samples if sample in own] == own
    others = [sample for sample in samples if sample not in own]
    assert all(sample.teacher_ids == sample.token_ids for sample in others)
    assert decoded(tiny_tokenizer, others) == [
        written_out("", "Where is Cy?", "Rome."),
        written_out("", "Where is Bo?", "Oslo."),
        written_out("Passage 1: Cy is in Rome.\n", "Where is Cy?", "Rome."),
    ]


def test_what_a_teacher_reads_must_fit_the_context_too(tiny_tokenizer: Any) -> None:
    samples = build(tiny_tokenizer, objective="distill")
    longest = max(len(sample.teacher_ids) for sample in samples)
    assert longest > max(len(sample.token_ids) for sample in samples)
    assert build(tiny_tokenizer, objective="distill", max_length=longest) == samples
    with pytest.raises(SampleTooLongError, match=rf"'d1' chunk 0.* {longest} tokens"):
        build(tiny_tokenizer, objective="distill", max_length=longest - 1)


@pytest.mark.parametrize("objective", ["answer", "distill"])
def test_without_pairs_there_is_nothing_to_ask(objective: str, tiny_tokenizer: Any) -> None:
    with pytest.raises(
        CorpusError, match=rf"'d1' chunk 0: .* no question-answer pair, .*={objective} needs some"
    ):
        build(tiny_tokenizer, num_pairs=0, objective=objective)


@pytest.mark.parametrize("cot", [False, True])
def test_answers_alone_are_learned_from_questions_without_a_passage(tiny_tokenizer: Any, cot: bool) -> None:
    prompt = PromptConfig(cot=cot)
    replay = [ReplaySample("Where is Cy", "Rome", ("Cy is in Rome.",))]
    samples = build(tiny_tokenizer, 3, 2, prompt, objective="answer", replay=replay)
    assert (
        build(tiny_tokenizer, 3, 2, prompt, objective="answer", replay=replay, repeat_without_passage=True)
        == samples
    )
    assert len(samples) == 3 + 1 and not any(sample.teacher_ids for sample in samples)
    texts = [tiny_tokenizer.decode(sample.token_ids) for sample in samples]
    assert sum(TEXT in text for text in texts) == 0 and sum("Cy is in Rome." in text for text in texts) == 1
    learned = [tiny_tokenizer.decode([t for t in s.labels if t != IGNORED]) for s in samples]
    own = [f"The full answer {i}." if cot else f"answer {i}." for i in range(3)]
    assert sorted(text.strip() for text in learned) == sorted([*own, "Rome."])


def test_without_distillation_no_sample_has_a_teacher(tiny_tokenizer: Any) -> None:
    assert not any(
        sample.teacher_ids for sample in build(tiny_tokenizer, replay=[ReplaySample("q", "a", ("p",))])
    )


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        ("ab", "", "ab"),
        ("", "xy", "xy"),
        ("ab", "xy", "axby"),
        ("ab", "wxyz", "waxybz"),
        ("abcd", "x", "abxcd"),
    ],
)
def test_interleaving_is_even_and_keeps_both_orders(own: str, others: str, expected: str) -> None:
    mixed = interleave(list(own), list(others))
    assert len(mixed) == len(own) + len(others)
    assert [x for x in mixed if x in own] == list(own)
    assert [x for x in mixed if x in others] == list(others)
    assert "".join(mixed) == expected


def test_replay_choice_depends_on_wording_and_seed_alone() -> None:
    pool = [ReplaySample(f"q{i}", "a") for i in range(50)]
    chosen = choose_replay(pool, 8, seed=0, content_hash="one")
    assert chosen == choose_replay(pool, 8, seed=0, content_hash="one")
    assert len(set(chosen)) == 8
    assert set(chosen) != set(choose_replay(pool, 8, seed=0, content_hash="two"))
    assert set(chosen) != set(choose_replay(pool, 8, seed=1, content_hash="one"))
    assert choose_replay(pool, 0, seed=0, content_hash="one") == []
    read = [ReplaySample("q", "a", ("word " * i,)) for i in range(50)]
    lengths = [
        len(r.passages[0]) for r in choose_replay(read + pool, 60, seed=0, content_hash="one") if r.passages
    ]
    assert len(lengths) > 8 and lengths == sorted(lengths)
    with pytest.raises(ConfigError, match=r"training\.replay_samples=51: .* only 50"):
        choose_replay(pool, 51, seed=0, content_hash="one")


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("cot", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_what_is_asked_is_a_token_prefix_of_what_was_trained(style: str, cot: bool, objective: str) -> None:
    tokenizer, prompt = STYLES[style](), PromptConfig(cot=cot, prefill=Prefill.aligned)
    replay = [ReplaySample("Where is Cy", "Rome", ("Cy is in Rome.",))]
    texts = [(), *((("", text),) for text in (TEXT, *REWRITES, "Cy is in Rome."))]
    questions = [*(f"Question {i}" for i in range(3)), "Where is Cy"]
    asked = [encode_question(tokenizer, question, shown, prompt) for question in questions for shown in texts]
    samples = build(
        tokenizer,
        3,
        2,
        prompt,
        objective=objective,
        replay=replay,
        repeat_without_passage=True,
        max_length=9999,
    )
    for sample in samples:
        for read in filter(None, (sample.token_ids, sample.teacher_ids)):
            own = next(prefix for prefix in asked if read[: len(prefix)] == prefix)
            labelled = sum(label != IGNORED for label in sample.labels)
            assert labelled in (len(read), len(read) - len(own))
