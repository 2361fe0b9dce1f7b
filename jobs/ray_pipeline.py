"""The offline stages as one Ray Data pipeline whose rows are shards.

Ray Data gives streaming, back-pressure, actor pools and the restart of killed actors; adapters never pass through its
object store. A shard that raises does not stop the others: its row carries the error on, for the summary to name. A worker
whose engine is dead ends itself, so that Ray starts it anew and the shard is tried again.
"""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from jobs.shard_counts import ShardCounts
from prag_core.config.schema import Config, RayConfig
from prag_core.errors import EngineDiedError, PragError
from prag_core.planning.plan import Shard, documents_of
from prag_core.stages.shard import AugmentStage, Report, ShardStage, TrainStage
from prag_core.terminal.streams import warn

Row = dict[str, Any]


class StageActor:
    """One Ray actor: a stage with its loaded model, and the shards it is handed."""

    kind: type[ShardStage]

    def __init__(self, bank_uri: str, config: Config, counts: ShardCounts) -> None:
        self.arguments = (bank_uri, config)
        self.counts = counts
        self.stage: ShardStage | None = None

    def __call__(self, row: Row) -> Row:
        report = partial(self.counts.report, self.kind.stage.value, row["shard_id"])
        done = row if row["error"] else self._run(row, report)
        report(
            row["num_documents"]
        )  # none is left: neither a quarantined one, nor those of a shard that failed
        return done

    def _run(self, row: Row, report: Report) -> Row:
        name = self.kind.stage.value
        try:
            self.stage = self.stage or self.kind(*self.arguments)
            result = self.stage.run(row["shard_id"], documents_of(row), report)
        except EngineDiedError as error:
            warn(f"shard {row['shard_id']}: {error}; this worker ends, to be started anew")
            os._exit(1)
        except Exception as error:
            return row | {"error": describe(error), "error_stage": name}
        figures = {field: value for field, value in asdict(result).items() if field != "tally" or value}
        return row | {f"{name}_{field}": value for field, value in figures.items()}


class AugmentActor(StageActor):
    kind = AugmentStage


class TrainActor(StageActor):
    kind = TrainStage


def describe(error: Exception) -> str:
    """Describe an error: users' own mistakes by their message, defects of ours by their traceback."""
    return str(error) if isinstance(error, PragError) else "".join(traceback.format_exception(error)).strip()


def run_pipeline(
    bank_uri: str, config: Config, shards: Sequence[Shard], counts: ShardCounts
) -> Iterator[Row]:
    """Augment and train every shard; yields one row a shard as it finishes, in no fixed order. The workers report to `counts`.

    A shard whose worker died `ray.max_attempts` times comes last, as failed. A row has shard_id, documents_object,
    num_documents, `error` (empty where all went well), and by stage `<stage>_num_documents`, `<stage>_num_failed`,
    `<stage>_seconds`, `<stage>_reused`, and augmentations_tally.
    """
    rows = [asdict(shard) | {"error": "", "error_stage": ""} for shard in shards]
    arguments = (bank_uri, config, counts)
    augmented = map_shards(as_dataset(rows), AugmentActor, arguments, config.ray)
    if not stages_fit_together(config.ray):
        augmented = augmented.materialize()
    lost = {row["shard_id"]: row for row in rows}
    for row in map_shards(augmented, TrainActor, arguments, config.ray).iter_rows():
        del lost[row["shard_id"]]
        yield row
    reason = f"its worker died {config.ray.max_attempts} times; its log says why (out of memory: lower training.cohort_documents)"
    yield from (row | {"error": reason, "error_stage": "augmentations or adapters"} for row in lost.values())


def stages_fit_together(settings: RayConfig) -> bool:
    """Return whether the cluster has room for the first actor of both stages at once; else they run one after the other."""
    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = settings.augment_cpus + settings.train_cpus
    gpus = settings.augment_gpus + settings.train_gpus
    return have.get("CPU", 0) >= cpus and have.get("GPU", 0) >= gpus


def as_dataset(rows: Sequence[Row]) -> Dataset:
    """Make a data set with a block for each shard; one that is lost for good does not stop the others."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    context.autoscaling_config.actor_pool_util_upscaling_threshold = (
        1.0  # a pool grows when each of its actors has a shard
    )
    return ray.data.from_items(list(rows), override_num_blocks=len(rows))


def map_shards(
    shards: Dataset, actor: type[StageActor], arguments: tuple[str, Config, ShardCounts], settings: RayConfig
) -> Dataset:
    """Map every shard through a pool of these actors; one that dies is started anew, and its shard tried again."""
    augment = actor is AugmentActor
    warnings.filterwarnings(
        "ignore", message="`ray_remote_args_fn` is deprecated"
    )  # the named arguments lack retries so far
    return shards.map(
        actor,  # type: ignore[arg-type]
        fn_constructor_args=arguments,
        compute=ActorPoolStrategy(
            min_size=1,
            max_size=settings.augment_actors if augment else settings.train_actors,
            max_tasks_in_flight_per_actor=1,  # one that waits behind a deadly shard would be charged with its deaths
        ),
        num_cpus=settings.augment_cpus if augment else settings.train_cpus,
        num_gpus=settings.augment_gpus if augment else settings.train_gpus,
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": settings.max_attempts - 1},
    )
