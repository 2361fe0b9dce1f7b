from __future__ import annotations

import hashlib

from prag_core.storage import PendingObject, list_files, open_root, read


def test_a_pending_object_is_seen_whole_or_not_at_all(bank_uri: str) -> None:
    fs, root = open_root(bank_uri)
    path = f"{root}/object"
    pending = PendingObject(fs, path)
    pending.write(b"some ")
    pending.write(memoryview(b"bytes"))
    assert not fs.exists(path)
    pending.publish()
    assert read(fs, path) == b"some bytes"
    assert (pending.size, pending.sha256) == (10, hashlib.sha256(b"some bytes").hexdigest())
    other = PendingObject(fs, path + "2")
    other.write(b"half")
    other.discard()
    assert list(list_files(fs, path.rsplit("/", 1)[0])) == ["object"]
