"""Training data of the benchmarks, the same every time.

Documents of the miniature world with augmentations written from its own facts, or random token ids of the same lengths for
models that come without a tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

from examples.mini import data, world
from prag_core.identity import content_hash
from prag_core.records import IGNORED, Augmentation, Document, QAPair, Sample

MINI = Path(data.__file__).parent
NUM_PAIRS = 3  # as published: five samples a document
RANDOM_LENGTHS = (
    (240, 280),
    (240, 280),
    (240, 280),
    (240, 280),
    (50, 70),
)  # of each sample; 1,100 tokens a document


def augmented_documents(count: int) -> list[tuple[Document, Augmentation]]:
    """Return the first `count` documents of the miniature corpus, each with one rewrite and three pairs that state its facts.

    Documents beyond the corpus's own repeat it under other ids.
    """
    with (MINI / "corpus.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    entities = {row: entity for split in ("dev", "test") for row, entity in _entities(split)}
    augmented = []
    for number in range(count):
        row = rows[number % len(rows)]
        doc_id = row["doc_id"] if number < len(rows) else f"{row['doc_id']}-{number // len(rows)}"
        document = Document(doc_id, row["text"], row["title"])
        augmented.append((document, _augment(document, entities[row["doc_id"]])))
    return augmented


def _entities(split: str) -> Iterator[tuple[str, world.Entity]]:
    ids = data.doc_ids(split)
    return ((ids[entity.name], entity) for entity in data.split_world(split).entities)


def _augment(document: Document, entity: world.Entity) -> Augmentation:
    rng = Random(document.doc_id)
    pairs = []
    for relation in islice(entity.facts, NUM_PAIRS):
        question = world.ask_single(rng, entity, "augmentation", relation)
        pairs.append(QAPair(question.text, question.answer, question.chain))
    rewrite = world.write_passage(rng, entity)
    return Augmentation(
        document.doc_id, 0, content_hash(document), (rewrite,), tuple(pairs), "the miniature world"
    )


@cache
def random_samples(count: int, vocabulary: int) -> list[list[Sample]]:
    """Draw five samples of random token ids for each of `count` documents."""
    rng = Random(0)

    def sample(shortest: int, longest: int) -> Sample:
        tokens = tuple(rng.choices(range(vocabulary), k=rng.randint(shortest, longest)))
        return Sample(tokens, tokens)

    return [[sample(*lengths) for lengths in RANDOM_LENGTHS] for _ in range(count)]


def distilled_samples(count: int, vocabulary: int) -> list[list[Sample]]:
    """Draw three samples to distill for each of `count` documents: a question of 60 to 80 random tokens, labels on an answer of
    8 to 24, and a passage of 150 to 200 that only the teacher reads."""
    rng = Random(0)

    def draw(shortest: int, longest: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(vocabulary), k=rng.randint(shortest, longest)))

    def sample() -> Sample:
        question, answer, passage = draw(60, 80), draw(8, 24), draw(150, 200)
        return Sample(question + answer, (IGNORED,) * len(question) + answer, passage + question + answer)

    return [[sample() for _ in range(3)] for _ in range(count)]
