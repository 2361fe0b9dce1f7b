"""The two offline stages over one shard, without Ray: augment, then train and write.

A stage opens the bank once, loads its model when a shard first needs it, and promises that running a shard again is
free: a shard whose commit marker exists is left as it is. Documents that cannot be used become failures, committed
together with the shard's augmentations or adapters.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from prag_core.augment import augment_documents, generator_identity
from prag_core.bank import Bank, Commit, Stage
from prag_core.base_model import BaseModel, context_length, default_device, load_base_model
from prag_core.config import Config, ModelConfig
from prag_core.engines.protocol import Engine, make_engine
from prag_core.errors import BankError, CorpusError
from prag_core.identity import content_hash, model_digest
from prag_core.overlap import Behind, ahead
from prag_core.records import AdapterFactors, Augmentation, Document, Failure, Key, Sample
from prag_core.samples import ReplaySample, build_samples, choose_replay, load_fewshot, load_replay
from prag_core.trainer import TrainingItem, TrainingSettings, train_documents

ITEMS_AHEAD = 256  # documents tokenised before they are trained
ADAPTERS_BEHIND = 32  # trained and not yet written


@dataclass(frozen=True)
class ShardResult:
    """What a stage made of a shard. `reused`: it was committed before, and nothing was done now."""

    num_documents: int
    num_failed: int
    seconds: float
    reused: bool


class ShardStage(ABC):
    """Work on one shard at a time, committed whole or not at all."""

    stage: ClassVar[Stage]

    def __init__(self, bank_uri: str, config: Config) -> None:
        self.bank = Bank.open(bank_uri)
        self.config = config

    def run(self, shard_id: str, documents_object: str) -> ShardResult:
        """Do the stage's work on a shard unless it is committed already."""
        start = time.perf_counter()
        committed = self.bank.find_commit(self.stage, shard_id)
        commit = committed or self._work(shard_id, self.bank.read_documents(documents_object))
        done, failed = commit.object(self.stage.value), commit.object("failures")
        seconds = time.perf_counter() - start
        return ShardResult(done.rows if done else 0, failed.rows if failed else 0, seconds, reused=committed is not None)

    @abstractmethod
    def _work(self, shard_id: str, documents: Sequence[Document]) -> Commit: ...


class AugmentStage(ShardStage):
    """Rewrites and question-answer pairs, by a language model or from another bank that has them."""

    stage = Stage.augmentations

    @cached_property
    def engine(self) -> Engine:
        return make_engine(replace(self.config.engine, kind=self.config.augmentation.engine), self.model)

    @property
    def model(self) -> ModelConfig:
        """The model that writes: the one that will answer, unless another is named."""
        other = self.config.augmentation.model
        return ModelConfig(path=other) if other else self.config.model

    @cached_property
    def generator(self) -> str:
        return generator_identity(model_digest(self.model.path, self.model.revision), self.config.augmentation)

    @cached_property
    def source(self) -> Bank | None:
        uri = self.config.augmentation.uri
        return Bank.open(uri) if uri else None

    def _work(self, shard_id: str, documents: Sequence[Document]) -> Commit:
        known = self._known(documents)
        unknown = [document for document in documents if document.key not in known]
        with self.bank.begin(self.stage, shard_id) as writer:
            for augmentation in known.values():
                writer.add(augmentation)
            if unknown:
                settings, prompt = self.config.augmentation, self.config.prompt
                written = augment_documents(unknown, self.engine, settings, prompt, self.generator)
                records: list[Augmentation | Failure] = [*written.augmentations, *written.failures]
                for record in records:
                    writer.add(record)
            return writer.commit()

    def _known(self, documents: Sequence[Document]) -> dict[Key, Augmentation]:
        """What the other bank has for these documents, in this wording."""
        snapshot = self.source.latest_snapshot() if self.source else None
        if snapshot is None:
            return {}
        hashes = {document.key: content_hash(document) for document in documents}
        found = snapshot.augmentations(list(hashes))
        return {key: augmentation for key, augmentation in found.items() if augmentation.content_hash == hashes[key]}


class TrainStage(ShardStage):
    """Adapters, streamed into the bank as cohorts finish: tokenising is ahead of training and writing behind it, each in a
    thread of its own. Needs the shard's augmentations committed."""

    stage = Stage.adapters

    @cached_property
    def base(self) -> BaseModel:
        model = self.config.model
        return load_base_model(model.path, self.config.training.dtype, default_device(), model.revision)

    @cached_property
    def initial(self) -> AdapterFactors:
        return self.bank.initial_factors()

    @cached_property
    def fewshot(self) -> tuple[tuple[str, str], ...]:
        return load_fewshot(self.config.prompt.fewshot)

    @cached_property
    def replay_pool(self) -> list[ReplaySample]:
        uri = self.config.training.replay_uri
        return load_replay(uri) if uri else []

    def _work(self, shard_id: str, documents: Sequence[Document]) -> Commit:
        augmented = self.bank.find_commit(Stage.augmentations, shard_id)
        if augmented is None:
            raise BankError(f"shard {shard_id} of {self.bank.uri} has no committed augmentations; the augment stage comes first")
        augmentations = {a.key: a for a in self.bank.read_augmentations(augmented)}
        settings = TrainingSettings.from_config(self.config.training)
        failures: list[Failure] = []
        with self.bank.begin(self.stage, shard_id, self.config.bank.tier) as writer:
            items = ahead(self._items(documents, augmentations, failures), ITEMS_AHEAD)
            with Behind(writer.add, ADAPTERS_BEHIND) as behind:
                for record in train_documents(self.base.model, self.bank.layout, self.initial, items, settings):
                    behind.put(record)
            for failure in failures:
                writer.add(failure)
            return writer.commit(augmented.objects)

    def _items(
        self, documents: Sequence[Document], augmentations: dict[Key, Augmentation], failures: list[Failure]
    ) -> Iterator[TrainingItem]:
        """Each augmented document with its samples; those whose samples do not fit the model go to `failures`."""
        for document in documents:
            if document.key not in augmentations:
                continue  # set aside by the augment stage, and recorded there
            content = content_hash(document)
            try:
                yield TrainingItem(document.key, content, self._samples(document, content, augmentations[document.key]))
            except CorpusError as error:
                failures.append(Failure(*document.key, content, "train", str(error), attempts=1))

    def _samples(self, document: Document, content: str, augmentation: Augmentation) -> list[Sample]:
        training = self.config.training
        replay = choose_replay(self.replay_pool, training.replay_samples, training.seed, content) if self.replay_pool else []
        limit = context_length(self.base.model, self.config.model.max_length)
        tokenizer, prompt = self.base.tokenizer, self.config.prompt
        return build_samples(
            document, augmentation, tokenizer, prompt, max_length=limit, fewshot=self.fewshot, replay=replay,
            repeat_without_passage=training.repeat_without_passage, distill=training.objective == "distill",
        )  # fmt: skip
