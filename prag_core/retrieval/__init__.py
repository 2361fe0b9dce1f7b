"""Questions → passages: retrieval over the documents of one snapshot of a bank."""

from prag_core.retrieval.bm25 import LexicalIndex
from prag_core.retrieval.filters import Filter
from prag_core.retrieval.index_store import build_index, has_index, open_index

__all__ = ["Filter", "LexicalIndex", "build_index", "has_index", "open_index"]
