"""Score how well the miniature model augments passages it has never seen, judged against the facts they were written from.

python -m examples.mini.augmentation_scores examples/mini/model
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.mini import phrases, world
from examples.mini.world import Entity
from prag_core.models import prompts

KEYS = {"question", "answer", "full_answer"}


@torch.no_grad()
def sample(
    model: Any, tokenizer: Any, conversations: Sequence[list[prompts.Message]], seed: int
) -> list[str]:
    """Sample one completion of each, at temperature 0.7 and top-k 50."""
    torch.manual_seed(seed)
    rows = [prompts.encode(tokenizer, messages) for messages in conversations]
    width = max(map(len, rows))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows])
    mask = (ids != tokenizer.pad_token_id).long()
    out = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=True, temperature=0.7, top_k=50, max_new_tokens=384
    )
    return [str(text) for text in tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]


def parse_pairs(text: str) -> list[dict[str, str]] | None:
    """Parse a JSON list of at least three objects with the three keys; None for anything else."""
    try:
        pairs = json.loads(text)
    except json.JSONDecodeError:
        return None
    if (
        not isinstance(pairs, list)
        or len(pairs) < 3
        or not all(isinstance(p, dict) and p.keys() == KEYS for p in pairs)
    ):
        return None
    return pairs


def asked_relation(entity: Entity, question: str) -> str | None:
    """Find the fact of the entity that a question asks for; None if the world has no such question about this entity."""
    for relation in entity.facts:
        phrasing = phrases.RELATIONS[entity.kind][relation]
        if question in {
            wording.format(s=entity.name) for wording in phrasing.augmentation + phrasing.reading
        }:
            return relation
    return None


def augmentation_scores(
    model: Any, tokenizer: Any, num_documents: int = 42, seed: int = 0
) -> dict[str, float]:
    """Measure shares: lists that parse, pairs that are right, lists of three different facts, and values kept by rewrites."""
    rng = Random(f"augmentation-{seed}")
    entities = [e for _ in range(num_documents // 6) for e in world.draw_world(rng, 2, 2, 2).entities]
    passages = [world.write_passage(rng, entity) for entity in entities]
    lists = [
        parse_pairs(text)
        for text in sample(model, tokenizer, [prompts.qa_messages(p) for p in passages], seed)
    ]
    rewrites = sample(model, tokenizer, [prompts.rewrite_messages(p) for p in passages], seed)
    right = full = distinct = total = kept = 0
    asked: Counter[str] = Counter()
    for entity, pairs in zip(entities, lists, strict=True):
        relations = [asked_relation(entity, str(pair["question"])) for pair in pairs or []]
        distinct += len({r for r in relations if r}) >= 3
        for relation, pair in zip(relations, pairs or [], strict=True):
            total += 1
            asked[f"{entity.kind} {relation}"] += 1
            good = relation is not None and pair["answer"] == entity.facts[relation]
            right += good
            full += good and entity.name in pair["full_answer"] and pair["answer"] in pair["full_answer"]
    for entity, text in zip(entities, rewrites, strict=True):
        kept += sum(value in text for value in entity.facts.values())
    return {
        "lists that parse": sum(pairs is not None for pairs in lists) / len(lists),
        "pairs right": right / max(total, 1),
        "full answers right": full / max(total, 1),
        "three different facts": distinct / len(lists),
        "relations asked": len(asked),
        "values kept by rewrites": kept / sum(len(entity.facts) for entity in entities),
    }


def main() -> None:
    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    for name, score in augmentation_scores(model, tokenizer).items():
        print(f"{name}: {score:.3f}")


if __name__ == "__main__":
    main()
