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

NEW, DONE, FAILED, DELETED, TEXT_ONLY = (
    -1,
    -2,
    -3,
    -4,
    -5,
)  # statuses; what is not negative is a row of `pending`

NONE = np.empty(0, dtype="S32")


class KnownDocuments:
    """Look-up of documents' statuses by their content hashes."""

    def __init__(
        self, committed: pa.Table | None = None, pending: Sequence[str] | pa.ChunkedArray = ()
    ) -> None:
        """`committed` has columns content_hash and status ("adapter", "text_only" or "failed"), repeats allowed; `pending` the
        content hashes of unfinished shards."""
        known = {DONE: "adapter", TEXT_ONLY: "text_only", FAILED: "failed"}
        hashes = {
            code: _hashes_of(committed, status) if committed else NONE for code, status in known.items()
        }
        waiting = raw_digests(pending)
        digests = np.concatenate(
            [hashes[DONE], waiting, hashes[TEXT_ONLY], hashes[FAILED]]
        )  # the first of equal ones is found
        done, *others = (np.full(len(found), code) for code, found in hashes.items())
        codes = np.concatenate([done, np.arange(len(waiting)), *others])
        prefixes = _prefixes(digests)
        order = np.argsort(prefixes, kind="stable")
        self._prefixes, self._digests, self._codes = (
            prefixes[order],
            digests[order],
            codes[order].astype(np.int32),
        )

    def look_up(self, content_hashes: Sequence[str]) -> np.ndarray:
        """Return, for each hash, NEW, DONE, TEXT_ONLY, FAILED, or its row in `pending`.

        Searches by the first 64 bits and compares the whole: a collision of those would make a known document look new.
        """
        wanted = raw_digests(content_hashes)
        if not len(self._codes) or not len(wanted):
            return np.full(len(wanted), NEW, dtype=np.int32)
        places = np.searchsorted(self._prefixes, _prefixes(wanted))
        places[places == len(self._codes)] = 0
        return np.where(self._digests[places] == wanted, self._codes[places], NEW)


def raw_digests(content_hashes: Sequence[str] | pa.ChunkedArray) -> np.ndarray:
    """Hexadecimal SHA-256 digests as an array of 32-byte strings."""
    if isinstance(content_hashes, pa.ChunkedArray):
        parts = [raw_digests(chunk.to_pylist()) for chunk in content_hashes.chunks]
        return np.concatenate(parts) if parts else np.empty(0, dtype="S32")
    return np.frombuffer(bytes.fromhex("".join(content_hashes)), dtype="S32")


def _hashes_of(committed: pa.Table, status: str) -> np.ndarray:
    kept = committed.filter(pc.equal(committed["status"].cast(pa.string()), status))
    return raw_digests(kept["content_hash"])


def _prefixes(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(">u8")[::4].astype(np.uint64)
