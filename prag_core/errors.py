"""Errors that are the user's to mend: each says what is wrong, where, and what to do.

The command line prints their text without a traceback and exits non-zero. Every class takes one message, so that
errors cross process boundaries unchanged, and subclasses its nearest standard kin. Anything that is not a PragError is
a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PragError(Exception):
    """Base of everything a user can mend."""


class ConfigError(PragError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class CorpusError(PragError, ValueError):
    """The corpus cannot be read, or a record of it cannot be used."""


class ModelError(PragError, ValueError):
    """The language model cannot be loaded or does not fit what is asked of it."""


class BankError(PragError, ValueError):
    """The bank is missing, belongs to another recipe, or does not hold what is asked for."""


class CorruptBankError(BankError):
    """Bytes in the bank are not the bytes that were written; the message names the object."""


class StorageError(PragError, OSError):
    """The file system or object store refused: credentials, missing bucket, no permission, no space."""


class EngineError(PragError, RuntimeError):
    """The generation engine failed or refused a request."""


class EngineDiedError(EngineError):
    """The generation engine is broken for good: nothing helps but to start it anew, in another process."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a message says of a name that is not there: `; did you mean …?`, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
