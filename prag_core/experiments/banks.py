"""The banks that rows need, each named by what is in it, so that rows, tables and later runs share it.

A bank's name is the identity of its recipe, the corpus (what of it is read, and how long documents are cut) and the storage
tier. Banks whose augmentations were written by one model under equal settings take them from the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from prag_core.bank import Bank, Snapshot
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.identity import Recipe, digest
from prag_core.planning.recipe import prepare_recipe, writing_fields
from prag_core.planning.run_stats import RunStats, read_run_stats

FORMAT = 1  # raised when the same fields mean another bank
NOT_OF_A_RECIPE = (
    "bank",
    "retrieval",
    "merge",
    "methods",
    "evaluate",
    "serve",
    "ray",
)  # sections that rows often differ in


@dataclass(frozen=True)
class NamedBank:
    """A bank that exists or is to be made. `config` is a row's, with `bank.uri` this bank's."""

    config: Config
    recipe: Recipe

    @property
    def uri(self) -> str:
        return self.config.bank.uri

    @property
    def writing(self) -> str:
        """The identity of the model that writes the augmentations and of its settings."""
        return digest(writing_fields(self.recipe))


@dataclass(frozen=True)
class MadeBank:
    """A bank whose last run succeeded, with its snapshot and what its runs took."""

    bank: Bank
    snapshot: Snapshot
    figures: RunStats


class BankNames:
    """Names banks under one folder or URI. Corpora are read, and recipes prepared, once each."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._corpora: dict[str, str] = {}
        self._recipes: dict[str, Recipe] = {}

    def name(self, config: Config) -> NamedBank:
        """Name the bank that `config` asks for. Raises what reading its corpus and its models raises."""
        recipe = self._recipe(config)
        corpus, cutting = (
            self._corpus(config),
            [config.corpus.long_documents.value, config.corpus.chunk_overlap],
        )
        fields = [FORMAT, recipe.id, corpus, cutting, config.model.max_length, config.bank.tier.value]
        bank = replace(config.bank, uri=f"{self.root}/{digest(fields)[:20]}")
        return NamedBank(replace(config, bank=bank), recipe)

    def _corpus(self, config: Config) -> str:
        section = digest(as_dict(config.corpus))
        if section not in self._corpora:
            documents = [[*d.key, d.title, d.text, dict(d.metadata)] for d in read_corpus(config.corpus)]
            self._corpora[section] = digest(documents)
        return self._corpora[section]

    def _recipe(self, config: Config) -> Recipe:
        section = digest(
            {name: value for name, value in as_dict(config).items() if name not in NOT_OF_A_RECIPE}
        )
        if section not in self._recipes:
            self._recipes[section] = prepare_recipe(config).recipe
        return self._recipes[section]


def find_made(uri: str) -> MadeBank | None:
    """Return the bank if it is there and complete."""
    bank = Bank.find(uri)
    if bank is None:
        return None
    snapshot, figures = bank.latest_snapshot(), read_run_stats(bank)
    return MadeBank(bank, snapshot, figures) if snapshot and figures.finished else None


def with_source(bank: NamedBank, others: Iterable[NamedBank], is_made: Callable[[str], bool]) -> Config:
    """Return the bank's configuration with its augmentations taken from the first other bank that is made and has the same. A
    source that the settings name stays."""
    if bank.config.augmentation.uri is None:
        for other in others:
            if other.uri != bank.uri and other.writing == bank.writing and is_made(other.uri):
                return replace(bank.config, augmentation=replace(bank.config.augmentation, uri=other.uri))
    return bank.config
