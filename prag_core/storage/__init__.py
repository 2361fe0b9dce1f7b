"""Folders and object stores: objects that appear whole or not at all, and errors that say what to do."""

from prag_core.storage.errors import storage_errors
from prag_core.storage.local import TEMPORARY, leads_out
from prag_core.storage.objects import (
    FileSystem,
    create_exclusive,
    is_local,
    list_files,
    modified,
    open_root,
    put_whole,
    read,
    read_many,
    read_ranges,
    remove,
)
from prag_core.storage.pending import PendingObject
from prag_core.storage.retries import patience, retried
from prag_core.storage.scratch import ScratchFolder
from prag_core.storage.uploads import Upload, abort_upload, list_uploads

__all__ = [
    "TEMPORARY",
    "FileSystem",
    "PendingObject",
    "ScratchFolder",
    "Upload",
    "abort_upload",
    "create_exclusive",
    "is_local",
    "leads_out",
    "list_files",
    "list_uploads",
    "modified",
    "open_root",
    "patience",
    "put_whole",
    "read",
    "read_many",
    "read_ranges",
    "remove",
    "retried",
    "storage_errors",
]
