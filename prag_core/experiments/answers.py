"""A run's answers, kept under the identity of everything that they depend on: OUT/answers/<identity>.json, written whole.

The identity covers the bank's recipe and snapshot, the questions, the method, every setting of engine, retrieval, merging and
methods (a folder of routers counts by content), the seed, and this module's format number. Scores are not kept; every report
computes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prag_core.bank import Snapshot
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config
from prag_core.identity import digest, file_sha256
from prag_core.records import Answer, Passage, Question, Round
from prag_core.storage import open_root, put_whole, read, storage_errors

FORMAT = 1  # raised when the code gives other answers under the same settings
MACHINE = ("gpu_memory_utilization", "kv_cache_gigabytes")  # of the engine: change no answer and no time


def question_digest(questions: Sequence[Question]) -> str:
    """Identify what is asked; accepted answers are not part of it."""
    return digest([[q.question_id, q.question, q.gold_doc_ids] for q in questions])


def answering_fields(config: Config, method: str, questions: str) -> dict[str, Any]:
    """Collect what answers depend on in addition to the bank. `questions`: their digest."""
    engine = {name: value for name, value in as_dict(config.engine).items() if name not in MACHINE}
    sections = {"retrieval": config.retrieval, "merge": config.merge, "methods": config.methods}
    return {
        "format": FORMAT,
        "method": method,
        "questions": questions,
        "engine": engine,
        "seed": config.evaluate.seed,
        "max_length": config.model.max_length,
        **{name: _by_content(as_dict(section)) for name, section in sections.items()},
    }


class AnswerStore:
    """The answers of earlier runs under one folder or URI."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._fs, self._path = open_root(root)

    def find(self, snapshot: Snapshot, fields: Mapping[str, Any]) -> list[Answer] | None:
        """Return the answers under this identity, or None. A file that cannot be read counts as absent and will be replaced."""
        try:
            with storage_errors("reading answers from", self.root):
                kept = json.loads(read(self._fs, self._place(snapshot, fields)))
            return [_to_answer(row) for row in kept["answers"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def put(self, snapshot: Snapshot, fields: Mapping[str, Any], answers: Sequence[Answer]) -> None:
        """Store answers together with what they depend on."""
        kept = {**_identity(snapshot, fields), "answers": [_to_json(answer) for answer in answers]}
        with storage_errors("writing answers to", self.root):
            put_whole(self._fs, self._place(snapshot, fields), json.dumps(kept, ensure_ascii=False).encode())

    def _place(self, snapshot: Snapshot, fields: Mapping[str, Any]) -> str:
        return f"{self._path}/{digest(_identity(snapshot, fields))[:32]}.json"


def _identity(snapshot: Snapshot, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"recipe": snapshot.store.recipe.id, "snapshot": snapshot.name, **fields}


def _by_content(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the absolute path of a folder by the digest of the files in it."""
    return {
        name: _folder_digest(Path(value)) if isinstance(value, str) and os.path.isabs(value) else value
        for name, value in settings.items()
    }


def _folder_digest(path: Path) -> str:
    if not path.is_dir():
        return str(path)
    return digest([[file.name, file_sha256(file)] for file in sorted(path.iterdir()) if file.is_file()])


def _to_json(answer: Answer) -> dict[str, Any]:
    """Serialise an answer without the text of its passages, which the bank has."""
    fields = asdict(answer) | {"passages": [_passage(p) for p in answer.passages]}
    return fields | {"rounds": [[made.query, [_passage(p) for p in made.passages]] for made in answer.rounds]}


def _passage(passage: Passage) -> list[Any]:
    return [passage.doc_id, passage.chunk, passage.title, passage.score]


def _to_answer(row: dict[str, Any]) -> Answer:
    """Deserialise an answer. Raises TypeError if the fields are not an answer's."""

    def passages(rows: Sequence[Sequence[Any]]) -> tuple[Passage, ...]:
        return tuple(Passage(doc_id, chunk, title, "", score) for doc_id, chunk, title, score in rows)

    rounds = tuple(Round(query, passages(found)) for query, found in row["rounds"])
    plain = {name: _as_tuples(value) for name, value in row.items()}
    return Answer(**plain | {"passages": passages(row["passages"]), "rounds": rounds})


def _as_tuples(value: Any) -> Any:
    """Turn JSON's lists back into tuples, nested ones included."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
