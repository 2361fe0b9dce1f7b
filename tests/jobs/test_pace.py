"""What a run says of its pace, at times that a test gives."""

from __future__ import annotations

import pytest

from jobs.pace import Pace, duration


def test_a_log_has_a_line_with_the_first_documents_then_one_a_minute() -> None:
    pace, lines = Pace(120), {}
    for second in range(200):
        written = {"augmentations": 60} if second >= 30 else {"augmentations": 0}
        if line := pace.line(written | ({"adapters": second // 10} if second >= 40 else {}), float(second)):
            lines[second] = line
    assert list(lines) == [30, 90, 150]
    assert lines[30] == "60 of 120 documents written, 0 trained"


def test_the_time_left_is_that_of_the_slower_stage_and_unsaid_before_both_have_a_rate() -> None:
    pace = Pace(100)
    pace.line({"augmentations": 0}, 0.0)
    assert "left" not in pace.note({"augmentations": 50}, 10.0)
    pace.line({"augmentations": 50, "adapters": 0}, 10.0)
    done = {"augmentations": 100, "adapters": 10}
    assert pace.note(done, 110.0) == "100 of 100 documents written, 10 trained (0.10/s), 15 min left"
    both = {"augmentations": 20, "adapters": 60}
    assert pace.note(both, 20.0).endswith("trained (6.00/s), 1 min left")


def test_what_was_done_before_the_run_was_heard_of_counts_for_no_rate() -> None:
    pace = Pace(100)
    pace.line({"augmentations": 100, "adapters": 40}, 0.0)
    done = {"augmentations": 100, "adapters": 50}
    assert pace.note(done, 100.0).endswith("50 trained (0.10/s), 8 min left")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.2, "59 s"), (59.9, "1 min"), (3599, "1 h 0 min"), (11100, "3 h 5 min")],
)
def test_a_duration_reads_as_one_says_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
