"""Settings of making a bank: corpus, bank, models, prompt, augmentation, training, exam, warm start and Ray."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from prag_core.config.schema.names import OBJECTIVES
from prag_core.config.setting import PathKind, setting, setting_of


class Tier(Enum):
    """How an adapter's numbers are stored."""

    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"
    int4 = "int4"


class Dtype(Enum):
    """The precision of the base model's weights and activations."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float64 = "float64"


CorpusFormat = Enum(
    "CorpusFormat",
    {
        "auto": "auto",
        "jsonl": "jsonl",
        "parquet": "parquet",
        "tsv": "tsv",
        "2wiki": "2wiki",
        "hotpotqa": "hotpotqa",
    },
)


class LongDocuments(Enum):
    quarantine = "quarantine"
    chunk = "chunk"


class Prefill(Enum):
    """How the beginning of the assistant's turn that a question is asked with ends."""

    published = "published"
    aligned = "aligned"


class AugmentationMethod(Enum):
    published = "published"
    answer_first = "answer_first"
    cloze = "cloze"


class Checks(Enum):
    count = "count"
    drop = "drop"


class EngineKind(Enum):
    vllm = "vllm"
    transformers = "transformers"


@dataclass
class CorpusConfig:
    uri: str = setting(
        "${root:examples/mini/corpus.jsonl}",
        "The corpus: a file, a folder or a glob, local or at any fsspec URI.",
        path=PathKind.local,
    )
    format: CorpusFormat = setting(
        CorpusFormat.auto, "Format of the corpus files; auto tells it by their names."
    )
    limit: int | None = setting(
        None, "Number of documents to read, the first ones; null reads all of them.", ge=1
    )
    max_rejected: float = setting(
        0.01,
        "Share of rows that may be unusable, rounded up to whole rows; if there are more, the run stops.",
        ge=0,
        le=1,
    )
    long_documents: LongDocuments = setting(
        LongDocuments.quarantine,
        "What happens to a document that is longer than the model's context: it is quarantined or cut into chunks.",
    )
    chunk_overlap: int = setting(32, "Number of tokens that neighbouring chunks share.", ge=0)


@dataclass
class BankConfig:
    uri: str = setting(
        "out/bank", "Where the bank lies: a local folder or any fsspec URI.", path=PathKind.local
    )
    tier: Tier = setting(Tier.fp32, "Number format in which adapters are stored.")
    shard_documents: int = setting(
        512,
        "Largest number of documents in a shard; few documents are cut into smaller ones, for every actor.",
        ge=1,
    )
    shard_megabytes: int = setting(512, "Largest size of a shard's adapters, in megabytes.", ge=1)


@dataclass
class ModelConfig:
    path: str = setting(
        "${root:examples/mini/model}",
        "The base model: a local folder, a GGUF file, smollm2 (a small pretrained model that set-up brings), or a name on the "
        "Hugging Face hub.",
        path=PathKind.model,
    )
    revision: str | None = setting(
        None, "Branch, tag or commit of a model on the hub; null takes its main branch."
    )
    max_length: int | None = setting(
        None, "Length of the context in tokens; null takes the length that the model's config states.", ge=1
    )


@dataclass
class PromptConfig:
    with_title: bool = setting(False, "Whether a document's title stands before its text in prompts.")
    cot: bool = setting(
        False,
        "Whether prompts ask for reasoning (chain of thought) before the answer, not for the answer alone.",
    )
    fewshot: str | None = setting(
        None,
        "JSON lines of {question, answer}: worked examples for prompts with prompt.cot; null gives none.",
        path=PathKind.local,
    )
    prefill: Prefill = setting(
        Prefill.published,
        'End of the "The answer is " that the model goes on from: published, with its last blank, or aligned, as far as '
        "training has the same tokens whatever the answer (docs/paper.md).",
    )


@dataclass
class AugmentationConfig:
    engine: EngineKind = setting(EngineKind.vllm, "Engine that writes the augmentations.")
    model: str | None = setting(
        None,
        "Model that writes the augmentations, named as in model.path; null takes that one.",
        path=PathKind.model,
    )
    method: AugmentationMethod = setting(
        AugmentationMethod.published,
        "How pairs are made: by the published prompt; answer_first, for a weak model: answers are taken from the passage, and "
        "each is given its question; or cloze: the question is the answer's sentence with a blank (docs/augmentation.md).",
    )
    checks: Checks = setting(
        Checks.count,
        "What happens to pairs and rewrites that a check finds fault with: count keeps them, as published; drop asks again, then "
        "leaves them out.",
    )
    echo_questions: bool = setting(
        True,
        "For answer_first: whether an answer that got no question is asked by its sentence, with a question word in its place.",
    )
    num_rewrites: int = setting(1, "Number of rewrites of each document.", ge=0)
    num_qa_pairs: int = setting(
        3,
        "Number of question-answer pairs of each document; with answer_first and cloze the most that it may have. With 0, "
        "passage and rewrites are learned as plain text.",
        ge=0,
    )
    max_new_tokens: int = setting(512, "Largest number of tokens in one generation.", ge=1)
    temperature: float = setting(0.7, "Sampling temperature; 0 decodes greedily.", ge=0)
    top_k: int = setting(
        50, "Number of likeliest tokens that sampling chooses among; 0 chooses among all.", ge=0
    )
    max_attempts: int = setting(
        4,
        "Number of tries at a document's augmentation; a document that fails all of them is quarantined.",
        ge=1,
    )
    seed: int = setting(0, "Random seed of the sampling.")
    uri: str | None = setting(
        None,
        "Another bank with the same augmentation settings, whose augmentations are taken where it has them; "
        "null writes them all.",
        path=PathKind.local,
    )


@dataclass
class TrainingConfig:
    objective: str = setting(
        "next_token",
        "What training minimises: next_token, as published; answer, the loss of the answers alone, of questions without a "
        "passage; or distill, the distance to the frozen model with the passage before it (docs/objectives.md).",
        choices=OBJECTIVES,
    )
    distill_hidden: float = setting(
        0.0, "Weight of the distance between hidden states in the loss of distill; 0 leaves it out.", ge=0
    )
    rank: int = setting(2, "Rank of the adapters.", ge=1)
    alpha: float = setting(32.0, "LoRA's alpha: an adapter is scaled by alpha / rank.", gt=0)
    targets: list[str] = setting_of(
        lambda: ["gate_proj", "up_proj", "down_proj"], "Names of the linear modules that adapters change."
    )
    epochs: int = setting(1, "Number of passes over a document's samples.", ge=1)
    learning_rate: float = setting(0.0003, "Learning rate of AdamW, constant over all steps.", gt=0)
    beta1: float = setting(0.9, "Decay rate of AdamW's running mean of gradients.", ge=0, lt=1)
    beta2: float = setting(0.999, "Decay rate of AdamW's running mean of squared gradients.", ge=0, lt=1)
    eps: float = setting(1e-08, "Constant that AdamW adds to the denominator of a step.", gt=0)
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", ge=0)
    dtype: Dtype = setting(Dtype.float32, "Precision of the base model in training.")
    seed: int = setting(0, "Random seed of the initial adapter and of drawn samples.")
    initial: str | None = setting(
        None,
        "File of the adapter that every document's training starts from, as prag warmup writes it; "
        "null draws one at random.",
        path=PathKind.local,
    )
    repeat_without_passage: bool = setting(
        False, "Whether every pair that is asked over a passage is asked once more without it."
    )
    replay_uri: str | None = setting(
        None,
        "JSON lines of {question, answer, passages}: the replay samples, about other subjects; null gives none.",
        path=PathKind.local,
    )
    replay_samples: int = setting(
        0, "Number of replay samples that each document trains on in addition to its own samples.", ge=0
    )
    cohort_documents: int | None = setting(
        None, "Number of documents that are trained at once; null takes as many as free memory holds.", ge=1
    )
    threads: int | None = setting(
        None, "Number of threads of a training process on a processor; null leaves the choice to torch.", ge=1
    )
    compile: bool = setting(
        False,
        "Whether torch.compile is used; it is meant for GPUs and does not pay on a processor (benchmarks/README.md).",
    )


@dataclass
class AcceptanceConfig:
    """The exam after training: each adapter is asked its document's own questions, closed book."""

    threshold: float | None = setting(
        None,
        "Share of the exam's questions that an adapter has to answer right; null holds no exam, 0 only records scores.",
        ge=0,
        le=1,
    )
    max_retries: int = setting(
        1,
        "Number of trainings after a failed exam, each with twice the epochs of the one before; a document that "
        "fails the last exam is text_only.",
        ge=0,
    )


@dataclass
class WarmupConfig:
    """Of `prag warmup`. Model, prompt, shape, seed and precision of the adapter are those of `model`, `prompt` and `training`."""

    questions: str | None = setting(
        None,
        "JSON lines of {question_id, question, answers} about subjects that are not the corpus's; "
        "prag warmup needs them.",
        path=PathKind.local,
    )
    num_questions: int | None = setting(
        None,
        "Number of questions, the first ones; null takes 2000, or with prompt.cot the first 600 that are answered right.",
        ge=1,
    )
    epochs: int = setting(1, "Number of passes over the questions.", ge=1)
    learning_rate: float = setting(0.0003, "Learning rate of AdamW, constant over all steps.", gt=0)
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", ge=0)
    out: str = setting(
        "out/warm.safetensors",
        "File that the adapter is written to, local or at any fsspec URI.",
        path=PathKind.local,
    )


@dataclass
class RayConfig:
    address: str | None = setting(
        None,
        "Address of a running Ray cluster, such as ray://host:10001, or auto to find it; "
        "null starts a Ray on this machine.",
    )
    augment_actors: int = setting(1, "Number of actors that augment.", ge=1)
    augment_cpus: float = setting(1, "Number of processors of each actor that augments.", ge=0)
    augment_gpus: float = setting(
        0, "Number of GPUs of each actor that augments; it may be a fraction.", ge=0
    )
    train_actors: int = setting(1, "Number of actors that train.", ge=1)
    train_cpus: float = setting(1, "Number of processors of each actor that trains.", ge=0)
    train_gpus: float = setting(0, "Number of GPUs of each actor that trains; it may be a fraction.", ge=0)
    max_attempts: int = setting(3, "Number of tries at a shard whose actor died.", ge=1)
