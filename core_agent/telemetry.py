"""How the load was in the last five minutes, from one look at HAProxy after another; it knows no clock and no AWS.

Levels (saturation, queue) are of the moment of each look; answers are counted between looks, from counters that begin
anew when HAProxy is reloaded or a server is made again. What a server answered after the last look before it was
deleted, and the old process after the last look before a reload, is not seen by anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from core_agent.capacity import Capacity
from core_agent.contract.messages import LoadSample, SideReport, Suggestion
from core_agent.desired import Mode
from core_agent.haproxy.facts import BackendFacts, ServerFacts

_KEPT_S = 300.0
# Looks may follow each other within milliseconds; so many are one sample.
_SHORTEST_S = 1.0
# A rate over less is mostly chance.
_RATE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Requests by who answered them; ``refused`` ones were answered 5xx by HAProxy itself."""

    core: float = 0
    core_failed: float = 0
    edge: float = 0
    edge_failed: float = 0
    refused: float = 0

    def __add__(self, other: Self) -> Self:
        return replace(
            self,
            core=self.core + other.core,
            core_failed=self.core_failed + other.core_failed,
            edge=self.edge + other.edge,
            edge_failed=self.edge_failed + other.edge_failed,
            refused=self.refused + other.refused,
        )

    def part(self, share: float) -> Self:
        """Return this ``share`` of all of them, 0 to 1."""
        return replace(
            self,
            core=self.core * share,
            core_failed=self.core_failed * share,
            edge=self.edge * share,
            edge_failed=self.edge_failed * share,
            refused=self.refused * share,
        )

    @property
    def core_side(self) -> SideReport:
        """The core's, in whole requests."""
        return SideReport(answered=round(self.core), failed=round(self.core_failed))

    @property
    def edge_side(self) -> SideReport:
        """The edge's, in whole requests."""
        return SideReport(answered=round(self.edge), failed=round(self.edge_failed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The last ``covered_s`` seconds before the latest look: the samples in order, the latest always among them."""

    covered_s: int
    samples: tuple[LoadSample, ...]
    answers: Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval:
    """What was answered from ``since`` to ``until``, Unix seconds, and the load at its end."""

    since: float
    until: float
    answers: Answers
    load: LoadSample

    @property
    def seconds(self) -> float:
        return self.until - self.since

    def after(self, moment: float) -> float:
        """The share of the interval that lies after ``moment``."""
        return 1.0 if self.since >= moment else max(0.0, (self.until - moment) / self.seconds)


class Telemetry:
    """Takes a sample at every full look and tells how a window went; the caller allows one thread at a time.

    ``core`` names the core's own servers. A node works on ``node_slots`` requests at a time at a burst level of 100 %.
    HAProxy lets a request wait for ``queue_timeout_s``. Up to ``low_percent`` slots are there to spare.
    """

    def __init__(self, *, core: Collection[str], node_slots: int, queue_timeout_s: float, low_percent: int) -> None:
        self.core = frozenset(core)
        self._node_slots = node_slots
        self._low_percent = low_percent
        self._queue_timeout_ms = queue_timeout_s * 1000
        self._counters: _Counters | None = None
        self._intervals: deque[_Interval] = deque()
        self._totals = Answers()
        self._capacity = {name: Capacity() for name in core}

    @property
    def totals(self) -> Answers:
        """Everything that was answered since the first sample."""
        return self._totals

    @property
    def latest(self) -> LoadSample | None:
        """The load at the latest look; None before the first."""
        return self._intervals[-1].load if self._intervals else None

    def suggestion(self, server: str, *, slots: int) -> Suggestion | None:
        """Return what the measurements say of the core server ``server``, which has ``slots`` now."""
        capacity = self._capacity.get(server)
        return None if capacity is None else capacity.suggestion(slots)

    def sample(self, now: float, backend: BackendFacts) -> None:
        """Take in what a full look at ``now``, Unix seconds, found that HAProxy runs."""
        former = self._intervals[-1] if self._intervals else None
        if former is not None and now < former.until:  # the clock was set back: nothing can be put in order
            self._intervals.clear()
            former = None
        since = now if former is None else former.until
        if self._counters is None:
            self._counters = _Counters(backend)
            answers = Answers()
        else:
            grown = self._counters.follow(backend)
            answers = self._sides(grown.servers, grown.refused)
            self._measure(now, now - since, backend, grown.servers)
        self._totals += answers
        if former is not None and former.seconds < _SHORTEST_S:
            self._intervals.pop()
            since, answers = former.since, former.answers + answers
        load = self._load(now, backend, since=since, answers=answers)
        self._intervals.append(_Interval(since=since, until=now, answers=answers, load=load))
        while self._intervals[0].until <= now - _KEPT_S:
            self._intervals.popleft()

    def window(self, window_s: float) -> Window | None:
        """Return how the last ``window_s`` seconds before the latest look went; None before the first look.

        An interval that began before the window counts by the share of it that lies inside, so that windows that
        follow each other count every answer once.
        """
        if not self._intervals:
            return None
        begin = self._intervals[-1].until - window_s
        inside = [one for one in self._intervals if one.until > begin]
        return Window(
            covered_s=round(sum(one.seconds * one.after(begin) for one in inside)),
            samples=tuple(one.load for one in inside),
            answers=sum((one.answers.part(one.after(begin)) for one in inside), Answers()),
        )

    def _sides(self, servers: Mapping[str, _Count], refused: int) -> Answers:
        core = [count for name, count in servers.items() if name in self.core]
        edge = [count for name, count in servers.items() if name not in self.core]
        return Answers(
            core=sum(count.answered for count in core),
            core_failed=sum(count.failed for count in core),
            edge=sum(count.answered for count in edge),
            edge_failed=sum(count.failed for count in edge),
            refused=refused,
        )

    def _measure(self, now: float, seconds: float, backend: BackendFacts, grown: Mapping[str, _Count]) -> None:
        for name, capacity in self._capacity.items():
            server = backend.servers.get(name)
            if server is not None and server.up:
                capacity.sample(
                    now,
                    seconds=seconds,
                    busy=server.busy,
                    answered=grown[name].answered,
                    failed=grown[name].failed,
                )

    def _load(self, now: float, backend: BackendFacts, *, since: float, answers: Answers) -> LoadSample:
        servers = backend.servers.values()
        core = [server for server in servers if server.name in self.core and server.takes]
        edge = [server for server in servers if server.name not in self.core and _open(server)]
        core_queue = backend.queue + sum(server.queue for server in core)
        queue = backend.queue + sum(server.queue for server in servers)
        busy, slots = sum(server.busy for server in core), sum(server.maxconn for server in core)
        edge_busy, edge_slots = sum(server.busy for server in edge), len(edge) * self._node_slots
        total = _percent(busy + edge_busy + queue, slots + edge_slots)
        return LoadSample(
            at_ms=round(now * 1000),
            core_percent=_percent(busy + core_queue, slots),
            total_percent=total if core or total > self._low_percent else None,
            queue=queue,
            queue_ms=self._queue_ms(queue, now - since, answers),
        )

    def _queue_ms(self, queue: int, seconds: float, answers: Answers) -> int:
        """How long a request that comes now would wait: Little's law, queue length over answers per second.

        While nothing is answered it would wait for as long as HAProxy lets it. Before anything could be counted,
        nothing says that it would wait at all.
        """
        answered = answers.core + answers.edge
        for one in reversed(self._intervals):
            if seconds >= _RATE_S:
                break
            seconds += one.seconds
            answered += one.answers.core + one.answers.edge
        if queue == 0 or seconds == 0:
            return 0
        if answered == 0:
            return round(self._queue_timeout_ms)
        return round(min(self._queue_timeout_ms, 1000 * queue * seconds / answered))


class _Count(NamedTuple):
    """Answers of one server, and how many of them were 5xx; a tuple, because a large fleet makes thousands a look."""

    answered: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Growth:
    servers: Mapping[str, _Count]
    refused: int


class _Counters:
    """HAProxy's counters as they were last seen."""

    def __init__(self, backend: BackendFacts) -> None:
        self._remember(backend)
        self._owed = 0

    def _remember(self, backend: BackendFacts) -> None:
        self._servers = {name: _Count(one.answered, one.failed) for name, one in backend.servers.items()}
        self._requests, self._failed = backend.requests_total, backend.failed_total

    def follow(self, backend: BackendFacts) -> _Growth:
        """Remember the counters in ``backend`` and return what they have grown by since the last ones."""
        anew = backend.requests_total < self._requests  # another process of HAProxy: all of them began at 0
        before: Mapping[str, _Count] = {} if anew else self._servers
        servers = {name: _grown(server, before.get(name)) for name, server in backend.servers.items()}
        failed = backend.failed_total - (0 if anew else self._failed)
        # A server's 5xx counts when it begins, the frontend's when it has been sent: the difference comes later.
        balance = (0 if anew else self._owed) + failed - sum(count.failed for count in servers.values())
        self._owed = min(0, balance)
        self._remember(backend)
        return _Growth(servers=servers, refused=max(0, balance))


def _grown(server: ServerFacts, before: _Count | None) -> _Count:
    """A server was made again under its old name when its counters cannot have grown to what they are."""
    if before is not None:
        answered, failed = server.answered - before.answered, server.failed - before.failed
        if 0 <= failed <= answered:
            return _Count(answered, failed)
    return _Count(server.answered, server.failed)


def _open(server: ServerFacts) -> bool:
    return server.up and server.mode is Mode.READY


def _percent(requests: int, slots: int) -> int:
    return round(100 * requests / slots) if slots else 100
