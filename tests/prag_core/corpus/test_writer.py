"""Documents that are written as a corpus are read back equal."""

from __future__ import annotations

from pathlib import Path

from prag_core.config.schema import CorpusConfig
from prag_core.corpus.reader import read_corpus
from prag_core.corpus.writer import write_corpus
from prag_core.records import Document


def test_a_corpus_that_was_written_is_read_back_equal(tmp_path: Path) -> None:
    documents = [Document("dé", "Text\none.", "[Title]", metadata={"kind": "x"}), Document("2", "Two.")]
    write_corpus(documents, f"{tmp_path}/new/corpus.jsonl")
    assert list(read_corpus(CorpusConfig(uri=f"{tmp_path}/new/corpus.jsonl"))) == documents
