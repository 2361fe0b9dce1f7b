"""Questions → passages: retrieval over the documents of one snapshot of a bank."""

from prag_core.retrieve.filters import Filter
from prag_core.retrieve.lexical import LexicalIndex
from prag_core.retrieve.stored import build_index, has_index, open_index

__all__ = ["Filter", "LexicalIndex", "build_index", "has_index", "open_index"]
