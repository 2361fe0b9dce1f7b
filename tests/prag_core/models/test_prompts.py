"""The prompts are the published ones, to the letter, and become the same token ids on every day."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from prag_core.config.schema import Prefill, PromptConfig
from prag_core.models.control_tokens import encode_text
from prag_core.models.prompts import (
    QA,
    REWRITE,
    answer_messages,
    answer_prefill,
    encode,
    encode_prefill,
    encode_question,
    format_passages,
    normalise_answer,
    normalise_question,
    qa_messages,
    rewrite_messages,
    show_passage,
)
from tests.prag_core.models.tokenizers import ALWAYS_THINKS, QWEN3, gpt2_style, llama3_style, miniature

ANSWERS = ["Norland", "yes", "1843", "-5", "(x)", '"Q"', "'s", "é", "中文", "🌊", "a b", ""]
PUBLISHED = (
    "You should answer the question by referring to the knowledge provided below and integrating your own knowledge.\n"
    "Passage 1: Rome is old.\nPassage 2: So is Athens.\n\n\nQuestion: Which is older?"
)
PUBLISHED_COT = (
    "You should reference the knowledge provided below and combine it with your own knowledge to answer the question. "
    "Please follow the format of the example I provided above.\nHere are some examples about how to answer the questions.\n"
    "Question: q1\nAnswer: a1\n\nQuestion: q2\nAnswer: a2\n\n"
    "Here are some reference.\nPassage 1: Rome is old.\n\n\n"
    "Let's think step by step. Answer the questions in the same format as above.\nQuestion: Which is older?"
)


def test_a_question_over_passages_reads_as_published() -> None:
    assert answer_messages("Which is older ?", ["Rome is old.", "So is Athens."]) == [
        {"role": "user", "content": PUBLISHED}
    ]


def test_a_question_with_worked_examples_reads_as_published() -> None:
    messages = answer_messages(
        "Which is older", ["Rome is old."], cot=True, fewshot=[("q1", "a1"), ("q2", "a2")]
    )
    assert messages == [{"role": "user", "content": PUBLISHED_COT}]


def test_without_passages_their_place_is_empty() -> None:
    assert format_passages([]) == ""
    assert answer_messages("Why?", [])[0]["content"].endswith("own knowledge.\n\n\nQuestion: Why?")


def test_the_instructions_to_write_are_the_published_ones() -> None:
    assert rewrite_messages("TEXT")[0]["content"].startswith(
        "Rewrite the following passage. While keeping the entities, proper nouns,"
    )
    assert rewrite_messages("TEXT")[0]["content"].endswith(
        "preserves the core meaning and relevant information.\nTEXT"
    )
    asked = qa_messages("TEXT")[0]["content"]
    assert asked.startswith(
        "I will provide a passage of text, and you need to generate three different questions based on"
    )
    assert (
        "This list should have at least three elements. You only need to output this list in the above format.\n"
        in asked
    )
    assert '"full_answer": "The capital of France is Paris."\n    }, \n]' in asked and asked.endswith(
        "Passage:\nTEXT"
    )
    assert "at least five elements" in qa_messages("TEXT", 5)[0]["content"]
    assert "at least 12 elements" in qa_messages("TEXT", 12)[0]["content"]


@pytest.mark.parametrize("text", ["{passage}", "{0}", "{", "}", "{{x}}", "%s"])
def test_signs_of_formatting_in_a_text_are_text(text: str) -> None:
    for messages in (rewrite_messages(text), qa_messages(text), answer_messages("q", [text])):
        assert text in messages[0]["content"]
    assert "{passage}" in REWRITE and "{passage}" in QA
    assert answer_prefill(text) == f"The answer is {text}."


@pytest.mark.parametrize("question", ["Who", "Who?", "Who ?", " Who?? ", "Who ? ?", "Who\n", "Who?\n"])
def test_a_question_ends_in_exactly_one_question_mark(question: str) -> None:
    assert normalise_question(question) == "Who?"


@pytest.mark.parametrize("answer", ["Rome", "Rome.", " Rome ", "Rome. "])
def test_an_answer_ends_in_a_full_stop(answer: str) -> None:
    assert normalise_answer(answer) == "Rome."


def test_the_prefill_carries_the_answer_in_training_and_nothing_at_inference() -> None:
    assert (answer_prefill("Rome"), answer_prefill()) == ("The answer is Rome.", "The answer is ")
    assert (answer_prefill("So, Rome", cot=True), answer_prefill(cot=True)) == (
        "Answer: So, Rome.",
        "Answer: ",
    )


@pytest.mark.parametrize("cot", [False, True])
def test_an_aligned_prefill_is_a_token_prefix_of_every_trained_one(
    tokenizer: PreTrainedTokenizerBase, cot: bool
) -> None:
    said = encode_prefill(tokenizer, PromptConfig(cot=cot, prefill=Prefill.aligned))
    for answer in ANSWERS:
        trained = encode_text(tokenizer, answer_prefill(answer, cot=cot))
        assert trained[: len(said)] == said, answer
    text = encode_text(tokenizer, "Answer:" if cot else "The answer is")
    assert str(tokenizer.decode(said)).strip() == str(tokenizer.decode(text)).strip()


@pytest.mark.parametrize("make", [gpt2_style, llama3_style])
def test_where_a_blank_belongs_to_the_word_after_it_the_published_prefill_is_no_prefix(make: Any) -> None:
    tokenizer = make()
    published, aligned = (encode_prefill(tokenizer, PromptConfig(prefill=form)) for form in Prefill)
    assert published == tokenizer.encode("The answer is ", add_special_tokens=False)
    assert published[:-1] == aligned
    trained = encode_text(tokenizer, answer_prefill("Norland"))
    assert trained[: len(published)] != published


@pytest.mark.parametrize("cot", [False, True])
def test_where_a_blank_belongs_to_the_word_before_it_both_forms_are_the_same(cot: bool) -> None:
    tokenizer = miniature()
    published, aligned = (encode_prefill(tokenizer, PromptConfig(cot=cot, prefill=form)) for form in Prefill)
    assert published == aligned == tokenizer.encode(answer_prefill(cot=cot), add_special_tokens=False)


def test_a_question_ends_in_the_prefill_that_its_wording_asks_for() -> None:
    tokenizer = gpt2_style()
    for wording in (PromptConfig(), PromptConfig(prefill=Prefill.aligned)):
        messages = answer_messages("Who?", ["text"])
        asked = encode_question(tokenizer, "Who?", [("", "text")], wording)
        assert list(asked) == [*encode(tokenizer, messages), *encode_prefill(tokenizer, wording)]
    assert str(tokenizer.decode(list(asked))).endswith("assistant\nThe answer is")


def test_a_title_is_shown_only_on_request() -> None:
    assert show_passage("T", "text", with_title=False) == "text"
    assert show_passage("T", "text", with_title=True) == "T\ntext"
    assert show_passage("", "text", with_title=True) == "text"


def test_token_ids_are_the_templates_then_the_prefills_own(tiny_tokenizer: Any) -> None:
    messages = rewrite_messages("x")
    template = tiny_tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt = tiny_tokenizer.encode(template, add_special_tokens=False)
    assert encode(tiny_tokenizer, messages) == prompt
    prefill = tiny_tokenizer.encode("The answer is ", add_special_tokens=False)
    assert encode(tiny_tokenizer, messages, "The answer is ") == [*prompt, *prefill]


def test_a_template_that_prints_the_date_prints_a_fixed_one(
    tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = (
        "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}{{ messages[0].content }}"
    )
    monkeypatch.setattr(tiny_tokenizer, "chat_template", template)
    assert tiny_tokenizer.decode(encode(tiny_tokenizer, [{"role": "user", "content": "!"}])) == "26 Jul 2024!"


@pytest.fixture(scope="module")
def chatml() -> PreTrainedTokenizerFast:
    return gpt2_style()


@pytest.mark.parametrize("template", [QWEN3, ALWAYS_THINKS])
def test_thinking_is_off_whether_or_not_the_template_has_a_switch(
    chatml: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.setattr(chatml, "chat_template", template)
    ids = encode(chatml, [{"role": "user", "content": "Why?"}], "The answer is ")
    assert str(chatml.decode(ids)).endswith(
        "Why?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nThe answer is "
    )


def test_a_question_about_thinking_is_no_open_thought(
    chatml: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatml, "chat_template", "{{ messages[0].content }}{# <think> #}")
    ids = encode(chatml, [{"role": "user", "content": "What is <think>"}])
    assert chatml.decode(ids) == "What is <think>"
