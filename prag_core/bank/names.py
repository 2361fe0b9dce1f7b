"""The names that a bank has. Every name read from a bank is checked here before it is used as a path.

A bank may come from anywhere: one that names `/etc/passwd`, `../other` or an unknown file is damaged or hostile, and is refused.
"""

from __future__ import annotations

import re

from prag_core.errors import CorruptBankError

_SHARD, _ATTEMPT, _RUN = r"[A-Za-z0-9_-]{1,64}", r"[0-9a-f]{16}", r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_SNAPSHOT = r"[0-9]{8,18}-[0-9a-f]{16}"
_INDEX_FILE = "|".join(  # of a retrieval index, as bm25s and this package name them
    (
        r"documents\.arrow",
        r"(?:data|indices|indptr)\.csc\.index\.npy|nonoccurrence_array\.index\.npy|(?:vocab|params)\.index\.json",
        r"stop\.(?:data|indices|indptr|nnoc)\.npy|stop\.(?:vocab|params)\.json",
    )
)

SHARD_ID, ATTEMPT, RUN, SNAPSHOT = map(re.compile, (_SHARD, _ATTEMPT, _RUN, _SNAPSHOT))
SHA256 = re.compile(r"[0-9a-f]{64}")
INDEX_FILE = re.compile(_INDEX_FILE)
OBJECT = re.compile(  # path of an object that something else in the bank names together with its digest
    "|".join(
        (
            rf"(?:documents|augmentations|adapters|rows|failures)/{_SHARD}-{_ATTEMPT}\.parquet",
            r"init/[0-9a-f]{16}\.safetensors",
            rf"runs/{_RUN}/(?:wanted\.parquet|members\.parquet|config\.yaml|versions\.txt)",
            rf"snapshots/{_SNAPSHOT}/index\.parquet",
            rf"catalog/{_ATTEMPT}-(?:[0-9]{{1,9}}|objects|commits)\.parquet",
            rf"indexes/{_SNAPSHOT}-[0-9a-f]{{1,64}}/{_ATTEMPT}/(?:{_INDEX_FILE})",
        )
    )
)
OWN = re.compile(  # path of any file that a bank writes, finished or not
    "|".join(
        (
            OBJECT.pattern,
            r"bank\.json|(?:deletions|condemned)/[0-9a-f]{16}\.json|published/[0-9]{8,18}\.json",
            rf"runs/{_RUN}/(?:plan|shards)\.json|runs/{_RUN}/lease",
            rf"commits/(?:augmentations|adapters)/{_SHARD}(?:\.[0-9]{{1,6}}-{_ATTEMPT})?\.json",
            rf"snapshots/{_SNAPSHOT}/(?:manifest|published)\.json",
            rf"indexes/{_SNAPSHOT}-[0-9a-f]{{1,64}}/index\.json",
            r"damaged/[0-9a-f]{16}/.+",
            rf"(?:(?:init|documents|augmentations|adapters|rows|failures|deletions|condemned|catalog|published|commits/[a-z]+"
            rf"|runs/{_RUN}|snapshots/{_SNAPSHOT}|indexes/[^/]+(?:/{_ATTEMPT})?)/)?\.tmp-[0-9a-f]+",
        )
    )
)


def checked(value: object, pattern: re.Pattern[str], where: str) -> str:
    """Return `value` if it is a name of this pattern. Raises CorruptBankError that says `where` it stands."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"
        raise CorruptBankError(
            f"{where} has {shown} in place of a name that a bank has; it is damaged, restore it from a copy"
        )
    return value
