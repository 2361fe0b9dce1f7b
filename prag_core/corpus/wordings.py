"""With which wording each document was first seen: 32 bytes a document in sorted arrays, beside a dictionary of the latest."""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect_left

import numpy as np

DIGEST = 16  # bytes of a digest
FEWEST = 1 << 16  # documents that the dictionary holds at least before it is merged into the arrays
SHARE = 8  # it holds one in so many of all


class Wordings:
    """Digests of ids, each with the digest of the title and text that its first document had."""

    def __init__(self) -> None:
        self._latest: dict[bytes, bytes] = {}
        self._sorted = np.empty(
            (0, 4), np.uint64
        )  # two words of an id's digest, two of its wording's; sorted by the first
        self._first_words = self._sorted[:, 0].data

    def first(self, doc_id: str, wording: str) -> tuple[bool, bool]:
        """Note a document. Returns whether it is the first of its id, and whether its wording is that of the first."""
        key, value = _digest(doc_id), _digest(wording)
        known = self._latest.get(key) or self._find(key)
        if known is not None:
            return False, known == value
        self._latest[key] = value
        if len(self._latest) >= max(FEWEST, len(self._sorted) // SHARE):
            self._merge()
        return True, True

    def _find(self, key: bytes) -> bytes | None:
        word = int.from_bytes(key[:8], sys.byteorder)
        place = bisect_left(self._first_words, word)
        while place < len(self._sorted) and self._first_words[place] == word:
            row = self._sorted[place].tobytes()
            if row[:DIGEST] == key:
                return row[DIGEST:]
            place += 1
        return None

    def _merge(self) -> None:
        """Move the latest into the arrays."""
        latest = np.frombuffer(b"".join(k + v for k, v in self._latest.items()), np.uint64).reshape(-1, 4)
        self._latest.clear()
        rows = np.concatenate([self._sorted, latest[np.argsort(latest[:, 0])]])
        self._sorted = rows[np.argsort(rows[:, 0], kind="stable")]  # which merges what is sorted
        self._first_words = self._sorted[:, 0].data


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST).digest()
