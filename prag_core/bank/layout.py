"""Where everything lies in a bank: the paths of its objects, and how to recognise them in a listing.

    BANK/bank.json                              format, recipe, adapter layout, initial adapter
    BANK/init/<digest>.safetensors              the shared initial adapter
    BANK/runs/<run>/…                           settings, versions and plan of a run; results and seconds of its shards
    BANK/documents/<shard>-<attempt>.parquet       the documents of a shard
    BANK/augmentations/<shard>-<attempt>.parquet   their augmentations
    BANK/adapters/<shard>-<attempt>.parquet        one row an adapter
    BANK/rows/<shard>-<attempt>.parquet            location of each adapter's bytes in that object
    BANK/failures/<shard>-<attempt>.parquet        quarantined documents, with the reasons
    BANK/commits/<stage>/<shard>.<g>-<attempt>.json   what an attempt wrote; g counts the rewritings of the shard
    BANK/commits/<stage>/<shard>.json           the attempt that was first
    BANK/deletions/<event>.json                 documents deleted, restored or erased
    BANK/snapshots/<number>-<digest>/manifest.json    one complete view of the corpus; beside it a copy of its claim
    BANK/catalog/<attempt>-<n>.parquet          parts of the catalog and its tables of objects, shared by snapshots
    BANK/published/<number>.json                the claim: which snapshot has this number
    BANK/condemned/<gc>.json                    files that a garbage collection is about to remove
    BANK/damaged/<repair>/…                     what a repair has set apart
    BANK/indexes/<snapshot>-<settings>/…        a retrieval index of a snapshot: index.json names the attempt that counts,
                                                whose files lie in a folder of its name

All paths are relative to the bank. Doc_ids are never part of one.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Self

from prag_core.bank.names import ATTEMPT, OBJECT, OWN, SHA256, SHARD_ID, checked
from prag_core.errors import CorruptBankError

BANK_FILE = "bank.json"
MANIFEST = re.compile(r"snapshots/(([0-9]{8,18})-([0-9a-f]{16}))/manifest\.json")
INDEX_MARKER = re.compile(r"(indexes/([0-9]{8,18}-[0-9a-f]{16})-[0-9a-f]{1,64})/index\.json")
LARGEST = 1 << 40  # bytes or rows of an object, beyond what any has
CLAIM = re.compile(r"published/([0-9]{8,18})\.json")
COPY = re.compile(r"snapshots/(([0-9]{8,18})-[0-9a-f]{16})/published\.json")
COMMIT = re.compile(
    rf"(?P<shard>{SHARD_ID.pattern})(\.(?P<generation>[0-9]{{1,6}})-(?P<attempt>{ATTEMPT.pattern}))?\.json"
)
EVENT = re.compile(rf"deletions/({ATTEMPT.pattern})\.json")
CONDEMNED = re.compile(rf"condemned/({ATTEMPT.pattern})\.json")


class Stage(Enum):
    """The two kinds of work that are committed shard by shard."""

    augmentations = "augmentations"
    adapters = "adapters"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A data object: its path within the bank, and what it must hold."""

    path: str
    rows: int
    bytes: int
    sha256: str

    @classmethod
    def from_fields(cls, fields: object, where: str) -> Self:
        """Take what a file of the bank says of an object. Raises CorruptBankError, naming that file (`where`), for a path that is
        not a bank's, and for numbers or a digest that are none."""
        if not isinstance(fields, dict) or fields.keys() != {"path", "rows", "bytes", "sha256"}:
            raise CorruptBankError(
                f"{where} does not describe an object as a bank does; it is damaged, restore it from a copy"
            )
        path, sha256 = checked(fields["path"], OBJECT, where), checked(fields["sha256"], SHA256, where)
        rows, size = fields["rows"], fields["bytes"]
        if not all(type(number) is int and 0 <= number < LARGEST for number in (rows, size)):
            raise CorruptBankError(
                f"{where} gives {path} no plausible number of rows and bytes; it is damaged, restore it from a copy"
            )
        return cls(path, rows, size, sha256)

    @property
    def kind(self) -> str:
        return kind_of(self.path)


def new_attempt() -> str:
    """Return a name that no other attempt has."""
    return uuid.uuid4().hex[:16]


def kind_of(path: str) -> str:
    """What is kept at a path: documents, rows, catalog, …"""
    return path.split("/", 1)[0]


def object_path(kind: str, shard_id: str, attempt: str) -> str:
    return f"{kind}/{shard_id}-{attempt}.parquet"


def rows_path(adapters_path: str) -> str:
    """Path of the rows object of an adapters object."""
    return adapters_path.replace("adapters/", "rows/", 1)


def adapters_path(rows_path: str) -> str:
    """Path of the adapters object that a rows object describes."""
    return rows_path.replace("rows/", "adapters/", 1)


def attempt_of(object_path: str) -> str:
    """Name of the attempt that wrote an object."""
    return object_path.removesuffix(".parquet").rsplit("-", 1)[-1]


def marker_path(stage: Stage, shard_id: str) -> str:
    return f"commits/{stage.value}/{shard_id}.json"


def commit_path(stage: Stage, shard_id: str, generation: int, attempt: str) -> str:
    """Path of the commit of one attempt."""
    return f"commits/{stage.value}/{shard_id}.{generation}-{attempt}.json"


def initial_path(sha256: str) -> str:
    return f"init/{sha256[:16]}.safetensors"


def run_path(run: str, name: str) -> str:
    return f"runs/{run}/{name}"


def manifest_path(snapshot: str) -> str:
    return f"snapshots/{snapshot}/manifest.json"


def index_path(snapshot: str) -> str:
    """Path of the one part of a snapshot that was written before catalogs had parts."""
    return f"snapshots/{snapshot}/index.parquet"


def claim_path(number: int) -> str:
    """Path of the file that says which snapshot has a number."""
    return f"published/{number:08d}.json"


def claim_copy_path(snapshot: str) -> str:
    """Path of the copy of a snapshot's claim, which tells if the claim is lost."""
    return f"snapshots/{snapshot}/published.json"


def catalog_path(attempt: str, name: str) -> str:
    """Path of a part of the catalog, or of one of its tables."""
    return f"catalog/{attempt}-{name}.parquet"


def event_path(event: str) -> str:
    return f"deletions/{event}.json"


def condemned_path(record: str) -> str:
    return f"condemned/{record}.json"


def is_own(name: str) -> bool:
    """Whether a file is one that a bank writes. Nothing else under its root is ever touched."""
    return OWN.fullmatch(name) is not None


def shard_of(object_path: str) -> str:
    """The shard that a data object belongs to."""
    return object_path.split("/", 1)[1].rsplit("-", 1)[0]


def retrieval_folder(snapshot: str, settings: str) -> str:
    """Folder of the retrieval index of a snapshot under the settings with this digest."""
    return f"indexes/{snapshot}-{settings}"


def retrieval_marker(folder: str) -> str:
    """The file whose presence makes the retrieval index in `folder` count."""
    return f"{folder}/index.json"


def retrieval_files(folder: str, attempt: str) -> str:
    """The folder inside `folder` where an attempt keeps its files."""
    return f"{folder}/{attempt}"


def retrieval_folders(files: Iterable[str]) -> dict[str, str]:
    """Find the retrieval indexes among a bank's files: the folder of each, and the snapshot it was built from."""
    matches = map(INDEX_MARKER.fullmatch, sorted(files))
    return {match[1]: match[2] for match in matches if match}
