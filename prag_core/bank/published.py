"""Which snapshot counts: the claims of numbers, their copies, and the manifests that are written, as listings show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from prag_core.bank.layout import CLAIM, COPY, MANIFEST, claim_path, manifest_path
from prag_core.bank.names import SNAPSHOT, checked
from prag_core.bank.sealed import read_sealed
from prag_core.bank.store import BankStore
from prag_core.errors import CorruptBankError
from prag_core.storage import list_files, storage_errors

T = TypeVar("T")
FORMAT = 2  # of manifests


class Published(NamedTuple):
    """What the listings say of a bank's snapshots: the numbers that are claimed, and the snapshots by number that are written,
    and those of them that have a copy of their claim."""

    claims: frozenset[int]
    written: dict[int, list[str]]
    copies: dict[int, list[str]]

    @property
    def newest(self) -> int:
        return max(self.claims, default=0)


def list_published(store: BankStore) -> Published:
    """List snapshots first and claims afterwards, so that a claim whose copy was seen is seen too, unless it is lost."""
    with storage_errors("reading", store.uri):
        files = [f"snapshots/{name}" for name in list_files(store.fs, store.path("snapshots"))]
        claimed = [f"published/{name}" for name in list_files(store.fs, store.path("published"))]
    claims = frozenset(int(match[1]) for match in map(CLAIM.fullmatch, claimed) if match)
    found: list[dict[int, list[str]]] = []
    for pattern in (MANIFEST, COPY):
        names: defaultdict[int, list[str]] = defaultdict(list)
        for match in filter(None, map(pattern.fullmatch, sorted(files))):
            names[int(match[2])].append(match[1])
        found.append(dict(names))
    return Published(claims, *found)


def newest_name(store: BankStore, published: Published | None = None) -> str | None:
    """Name of the snapshot that counts: that of the highest claimed number. None before the first.

    Raises CorruptBankError if the newest claim is lost. Banks made before there were claims have the smallest name of the
    highest number.
    """
    published = published or list_published(store)
    later = [
        name for number, names in published.copies.items() if number > published.newest for name in names
    ]
    if later:
        raise CorruptBankError(
            f"{store.path(claim_path(int(later[0].split('-')[0])))} is missing, by which snapshot {later[0]} counts; "
            f"run prag bank repair {store.uri}"
        )
    if published.claims:
        return _claimed(store, published.newest, published)
    unclaimed = sorted(published.written.items(), reverse=True)
    return next((name for _, names in unclaimed for name in names if _is_old(store, name)), None)


def _claimed(store: BankStore, number: int, published: Published) -> str:
    """Name of the snapshot that has a number, by its claim or, if that is damaged, by the claim's copy."""
    path = store.path(claim_path(number))
    try:
        with storage_errors("reading", store.uri):
            name = checked(store.read_sealed(claim_path(number)).get("name"), SNAPSHOT, path)
            if int(name.split("-")[0]) != number:
                raise CorruptBankError(f"{path} claims the number for {name}")
            return name
    except (CorruptBankError, FileNotFoundError) as error:
        if len(copies := published.copies.get(number, [])) == 1:
            return copies[0]
        raise CorruptBankError(f"{path} is damaged or missing; run prag bank repair {store.uri}") from error


def _is_old(store: BankStore, name: str) -> bool:
    """Whether a snapshot was written before there were claims. One that lacks its claim was never published."""
    path = store.path(manifest_path(name))
    with storage_errors("reading", store.uri):
        return read_sealed(store.fs, path).get("format", 1) in range(1, FORMAT)


def list_names(store: BankStore) -> list[str]:
    """List the names of published snapshots, the one that counts first."""
    published = list_published(store)
    newest = newest_name(store, published)
    if newest is None:
        return []
    oldest_claim = min(published.claims, default=int(newest.split("-")[0]) + 1)
    earlier = [
        name
        for number, names in sorted(published.written.items(), reverse=True)
        for name in names
        if number < int(newest.split("-")[0])
        and (number < oldest_claim or name in published.copies.get(number, ()))
    ]
    return [newest, *earlier]


def on_newest(store: BankStore, action: Callable[[str | None], T]) -> T:
    """Do what reads the newest snapshot, whose name it is given; again, where it fails on one that was superseded and cleared
    away meanwhile."""
    while True:
        newest = newest_name(store)
        try:
            return action(newest)
        except CorruptBankError:
            if newest_name(store) == newest:
                raise
