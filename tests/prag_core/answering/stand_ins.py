"""Six documents, and an engine that says what a test wrote for it and keeps what it was asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from prag_core.bank import Entry
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.identity import adapter_version
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

    def entries(self, keys: Collection[Key]) -> dict[Key, Entry]:
        failed: dict[str, Any] = {"status": "failed", "stage": "augment", "reason": "no JSON"}
        return {key: make_entry(key[0], **failed if key[0] == "d1" else {}) for key in keys}

    def read(self, entries: Sequence[Entry]) -> tuple[dict[Key, AdapterFactors], dict[Key, str]]:
        return {entry.key: make_factors(int(entry.doc_id[1:])) for entry in entries}, {}

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


def make_entry(doc_id: str, **fields: Any) -> Entry:
    """What a snapshot says of a document: it has an adapter, unless `fields` say otherwise."""
    nothing = dict.fromkeys(field.name for field in dataclasses.fields(Entry))
    known = {"doc_id": doc_id, "chunk": 0, "content_hash": f"content of {doc_id}", "status": "adapter"}
    return Entry(**{**nothing, **known, **fields})


def version_of(doc_id: str) -> str:
    """The version of the adapter of such a document."""
    return adapter_version(f"content of {doc_id}", "")


def make_factors(seed: int) -> AdapterFactors:
    random = np.random.default_rng(seed)
    return {
        "m": Factors(
            random.normal(size=(2, 3)).astype(np.float32), random.normal(size=(4, 2)).astype(np.float32)
        )
    }
