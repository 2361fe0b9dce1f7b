"""From banks and a configuration to the tools that methods answer with: one engine, shared by every bank.

What decides how a question is worded (titles, reasoning, examples) is the bank's own recipe, never the caller's
settings: an adapter trained under one wording is asked under the same. Banks of another base model are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from prag_core.answering.base import Tools
from prag_core.answering.merge_plan import UNREADABLE
from prag_core.bank import Bank, Entry, Snapshot
from prag_core.bank.reader import read_usable, show_key
from prag_core.config.schema import Config, ModelConfig
from prag_core.engines.base import Engine
from prag_core.engines.load import make_engine
from prag_core.errors import BankError, ModelError
from prag_core.merging import Versioned, merged_rank
from prag_core.models.lora import check_factors
from prag_core.models.prompts import DEFAULT_NEW_TOKENS
from prag_core.models.source import model_digest
from prag_core.planning.recipe import recorded_prompt
from prag_core.questions.examples import load_fewshot
from prag_core.records import AdapterFactors, Augmentation, Document, Key, Passage, Question
from prag_core.retrieval import Filter, LexicalIndex, open_index
from prag_core.retrieval.irrelevant import Kinds, choose_irrelevant, group_by_kind
from prag_core.retrieval.narrow import AsNarrowed

logger = logging.getLogger(__name__)


def open_bank(uri: str, model: ModelConfig) -> Bank:
    """Open a bank. Raises BankError when there is none, or it was made from another model than this one."""
    bank = Bank.open(uri)
    made_from, ours = bank.recipe.fields["model"], model_digest(model.path, model.revision)
    if made_from != ours:
        raise BankError(
            f"{uri}: the bank's adapters were trained from another model than model.path={model.path} "
            f"(identity {made_from[:12]}, not {ours[:12]}); give the model it was made with"
        )
    return bank


@dataclass(frozen=True)
class OpenBank:
    """A bank at one snapshot, with its retrieval index. With `where`, it has only the documents that match, whether they are
    searched, named as gold, or drawn as irrelevant ones."""

    bank: Bank
    snapshot: Snapshot
    index: LexicalIndex
    seed: int
    where: Filter | None = None

    @classmethod
    def open(cls, uri: str, config: Config, where: Filter | None = None) -> OpenBank:
        """Open a bank at its newest snapshot. Raises BankError when it has no snapshot or index yet, or is of another model."""
        bank = open_bank(uri, config.model)
        snapshot = bank.require_snapshot()
        index = open_index(bank, snapshot, config.retrieval)
        index = AsNarrowed(index) if config.retrieval.as_narrowed else index
        return cls(bank, snapshot, index, config.evaluate.seed, where)

    @cached_property
    def documents(self) -> dict[Key, Document]:
        allowed = self.where.allows if self.where else lambda _: True
        return {
            document.key: document for document in self.snapshot.documents() if allowed(document.metadata)
        }

    @cached_property
    def start(self) -> Versioned | None:
        return self.bank.warm_start()

    @cached_property
    def kinds(self) -> Kinds:
        return group_by_kind(self.documents.values())

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        return self.snapshot.lookup(keys)

    def read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        """Read adapters; of those that cannot be read, the log says what is wrong with which object."""
        factors, damaged = read_fitting(self.bank, entries)
        for key, reason in damaged.items():
            logger.warning("%s: %s: %s", show_key(*key), UNREADABLE, reason)
        return factors, dict.fromkeys(damaged, UNREADABLE)

    def augmentations(self, keys: Collection[Key]) -> Mapping[Key, Augmentation]:
        return self.snapshot.augmentations(keys)

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        return self.index.search(questions, k, self.where)

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        """Choose documents of the retrieved ones' kind that do not answer, by the question's id and the seed."""
        keys = choose_irrelevant(question, retrieved, self.kinds, k, self.seed)
        return [as_passage(self.documents[key]) for key in keys]

    def gold(self, question: Question) -> list[Passage]:
        """Return a question's own documents, all their chunks."""
        wanted = set(question.gold_doc_ids)
        return [as_passage(document) for key, document in self.documents.items() if key[0] in wanted]


def read_fitting(bank: Bank, entries: Sequence[Entry]) -> tuple[dict[Key, AdapterFactors], dict[Key, str]]:
    """Read the adapters at `entries`, and say what is wrong with those that are damaged or do not fit the model, for logs."""
    factors, damaged = read_usable(bank, entries)
    for key, adapter in list(factors.items()):
        try:
            check_factors(adapter, bank.layout)
        except ModelError as error:
            damaged[key] = str(error)
            del factors[key]
    return factors, damaged


def as_passage(document: Document, score: float = 0.0) -> Passage:
    return Passage(document.doc_id, document.chunk, document.title, document.text, score)


@contextmanager
def open_tools(
    config: Config, banks: Mapping[str, str], where: Filter | None = None, documents: int | None = None
) -> Iterator[dict[str, Tools]]:
    """Make tools for each named bank URI, over one engine that is closed at the end; with `where`, over documents that match it.
    The engine holds merges of up to `documents` adapters (default: retrieval.top_k).

    Raises BankError where a bank is missing, unfinished or of another model, and ConfigError for unusable settings.
    """
    opened = {name: OpenBank.open(uri, config, where) for name, uri in banks.items()}
    layouts = {name: bank.bank.layout for name, bank in opened.items()}
    widest = max(layouts.values(), key=lambda layout: layout.rank)
    count = documents or config.retrieval.top_k
    max_rank = max(
        merged_rank(b.bank.layout.rank, count, config.merge, warm=b.start is not None)
        for b in opened.values()
    )
    engine = make_engine(config.engine, config.model, layout=widest, max_merged_rank=max_rank)
    try:
        yield {name: make_tools(config, bank, engine) for name, bank in opened.items()}
    finally:
        engine.close()


def make_tools(config: Config, opened: OpenBank, engine: Engine) -> Tools:
    """Make the tools that methods answer with over one bank. Raises ConfigError where `prompt.fewshot` is not the bank's."""
    prompt = recorded_prompt(opened.bank.recipe, config.prompt)
    return Tools(
        engine=engine,
        source=opened,
        layout=opened.bank.layout,
        prompt=prompt,
        top_k=config.retrieval.top_k,
        max_new_tokens=config.engine.max_new_tokens or DEFAULT_NEW_TOKENS[prompt.cot],
        fewshot=load_fewshot(prompt.fewshot),
        merge=config.merge,
        methods=config.methods,
        start=opened.start,
        recipe_id=opened.bank.recipe.id,
    )
