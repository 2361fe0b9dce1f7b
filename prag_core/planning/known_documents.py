"""The documents that a bank knows, compactly: about 50 bytes a document, looked up in batches.

Every document is known by its content hash, which covers its id, chunk and wording. A document that has an adapter is
done whatever else is known of it; one in a shard that an earlier run planned and did not finish is pending there; one whose
adapter failed its exam is text_only; one that was only ever quarantined is failed; all others are new.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank.tables import STATUSES

NEW, DONE, FAILED, DELETED, TEXT_ONLY = (
    -1,
    -2,
    -3,
    -4,
    -5,
)  # statuses; what is not negative is a row of `pending`
CODES = np.array([{"adapter": DONE, "text_only": TEXT_ONLY, "failed": FAILED}[status] for status in STATUSES])
NONE = pa.table(
    {
        "content_hash": pa.array([], pa.string()),
        "status": pa.array([], pa.string()),
        "current": pa.array([], pa.bool_()),
    }
)


class KnownDocuments:
    """Look-up of documents' statuses by their content hashes. It remembers which were looked up."""

    def __init__(self, committed: pa.Table = NONE, pending: Sequence[str] | pa.ChunkedArray = ()) -> None:
        """`committed` has columns content_hash, status ("adapter", "text_only" or "failed") and current, repeats allowed;
        `pending` the content hashes of unfinished shards."""
        waiting, known = raw_digests(pending), raw_digests(committed["content_hash"])
        digests = np.concatenate([waiting, known])
        statuses = pc.index_in(committed["status"].cast(pa.string()), pa.array(STATUSES)).to_numpy()
        codes = np.concatenate([np.arange(len(waiting)), CODES[statuses]]).astype(np.int32)
        current = np.concatenate([np.zeros(len(waiting), bool), committed["current"].to_numpy()])
        prefixes = _prefixes(digests)
        order = np.lexsort((_ranks(codes), prefixes))  # the first of equal ones is found
        self._prefixes, self._digests, self._codes = prefixes[order], digests[order], codes[order]
        self._current = current[order]
        self._seen = np.zeros(len(order), dtype=bool)

    def look_up(self, content_hashes: Sequence[str]) -> np.ndarray:
        """Return, for each hash, NEW, DONE, TEXT_ONLY, FAILED, or its row in `pending`.

        Searches by the first 64 bits and compares the whole: a collision of those would make a known document look new.
        """
        places, found = self._find(raw_digests(content_hashes))
        self._seen[places[found]] = True
        codes = np.full(len(places), NEW, dtype=np.int32)
        codes[found] = self._codes[places[found]]
        return codes

    @property
    def all_seen(self) -> bool:
        """Whether every current document was looked up."""
        return not (self._current & ~self._seen).any()

    def seen(self, content_hashes: pa.ChunkedArray) -> np.ndarray:
        """Whether each hash is known and was looked up."""
        places, found = self._find(raw_digests(content_hashes))
        found[found] = self._seen[places[found]]
        return found

    def _find(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each digest is, and whether it is there."""
        if not len(self._codes):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        places = np.searchsorted(self._prefixes, _prefixes(wanted))
        places[places == len(self._codes)] = 0
        return places, self._digests[places] == wanted


def raw_digests(content_hashes: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
    """Hexadecimal SHA-256 digests as an array of 32-byte strings."""
    if isinstance(content_hashes, pa.ChunkedArray):
        parts = [raw_digests(chunk.to_pylist()) for chunk in content_hashes.chunks]
        return np.concatenate(parts) if parts else np.empty(0, dtype="S32")
    return np.frombuffer(bytes.fromhex("".join(content_hashes)), dtype="S32")


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Which of several codes of one document counts: the lowest."""
    ranks = np.ones(len(codes), np.int8)  # pending
    for rank, code in ((0, DONE), (2, TEXT_ONLY), (3, FAILED)):
        ranks[codes == code] = rank
    return ranks


def _prefixes(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(">u8")[::4].astype(np.uint64)
