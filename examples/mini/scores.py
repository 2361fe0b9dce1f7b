"""Score how well the miniature model reads, recalls and compares, token by token.

    python -m examples.mini.scores examples/mini/model

An answer counts when every one of its tokens is the model's first choice after the prompt and the answer's own beginning,
which is what greedy decoding would give.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.mini import data, mixture, world
from examples.mini.mixture import Mixture
from examples.mini.world import Question
from prag_core.models import prompts

Case = tuple[list[int], int]


def reading_scores(model: Any, source: Mixture, count: int = 40) -> dict[str, float]:
    """Measure the share of exact answers by task, on entities drawn for this alone."""
    rng = Random("scores")
    tasks: dict[str, list[Case]] = {f"read {n}": [] for n in (1, 3, 5)}
    tasks |= {"bridge": [], "order": [], "same": [], "order worked": [], "known": [], "closed book": []}
    for _ in range(count):
        small = world.draw_world(rng, 3, 2, 2, 2)
        for n in (1, 3, 5):
            shown = mixture.draw_context(rng, small, n)
            question = world.ask_single(rng, rng.choice(shown), "reading")
            tasks[f"read {n}"].append(case(source, question, _texts(rng, shown)))
        bridge = world.ask_bridge(rng, small, small.of_kind("person")[0], "reading")
        a, b, _ = small.of_kind("person")
        order, same = world.ask_order(rng, a, b), world.ask_same(rng, a, b)
        for name, two in (("bridge", bridge), ("order", order), ("same", same)):
            if two:
                texts = _texts(rng, rng.sample(two.needs, 2))
                tasks[name].append(case(source, two, texts))
                if name == "order":
                    tasks["order worked"].append(case(source, two, texts, cot=True))
        for name, place in (("known", source.known), ("closed book", small)):
            tasks[name].append(case(source, world.ask_single(rng, rng.choice(place.entities), "reading"), ()))
    return {name: round(exact(model, cases), 3) for name, cases in tasks.items()}


def _texts(rng: Random, shown: Sequence[world.Entity]) -> list[str]:
    return [world.write_passage(rng, entity) for entity in shown]


def case(source: Mixture, question: Question, texts: Sequence[str], *, cot: bool = False) -> Case:
    """Encode the prompt and its answer; return the token ids, and how many of them are the answer's."""
    messages = prompts.answer_messages(question.text, texts, cot=cot)
    start = prompts.encode(source.tokenizer, messages, prompts.answer_prefill(cot=cot))
    start += source.encode(f"{question.chain} So the answer is ") if cot else []
    answer = source.encode(prompts.normalise_answer(question.answer))
    return [*start, *answer], len(answer)


@torch.no_grad()
def exact(model: Any, cases: Sequence[Case], rows: int = 16) -> float:
    """Measure the share of cases whose answer tokens are all first choices."""
    right = 0
    ordered = sorted(cases, key=lambda item: len(item[0]))
    for i in range(0, len(ordered), rows):
        batch = ordered[i : i + rows]
        width = len(batch[-1][0])
        ids = torch.tensor([tokens + [0] * (width - len(tokens)) for tokens, _ in batch])
        choices: Tensor = model(input_ids=ids, use_cache=False).logits.argmax(-1)
        for row, (tokens, length) in enumerate(batch):
            end = len(tokens)
            right += choices[row, end - length - 1 : end - 1].tolist() == tokens[end - length :]
    return right / len(cases)


def main() -> None:
    torch.set_num_threads(2)
    model: Any = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    known = data.known_world()
    source = Mixture(known, data.fewshot(known), AutoTokenizer.from_pretrained(sys.argv[1]))
    for name, score in reading_scores(model, source, count=300).items():
        print(f"{name}: {score:.3f}")


if __name__ == "__main__":
    main()
