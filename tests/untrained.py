"""A bank that can be read from at once: every dev document of the miniature world, indexed, none of them with an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from prag_core.bank import Bank, Stage
from prag_core.config.load import load_config
from prag_core.corpus.reader import read_corpus
from prag_core.identity import content_hash
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Failure
from prag_core.retrieval import build_index


def make_untrained_bank(folder: Path) -> list[str]:
    """Make it in `folder`; return the settings that read it."""
    settings = [f"bank.uri={folder}/bank"]
    config = load_config(settings)
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    documents = [document for document in read_corpus(config.corpus) if document.metadata["split"] == "dev"]
    rows: list[dict[str, Any]] = [
        {"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents
    ]
    with bank.begin(Stage.adapters, "shard") as writer:
        for row in rows:
            writer.add(Failure(**row, stage="train", reason="a test", attempts=1))
        writer.commit([bank.write_documents("shard", documents)])
    build_index(bank, bank.write_snapshot(pa.Table.from_pylist(rows)), config.retrieval)
    return settings
