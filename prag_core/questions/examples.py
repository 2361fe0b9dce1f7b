"""Readers of worked examples (`prompt.fewshot`) and replay samples (`training.replay_uri`): JSON lines of question and answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec

from prag_core.errors import ConfigError, CorpusError, StorageError
from prag_core.files.opening import read_file
from prag_core.files.rows import Row, read_jsonl, refuse_rejected

Example = tuple[str, str]  # (question, worked answer)


@dataclass(frozen=True, slots=True)
class ReplaySample:
    """A question about another subject, its answer, and the passages it is asked over (none: closed book)."""

    question: str
    answer: str
    passages: tuple[str, ...] = ()


def load_replay(uri: str) -> list[ReplaySample]:
    """Read `training.replay_uri`: JSONL of {question, answer, passages: [text, …]}. Raises ConfigError."""
    return [_replay_sample(row) for row in _read("training.replay_uri", uri)]


def load_fewshot(uri: str | None) -> tuple[Example, ...]:
    """Read `prompt.fewshot`: JSONL of {question, answer}; () if it is unset. Raises ConfigError."""
    if uri is None:
        return ()
    return tuple(_question_answer(row) for row in _read("prompt.fewshot", uri))


def _replay_sample(row: Row) -> ReplaySample:
    passages: Any = row.fields.get("passages", [])
    if not isinstance(passages, list) or not all(isinstance(text, str) for text in passages):
        raise ConfigError(f"{row.place}: passages must be a list of texts")
    return ReplaySample(*_question_answer(row), tuple(passages))


def _question_answer(row: Row) -> Example:
    question, answer = row.fields.get("question"), row.fields.get("answer")
    for value in (question, answer):
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{row.place}: question and answer must be texts that are not empty")
    return str(question), str(answer)


def _read(setting: str, uri: str) -> Iterator[Row]:
    """The rows of the file that `setting` names; their places begin with the setting."""
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        for row in refuse_rejected(read_file(fs, path, read_jsonl)):
            yield Row(f"{setting}={row.place}", row.fields)
    except (CorpusError, StorageError) as error:
        raise ConfigError(f"{setting}={error}") from None
    except (OSError, ImportError, ValueError) as error:
        raise ConfigError(f"{setting}={uri}: cannot be read: {error}") from None
