"""What became of the requests of one run, and what that says; pure, and blind to what answered them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KINDS: Mapping[int, str] = {-1: "no connection", -2: "cut", -3: "no answer in 15 s", -4: "malformed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request: when it was due (CLOCK_MONOTONIC, seconds), what it got, and how long after; ``server`` '' is none.

    ``status`` is HTTP's, or one of ``KINDS`` when no whole answer came.
    """

    due: float
    latency_s: float
    status: int
    server: str
    post: bool
    retry_after: bool

    @property
    def ok(self) -> bool:
        """Whether a server gave a whole 2xx answer."""
        return 200 <= self.status < 300

    @property
    def word(self) -> str:
        """What it got, in a word."""
        return KINDS.get(self.status, str(self.status))


def parse(document: Mapping[str, Any]) -> list[Answer]:
    """Return the answers in the users' columns, in the order in which they were due."""
    columns = ("due", "latency", "status", "server", "post", "retry_after")
    return [
        Answer(
            due=due,
            latency_s=latency,
            status=status,
            server=document["names"][server],
            post=bool(post),
            retry_after=bool(retry_after),
        )
        for due, latency, status, server, post, retry_after in zip(*(document[name] for name in columns), strict=True)
    ]


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that ``percent`` of ``samples`` do not exceed; NaN of none."""
    if not samples:
        return math.nan
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def latency_ms(answers: Sequence[Answer], percent: float, *, which: Callable[[Answer], bool] | None = None) -> float:
    """Return the latency that ``percent`` of the served ones kept to, or of those that are ``which``."""
    chosen = which or (lambda answer: answer.ok)
    return percentile([answer.latency_s * 1000 for answer in answers if chosen(answer)], percent)


def served(answers: Sequence[Answer]) -> float:
    """Return the part of all requests that got a 2xx answer; NaN of none."""
    return sum(answer.ok for answer in answers) / len(answers) if answers else math.nan


def failures(answers: Sequence[Answer]) -> Counter[str]:
    """Return how many got what else, by its word."""
    return Counter(answer.word for answer in answers if not answer.ok)


def by_server(answers: Sequence[Answer]) -> Counter[str]:
    """Return how many were served by whom."""
    return Counter(answer.server for answer in answers if answer.ok)


def rate(answers: Sequence[Answer], server: str, *, begin: float, end: float) -> float:
    """Return the answers a second that ``server`` gave between two moments."""
    ended = [answer.due + answer.latency_s for answer in answers if answer.ok and answer.server == server]
    given = sum(begin <= moment < end for moment in ended)
    return given / (end - begin)


def home_again(answers: Sequence[Answer], server: str, *, wanted: float, since: float, window_s: float) -> float:
    """Return how long after ``since`` a window of arrivals began of which ``server`` served the part ``wanted``.

    Arrivals, not answers: what is asked is when requests go there again. Infinite if they never do.
    """
    later = [answer for answer in answers if answer.due >= since]
    head = 0
    for tail, first in enumerate(later):
        while head < len(later) and later[head].due < first.due + window_s:
            head += 1
        window = later[tail:head]
        if head == len(later) or not window:
            break
        if first.server == server and sum(answer.server == server for answer in window) >= wanted * len(window):
            return first.due - since
    return math.inf


def before_overflow(answers: Sequence[Answer], core: str, slots: int) -> int | None:
    """Return how many requests, after those that filled the core's ``slots``, came before the first one it did not get.

    ``answers`` begin with the core idle, and its slots fill before one of them is free again. 0: the next request that
    found the core full was served elsewhere at once. None: every one was left to the core.
    """
    for number, answer in enumerate(answers):
        if answer.ok and answer.server != core:
            return max(0, number - slots)
    return None
