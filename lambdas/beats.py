"""When telemetry asks within an invocation: once in each period of the clock; it must not know what is asked.

CloudWatch judges periods that begin at whole multiples of their length: so a beat is due at each of those.
Rule 1: the newest beat that is due is taken, and one that the asking before it overran is dropped: nothing piles up.
Rule 2: a container takes no beat twice, though its invocations come a minute apart only more or less.
Rule 3: no beat is begun that could not end within its invocation, which ends before the next one begins.
Rule 4: where a beat a minute is enough, nobody waits for it: waiting is paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

_INVOCATION_MS = 60_000


class Beats:
    """Lives as long as its container. ``wait_ms`` waits that many milliseconds, none for less than 0."""

    def __init__(self, *, period_s: int, now_ms: Callable[[], int], wait_ms: Callable[[int], None]) -> None:
        self._period_ms = 1000 * period_s
        self._now_ms = now_ms
        self._wait_ms = wait_ms
        self._last_ms = 0

    def during(self, remaining_ms: int, *, patience_ms: int) -> Iterator[int]:
        """Wait for each beat of an invocation that has ``remaining_ms`` left, and yield it as Unix milliseconds.

        What is done at a beat may take ``patience_ms``.
        """
        now_ms = self._now_ms()
        waits = self._period_ms < _INVOCATION_MS
        latest_ms = now_ms + min(remaining_ms, _INVOCATION_MS) - patience_ms
        while True:
            newest_due_ms = now_ms - now_ms % self._period_ms
            beat_ms = max(newest_due_ms, self._last_ms + self._period_ms)
            if max(beat_ms, now_ms) > latest_ms or (beat_ms > now_ms and not waits):
                return
            self._wait_ms(beat_ms - now_ms)
            self._last_ms = beat_ms
            yield beat_ms
            now_ms = self._now_ms()
