"""Estimate of a plan's cost, from stated assumptions: tokens, bytes of bank, GPU hours.

Training a token through the frozen base takes 4·P FLOP (forward 2·P, gradients of activations 2·P), generating or
reading one in augmentation 2·P, and so does a token that a teacher reads: it counts as half a token of training. Peak is
the measured bf16 matrix rate of one H200. Real runs differ: compare with the documents a second that the first shards show.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

from prag_core.augmentation.published import PAIRS_PER_REQUEST
from prag_core.config.schema import AugmentationMethod, Config
from prag_core.models.control_tokens import encode_text
from prag_core.models.prompts import encode, qa_messages, rewrite_messages, show_passage
from prag_core.questions.examples import load_fewshot, load_replay
from prag_core.records import Augmentation, Document, QAPair, Sample
from prag_core.training.samples import build_samples, choose_replay

PEAK_FLOPS = 790e12  # a second
TRAIN_UTILISATION = 0.5
AUGMENT_UTILISATION = 0.1  # generation is bound by memory
QUESTION_TOKENS, ANSWER_TOKENS = 24, 8
QA_TOKENS = QUESTION_TOKENS + ANSWER_TOKENS
MEASURED_DOCUMENTS = 256  # tokenised exactly; the rest by their bytes
SHORT, LONG = 32, 160  # tokens of the passages that samples are built of to see what a token costs


@dataclass(frozen=True)
class Estimate:
    """The cost of the shards still to do. Tokens are those of all epochs; hours are of one GPU."""

    train_tokens: int
    augment_tokens: int
    bank_bytes: int
    train_gpu_hours: float
    augment_gpu_hours: float
    assumptions: tuple[str, ...]

    @property
    def gpu_hours(self) -> float:
        return self.train_gpu_hours + self.augment_gpu_hours


class TrainingCost(NamedTuple):
    """Tokens to train on a document: a number for each token of its passage, and a fixed number besides."""

    num_samples: int
    per_passage_token: float
    fixed: float

    def tokens(self, passage_tokens: float) -> float:
        return self.per_passage_token * passage_tokens + self.fixed


class Estimator:
    """Counter of documents' tokens, and estimator of shards' cost. Raises ConfigError where no document could be trained on."""

    def __init__(self, config: Config, tokenizer: Any, adapter_bytes: int, num_parameters: int) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.adapter_bytes, self.num_parameters = adapter_bytes, num_parameters
        self.cost = training_cost(config, tokenizer)
        self._measured, self._bytes, self._tokens = 0, 0, 0

    def passage_tokens(self, document: Document) -> float:
        """Count a passage's tokens: exactly for the first documents, then by their bytes at the rate of those."""
        shown = show_passage(document.title, document.text, with_title=self.config.prompt.with_title)
        size = len(shown.encode())
        if self._measured < MEASURED_DOCUMENTS:
            tokens = len(encode_text(self.tokenizer, shown))
            self._measured += 1
            self._bytes += size
            self._tokens += tokens
            return tokens
        return size * self._tokens / self._bytes

    def train_tokens(self, document: Document) -> int:
        """Tokens to train on a document, over all epochs. A teacher's, read once, count half."""
        return round(self.cost.tokens(self.passage_tokens(document)))

    def estimate(self, num_documents: int, train_tokens: int) -> Estimate:
        """Estimate the cost of documents that have `train_tokens` between them."""
        augment_tokens = self._augment_tokens(num_documents, self._passages(num_documents, train_tokens))
        train_flops = 4 * self.num_parameters * train_tokens
        augment_flops = 2 * self.num_parameters * augment_tokens
        return Estimate(
            train_tokens=train_tokens,
            augment_tokens=augment_tokens,
            bank_bytes=num_documents * self.adapter_bytes,
            train_gpu_hours=train_flops / (PEAK_FLOPS * TRAIN_UTILISATION) / 3600,
            augment_gpu_hours=augment_flops / (PEAK_FLOPS * AUGMENT_UTILISATION) / 3600,
            assumptions=self.assumptions(),
        )

    def assumptions(self) -> tuple[str, ...]:
        """State what the estimate rests on, in lines."""
        training, augmentation = self.config.training, self.config.augmentation
        peak = f"{PEAK_FLOPS / 1e12:.0f} TFLOP/s (one H200, bf16)"
        teacher = (
            ["distill: what the teacher reads, once, at half a token's cost"]
            if training.objective == "distill"
            else []
        )
        exams = (
            ["acceptance: exams, and training again after a failed one, are not counted"]
            if self.config.acceptance.threshold is not None
            else []
        )
        return (
            f"a document: {self.cost.num_samples} samples x {training.epochs} epochs; {augmentation.num_rewrites} rewrites "
            f"as long as the passage, {QA_TOKENS} tokens of question and answer each",
            f"training: 4 x {self.num_parameters:,} FLOP a token at {TRAIN_UTILISATION:.0%} of {peak}",
            *teacher,
            f"augmentation: 2 x {self.num_parameters:,} FLOP a token read or written at {AUGMENT_UTILISATION:.0%} of it",
            f"bank: {self.adapter_bytes:,} bytes an adapter ({self.config.bank.tier.value})",
            *exams,
        )

    def _passages(self, num_documents: int, train_tokens: int) -> float:
        """Tokens of documents' passages; where training reads none, at the mean of those counted."""
        if not self.cost.per_passage_token:
            return num_documents * self._tokens / max(1, self._measured)
        return max(0.0, (train_tokens - num_documents * self.cost.fixed) / self.cost.per_passage_token)

    def _augment_tokens(self, num_documents: int, passages: float) -> int:
        """Tokens read and written about documents whose passages have `passages` tokens between them."""
        settings = self.config.augmentation
        rewrites = settings.num_rewrites
        pairs = 0 if settings.method is AugmentationMethod.cloze else settings.num_qa_pairs
        requests = -(-pairs // PAIRS_PER_REQUEST)
        prompts = rewrites * len(encode(self.tokenizer, rewrite_messages("")))
        prompts += requests * len(encode(self.tokenizer, qa_messages("", min(pairs, PAIRS_PER_REQUEST))))
        read = (rewrites + requests) * passages + num_documents * prompts
        return round(read + rewrites * passages + num_documents * pairs * QA_TOKENS)


def training_cost(config: Config, tokenizer: Any) -> TrainingCost:
    """Find what training costs by building and counting the samples of a short and of a long passage."""
    counts = []
    for length in (SHORT, LONG):
        text = _text(tokenizer, length)
        samples = _samples(config, tokenizer, text)
        tokens = sum(
            config.training.epochs * len(sample.token_ids) + len(sample.teacher_ids) / 2 for sample in samples
        )
        counts.append((len(encode_text(tokenizer, text)), tokens))
    (short, least), (long, most) = counts
    per_token = (most - least) / (long - short)
    return TrainingCost(len(samples), per_token, least - per_token * short)


def _samples(config: Config, tokenizer: Any, text: str) -> list[Sample]:
    """Build the samples of a document without a title, its rewrites as long as its text."""
    training, augmentation = config.training, config.augmentation
    pair = QAPair(_text(tokenizer, QUESTION_TOKENS - 1), *[_text(tokenizer, ANSWER_TOKENS - 1)] * 2)
    replay = (
        choose_replay(load_replay(training.replay_uri), training.replay_samples, training.seed, "")
        if training.replay_uri
        else []
    )
    return build_samples(
        Document("estimate", text),
        Augmentation(
            "estimate", 0, "", (text,) * augmentation.num_rewrites, (pair,) * augmentation.num_qa_pairs, ""
        ),
        tokenizer,
        config.prompt,
        max_length=sys.maxsize,
        fewshot=load_fewshot(config.prompt.fewshot),
        replay=replay,
        repeat_without_passage=training.repeat_without_passage,
        objective=training.objective,
    )


def _text(tokenizer: Any, num_tokens: int) -> str:
    """Make a text of about `num_tokens` tokens."""
    return str(tokenizer.decode(encode_text(tokenizer, "word " * num_tokens)[:num_tokens])).strip()
