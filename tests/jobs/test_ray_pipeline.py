"""What Ray makes of a worker whose engine is dead. The pipeline runs in a process of its own, as it does for users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.ray_pipeline import StageActor, as_dataset, describe, map_shards
from jobs.ray_session import ray_session
from jobs.shard_counts import ShardCounts
from prag_core.bank import Stage
from prag_core.config.schema import Config, RayConfig
from prag_core.errors import EngineDiedError, EngineError
from prag_core.stages.shard import Report, ShardResult


class DyingStage:
    """Its engine dies over the shard `bad`, `recipe` times in all; each death leaves a file."""

    stage = Stage.augmentations

    def __init__(self, folder: str, config: Config) -> None:
        self.folder, self.deaths = Path(folder), int(config.recipe)

    def run(self, shard_id: str, documents_object: str, report: Report) -> ShardResult:
        died = len(list(self.folder.iterdir()))
        report(3)
        if shard_id == "bad" and died < self.deaths:
            (self.folder / str(died)).touch()
            raise EngineDiedError("it will not answer again")
        return ShardResult(1, 0, 0.0, reused=False)


class DyingActor(StageActor):
    kind = DyingStage  # type: ignore[assignment]


class MeetingStage:
    """Its shards end when two workers are at work."""

    stage = Stage.augmentations

    def __init__(self, folder: str, config: Config) -> None:
        self.folder = Path(folder)

    def run(self, shard_id: str, documents_object: str, report: Report) -> ShardResult:
        (self.folder / str(os.getpid())).touch()
        last = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2:
            assert time.monotonic() < last, "no second worker came"
            time.sleep(0.05)
        return ShardResult(1, 0, 0.0, reused=False)


class MeetingActor(StageActor):
    kind = MeetingStage  # type: ignore[assignment]


RUNS = {"dies once": (DyingActor, 1), "dies always": (DyingActor, 9), "meet": (MeetingActor, 0)}
Outcome = dict[str, list[Any]]


def main(folder: str) -> None:
    """Write what became of every run to a file: Ray has its own say on stdout."""
    outcome: Outcome = {}
    with ray_session(RayConfig()):
        for name, (actor, deaths) in RUNS.items():
            marks = Path(folder, name)
            marks.mkdir()
            row = {"documents_object": "", "num_documents": 8, "error": ""}
            rows = [row | {"shard_id": shard} for shard in ("bad", "good")]
            counts = ShardCounts()
            settings = RayConfig(max_attempts=3, train_actors=1 if actor is DyingActor else 2)
            arguments = (str(marks), Config(recipe=str(deaths)), counts)
            done = map_shards(as_dataset(rows), actor, arguments, settings).iter_rows()
            finished = sorted(row["shard_id"] for row in done if not row["error"])
            last = time.monotonic() + 30  # the last report may come after the last row
            while sum(counts.read().values()) < 8 * len(finished) and time.monotonic() < last:
                time.sleep(0.05)
            outcome[name] = [finished, len(list(marks.iterdir())), counts.read()]
    Path(folder, "outcome.json").write_text(json.dumps(outcome))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """By run: the shards that were finished, how many files the stages left, and the documents counted. One Ray for all runs."""
    folder = tmp_path_factory.mktemp("runs")
    ran = subprocess.run([sys.executable, __file__, str(folder)], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: Outcome = json.loads((folder / "outcome.json").read_text())
    return found


def test_a_worker_with_a_dead_engine_is_replaced_and_its_shard_tried_again(outcome: Outcome) -> None:
    assert outcome["dies once"][:2] == [["bad", "good"], 1]


def test_a_shard_that_kills_its_worker_as_often_as_is_allowed_is_given_up_alone(outcome: Outcome) -> None:
    assert outcome["dies always"][:2] == [["good"], 3]


def test_a_second_worker_starts_while_the_first_has_a_shard(outcome: Outcome) -> None:
    assert outcome["meet"][:2] == [["bad", "good"], 2]


def test_the_documents_of_a_shard_that_is_tried_again_are_counted_once(
    outcome: Outcome,
) -> None:
    assert outcome["dies once"][2] == {"augmentations": 8 + 8}


def test_a_user_reads_the_message_of_their_mistake_and_the_traceback_of_ours() -> None:
    assert describe(EngineError("too long")) == "too long"
    try:
        raise KeyError("defect")
    except KeyError as error:
        assert "test_ray_pipeline.py" in describe(error) and "KeyError: 'defect'" in describe(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
