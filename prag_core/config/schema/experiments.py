"""Settings of experiments: routers, calibration, evaluations, ablations and published tables."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from prag_core.config.schema.names import METHODS
from prag_core.config.setting import PathKind, setting, setting_of

QuestionFormat = Enum(
    "QuestionFormat",
    {
        "auto": "auto",
        "jsonl": "jsonl",
        "2wiki": "2wiki",
        "hotpotqa": "hotpotqa",
        "popqa": "popqa",
        "cwq": "cwq",
    },
)


@dataclass
class RouterConfig:
    """Of prag train-router. The router itself lies in `methods.router`."""

    questions: str = setting(
        "${root:examples/mini/questions.train.jsonl}",
        "Question file that the router is trained on; none of its questions may be in evaluate.questions.",
        path=PathKind.local,
    )
    limit: int | None = setting(
        None, "Number of questions to read, the first ones; null reads all of them.", ge=1
    )
    strategies: list[str] | None = setting(
        None,
        "Methods that the router chooses among, cheapest first; null takes those of the method it is trained for.",
        choices=METHODS,
    )
    single_hop_types: list[str] = setting_of(
        lambda: ["single", "single-hop", "simple"],
        "Types of questions that take one document to answer; questions of other types take several.",
    )
    retrieval_features: bool | None = setting(
        None,
        "Whether the router looks at what a question retrieves; null takes what scores better in cross-validation.",
    )
    folds: int = setting(5, "Number of folds of the cross-validation.", ge=2)
    held_out: float = setting(
        0.25,
        "Share of the questions that are not trained on and that the report's figures are from.",
        gt=0,
        lt=1,
    )
    seed: int = setting(0, "Random seed of the splits.")


@dataclass
class CalibrateConfig:
    """Of prag calibrate."""

    questions: str = setting(
        "${root:examples/mini/questions.dev.jsonl}",
        "Question file that thresholds are chosen on; none of its questions may be in evaluate.questions.",
        path=PathKind.local,
    )
    limit: int | None = setting(
        None, "Number of questions to read, the first ones; null reads all of them.", ge=1
    )
    methods: list[str] = setting_of(
        lambda: ["flare", "flare_lookahead"], "Methods whose thresholds are chosen.", choices=METHODS
    )
    values: int = setting(
        5,
        "Number of values tried of each threshold, in addition to the one that is set: quantiles of what it is "
        "compared with.",
        ge=1,
    )
    tolerance: float = setting(
        0.01, "Difference in F1, a share of 1, that is given up for fewer retrievals.", ge=0
    )
    out: str = setting(
        "out/thresholds.yaml",
        "File that the thresholds are written to, as settings for a further --config.",
        path=PathKind.local,
    )


@dataclass
class EvaluateConfig:
    questions: str = setting(
        "${root:examples/mini/questions.test.jsonl}", "Question file that is answered.", path=PathKind.local
    )
    format: QuestionFormat = setting(
        QuestionFormat.auto,
        "Format of the question file: that of a published question set, or jsonl; auto tells it by how the file begins.",
    )
    type: str | None = setting(None, "Type of the questions that are asked; null asks all types.")
    methods: list[str] = setting_of(
        lambda: ["closed_book", "rag", "prag", "combine", "prag_irrelevant"],
        "Methods that answer; method@name answers over the bank evaluate.banks.name instead of bank.uri.",
        choices=METHODS,
        labels="evaluate.banks",
    )
    banks: dict[str, str] = setting_of(
        dict, "Further banks by name; prag@name is prag over the bank of that name.", path=PathKind.local
    )
    baselines: list[str] = setting_of(
        lambda: ["rag", "prag"],
        "Those of evaluate.methods that paired tests compare the others with.",
        choices=METHODS,
        labels="evaluate.banks",
    )
    out: str = setting("out/evaluate", "Folder that the report is written to.", path=PathKind.local)
    limit: int | None = setting(
        None, "Number of questions to ask, the first ones of evaluate.type; null asks all of them.", ge=1
    )
    num_resamples: int = setting(2000, "Number of resamples of intervals and paired tests.", ge=1)
    seed: int = setting(0, "Random seed of the resamples, and of the documents that prag_irrelevant chooses.")


@dataclass
class AblateConfig:
    out: str = setting(
        "out/ablations",
        "Folder, or any fsspec URI, of the banks, answers and tables that prag ablate makes.",
        path=PathKind.local,
    )


@dataclass
class PaperConfig:
    data: str = setting(
        "data",
        "Folder of the question sets and the corpus that prag paper reads; conf/paper/setup.yaml says how they lie there.",
        path=PathKind.local,
    )
    out: str = setting(
        "out/paper",
        "Folder, or any fsspec URI, of the narrowed corpora, banks, answers and tables that prag paper makes.",
        path=PathKind.local,
    )
