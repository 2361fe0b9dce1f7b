"""A bank that can be read from at once: every dev document of the miniature world, indexed, none of them with an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from prag_core.bank import Bank, Stage
from prag_core.config.load import load_config
from prag_core.corpus.reader import read_corpus
from prag_core.identity import content_hash
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Document, Failure
from prag_core.retrieval import build_index

MINI = Path(__file__).resolve().parents[2] / "examples/mini"


def write_questions(path: Path, source: str, **counts: int) -> str:
    """The first so many questions of each type of a file of the miniature world."""
    rows = [json.loads(line) for line in (MINI / source).read_text().splitlines()]
    kept = [
        row for kind, count in counts.items() for row in [row for row in rows if row["type"] == kind][:count]
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    return str(path)


@pytest.fixture(scope="package")
def reading_settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("reading")
    settings = [
        f"bank.uri={folder}/bank",
        "engine.kind=transformers",
        "engine.dtype=float32",
        "evaluate.num_resamples=100",
    ]
    config = load_config(settings)
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    documents = [
        d for d in read_corpus(config.corpus) if isinstance(d, Document) and d.metadata["split"] == "dev"
    ]
    rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents]
    with bank.begin(Stage.adapters, "shard") as writer:
        for row in rows:
            writer.add(Failure(**row, stage="train", reason="a test", attempts=1))
        writer.commit([bank.write_documents("shard", documents)])
    build_index(bank, bank.write_snapshot(pa.Table.from_pylist(rows)), config.retrieval)
    return settings
