"""What Ray makes of a worker whose engine is dead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import cloudpickle

from jobs.pipeline import StageActor, as_dataset, describe, map_shards
from jobs.ray_session import ray_session
from prag_core.bank import Stage
from prag_core.config import Config, RayConfig
from prag_core.errors import EngineDiedError, EngineError
from prag_core.stages import ShardResult


class DyingStage:
    """Its engine dies on the first shard it sees, in every process that has not left its mark."""

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


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    with ray_session(RayConfig()):
        yield


@pytest.mark.parametrize(("deaths", "finished"), [(1, {"good", "bad"}), (9, {"good"})])
def test_a_worker_with_a_dead_engine_is_replaced_and_its_shard_tried_again(
    ray: None, tmp_path: Path, deaths: int, finished: set[str]
) -> None:
    rows = [{"shard_id": name, "documents_object": "", "error": ""} for name in ("bad", "good")]
    arguments = (str(tmp_path), Config(recipe=str(deaths)))
    done = list(map_shards(as_dataset(rows), DyingActor, arguments, RayConfig(max_attempts=3)).iter_rows())
    assert {row["shard_id"] for row in done} == finished
    assert not any(row["error"] for row in done)
    assert len(list(tmp_path.iterdir())) == min(deaths, 3)


def test_a_user_reads_the_message_of_their_mistake_and_the_traceback_of_ours() -> None:
    assert describe(EngineError("too long")) == "too long"
    try:
        raise KeyError("defect")
    except KeyError as error:
        assert "test_pipeline.py" in describe(error) and "KeyError: 'defect'" in describe(error)
