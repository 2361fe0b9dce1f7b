"""The warm-up of a published table's rows: on questions of the same question sets, far behind those that are scored.

As published: directly answered sets give 1,000 questions each, those with reasoning as many as it takes until 600 are worked out
right; all from at least 1,000 questions behind the last that any table asks, drawn at random. Differs: the published adapter
with reasoning is one for both of its sets, written by LLaMA-3-8B; here each set has its own, and the model works out its own.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import chain, zip_longest

from prag_core.config.dump import as_dict
from prag_core.config.schema import Config
from prag_core.errors import ConfigError
from prag_core.experiments.paper.columns import Reproduction, column_questions
from prag_core.experiments.paper.description import Dataset, Model
from prag_core.identity import digest
from prag_core.questions.reader import load_questions
from prag_core.records import Question
from prag_core.storage import open_root, put_whole, storage_errors

GAP = 1000  # questions between the last that is scored and the first that is learned from
EACH = 1000  # questions of a set that is answered directly
SEED = 42
SHAPE = (
    "rank",
    "alpha",
    "targets",
    "beta1",
    "beta2",
    "eps",
    "dtype",
    "seed",
)  # settings of training that a warm-up shares


def warm_config(made: Reproduction, model: Model, dataset: Dataset, folder: str) -> Config:
    """Resolve the settings of a model's warm-up for a question set; `warmup.out` is named by all that it depends on."""
    config = made.config(dataset, model)
    questions = config.warmup.questions or write_questions(made, cot=config.prompt.cot, folder=folder)
    prompt = config.prompt if config.prompt.cot else replace(config.prompt, fewshot=None)
    warmup, training = replace(config.warmup, questions=questions, out=""), as_dict(config.training)
    shape = {name: training[name] for name in SHAPE}
    identity = digest(
        [as_dict(config.model), as_dict(prompt), as_dict(warmup), shape, config.engine.max_new_tokens]
    )
    return replace(
        config,
        prompt=prompt,
        warmup=replace(warmup, out=f"{folder}/{model.name}-{identity[:16]}.safetensors"),
    )


def write_questions(made: Reproduction, *, cot: bool, folder: str) -> str:
    """Write the questions of all sets that are answered in this way to one file under `folder`. Raises ConfigError where a
    set has none left."""
    alike = [dataset for dataset in made.setup.datasets.values() if made.config(dataset).prompt.cot == cot]
    drawn = [draw_questions(made, dataset, random.Random(f"{SEED}-{dataset.name}")) for dataset in alike]
    if cot:
        rows = [row for row in chain.from_iterable(zip_longest(*drawn)) if row]
    else:
        rows = list(chain.from_iterable(set_[:EACH] for set_ in drawn))
        random.Random(SEED).shuffle(rows)
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    uri = f"{folder}/questions-{'worked' if cot else 'direct'}-{digest(text)[:12]}.jsonl"
    fs, path = open_root(uri)
    with storage_errors("writing", uri):
        put_whole(fs, path, text.encode())
    return uri


def draw_questions(made: Reproduction, dataset: Dataset, generator: random.Random) -> list[dict[str, object]]:
    """Draw the questions of a set that are far behind all tables', shuffled, as lines of a question file."""
    asked = {q.question_id for questions in column_questions(made, dataset).values() for q in questions}
    settings = made.config(dataset).evaluate
    everything = load_questions(settings.questions, format=settings.format)
    last = max(number for number, question in enumerate(everything) if question.question_id in asked)
    left = everything[last + 1 + GAP :]
    if not left:
        raise ConfigError(
            f"{settings.questions}: of {len(everything)} questions none is left to warm up with, {GAP:,} behind the last that is "
            "scored; give others with warmup.questions=FILE"
        )
    generator.shuffle(left)
    return [_line(dataset.name, question) for question in left]


def _line(prefix: str, question: Question) -> dict[str, object]:
    return {
        "question_id": f"{prefix}-{question.question_id}",
        "question": question.question,
        "answers": list(question.answers),
    }
