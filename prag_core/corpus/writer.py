"""Writing documents as a corpus file that `read_corpus` reads back."""

from __future__ import annotations

import json
from collections.abc import Iterable

from prag_core.records import Document
from prag_core.storage import open_root, put_whole, storage_errors


def write_corpus(documents: Iterable[Document], uri: str) -> None:
    """Write documents as JSON lines to a file or URI, which becomes visible whole. Raises StorageError."""
    rows = (
        {"doc_id": d.doc_id, "title": d.title, "text": d.text, "metadata": dict(d.metadata)}
        for d in documents
    )
    fs, path = open_root(uri)
    with storage_errors("writing", uri):
        put_whole(fs, path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode())
