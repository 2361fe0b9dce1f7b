"""Culprits are found alone, and what is no document's fault is raised."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from prag_core.errors import BankError, CorpusError, EngineDiedError, StorageError
from prag_core.training.culprits import isolate, reason_of

HARMLESS = 0


def test_every_culprit_is_alone_and_the_rest_is_worked_on_in_order() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if bad := {3, 6} & set(items):
            raise RuntimeError(f"cannot bear {bad}\nmore")
        return [2 * item for item in items]

    parts = isolate(work, range(1, 10), HARMLESS)
    assert [item for items, _ in parts for item in items] == list(range(1, 10))
    done = [n for _, result in parts if not isinstance(result, Exception) for n in result]
    assert done == [2, 4, 8, 10, 14, 16, 18]
    culprits = [(list(items), reason_of(error)) for items, error in parts if isinstance(error, Exception)]
    assert culprits == [([3], "RuntimeError: cannot bear {3}"), ([6], "RuntimeError: cannot bear {6}")]


def test_work_that_does_not_raise_is_done_once_on_all() -> None:
    assert isolate(list, [1, 2, 3], HARMLESS) == [([1, 2, 3], [1, 2, 3])]


def test_what_raises_for_a_harmless_document_too_is_raised_after_few_tries() -> None:
    tried: list[int] = []

    def broken(items: Sequence[int]) -> None:
        tried.append(len(items))
        raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        isolate(broken, range(1, 9), HARMLESS)
    assert tried == [8, 4, 2, 1, 1]


@pytest.mark.parametrize(
    "error", [StorageError, BankError, EngineDiedError, MemoryError, torch.OutOfMemoryError]
)
def test_what_is_no_documents_fault_is_raised_at_once(error: type[Exception]) -> None:
    tried: list[int] = []

    def work(items: Sequence[int]) -> None:
        tried.append(len(items))
        raise error("gone")

    with pytest.raises(error, match="gone"):
        isolate(work, [1, 2], HARMLESS)
    assert tried == [2]


def test_a_reason_can_always_be_written_and_a_corpus_error_speaks_for_itself() -> None:
    assert reason_of(ValueError("\ud800 is half")) == "ValueError: ? is half"
    assert reason_of(KeyError()) == "KeyError"
    assert reason_of(CorpusError("too long")) == "too long"
