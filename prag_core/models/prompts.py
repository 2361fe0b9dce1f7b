"""Prompts to the language model: the published ones, verbatim, and how they become token ids.

Source: the public code of "Parametric Retrieval Augmented Generation" (SIGIR 2025). These strings are part of a
bank's identity (`TEMPLATES`): an adapter trained under one wording is not the adapter of another.

A prompt is one user turn, the chat template's generation prompt, then a prefill that the assistant has already
said ("The answer is "), encoded on its own without special tokens. In training the prefill carries the answer. Where a
tokenizer writes a word with the blank before it, no training sample has the published prefill's last blank as a token;
`prompt.prefill=aligned` leaves it to the model, so that what is asked is a prefix, token by token, of what was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prag_core.config.schema import Prefill, PromptConfig
from prag_core.models.control_tokens import encode_rendered, encode_text
from prag_core.models.thinking import NOT_THINKING, close_open_thought

Message = dict[str, str]

USER = (
    "You should answer the question by referring to the knowledge provided below and integrating your own "
    "knowledge.\n{passages}\n\nQuestion: {question}"
)
PREFILL = "The answer is {answer}"
USER_COT = (
    "You should reference the knowledge provided below and combine it with your own knowledge to answer the question. "
    "Please follow the format of the example I provided above.\n"
    "Here are some examples about how to answer the questions.\n{fewshot}"
    "Here are some reference.\n{passages}\n\n"
    "Let's think step by step. Answer the questions in the same format as above.\nQuestion: {question}"
)
PREFILL_COT = "Answer: {answer}"
REWRITE = (
    "Rewrite the following passage. While keeping the entities, proper nouns, and key details such as names, locations, "
    "and terminology intact, create a new version of the text that expresses the same ideas in a different way. Make "
    "sure the revised passage is distinct from the original one, but preserves the core meaning and relevant "
    "information.\n{passage}"
)
QA = (
    "I will provide a passage of text, and you need to generate {count} different questions based on the content of "
    "this passage. Each question should be answerable using the information provided in the passage. Additionally, "
    "please provide an appropriate answer for each question derived from the passage.\n"
    "You need to generate the question and answer in the following format:\n"
    '[\n    {{\n        "question": "What is the capital of France?",\n        "answer": "Paris"\n'
    '        "full_answer": "The capital of France is Paris."\n    }}, \n]\n\n'
    "This list should have at least {count} elements. You only need to output this list in the above format.\n"
    "Passage:\n{passage}"
)
TEMPLATES = {
    "user": USER,
    "prefill": PREFILL,
    "user_cot": USER_COT,
    "prefill_cot": PREFILL_COT,
    "rewrite": REWRITE,
    "qa": QA,
}
DEFAULT_NEW_TOKENS = {False: 20, True: 128}  # of an answer, by prompt.cot: the published lengths
NUMBER_WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


def normalise_question(question: str) -> str:
    """Strip, and end in exactly one "?" with no space before it."""
    kept = len(question)
    while kept and (question[kept - 1] == "?" or question[kept - 1].isspace()):
        kept -= 1
    return question[:kept].lstrip() + "?"


def normalise_answer(answer: str) -> str:
    """Strip, and end in "."."""
    answer = answer.strip()
    return answer if answer.endswith(".") else answer + "."


def format_passages(texts: Sequence[str]) -> str:
    """Make `Passage i: text` lines, numbered from 1; the empty string without passages."""
    return "".join(f"Passage {i}: {text}\n" for i, text in enumerate(texts, 1))


def show_passage(title: str, text: str, *, with_title: bool) -> str:
    """Format one document for a prompt: its text alone as published, or its title on a line before it."""
    return f"{title}\n{text}" if with_title and title else text


def answer_messages(
    question: str, passages: Sequence[str], *, cot: bool = False, fewshot: Sequence[tuple[str, str]] = ()
) -> list[Message]:
    """Make the user turn that asks `question` over `passages` (none: closed book); `cot` asks for worked reasoning."""
    fields = {"question": normalise_question(question), "passages": format_passages(passages)}
    if not cot:
        return [{"role": "user", "content": USER.format(**fields)}]
    fields["fewshot"] = "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in fewshot)
    return [{"role": "user", "content": USER_COT.format(**fields)}]


def answer_prefill(answer: str | None = None, *, cot: bool = False) -> str:
    """Make the beginning of the assistant's turn: with the answer in training, without it at inference (`encode_prefill`)."""
    template = PREFILL_COT if cot else PREFILL
    return template.format(answer="" if answer is None else normalise_answer(answer))


def encode_prefill(tokenizer: Any, wording: PromptConfig) -> list[int]:
    """Encode what the assistant has already said where a question is asked. Aligned, a blank that is a token of its own at the
    end is left out; one within the last word's token ("is ") stays, because it is there in training too."""
    tokens = encode_text(tokenizer, answer_prefill(cot=wording.cot))
    if wording.prefill is Prefill.aligned:
        while tokens and not tokenizer.decode(tokens[-1:]).strip():
            tokens.pop()
    return tokens


def rewrite_messages(passage: str) -> list[Message]:
    """Ask for the same facts in other words."""
    return [{"role": "user", "content": REWRITE.format(passage=passage)}]


def qa_messages(passage: str, num_pairs: int = 3) -> list[Message]:
    """Ask for `num_pairs` question-answer pairs as a JSON list of {question, answer, full_answer}."""
    count = NUMBER_WORDS.get(num_pairs, str(num_pairs))
    return [{"role": "user", "content": QA.format(passage=passage, count=count)}]


def encode_question(
    tokenizer: Any,
    question: str,
    passages: Sequence[tuple[str, str]],
    wording: PromptConfig,
    fewshot: Sequence[tuple[str, str]] = (),
    earlier: Sequence[Message] = (),
) -> tuple[int, ...]:
    """Encode a question over (title, text) passages, after the `earlier` messages of its conversation, up to where the model
    goes on."""
    texts = [show_passage(title, text, with_title=wording.with_title) for title, text in passages]
    messages = answer_messages(question, texts, cot=wording.cot, fewshot=fewshot)
    return (*encode(tokenizer, [*earlier, *messages]), *encode_prefill(tokenizer, wording))


def without_first_blank(text: str) -> str:
    """Return an answer from its first word on. The blank before that is the prefill's, whether or not the model wrote it."""
    return text.lstrip(" ")


def encode(tokenizer: Any, messages: Sequence[Message], prefill: str = "") -> list[int]:
    """Encode a conversation, its generation prompt, and the prefill on its own (no special tokens).

    Control tokens inside a message or the prefill are plain text, and the model is not to think aloud. Chat templates that print
    today's date get a fixed one, so that equal prompts are equal token ids on every day.
    """

    def render(contents: Sequence[str]) -> str:
        turns = [{**message, "content": text} for message, text in zip(messages, contents, strict=True)]
        prompt: str = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False, date_string="26 Jul 2024", **NOT_THINKING
        )
        return close_open_thought(tokenizer, prompt)

    prompt = encode_rendered(tokenizer, [message["content"] for message in messages], render)
    return [*prompt, *encode_text(tokenizer, prefill)] if prefill else prompt
