"""Mistakes in settings, found before any work: names that are close to the one meant, numbers out of range."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from prag_core.errors import ConfigError

MINIMUM = {
    2: ("router.folds",),
    1: (
        "corpus.limit",
        "bank.shard_documents",
        "bank.shard_megabytes",
        "model.max_length",
        "augmentation.max_new_tokens",
        "augmentation.max_attempts",
        "training.rank",
        "training.epochs",
        "training.cohort_documents",
        "training.threads",
        "retrieval.top_k",
        "engine.max_sequences",
        "engine.kv_cache_gigabytes",
        "engine.max_new_tokens",
        "evaluate.limit",
        "evaluate.num_resamples",
        "merge.rank",
        "ray.augment_actors",
        "ray.train_actors",
        "ray.max_attempts",
        "serve.port",
        "serve.generators",
        "serve.max_generators",
        "serve.retrievers",
        "serve.ingresses",
        "serve.max_top_k",
        "serve.max_new_tokens",
        "serve.max_body_kilobytes",
        "serve.max_characters",
        "serve.max_ongoing",
        "serve.max_queued",
        "serve.timeout_seconds",
        "methods.max_rounds",
        "methods.max_documents",
        "methods.sentence_tokens",
        "methods.ircot_sentences",
        "methods.lookahead_tokens",
        "methods.dragin_tokens",
        "methods.dragin_query_words",
        "warmup.num_questions",
        "warmup.epochs",
        "router.limit",
        "calibrate.limit",
        "calibrate.values",
    ),
    0: (
        "corpus.chunk_overlap",
        "corpus.max_rejected",
        "augmentation.num_rewrites",
        "augmentation.num_qa_pairs",
        "augmentation.temperature",
        "training.learning_rate",
        "training.weight_decay",
        "training.replay_samples",
        "retrieval.k1",
        "retrieval.b",
        "ray.augment_cpus",
        "ray.augment_gpus",
        "ray.train_cpus",
        "ray.train_gpus",
        "serve.generator_cpus",
        "serve.generator_gpus",
        "serve.drain_seconds",
        "serve.health_seconds",
        "serve.poll_seconds",
        "serve.adapter_cache_megabytes",
        "serve.damaged_seconds",
        "serve.grace_seconds",
        "merge.sharpness",
        "methods.flare_threshold",
        "methods.dragin_threshold",
        "warmup.learning_rate",
        "warmup.weight_decay",
        "acceptance.threshold",
        "acceptance.max_retries",
        "calibrate.tolerance",
        "training.distill_hidden",
    ),
}
SHARES = (  # above 0, at most 1
    "merge.density",
    "methods.lookahead_act_below",
    "methods.lookahead_blank_below",
    "methods.router_confidence",
    "router.held_out",
)
DATASETS = ("2wiki", "hotpotqa")  # with published thresholds


def check_ranges(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first setting out of its range. `config` is nested plain values; null passes."""
    for key, minimum in ((key, minimum) for minimum, keys in MINIMUM.items() for key in keys):
        section, name = key.split(".")
        value = config[section][name]
        if value is not None and not value >= minimum:
            raise ConfigError(f"{key}={value}: expected at least {minimum}")
    for key in SHARES:
        section, name = key.split(".")
        value = config[section][name]
        if value is not None and not 0 < value <= 1:
            raise ConfigError(f"{key}={value}: expected a share above 0 and at most 1")
    if (share := config["corpus"]["max_rejected"]) > 1:
        raise ConfigError(f"corpus.max_rejected={share}: expected a share, 0 to 1")
    if (threshold := config["acceptance"]["threshold"]) is not None:
        if threshold > 1:
            raise ConfigError(
                f"acceptance.threshold={threshold}: expected a share, 0 to 1, or null for no exam"
            )
        if config["augmentation"]["num_qa_pairs"] < 1:
            raise ConfigError(
                f"acceptance.threshold={threshold}: an exam needs questions; augmentation.num_qa_pairs is 0"
            )
    if config["training"]["objective"] == "distill" and config["augmentation"]["num_qa_pairs"] < 1:
        raise ConfigError(
            "training.objective=distill: a teacher needs questions; augmentation.num_qa_pairs is 0"
        )
    if (dataset := config["methods"]["dataset"]) not in DATASETS:
        raise ConfigError(
            f"methods.dataset={dataset}: nothing was published for it; {' or '.join(DATASETS)}, and set thresholds"
        )


def suggest(key: str, known: Sequence[str]) -> str:
    """What was probably meant by an unknown key: `; did you mean training.epochs?`, or nothing.

    A key in a section that exists is compared with that section's only; a misspelt section first with the sections; a
    bare name with the last part of every key.
    """
    near = _nearest(key, known)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    section = key.split(".")[0]
    names = [k.removeprefix(f"{section}.") for k in known if k.startswith(f"{section}.")]
    return f"; {section} has {', '.join(names)}" if names else ""


def _nearest(key: str, known: Sequence[str]) -> list[str]:
    section, _, name = key.partition(".")
    sections = sorted({k.split(".")[0] for k in known if "." in k})
    if not name:
        return (
            [k for k in known if k.endswith(f".{key}")]
            or difflib.get_close_matches(key, [k for k in known if "." not in k], n=1)
            or [
                k
                for last in difflib.get_close_matches(key, _last_parts(known), n=1, cutoff=0.75)
                for k in known
                if k.endswith(f".{last}")
            ]
        )
    for candidate in [section] if section in sections else difflib.get_close_matches(section, sections, n=3):
        names = [k.removeprefix(f"{candidate}.") for k in known if k.startswith(f"{candidate}.")]
        if found := difflib.get_close_matches(name, names, n=1):
            return [f"{candidate}.{found[0]}"]
    return [k for k in known if k.endswith(f".{name}")]


def _last_parts(known: Sequence[str]) -> list[str]:
    return sorted({k.split(".")[-1] for k in known})
