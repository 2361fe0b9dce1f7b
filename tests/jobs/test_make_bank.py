"""A run says how it is resumed."""

from __future__ import annotations

from jobs.make_bank import resume_command


def test_the_command_that_resumes_leaves_out_the_options_of_one_run_and_quotes_for_a_shell() -> None:
    arguments = ["my table.yaml", "--dry-run", "training.epochs=2", "--retry-quarantined", "--retry-failed"]
    assert resume_command("ablate", arguments) == "prag ablate 'my table.yaml' training.epochs=2"
