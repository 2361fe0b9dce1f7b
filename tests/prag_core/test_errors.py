"""Errors cross process boundaries with their message, and are also of their standard kin."""

import inspect
import pickle

import pytest

from prag_core import errors
from prag_core.errors import PragError

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, PragError)]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_comes_back_from_another_process_unchanged(kind: type[PragError]) -> None:
    back = pickle.loads(pickle.dumps(kind("corpus.jsonl line 3: not JSON")))
    assert type(back) is kind and str(back) == "corpus.jsonl line 3: not JSON"


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not PragError])
def test_an_error_is_caught_as_its_standard_kin_too(kind: type[PragError]) -> None:
    assert issubclass(kind, (ValueError, OSError, RuntimeError))
