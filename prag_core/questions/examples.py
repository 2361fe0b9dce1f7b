"""Readers of worked examples (`prompt.fewshot`) and replay samples (`training.replay_uri`): JSON lines of question and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec

from prag_core.errors import ConfigError

Example = tuple[str, str]  # (question, worked answer)


@dataclass(frozen=True, slots=True)
class ReplaySample:
    """A question about another subject, its answer, and the passages it is asked over (none: closed book)."""

    question: str
    answer: str
    passages: tuple[str, ...] = ()


def load_replay(uri: str) -> list[ReplaySample]:
    """Read `training.replay_uri`: JSONL of {question, answer, passages: [text, …]}. Raises ConfigError."""
    samples = []
    for where, fields in _read_jsonl("training.replay_uri", uri):
        passages = fields.get("passages", [])
        if not isinstance(passages, list) or not all(isinstance(text, str) for text in passages):
            raise ConfigError(f"{where}: passages must be a list of texts")
        samples.append(ReplaySample(*_question_answer(where, fields), tuple(passages)))
    return samples


def load_fewshot(uri: str | None) -> tuple[Example, ...]:
    """Read `prompt.fewshot`: JSONL of {question, answer}; none where it is unset. Raises ConfigError."""
    if uri is None:
        return ()
    return tuple(_question_answer(where, fields) for where, fields in _read_jsonl("prompt.fewshot", uri))


def _question_answer(where: str, fields: dict[str, Any]) -> Example:
    question, answer = fields.get("question"), fields.get("answer")
    if (
        not isinstance(question, str)
        or not isinstance(answer, str)
        or not question.strip()
        or not answer.strip()
    ):
        raise ConfigError(f"{where}: question and answer must be texts that are not empty")
    return question, answer


def _read_jsonl(setting: str, uri: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with fsspec.open(uri, "rt", encoding="utf-8", compression="infer") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{setting}={uri}, line {number}", _parse_object(setting, uri, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}={uri}: cannot be read: {error}") from None


def _parse_object(setting: str, uri: str, number: int, line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{setting}={uri}, line {number}: not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigError(f"{setting}={uri}, line {number}: expected an object with question and answer")
    return fields
