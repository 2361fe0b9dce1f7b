"""The fixed data of the miniature world: what the model knows, and the held-out documents and questions.

    python -m examples.mini.data examples/mini

writes the files named in `FILES`, the same bytes every time. Questions of the dev and test sets use phrasings that the model
is never taught to write; replay samples are about known entities alone and use the phrasings that it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from examples.mini import mixture, world
from examples.mini.world import Entity, Question, World
from prag_core.models import prompts

SEED = "mini-2026"
SIZES = {"known": (80, 70, 50), "dev": (26, 20, 14), "test": (96, 74, 50)}
NUM_QUESTIONS = {
    "dev": {"single": 84, "bridge": 18, "comparison": 18},
    "test": {"single": 224, "bridge": 48, "comparison": 48},
}
NUM_TRAINING = {"single": 240, "bridge": 72, "comparison": 72}
NUM_REPLAY = 480
Row = dict[str, Any]


def split_world(split: str) -> World:
    """Draw the entities of "dev" or "test", or the 200 "known" ones that the model memorises."""
    return world.draw_world(Random(f"{SEED}-{split}"), *SIZES[split])


def known_world() -> World:
    return split_world("known")


def fewshot(known: World) -> tuple[tuple[str, str], ...]:
    """Write three worked examples about known entities: single, bridge, comparison."""
    rng = Random(f"{SEED}-fewshot")
    people = known.of_kind("person")
    questions = (
        world.ask_single(rng, people[0], "augmentation", "occupation"),
        world.ask_bridge(rng, known, people[1], "augmentation"),
        world.ask_order(rng, people[2], people[3]),
    )
    return tuple((q.text, mixture.worked(q)) for q in questions if q)


def tokenizer_texts(known: World, count: int = 3000) -> Iterator[str]:
    """Yield the texts that the tokenizer's merges are learned from: turns of every task."""
    rng = Random(f"{SEED}-tokenizer")
    for _ in range(count):
        small = world.draw_world(rng, 2, 2, 2)
        for entity in small.entities:
            yield world.write_passage(rng, entity)
            yield world.ask_single(rng, entity, "any").text
        entity = rng.choice(small.entities)
        yield from (text for _, text in mixture.write_pairs(rng, entity))
        yield from (text for _, text in mixture.rewrite(rng, entity))
        for cot in (True, False):
            question = any_question(rng, small)
            answer = mixture.worked(question) if cot else question.answer
            yield prompts.answer_messages(question.text, (), cot=cot)[0]["content"]
            yield prompts.answer_prefill(answer, cot=cot)


def any_question(rng: Random, source: World) -> Question:
    """Draw a question of any type."""
    style = rng.random()
    question: Question | None = None
    if style < 0.25:
        a, b = rng.sample(source.entities, 2)
        question = world.ask_order(rng, a, b) if rng.random() < 0.6 else world.ask_same(rng, a, b)
    elif style < 0.45:
        question = world.ask_bridge(rng, source, rng.choice(source.entities), "any")
    return question or world.ask_single(rng, rng.choice(source.entities), "any")


def doc_ids(split: str) -> dict[str, str]:
    """Map the entities' names to document ids."""
    return {
        entity.name: f"{split}-{i:03d}-{entity.kind}" for i, entity in enumerate(split_world(split).entities)
    }


def documents(split: str) -> list[Row]:
    """Write one passage about every entity of a split."""
    rng = Random(f"{SEED}-{split}-documents")
    ids = doc_ids(split)
    return [
        {
            "doc_id": ids[entity.name],
            "title": entity.name,
            "text": world.write_passage(rng, entity),
            "metadata": {"kind": entity.kind, "split": split},
        }
        for entity in split_world(split).entities
    ]


def questions(split: str) -> list[Row]:
    """List the questions about the documents of a split, as lines of a question file."""
    return _rows(split, split, asked(split))


def training_questions() -> list[Row]:
    """Draw further questions about the dev documents, for training routers: none has the subjects and relation of a dev
    question."""
    rng = Random(f"{SEED}-training-questions")
    known = {kind: [identity(question) for question in found] for kind, found in asked("dev").items()}
    source = split_world("dev")
    return _rows(
        "train",
        "dev",
        {kind: distinct(ASK[kind](rng, source), n, known[kind]) for kind, n in NUM_TRAINING.items()},
    )


def asked(split: str) -> dict[str, list[Question]]:
    """Draw the questions of a split, by type. Single-hop questions cycle through the documents; no question is asked twice."""
    rng = Random(f"{SEED}-{split}-questions")
    source = split_world(split)
    return {kind: distinct(ASK[kind](rng, source), count) for kind, count in NUM_QUESTIONS[split].items()}


def distinct(drawn: Iterator[Question], count: int, known: Iterable[tuple[str, ...]] = ()) -> list[Question]:
    """Return the first `count` distinct questions that are not in `known`."""
    found: dict[tuple[str, ...], Question] = {}
    excluded = set(known)
    while len(found) < count:
        question = next(drawn)
        if identity(question) not in excluded:
            found.setdefault(identity(question), question)
    return list(found.values())


def identity(question: Question) -> tuple[str, ...]:
    """Identify a question by what it asks, not by its wording: its relation and its subjects."""
    return (question.relation, *sorted(entity.name for entity in question.needs))


def _rows(name: str, split: str, found: Mapping[str, Sequence[Question]]) -> list[Row]:
    ids = doc_ids(split)
    return [
        {
            "question_id": f"{name}-{kind}-{i:03d}",
            "question": question.text,
            "answers": world.aliases(question),
            "gold_doc_ids": [ids[entity.name] for entity in question.needs],
            "type": kind,
        }
        for kind, drawn in found.items()
        for i, question in enumerate(drawn)
    ]


def _singles(rng: Random, source: World) -> Iterator[Question]:
    while True:
        for entity in rng.sample(source.entities, len(source.entities)):
            yield world.ask_single(rng, entity, "reading")


def _bridges(rng: Random, source: World) -> Iterator[Question]:
    while True:
        question = world.ask_bridge(rng, source, rng.choice(source.entities), "reading")
        if question:
            yield question


def _comparisons(rng: Random, source: World) -> Iterator[Question]:
    """Yield comparisons: half ask for an order, a quarter about values that are shared, a quarter about values that are not."""
    ask: dict[str, Callable[[Random, Entity, Entity], Question | None]] = {
        "order": world.ask_order,
        "same": world.ask_same,
    }
    while True:
        for style, answer in (("order", None), ("same", "yes"), ("order", None), ("same", "no")):
            question = None
            while question is None or answer not in (None, question.answer):
                question = ask[style](rng, *rng.sample(source.entities, 2))
            yield question


ASK = {"single": _singles, "bridge": _bridges, "comparison": _comparisons}


def replay() -> list[Row]:
    """Write the replay samples: half about known entities, from memory; half about fresh ones, which can only be answered by
    reading two or three passages."""
    rng = Random(f"{SEED}-replay")
    known = known_world()
    rows = []
    for i in range(NUM_REPLAY):
        shown = mixture.draw_context(rng, world.draw_world(rng, 3, 2, 2), rng.randint(2, 3)) if i % 2 else []
        question = world.ask_single(rng, rng.choice(shown or known.entities), "augmentation")
        passages = [world.write_passage(rng, entity) for entity in shown]
        rows.append({"question": question.text, "answer": question.answer, "passages": passages})
    return rows


FILES: dict[str, Callable[[], list[Row]]] = {
    "corpus.jsonl": lambda: documents("dev") + documents("test"),
    "questions.dev.jsonl": lambda: questions("dev"),
    "questions.train.jsonl": training_questions,
    "questions.test.jsonl": lambda: questions("test"),
    "replay.jsonl": replay,
    "fewshot.jsonl": lambda: [{"question": q, "answer": a} for q, a in fewshot(known_world())],
}


def file_text(name: str) -> str:
    """Return the text of a file of `FILES`: one JSON object a line."""
    return "".join(f"{json.dumps(row)}\n" for row in FILES[name]())


def main() -> None:
    folder = Path(sys.argv[1])
    for name in FILES:
        (folder / name).write_text(file_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
