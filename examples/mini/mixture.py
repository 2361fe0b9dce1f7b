"""The training mixture of the miniature model: rows of one conversation each, filled with questions up to a fixed length.

A row opens with a task (read passages, match names, compare, rewrite, write questions, recall what is known, put years in
order) and goes on with more questions about the same passages while they fit. All entities are fresh draws, which is what
forces the model to read; only those of the `known` world come back, and only about them is it asked without a passage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from examples.mini import phrases, world
from examples.mini.tokenizer import render
from examples.mini.world import Entity, Question, World, state
from prag_core.models import prompts

WEIGHTS = {"assistant": 1.0, "user": 0.2, "plain": 0.5}
Turn = tuple[str, str]


@dataclass(frozen=True)
class Mixture:
    """A generator of training rows; `known` is the world to memorise and `fewshot` the worked examples of chain prompts."""

    known: World
    fewshot: tuple[tuple[str, str], ...]
    tokenizer: Any

    def row(
        self, rng: Random, length: int, tasks: dict[str, float], short: float = 0.0
    ) -> tuple[list[int], list[float]]:
        """Draw token ids and loss weights, right-padded to `length` (weight 0)."""
        while True:
            task = rng.choices(list(tasks), list(tasks.values()))[0]
            ids, weights = self._fill(self._turns(rng, task, short), length)
            if ids:
                pad = length - len(ids)
                return ids + [self.tokenizer.pad_token_id] * pad, weights + [0.0] * pad

    def _fill(self, turns: Iterator[list[tuple[str, str]]], length: int) -> tuple[list[int], list[float]]:
        ids: list[int] = []
        weights: list[float] = []
        for turn in turns:
            encoded = [(role, self.encode(text)) for role, text in turn]
            if len(ids) + sum(len(tokens) for _, tokens in encoded) > length:
                break
            for role, tokens in encoded:
                ids += tokens
                weights += [WEIGHTS[role]] * len(tokens)
        return ids, weights

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids

    def _turns(self, rng: Random, task: str, short: float) -> Iterator[list[tuple[str, str]]]:
        """Yield the turns of a row as (role, text) pieces, without end."""
        if task == "plain":
            while True:
                entity = (
                    rng.choice(self.known.entities)
                    if rng.random() < 0.3
                    else rng.choice(_small_world(rng).entities)
                )
                yield [("plain", f"{entity.name}\n{world.write_passage(rng, entity)}\n")]
        if task.startswith("recite"):
            while True:
                yield recite(rng, int(task[-1]))
        for messages in self._conversation(rng, task, short):
            yield render(messages)

    def _conversation(self, rng: Random, task: str, short: float) -> Iterator[list[Turn]]:
        if task == "known":
            while True:
                yield ask(world.ask_single(rng, rng.choice(self.known.entities), "any"), ())
        if task == "years":
            while True:
                yield compare_years(rng)
        small = _small_world(rng)
        if task in WRITERS:
            entity = rng.choice(small.entities if rng.random() < 0.9 else self.known.entities)
            small = World((entity,))
            yield WRITERS[task](rng, entity)
            while True:
                yield ask(world.ask_single(rng, entity, "any"), ())
        if task.startswith(("match", "prove")):
            yield from match(rng, int(task[-1]), cot=task.startswith("prove"))
        if task.startswith("compare"):
            yield from compare(rng, int(task[-1]))
        yield from self._read(rng, task, short, small)

    def _read(self, rng: Random, task: str, short: float, small: World) -> Iterator[list[Turn]]:
        """Ask about passages: `read-3` directly, `chain-3` with reasoning, `shots-3` with reasoning and worked examples."""
        style, _, count = task.partition("-")
        shown = draw_context(rng, small, int(count))
        whole = rng.random() >= short
        if not whole:
            shown = [world.some_facts(rng, entity, rng.randint(1, 3)) for entity in shown]
        passages = [world.write_passage(rng, entity, world.MIN_WORDS if whole else 0) for entity in shown]
        with_title = rng.random() < 0.2
        texts = [
            prompts.show_passage(e.name, p, with_title=with_title)
            for e, p in zip(shown, passages, strict=True)
        ]
        context = World(tuple(shown))
        fewshot = self.fewshot if style == "shots" else ()
        yield ask(draw_question(rng, context, whole), texts, cot=style != "read", fewshot=fewshot)
        while True:
            cot = style != "read" and rng.random() < 0.3
            yield ask(draw_question(rng, context, whole), (), cot=cot)


def _small_world(rng: Random) -> World:
    return world.draw_world(rng, 3, 2, 2, 2 if rng.random() < 0.5 else None)


def draw_context(rng: Random, small: World, count: int) -> list[Entity]:
    """Draw the entities whose passages are shown: of one kind, or linked ones, or any; in random order."""
    style = rng.random()
    if style < 0.4:
        kind = rng.choice(("person", "place", "work"))
        numbers = {"person": (count, 2, 0), "place": (0, count, 0), "work": (2, 2, count)}[kind]
        shown = world.draw_world(rng, *numbers, 2 if rng.random() < 0.5 else None).of_kind(kind)
    elif style < 0.8 and count > 1:
        first = rng.choice([e for e in small.entities if e.kind != "place"])
        index = small.by_name
        linked = [index[v] for v in first.facts.values() if v in index]
        others = [e for e in small.entities if e is not first and e not in linked]
        shown = [first, *linked[:2], *rng.sample(others, len(others))][:count]
    else:
        shown = rng.sample(small.entities, count)
    rng.shuffle(shown)
    return shown


def match(rng: Random, count: int, *, cot: bool) -> Iterator[list[Turn]]:
    """Ask about `count` entities of one kind with the same one or two relations, so that only names tell them apart."""
    shown = draw_alike(rng, count)
    texts: Sequence[str] = [world.write_passage(rng, entity, 0) for entity in shown]
    while True:
        yield ask(draw_question(rng, World(tuple(shown)), whole=False), texts, cot=cot)
        texts = ()


def recite(rng: Random, count: int) -> list[tuple[str, str]]:
    """Write statements about `count` entities, then the same in another order: the cheapest way to learn which value is whose."""
    shown = draw_alike(rng, count)
    told = [state(rng, entity, relation) for entity in shown for relation in entity.facts]
    again = (
        [state(rng, entity, relation) for entity in shown for relation in entity.facts]
        if rng.random() < 0.4
        else list(told)
    )
    rng.shuffle(told)
    rng.shuffle(again)
    return [("plain", " ".join(told) + "\n"), ("assistant", " ".join(again) + "\n")]


def draw_alike(rng: Random, count: int) -> list[Entity]:
    """Draw `count` entities of one kind with the same one or two relations."""
    drawn = draw_kind(rng, count, None)
    common = [r for r in drawn[0].facts if all(r in entity.facts for entity in drawn)]
    relations = rng.sample(common, rng.randint(1, 2))
    return [Entity(entity.kind, entity.name, {r: entity.facts[r] for r in relations}) for entity in drawn]


def compare(rng: Random, count: int) -> Iterator[list[Turn]]:
    """Ask mostly for comparisons of `count` entities of one kind whose passages state only comparable facts."""
    drawn = draw_kind(rng, count, 2)
    comparable = {relation for _, relation in (*phrases.ORDER, *phrases.SAME)}
    shown = [Entity(e.kind, e.name, {r: v for r, v in e.facts.items() if r in comparable}) for e in drawn]
    texts: Sequence[str] = [world.write_passage(rng, entity, 0) for entity in shown]
    context = World(tuple(shown))
    while True:
        question = draw_comparison(rng, context) if rng.random() < 0.75 else None
        cot = rng.random() < 0.4
        yield ask(question or draw_question(rng, context, whole=False), texts, cot=cot)
        texts = ()


def draw_kind(rng: Random, count: int, variety: int | None) -> list[Entity]:
    """Draw `count` entities of one kind; with `variety`, sharing birthplaces, occupations, countries and forms."""
    kind = rng.choice(("person", "place", "work"))
    numbers = {"person": (count, variety or 0, 0), "place": (0, count, 0), "work": (0, 0, count)}[kind]
    return world.draw_world(rng, *numbers, variety).of_kind(kind)


def draw_question(rng: Random, context: World, whole: bool) -> Question:
    """Draw a question that the shown passages answer; over `whole` passages also bridges and comparisons."""
    style = rng.random()
    question: Question | None = None
    if whole and style < 0.3:
        question = draw_comparison(rng, context)
    elif whole and style < 0.5:
        question = world.ask_bridge(rng, context, rng.choice(context.entities), "any")
    return question or world.ask_single(rng, rng.choice(context.entities), "any")


def draw_comparison(rng: Random, context: World) -> Question | None:
    """Draw a comparison of two entities of a kind, yes and no about equally often; None where no two are of a kind."""
    a = rng.choice(context.entities)
    others = [entity for entity in context.of_kind(a.kind) if entity is not a]
    if not others:
        return None
    if rng.random() < 0.5:
        return world.ask_order(rng, a, rng.choice(others))
    asked = [world.ask_same(rng, a, rng.choice(others)) for _ in range(4)]
    wanted = rng.choice(("yes", "no"))
    return next((question for question in asked if question and question.answer == wanted), asked[0])


def ask(
    question: Question, texts: Sequence[str], *, cot: bool = False, fewshot: Sequence[tuple[str, str]] = ()
) -> list[Turn]:
    """Write a question over `texts` and its answer, directly or with its reasoning."""
    user = prompts.answer_messages(question.text, texts, cot=cot, fewshot=fewshot)[0]["content"]
    answer = worked(question) if cot else question.answer
    return [("user", user), ("assistant", prompts.answer_prefill(answer, cot=cot))]


def worked(question: Question) -> str:
    """Write the sentences that lead to the answer, and the answer."""
    return f"{question.chain} So the answer is {question.answer}."


def compare_years(rng: Random) -> list[Turn]:
    """Ask which of two years comes first: an exercise for comparison questions."""
    a, b = (str(rng.randint(1100, 1999)) for _ in range(2))
    late = rng.random() < 0.5
    word = rng.choice(("later", "last") if late else ("earlier", "first"))
    answer = max(a, b) if late else min(a, b)
    user = prompts.answer_messages(f"Which year is {word}, {a} or {b}?", ())[0]["content"]
    return [("user", user), ("assistant", prompts.answer_prefill(answer))]


def rewrite(rng: Random, entity: Entity, in_order: bool = False) -> list[Turn]:
    """Write a rewrite of a passage; `in_order`: with the facts in the passage's order."""
    told = world.some_facts(rng, entity, len(entity.facts)) if in_order else entity
    write = world.tell if in_order else world.write_passage
    user = prompts.rewrite_messages(write(rng, told))[0]["content"]
    return [("user", user), ("assistant", write(rng, told))]


def write_pairs(rng: Random, entity: Entity, in_order: bool = False, count: int = 3) -> list[Turn]:
    """Write question-answer pairs about different facts as JSON; `in_order`: in the passage's order."""
    told = world.some_facts(rng, entity, len(entity.facts)) if in_order else entity
    write = world.tell if in_order else world.write_passage
    user = prompts.qa_messages(write(rng, told), count)[0]["content"]
    relations = list(told.facts)
    chosen = rng.sample(relations, count)
    questions = [
        world.ask_single(rng, entity, "augmentation", r)
        for r in (sorted(chosen, key=relations.index) if in_order else chosen)
    ]
    pairs = [{"question": q.text, "answer": q.answer, "full_answer": q.chain} for q in questions]
    return [("user", user), ("assistant", json.dumps(pairs))]


# What the model learns to write about a passage. Targets in the passage's own order spare it from keeping count.
WRITERS: dict[str, Callable[[Random, Entity], list[Turn]]] = {
    "rewrite": rewrite,
    "pairs": write_pairs,
    "rewrite in order": partial(rewrite, in_order=True),
    "pairs in order": partial(write_pairs, in_order=True),
}
