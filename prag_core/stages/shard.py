"""The two offline stages over one shard, without Ray: augment, then train and write.

A stage opens the bank once, loads its model when a shard first needs it, and promises that running a shard again is
free: a shard whose commit marker exists is left as it is. Documents that cannot be used, and those whose text makes
tokenizer, engine or training raise, become failures, committed together with the shard's augmentations or adapters.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import ClassVar

from prag_core.augmentation.augment import augment_documents, generator_identity
from prag_core.augmentation.checks import TALLIED
from prag_core.bank import Bank, Commit, ObjectInfo, Stage
from prag_core.config.schema import Config, ModelConfig
from prag_core.engines.base import Engine
from prag_core.engines.load import make_engine
from prag_core.errors import BankError
from prag_core.identity import Recipe, content_hash
from prag_core.models.base_model import BaseModel, context_length, default_device, load_base_model
from prag_core.models.source import model_digest
from prag_core.planning.recipe import writing_fields
from prag_core.questions.examples import ReplaySample, load_fewshot, load_replay
from prag_core.records import Adapter, AdapterFactors, Augmentation, Document, Failure, Key, QAPair, Sample
from prag_core.stages.background import BackgroundWriter, prefetch
from prag_core.training.acceptance import Candidate, train_examined
from prag_core.training.culprits import isolate, quarantined
from prag_core.training.exam import Spellings, exam_questions
from prag_core.training.samples import build_samples, choose_replay
from prag_core.training.trainable import check_loss
from prag_core.training.trainer import TrainingItem, train_documents

Report = Callable[[int], object]  # takes the documents of a shard that a stage is done with
logger = logging.getLogger(__name__)

PREFETCHED = 256  # documents tokenised before they are trained
UNWRITTEN = 32  # adapters trained and not yet written
HARMLESS = Document("", "The town lies on a river.")  # what work that is sound never raises for
HARMLESS_AUGMENTATION = Augmentation(
    "",
    0,
    "",
    (HARMLESS.text,),
    (QAPair("Where does the town lie?", "On a river", "It lies on a river."),),
    "",
)


@dataclass(frozen=True)
class ShardResult:
    """The outcome of a stage over a shard. `reused`: it was committed before, and nothing was done now. `seconds` leave out
    loading a model to train. `tally` is the augment stage's: what was written and what was wrong with it (`checks.TALLIED`)."""

    num_documents: int
    num_failed: int
    seconds: float
    reused: bool
    tally: Mapping[str, int] = field(default_factory=dict)


class ShardStage(ABC):
    """Work on one shard at a time, committed whole or not at all."""

    stage: ClassVar[Stage]

    def __init__(self, bank_uri: str, config: Config) -> None:
        self.bank = Bank.open(bank_uri)
        self.config = config

    def run(self, shard_id: str, documents: str | ObjectInfo, report: Report = lambda _: None) -> ShardResult:
        """Do the stage's work on a shard unless it is committed already. `documents` is the object of its documents, or its path
        where no digest is known. `report` is called with 0 when the work begins, and as documents are done."""
        committed = self.bank.find_commit(self.stage, shard_id)
        if committed is None:
            self.load()
        report(0)
        start = time.perf_counter()
        sources = [documents] if isinstance(documents, ObjectInfo) else []
        commit = committed or self._work(shard_id, self.bank.read_documents(documents), sources, report)
        done, failed = commit.object(self.stage.value), commit.object("failures")
        seconds = time.perf_counter() - start
        result = ShardResult(
            done.rows if done else 0,
            failed.rows if failed else 0,
            seconds,
            committed is not None,
            self._tally(),
        )
        logger.info("shard %s, %s: %s", shard_id, self.stage.value, result)
        return result

    def load(self) -> None:  # noqa: B027  (a stage that may need no model loads it when it does)
        """Load what every shard needs, before its time is taken."""

    def _tally(self) -> dict[str, int]:
        """What was counted over the shard just done; every shard of a stage has the same names."""
        return {}

    @abstractmethod
    def _work(
        self, shard_id: str, documents: Sequence[Document], sources: Sequence[ObjectInfo], report: Report
    ) -> Commit: ...


def open_augmentations(uri: str, recipe: Recipe) -> Bank:
    """Open the bank at `uri`, to take a recipe's augmentations from. Raises BankError where they were not written by the same
    model under the same settings: the recipe would name others than its adapters were trained on."""
    bank = Bank.open(uri)
    theirs, ours = writing_fields(bank.recipe), writing_fields(recipe)
    differing = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
    if differing:
        shown = ", ".join(f"{name} {theirs.get(name)} there, {ours.get(name)} here" for name in differing)
        raise BankError(
            f"augmentation.uri={uri}: its augmentations are others than this recipe's ({shown}); leave it out"
        )
    return bank


class AugmentStage(ShardStage):
    """Rewrites and question-answer pairs, by a language model or from another bank that has them."""

    stage = Stage.augmentations

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter()

    def _tally(self) -> dict[str, int]:
        counts = {name: self._counts[name] for name in TALLIED}
        self._counts.clear()
        return counts

    @cached_property
    def engine(self) -> Engine:
        return make_engine(replace(self.config.engine, kind=self.config.augmentation.engine), self.model)

    @property
    def model(self) -> ModelConfig:
        """The writing model: the base model, unless another is named."""
        other = self.config.augmentation.model
        return ModelConfig(path=other) if other else self.config.model

    @cached_property
    def generator(self) -> str:
        return generator_identity(
            model_digest(self.model.path, self.model.revision), self.config.augmentation
        )

    @cached_property
    def source(self) -> Bank | None:
        uri = self.config.augmentation.uri
        return open_augmentations(uri, self.bank.recipe) if uri else None

    def _work(
        self, shard_id: str, documents: Sequence[Document], sources: Sequence[ObjectInfo], report: Report
    ) -> Commit:
        known = self._known(documents)
        unknown = [document for document in documents if document.key not in known]
        unwritten = {document.key for document in unknown}

        def count(written: Iterable[Key]) -> None:
            unwritten.difference_update(written)
            report(len(documents) - len(unwritten))

        with self.bank.begin(self.stage, shard_id) as writer:
            for augmentation in known.values():
                writer.add(augmentation)
            if unknown:
                settings, prompt = self.config.augmentation, self.config.prompt
                write = partial(
                    augment_documents,
                    engine=self.engine,
                    settings=settings,
                    prompt=prompt,
                    generator=self.generator,
                    count=count,
                )
                for part, written in isolate(write, unknown, HARMLESS):
                    records: list[Augmentation | Failure]
                    if isinstance(written, Exception):
                        records = [_quarantined(document, "augment", written) for document in part]
                    else:
                        records = [*written.augmentations, *written.failures]
                        self._counts.update(written.tally)
                    for record in records:
                        writer.add(record)
            return writer.commit(sources)

    def _known(self, documents: Sequence[Document]) -> dict[Key, Augmentation]:
        """Read the other bank's augmentations of these documents in this wording."""
        snapshot = self.source.latest_snapshot() if self.source else None
        if snapshot is None:
            return {}
        hashes = {document.key: content_hash(document) for document in documents}
        found = snapshot.augmentations(list(hashes))
        return {
            key: augmentation
            for key, augmentation in found.items()
            if augmentation.content_hash == hashes[key]
        }


class TrainStage(ShardStage):
    """Adapters, streamed into the bank as cohorts finish. Tokenising and writing have a thread each, beside training. With
    `acceptance.threshold` set, adapters are examined first. The shard's augmentations must be committed."""

    stage = Stage.adapters

    @cached_property
    def base(self) -> BaseModel:
        model = self.config.model
        base = load_base_model(model.path, self.config.training.dtype, default_device(), model.revision)
        check_loss(base.model)
        return base

    def load(self) -> None:
        _ = self.base, self.initial, self.replay_pool

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

    def _work(
        self, shard_id: str, documents: Sequence[Document], sources: Sequence[ObjectInfo], report: Report
    ) -> Commit:
        augmented = self.bank.find_commit(Stage.augmentations, shard_id)
        if augmented is None:
            raise BankError(
                f"shard {shard_id} of {self.bank.uri} has no committed augmentations; the augment stage comes first"
            )
        augmentations = {a.key: a for a in self.bank.read_augmentations(augmented)}
        failures: list[Failure] = []
        with self.bank.begin(self.stage, shard_id, self.config.bank.tier) as writer:
            candidates = prefetch(self._candidates(documents, augmentations, failures), PREFETCHED)
            with BackgroundWriter(writer.add, UNWRITTEN) as background:
                for trained, record in enumerate(self._train(candidates), 1):
                    background.put(record)
                    report(trained)
            for failure in failures:
                writer.add(failure)
            return writer.commit(augmented.objects)

    def _train(self, candidates: Iterator[Candidate]) -> Iterator[Adapter | Failure]:
        model, layout, initial = self.base.model, self.bank.layout, self.initial
        training, acceptance = self.config.training, self.config.acceptance
        if acceptance.threshold is None:
            items = (candidate.item for candidate in candidates)
            return train_documents(model, layout, initial, items, training)
        tier = self.config.bank.tier
        return train_examined(model, layout, initial, candidates, training, acceptance, tier)

    def _candidates(
        self, documents: Sequence[Document], augmentations: dict[Key, Augmentation], failures: list[Failure]
    ) -> Iterator[Candidate]:
        """Yield each augmented document with its samples and its exam; where samples do not fit the model, or making them
        raises, note a failure."""
        for document in documents:
            if document.key not in augmentations:
                continue  # quarantined by the augment stage, and recorded there
            augmented = (document, augmentations[document.key])
            for _, made in isolate(self._candidate, [augmented], (HARMLESS, HARMLESS_AUGMENTATION)):
                if isinstance(made, Exception):
                    failures.append(_quarantined(document, "train", made))
                else:
                    yield made

    def _candidate(self, augmented: Sequence[tuple[Document, Augmentation]]) -> Candidate:
        ((document, augmentation),) = augmented
        content = content_hash(document)
        item = TrainingItem(document.key, content, self._samples(document, content, augmentation))
        return Candidate(item, self._questions(augmentation))

    def _questions(self, augmentation: Augmentation) -> Sequence[Spellings]:
        if self.config.acceptance.threshold is None:
            return ()
        return exam_questions(augmentation, self.base.tokenizer, self.config.prompt, self.fewshot)

    def _samples(self, document: Document, content: str, augmentation: Augmentation) -> list[Sample]:
        training = self.config.training
        replay = (
            choose_replay(self.replay_pool, training.replay_samples, training.seed, content)
            if self.replay_pool
            else []
        )
        limit = context_length(self.base.model, self.config.model.max_length)
        tokenizer, prompt = self.base.tokenizer, self.config.prompt
        return build_samples(
            document,
            augmentation,
            tokenizer,
            prompt,
            max_length=limit,
            fewshot=self.fewshot,
            replay=replay,
            repeat_without_passage=training.repeat_without_passage,
            objective=training.objective,
        )


def _quarantined(document: Document, stage: str, error: Exception) -> Failure:
    return quarantined(document.key, content_hash(document), stage, error)
