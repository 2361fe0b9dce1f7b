"""Lessons of a warm-up: questions, and what the model shall answer to each without a passage.

Direct: a question's first accepted answer. With chain of thought: the reasoning that the model itself writes over its few-shot
prompt, kept only where it comes to its end, says "the answer is" and is right about it, by the measure of the evaluation.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from prag_core.config.schema import Config, PromptConfig
from prag_core.engines.base import Engine, Generation, Request, Sampling
from prag_core.engines.load import make_engine
from prag_core.errors import ConfigError, CorpusError
from prag_core.evaluation.metrics import MARKER, extract_answer, score
from prag_core.models.prompts import DEFAULT_NEW_TOKENS, encode_question
from prag_core.questions.examples import load_fewshot
from prag_core.questions.reader import load_questions
from prag_core.records import Question

NUM_QUESTIONS = {False: 2000, True: 600}  # by prompt.cot, as published
NEXT_QUESTION = "\nQuestion:"  # where a model that has answered goes on with an example of its own
BATCH = 256  # questions that reasoning is written for at once
Tick = Callable[[str, int, int], None]  # (what is being done, how much of it is, of how much)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question, and the answer or the reasoning that ends in one."""

    question: str
    answer: str


def num_wanted(config: Config) -> int:
    return config.warmup.num_questions or NUM_QUESTIONS[config.prompt.cot]


def reasoning_tokens(config: Config) -> int:
    """Return how many tokens of reasoning are allowed: as many as of an answer."""
    return config.engine.max_new_tokens or DEFAULT_NEW_TOKENS[True]


def read_questions(config: Config) -> list[Question]:
    """Read the first questions of the file; with reasoning all of them, because only those answered right are kept. Raises
    ConfigError, CorpusError."""
    uri = config.warmup.questions
    if uri is None:
        raise ConfigError(
            "warmup.questions is not set; give a file of questions about subjects that are not the corpus's"
        )
    return load_questions(uri, None if config.prompt.cot else num_wanted(config), "warmup.questions")


def make_lessons(config: Config, questions: Sequence[Question], tick: Tick) -> list[Lesson]:
    """Make a lesson of each question, or with `prompt.cot` as many as are wanted of those that the model reasons out."""
    if not config.prompt.cot:
        return [Lesson(question.question, question.answers[0]) for question in questions]
    engine = make_engine(config.engine, config.model)
    try:
        return write_reasoning(
            questions, engine, config.prompt, num_wanted(config), reasoning_tokens(config), tick
        )
    finally:
        engine.close()
        del engine
        gc.collect()  # what the engine held of a GPU is needed for training
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def write_reasoning(
    questions: Sequence[Question],
    engine: Engine,
    prompt: PromptConfig,
    num: int,
    max_new_tokens: int,
    tick: Tick = lambda *_: None,
) -> list[Lesson]:
    """Let the engine reason about questions, in order, until `num` answers are right or no question is left. Raises CorpusError
    when none is right."""
    fewshot = load_fewshot(prompt.fewshot)
    sampling = Sampling(max_new_tokens, stop=(NEXT_QUESTION,))
    lessons: list[Lesson] = []
    for start in range(0, len(questions), BATCH):
        tick("reasoning that is right", len(lessons), num)
        batch = questions[start : start + BATCH]
        requests = [
            Request(encode_question(engine.tokenizer, question.question, (), prompt, fewshot))
            for question in batch
        ]
        generations = engine.generate(requests, sampling)
        lessons += [
            Lesson(question.question, generation.text.strip())
            for question, generation in zip(batch, generations, strict=True)
            if is_right(generation, question.answers)
        ]
        if len(lessons) >= num:
            break
    tick("reasoning that is right", min(len(lessons), num), num)
    if not lessons:
        raise CorpusError(
            f"warmup.questions: of {len(questions)} questions the model reasoned out none right without passages; give it "
            "questions that it can answer, and worked examples (prompt.fewshot)"
        )
    return lessons[:num]


def is_right(generation: Generation, answers: Sequence[str]) -> bool:
    """Tell whether the reasoning came to its end, and its answer is exactly an accepted one."""
    said = MARKER in generation.text and generation.finish == "stop"
    return said and score(extract_answer(generation.text, cot=True), answers).em == 1.0
