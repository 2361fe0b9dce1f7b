"""Six documents, and an engine that says what a test wrote for it and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prag_core.answering.registry import Tools
from prag_core.config.schema import MethodsConfig, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import AdapterFactors, Augmentation, Factors, Key, Passage, QAPair, Question

PASSAGES = {f"d{i}": Passage(f"d{i}", 0, f"title {i}", f"text number {i}", float(9 - i)) for i in range(6)}
Line = tuple[
    str, str, Sequence[float] | float
]  # text, why it ended, the probability of its tokens (one: of each of them)


class ScriptedEngine:
    """Answers each call's requests with the next lines of its script, in order."""

    max_length = 4096

    def __init__(self, tokenizer: Any, script: Iterable[Line]) -> None:
        self.tokenizer, self.script = tokenizer, list(script)
        self.calls: list[list[Request]] = []
        self.samplings: list[Sampling] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        self.calls.append(list(requests))
        self.samplings.append(sampling)
        return [self._say(*self.script.pop(0), sampling) for _ in requests]

    def _say(
        self, text: str, finish: Any, probabilities: Sequence[float] | float, sampling: Sampling
    ) -> Generation:
        token_ids = tuple(self.tokenizer.encode(text, add_special_tokens=False))[: sampling.max_new_tokens]
        each = [probabilities] * len(token_ids) if isinstance(probabilities, float) else probabilities
        return Generation(text, token_ids, finish, tuple(each) if sampling.probabilities else None)

    def prompts(self, call: int) -> list[str]:
        return [self.tokenizer.decode(request.token_ids) for request in self.calls[call]]

    def close(self) -> None: ...


class SixDocuments:
    """Finds the documents whose number is in the query, else d0; keeps the queries. d1's adapter is missing."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        self.queries += questions
        named = [[p for p in PASSAGES.values() if p.doc_id[1:] in query] for query in questions]
        return [found[:k] or [PASSAGES["d0"]] for found in named]

    def fetch(self, keys: Sequence[Key]) -> tuple[dict[Key, tuple[str, AdapterFactors]], dict[Key, str]]:
        usable = {key: (f"version of {key[0]}", _factors(int(key[0][1:]))) for key in keys if key[0] != "d1"}
        return usable, {key: "quarantined: no JSON" for key in keys if key[0] == "d1"}

    def augmentations(self, keys: Collection[Key]) -> dict[Key, Augmentation]:
        pairs = (QAPair("Which number?", "3", "It is 3."), QAPair("Which kind?", "odd", "It is odd."))
        return {
            key: Augmentation(*key, "hash", (f"rewrite of {key[0]}",), pairs, "g")
            for key in keys
            if key[0] != "d4"
        }

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        return []

    def gold(self, question: Question) -> list[Passage]:
        return []


def _factors(seed: int) -> AdapterFactors:
    random = np.random.default_rng(seed)
    return {
        "m": Factors(
            random.normal(size=(2, 3)).astype(np.float32), random.normal(size=(4, 2)).astype(np.float32)
        )
    }


@pytest.fixture
def make_tools(tiny_tokenizer: Any) -> Callable[..., Tools]:
    """`make_tools(*script, cot=…, max_new_tokens=…, **methods settings)`: tools over the six documents."""
    layout = AdapterLayout((ModuleShape("m", 3, 4),), rank=2, alpha=32.0)

    def make(*script: Line, cot: bool = False, max_new_tokens: int = 200, **settings: Any) -> Tools:
        engine = ScriptedEngine(tiny_tokenizer, script)
        methods = replace(MethodsConfig(), **settings)
        prompt = PromptConfig(cot=cot)
        return Tools(engine, SixDocuments(), layout, prompt, 3, max_new_tokens, methods=methods)

    return make
