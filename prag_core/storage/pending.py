"""A large object being written, invisible until it is published."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import Any

from prag_core.storage.errors import storage_errors
from prag_core.storage.local import sync_folder, temporary_path
from prag_core.storage.objects import FileSystem, is_local
from prag_core.storage.retries import retried, upload
from prag_core.storage.scratch import ScratchFolder


class PendingObject(io.RawIOBase):
    """A binary file for writing that hashes its content. The object is not visible before `publish`."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self.fs, self.path, self.size = fs, path, 0
        self._sha256 = hashlib.sha256()
        if is_local(fs):
            self._name = str(temporary_path(path))
        else:
            self._scratch = ScratchFolder()
            self._name = f"{self._scratch.name}/object"
        self._file = Path(self._name).open("wb")  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        with self._full_disk_is_named():
            self._file.write(view)
        self._sha256.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def publish(self) -> None:
        """Make the object visible, whole. The finished file is kept while the store is waited for."""
        try:
            with self._full_disk_is_named():
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            if is_local(self.fs):
                os.replace(self._name, self.path)
                sync_folder(Path(self.path).parent)
            else:
                retried(self.fs, lambda: upload(self.fs, "put_file", self._name, self.path, size=self.size))
        finally:
            self.discard()

    def discard(self) -> None:
        """Discard the object. Harmless after `publish`."""
        try:
            with contextlib.suppress(OSError):  # of a full disk, when what is buffered is written
                self._file.close()
        finally:
            Path(self._name).unlink(missing_ok=True)
            if not is_local(self.fs):
                self._scratch.cleanup()
        self.close()

    def _full_disk_is_named(self) -> contextlib.AbstractContextManager[None]:
        where = (
            self.path if is_local(self.fs) else f"{self._name} (set TMPDIR to another disk) for {self.path}"
        )
        return storage_errors("writing", where)
