"""The deployment that turns a task with its passages into an answer, as events.

One replica is one engine. Everything that computes or waits for storage runs off the event loop. What a task is answered
from is fixed when it arrives: its passages and its adapters are of the snapshot it was retrieved from, unless a newer one has
deleted some of them; then it is `Stale` and must be retrieved again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from jinja2 import TemplateError
from ray.serve.handle import DeploymentHandle

from cluster.loopback import keep_to_loopback
from cluster.records import Event, Refusal, Refused, Task
from cluster.replica.installer import NoRoom
from cluster.replica.one_round import answer_in_one_round
from cluster.replica.replica import Replica
from cluster.replica.rounds import answer_in_rounds
from prag_core.answering.registry import METHODS, OneRound
from prag_core.config.schema import Config
from prag_core.errors import EngineDiedError, EngineError, StorageError

logger = logging.getLogger("ray.serve")
RETRY_DEAD = 5  # seconds after which a client whose engine died may try again
RETRY_FULL = 1  # seconds after which a slot for an adapter may be free
ENGINE_ENDED = Refusal(
    503,
    "the engine ended; another one is being started",
    code="engine_unavailable",
    retry_after=RETRY_DEAD,
)
NO_ROOM = Refusal(
    503,
    "every adapter slot of the engine is in use; try again",
    code="overloaded",
    retry_after=RETRY_FULL,
)
NO_STORAGE = Refusal(
    503, "the bank cannot be read now; try again", code="storage_unavailable", retry_after=RETRY_DEAD
)


class Generator:
    """A deployment. `retriever` is asked by methods of several rounds."""

    async def __init__(self, config: Config, retriever: DeploymentHandle) -> None:  # type: ignore[misc]  # Serve awaits it
        keep_to_loopback()
        self.replica = Replica(config)
        self._retriever = retriever
        await self.replica.begin()

    async def answer(self, task: Task) -> AsyncGenerator[Event, None]:
        """Yield Begun, the text in pieces, Done, with Usage between them; or Stale; or a Refusal, also in the middle of it."""
        await self.replica.watch.look(task.found.seen)
        stale = self.replica.outdated(passage.key for passage in task.found.passages)
        if stale:
            yield stale
            return
        try:
            async with aclosing(self._events(task)) as events:
                async for event in events:
                    yield event
        except Refused as refused:
            yield refused.refusal
        except TemplateError as error:
            message = f"the model's chat template refuses these messages: {error}"
            yield Refusal(400, message, "messages", "template_refused")
        except EngineDiedError:
            yield ENGINE_ENDED
        except NoRoom:
            yield NO_ROOM
        except EngineError as error:
            logger.warning("task refused", extra={"request_id": task.request_id, "reason": str(error)})
            yield Refusal(400, str(error), code="engine_refused")
        except StorageError as error:
            logger.warning("bank unreadable", extra={"request_id": task.request_id, "reason": str(error)})
            yield NO_STORAGE

    def _events(self, task: Task) -> AsyncGenerator[Event, None]:
        method = METHODS[task.order.method]
        if isinstance(method, OneRound):
            return answer_in_one_round(task, method, self.replica)
        return answer_in_rounds(task, method, self.replica, self._retriever.find.remote)

    async def status(self) -> dict[str, Any]:
        """Return the replica's snapshot, the adapters that it holds and the requests at work."""
        await self.check_health()
        replica = self.replica
        return {
            "snapshot": replica.watch.newest.name,
            "installed": len(replica.installer),
            "cached_bytes": replica.cache.num_bytes,
            "at_work": len(replica.at_work),
        }

    async def check_health(self) -> None:
        """Raises EngineDiedError: Serve then replaces this replica."""
        await self.replica.engine.check_health()

    def __del__(self) -> None:
        if "replica" in self.__dict__:
            self.replica.close()
