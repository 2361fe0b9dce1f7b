"""Worked examples and replay samples are read back; a file that cannot be used is named with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from prag_core.errors import ConfigError
from prag_core.questions.examples import ReplaySample, load_fewshot, load_replay


def test_replay_and_fewshot_files_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl.gz"
    rows = [{"question": "q?", "answer": "a", "passages": ["p", "é"]}, {"question": "r", "answer": "b"}]
    path.write_bytes(gzip.compress("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()))
    assert load_replay(str(path)) == [ReplaySample("q?", "a", ("p", "é")), ReplaySample("r", "b")]
    assert load_fewshot(str(path)) == (("q?", "a"), ("r", "b"))
    assert load_fewshot(None) == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: expected a JSON object"),
        ('{"question": "q"}', "line 2: question and answer"),
        ('{"question": " ", "answer": "a"}', "line 2: question and answer"),
        ('{"question": "q", "answer": "a", "passages": "p"}', "line 2: passages"),
        ('{"question": "q", "answer": "a", "passages": [1]}', "line 2: passages"),
    ],
)
def test_a_bad_replay_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_text('{"question": "q", "answer": "a"}\n' + line + "\n")
    with pytest.raises(ConfigError, match=rf"training\.replay_uri=.*replay\.jsonl {message}"):
        load_replay(str(path))


def test_an_unreadable_replay_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.replay_uri=.*none\.jsonl: cannot be read"):
        load_replay(str(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "\xe9", "answer": "a"}')
    with pytest.raises(ConfigError, match=r"latin\.jsonl line 1: not UTF-8"):
        load_replay(str(tmp_path / "latin.jsonl"))
