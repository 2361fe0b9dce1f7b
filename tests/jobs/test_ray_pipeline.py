"""What Ray makes of a worker whose engine is dead. The pipeline runs in a process of its own, as it does for users."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.ray_pipeline import StageActor, as_dataset, describe, map_shards
from jobs.ray_session import ray_session
from prag_core.bank import Stage
from prag_core.config.schema import Config, RayConfig
from prag_core.errors import EngineDiedError, EngineError
from prag_core.stages.shard import ShardResult


class DyingStage:
    """Its engine dies over the shard `bad`, `recipe` times in all; each death leaves a file."""

    stage = Stage.augmentations

    def __init__(self, folder: str, config: Config) -> None:
        self.folder, self.deaths = Path(folder), int(config.recipe)

    def run(self, shard_id: str, documents_object: str) -> ShardResult:
        died = len(list(self.folder.iterdir()))
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

    def run(self, shard_id: str, documents_object: str) -> ShardResult:
        (self.folder / str(os.getpid())).touch()
        last = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2:
            assert time.monotonic() < last, "no second worker came"
            time.sleep(0.05)
        return ShardResult(1, 0, 0.0, reused=False)


class MeetingActor(StageActor):
    kind = MeetingStage  # type: ignore[assignment]


def main(actor: str, folder: str, deaths: str, finished: str) -> None:
    """Write the shards that were finished without an error to a file: Ray has its own say on stdout."""
    rows = [{"shard_id": name, "documents_object": "", "error": ""} for name in ("bad", "good")]
    kind = {"dying": DyingActor, "meeting": MeetingActor}[actor]
    settings = RayConfig(max_attempts=3, train_actors=1 if kind is DyingActor else 2)
    with ray_session(settings):
        done = map_shards(as_dataset(rows), kind, (folder, Config(recipe=deaths)), settings).iter_rows()
        Path(finished).write_text(" ".join(sorted(row["shard_id"] for row in done if not row["error"])))


def run_pipeline(tmp_path: Path, actor: str, deaths: int = 0) -> tuple[str, int]:
    """The shards that were finished, and the files that the stages left."""
    marks, report = tmp_path / "marks", tmp_path / "finished"
    marks.mkdir()
    command = [sys.executable, __file__, actor, str(marks), str(deaths), str(report)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return report.read_text(), len(list(marks.iterdir()))


@pytest.mark.parametrize(("deaths", "finished"), [(1, "bad good"), (9, "good")])
def test_a_worker_with_a_dead_engine_is_replaced_and_its_shard_tried_again(
    tmp_path: Path, deaths: int, finished: str
) -> None:
    assert run_pipeline(tmp_path, "dying", deaths) == (finished, min(deaths, 3))


def test_a_second_worker_starts_while_the_first_has_a_shard(tmp_path: Path) -> None:
    assert run_pipeline(tmp_path, "meeting") == ("bad good", 2)


def test_a_user_reads_the_message_of_their_mistake_and_the_traceback_of_ours() -> None:
    assert describe(EngineError("too long")) == "too long"
    try:
        raise KeyError("defect")
    except KeyError as error:
        assert "test_ray_pipeline.py" in describe(error) and "KeyError: 'defect'" in describe(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
