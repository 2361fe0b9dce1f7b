"""Progress passes every shard on and says what became of it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.progress import describe_shard, show_progress, stage_progress, ticking
from prag_core.terminal.console import open_console


def row(shard_id: str, **fields: Any) -> dict[str, Any]:
    done = {"num_documents": 8, "num_failed": 0, "seconds": 1.5}
    stages = {
        f"{stage}_{name}": value for stage in ("augmentations", "adapters") for name, value in done.items()
    }
    return {"shard_id": shard_id, "num_documents": 8, "error": "", "error_stage": ""} | stages | fields


def test_every_row_comes_through_with_a_line_each_in_a_log() -> None:
    printed = io.StringIO()
    rows = [row("aa"), row("bb", adapters_num_documents=6, augmentations_num_failed=2)]
    assert list(show_progress(iter(rows), 2, 16, dict, open_console(printed))) == rows
    first, second = printed.getvalue().splitlines()
    assert first.startswith("shard 1/2 aa: 8 adapters (augment 1.5 s, train 1.5 s); 8/16 documents")
    assert second.startswith("shard 2/2 bb: 6 adapters, 2 quarantined (")


def test_a_log_says_how_far_a_shard_is_before_it_ends() -> None:
    printed, asked = io.StringIO(), threading.Semaphore(0)

    def read() -> dict[str, int]:
        asked.release()
        return {"augmentations": 8, "adapters": 3}

    def rows() -> Iterator[dict[str, Any]]:
        for _ in range(2):  # the second question comes when the first answer was printed
            assert asked.acquire(timeout=60)
        yield row("aa")

    assert len(list(show_progress(rows(), 1, 8, read, open_console(printed)))) == 1
    first, second = printed.getvalue().splitlines()
    assert first == "8 of 8 documents written, 3 trained" and second.startswith("shard 1/1 aa: 8 adapters")


def test_a_failed_shard_is_named_with_its_stage_and_last_line() -> None:
    failed = row("cc", error="Traceback …\nValueError: no", error_stage="adapters")
    assert describe_shard(failed, "shard 1/1") == "shard 1/1 cc FAILED while making adapters: ValueError: no"


def test_a_log_has_a_line_for_each_method_that_has_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with ticking() as tick:
        for done in (0, 2, 3):
            tick("rag", done, 3)
        tick("prag", 1, 3)
    assert capsys.readouterr().err.split("\n") == ["rag: 3 questions answered", ""]


def test_a_log_has_a_line_for_every_tenth_of_a_stage() -> None:
    printed = io.StringIO()
    with stage_progress(open_console(printed)) as tick:
        for done in range(1, 41):
            tick("stage [x]", done, 40)
    lines = printed.getvalue().splitlines()
    assert len(lines) == 10 and lines[0] == "stage [x]: 4 of 40" and lines[-1] == "stage [x]: 40 of 40"
