"""What Ray makes of a worker whose engine is dead. The pipeline runs in a process of its own, as it does for users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.pipeline import StageActor, as_dataset, describe, map_shards
from jobs.ray_session import ray_session
from prag_core.bank import Stage
from prag_core.config import Config, RayConfig
from prag_core.errors import EngineDiedError, EngineError
from prag_core.stages import ShardResult


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


def main(folder: str, deaths: str, finished: str) -> None:
    """Write the shards that were finished without an error to a file: Ray has its own say on stdout."""
    rows = [{"shard_id": name, "documents_object": "", "error": ""} for name in ("bad", "good")]
    settings = RayConfig(max_attempts=3)
    with ray_session(settings):
        done = map_shards(as_dataset(rows), DyingActor, (folder, Config(recipe=deaths)), settings).iter_rows()
        Path(finished).write_text(" ".join(sorted(row["shard_id"] for row in done if not row["error"])))


@pytest.mark.parametrize(("deaths", "finished"), [(1, "bad good"), (9, "good")])
def test_a_worker_with_a_dead_engine_is_replaced_and_its_shard_tried_again(
    tmp_path: Path, deaths: int, finished: str
) -> None:
    marks, report = tmp_path / "deaths", tmp_path / "finished"
    marks.mkdir()
    ran = subprocess.run([sys.executable, __file__, marks, str(deaths), report], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert report.read_text() == finished
    assert len(list(marks.iterdir())) == min(deaths, 3)


def test_a_user_reads_the_message_of_their_mistake_and_the_traceback_of_ours() -> None:
    assert describe(EngineError("too long")) == "too long"
    try:
        raise KeyError("defect")
    except KeyError as error:
        assert "test_pipeline.py" in describe(error) and "KeyError: 'defect'" in describe(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
