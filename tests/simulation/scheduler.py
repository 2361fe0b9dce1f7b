"""The scheduler: lets one actor run at a time, from one storage call to the next, and decides what becomes of each call.

Everything is drawn from one generator: who goes on, which calls fail, lose their reply or are repeated hours later, who dies, who
sleeps. An actor is a greenlet, so handing over costs a microsecond.
"""

from __future__ import annotations

import errno
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import greenlet

from tests.simulation.store import Flavor

WRITES = ("put", "create", "remove")
MOST_STEPS = 20_000
START = 1_700_000_000.0


class Crashed(BaseException):
    """Ends an actor as SIGKILL does: nothing of what it does while it unwinds reaches the store."""


class Endless(Exception):
    """Raised when a history does not end."""


@dataclass(frozen=True)
class Faults:
    """How often, a call, an actor dies, an error or a lost reply comes, a write is repeated later, an actor is held up for long;
    and how often the same actor goes on."""

    crash: float = 0.0
    error: float = 0.0
    lost: float = 0.0
    repeat: float = 0.0
    pause: float = 0.0
    stay: float = 0.0

    @classmethod
    def draw(cls, chance: random.Random) -> Faults:
        """Faults of one history. A third have none, so that plain races are found in plain histories."""
        stay = chance.choice((0.0, 0.5, 0.8, 0.95))
        if chance.random() < 0.35:
            return cls(pause=chance.choice((0.0, 0.01, 0.03)), stay=stay)

        def rate(*rates: float) -> float:
            return chance.choice((0.0, *rates))

        return cls(
            rate(0.003, 0.01), rate(0.003, 0.02), rate(0.003, 0.02), rate(0.01), rate(0.01, 0.03), stay
        )


class Actor(greenlet.greenlet):
    """Somebody at work on the bank: a process. `skew`: seconds by which its clock is ahead; `wake`: when it goes on."""

    def __init__(self, name: str, work: Callable[[Actor], None], skew: float = 0.0) -> None:
        super().__init__(self._live)
        self.name, self.work, self.skew = name, work, skew
        self.wake, self.crashed, self.waiting = 0.0, False, ("start", "")

    def _live(self) -> None:
        try:
            self.work(self)
        except Crashed:
            self.crashed = True


@dataclass
class Event:
    """A line of a history."""

    clock: float
    who: str
    what: str
    note: str = ""


@dataclass
class Scheduler:
    """One history's clock, actors and faults."""

    chance: random.Random
    flavor: Flavor
    faults: Faults
    clock: float = START
    step: int = 0
    actors: list[Actor] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _late: list[tuple[float, int, str, str, Callable[[int], Any]]] = field(default_factory=list)
    _last: Actor | None = None
    _aside: bool = False

    # -- what the store and the bank's code ask for ---------------------------------------------------------------------

    def call(self, verb: str, path: str, effect: Callable[[int], Any]) -> Any:
        actor = self.current()
        if actor is None:  # the oracle looks, or the history is being prepared or ended
            self.step += 1
            return effect(self.step)
        if actor.crashed:
            raise Crashed
        began = self.step
        actor.waiting = (verb, path)
        self._hand_over(actor)
        return self._effect(actor, verb, path, effect, began)

    def _effect(self, actor: Actor, verb: str, path: str, effect: Callable[[int], Any], began: int) -> Any:
        faults, draw = self.faults, self.chance.random
        what = f"{verb} {path}"
        if draw() < faults.crash:
            self._crash(actor, what, "dies before it")
        if draw() < faults.error:
            self.note(actor.name, what, "fails")
            raise OSError(errno.ECONNRESET, "connection reset (simulated)")
        if verb in WRITES and draw() < faults.repeat:
            due = self.clock + self._long()
            heapq.heappush(self._late, (due, began, actor.name, what, effect))
        try:
            result = effect(began)
        except OSError as error:
            self.note(actor.name, what, type(error).__name__)
            raise
        if draw() < faults.crash:
            self._crash(actor, what, "is done, and then dies")
        if draw() < faults.lost:
            self.note(actor.name, what, "is done, and its reply lost")
            raise OSError(errno.ECONNRESET, "connection reset (simulated)")
        self.note(actor.name, what)
        return result

    def _crash(self, actor: Actor, what: str, how: str) -> None:
        self.note(actor.name, what, how)
        actor.crashed = True
        raise Crashed

    def sleep(self, seconds: float) -> None:
        actor = self.current()
        if actor is None:
            self.clock += seconds
            return
        if actor.crashed:
            raise Crashed
        actor.wake = self.clock + seconds
        self._hand_over(actor)

    def now(self) -> float:
        actor = self.current()
        return self.clock + (actor.skew if actor else 0.0)

    def elapsed(self) -> float:
        return self.clock

    def current(self) -> Actor | None:
        """The actor at work. None while the history is prepared, looked at or ended."""
        running = greenlet.getcurrent()
        return running if isinstance(running, Actor) and not self._aside else None

    def aside(self, work: Callable[[], None]) -> None:
        """Do something while all actors stand still."""
        self._aside = True
        try:
            work()
        finally:
            self._aside = False

    def note(self, who: str, what: str, note: str = "") -> None:
        self.events.append(Event(self.clock, who, what, note))

    # -- the loop -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run all actors until each has ended or died, then deliver what is still on its way."""
        try:
            while living := [actor for actor in self.actors if not actor.dead]:
                self._deliver()
                ready = [actor for actor in living if actor.wake <= self.clock]
                if ready:
                    self._resume(ready)
                else:
                    self.clock = min([actor.wake for actor in living] + [late[0] for late in self._late[:1]])
            while self._late:
                self.clock = max(self.clock, self._late[0][0])
                self._deliver()
        finally:
            self._end()

    def _resume(self, ready: list[Actor]) -> None:
        actor = self._last
        if actor not in ready or self.chance.random() >= self.faults.stay:
            actor = self.chance.choice(ready)
        self._last = actor
        assert actor is not None
        self.step += 1
        self.clock += self.chance.expovariate(20.0)
        if self.step > MOST_STEPS:
            raise Endless(f"no end after {MOST_STEPS} storage calls")
        actor.switch()

    def _hand_over(self, actor: Actor) -> None:
        if self.chance.random() < self.faults.pause:
            seconds = self._long()
            self.note(actor.name, f"(is held up for {seconds / 3600:.1f} h)")
            actor.wake = max(actor.wake, self.clock + seconds)
        assert actor.parent is not None
        actor.parent.switch()
        if actor.crashed:
            raise Crashed

    def _long(self) -> float:
        return self.chance.choice((1.0, 60.0, 1800.0, 7200.0, 30 * 3600.0)) * (0.5 + self.chance.random())

    def _deliver(self) -> None:
        """Let writes arrive that were repeated and delayed."""
        while self._late and self._late[0][0] <= self.clock:
            _, began, who, what, effect = heapq.heappop(self._late)
            note = "arrives once more"
            try:
                effect(began)
            except OSError as error:
                note = f"{note}: {type(error).__name__}"
            self.note(who, what, note)

    def _end(self) -> None:
        """Unwind actors that a violation has left in the middle of their work."""
        for actor in self.actors:
            if not actor.dead:
                actor.crashed = True
                if actor:  # has begun
                    actor.throw(Crashed)
