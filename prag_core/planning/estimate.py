"""What a plan will cost, from stated assumptions: tokens, bytes of bank, GPU hours.

Training a token through the frozen base takes 4·P FLOP (forward 2·P, gradients of activations 2·P), generating or
reading one in augmentation 2·P, and so does a token that a teacher reads: it counts as half a token of training. Peak is
the measured bf16 matrix rate of one H200. Real runs differ: compare with the documents a second that the first shards show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prag_core.config.schema import Config
from prag_core.models.prompts import answer_messages, answer_prefill, encode, show_passage
from prag_core.records import Document

PEAK_FLOPS = 790e12  # a second
TRAIN_UTILISATION = 0.5
AUGMENT_UTILISATION = 0.1  # generation is bound by memory
QA_TOKENS = 32  # a question and its answer
MEASURED_DOCUMENTS = 256  # tokenised exactly; the rest by their bytes


@dataclass(frozen=True)
class Estimate:
    """Of the shards still to do. Tokens are those of all epochs; hours are of one GPU."""

    train_tokens: int
    augment_tokens: int
    bank_bytes: int
    train_gpu_hours: float
    augment_gpu_hours: float
    assumptions: tuple[str, ...]

    @property
    def gpu_hours(self) -> float:
        return self.train_gpu_hours + self.augment_gpu_hours


class Estimator:
    """Counts tokens of documents as they pass; prices shards."""

    def __init__(self, config: Config, tokenizer: Any, adapter_bytes: int, num_parameters: int) -> None:
        self.tokenizer, self.with_title = tokenizer, config.prompt.with_title
        self.adapter_bytes, self.num_parameters, self.tier = adapter_bytes, num_parameters, config.bank.tier
        self.epochs, self.replay = config.training.epochs, config.training.replay_samples
        self.repeats, self.distills = (
            config.training.repeat_without_passage,
            config.training.objective == "distill",
        )
        self.examined = config.acceptance.threshold is not None
        self.pairs, self.rewrites = config.augmentation.num_qa_pairs, config.augmentation.num_rewrites
        prompt = encode(
            tokenizer, answer_messages("", [""], cot=config.prompt.cot), answer_prefill(cot=config.prompt.cot)
        )
        self.prompt_tokens = len(prompt)
        bare = encode(
            tokenizer, answer_messages("", [], cot=config.prompt.cot), answer_prefill(cot=config.prompt.cot)
        )
        self.bare_tokens = len(bare)  # of a prompt without a passage
        self._measured, self._bytes, self._tokens = 0, 0, 0

    @property
    def passages(self) -> int:
        """Samples of a document that carry a passage: the first half of the pairs, over the original and each rewrite; without
        pairs these texts alone. With a teacher, those where it reads one: all pairs over all of them."""
        asked = self.pairs if self.distills else (self.pairs + 1) // 2 or 1
        return asked * (1 + self.rewrites)

    @property
    def samples(self) -> int:
        if self.distills:
            return self.passages + self.replay
        return self.passages + (self.pairs if self.repeats else self.pairs // 2) + self.replay

    def passage_tokens(self, document: Document) -> float:
        """Exact for the first documents, then by their bytes at the rate of those."""
        shown = show_passage(document.title, document.text, with_title=self.with_title)
        size = len(shown.encode())
        if self._measured < MEASURED_DOCUMENTS:
            tokens = len(self.tokenizer.encode(shown, add_special_tokens=False))
            self._measured, self._bytes, self._tokens = (
                self._measured + 1,
                self._bytes + size,
                self._tokens + tokens,
            )
            return tokens
        return size * self._tokens / self._bytes

    def train_tokens(self, document: Document) -> int:
        """Tokens that training on a document takes, over all epochs. A teacher's, read once, count half."""
        per_passage, fixed = self._weights()
        return round(per_passage * self.passage_tokens(document) + fixed)

    def estimate(self, num_documents: int, train_tokens: int) -> Estimate:
        """The cost of so many documents with so many training tokens between them."""
        per_passage, fixed = self._weights()
        passages = max(0.0, (train_tokens - num_documents * fixed) / per_passage)
        written = self.rewrites * passages + num_documents * self.pairs * QA_TOKENS
        augment_tokens = round(
            (self.rewrites + 1) * passages + 2 * num_documents * self.prompt_tokens + written
        )
        return Estimate(
            train_tokens=train_tokens,
            augment_tokens=augment_tokens,
            bank_bytes=num_documents * self.adapter_bytes,
            train_gpu_hours=4 * self.num_parameters * train_tokens / (PEAK_FLOPS * TRAIN_UTILISATION) / 3600,
            augment_gpu_hours=2
            * self.num_parameters
            * augment_tokens
            / (PEAK_FLOPS * AUGMENT_UTILISATION)
            / 3600,
            assumptions=self.assumptions(),
        )

    def assumptions(self) -> tuple[str, ...]:
        peak = f"{PEAK_FLOPS / 1e12:.0f} TFLOP/s (one H200, bf16)"
        read = (
            "read by a teacher, once, at half a token's cost" if self.distills else "of them with its passage"
        )
        return (
            f"a document: {self.samples} samples x {self.epochs} epochs, {self.passages} {read}; "
            f"{self.prompt_tokens} tokens of prompt and {QA_TOKENS} of question and answer each",
            f"training: 4 x {self.num_parameters:,} FLOP a token at {TRAIN_UTILISATION:.0%} of {peak}",
            f"augmentation: 2 x {self.num_parameters:,} FLOP a token read or written at {AUGMENT_UTILISATION:.0%} of it",
            f"bank: {self.adapter_bytes:,} bytes an adapter ({self.tier.value})",
            *(
                ["acceptance: exams, and training anew who fails them, are not counted"]
                if self.examined
                else []
            ),
        )

    def _weights(self) -> tuple[float, float]:
        """Tokens to train on a document: so many for each token of its passage, and so many besides."""
        around = (self.samples if self.pairs else self.replay) * (self.prompt_tokens + QA_TOKENS)
        if self.distills:
            return self.passages / 2, self.epochs * self.samples * (self.bare_tokens + QA_TOKENS) + around / 2
        return self.epochs * self.passages, self.epochs * around
