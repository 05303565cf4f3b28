"""The load generator's command line: knows how to send what is due and print what became of it.

It must not know what it measures. One JSON line per second, then one with ``"summary": true``. On its standard input
it takes ``rate N``, ``ramp N SECONDS``, ``volley N`` (so many at once, beside the rate) and ``stop``; anything else is
answered on standard error and changes nothing. Moments in its output are this machine's CLOCK_MONOTONIC, which all its
processes share.

    python -m demo.load --url http://192.0.2.1/ --rate 100 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from demo.load.exchange import Client, Failed, Target
from demo.load.pace import MAX_RATE, MAX_SECONDS, Pace, Step, parse_rate, parse_schedule, parse_seconds
from demo.load.tally import Ledger, Tally

TICK_S = 0.002


class Load:
    """One run against one target; every request sent is counted exactly once, whatever happens to it."""

    def __init__(
        self,
        client: Client,
        steps: tuple[Step, ...],
        *,
        max_in_flight: int,
        output: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._ledger = Ledger()
        self._max_in_flight = max_in_flight
        self._output = output
        self._clock = clock
        self._start = clock()
        self._pace = Pace(steps, start=self._start)
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_answers: dict[str, float] = {}  # of servers that had not answered before this second

    @property
    def total(self) -> Tally:
        """The counts of the whole run so far."""
        return self._ledger.total

    async def run(self) -> None:
        """Send until the schedule's end or ``stop``, wait for the last answers, and print the summary."""
        second = 1
        while not self._stopped and self._clock() < self._pace.end:
            self._send(self._pace.due(now=self._clock()))
            second = self._report(second)
            await asyncio.sleep(TICK_S)
        if not self._stopped:
            self._send(self._pace.due(now=self._pace.end))
        self._stopped = True
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=TICK_S)
            second = self._report(second)
        self._client.close()
        self._print(second)
        summary = {"summary": True, "seconds": round(self._clock() - self._start, 3), **self.total.document()}
        print(json.dumps(summary | {"histogram_ms": self.total.histogram()}), file=self._output, flush=True)

    def obey(self, line: str) -> None:
        """Carry out one command from the standard input; raises ``ValueError``."""
        words = line.split()
        if words[:1] == ["rate"] and len(words) == 2:
            self._send(self._pace.set_rate(parse_rate(words[1]), now=self._clock()))
        elif words[:1] == ["ramp"] and len(words) == 3:
            rate, seconds = parse_rate(words[1]), parse_seconds(words[2])
            self._send(self._pace.ramp_to(rate, seconds=seconds, now=self._clock()))
        elif words[:1] == ["volley"] and len(words) == 2:
            self._send([self._clock()] * int(parse_rate(words[1])))
        elif words == ["stop"]:
            self._stopped = True
        elif words:
            wanted = "`rate N`, `ramp N SECONDS`, `volley N` or `stop`"
            raise ValueError(f"wanted {wanted}, found {line.strip()!r}")

    def _send(self, due: list[float]) -> None:
        if self._stopped:
            return
        for moment in due:
            self._ledger.start()
            if self._ledger.in_flight > self._max_in_flight:
                self._ledger.fail("saturated")
                continue
            task = asyncio.ensure_future(self._one(moment))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, due: float) -> None:
        try:
            server = await self._client.get()
        except Failed as failure:
            self._ledger.fail(failure.kind)
        except Exception as error:  # noqa: BLE001 -- a request must never drop out of the count, whatever went wrong
            self._ledger.fail(type(error).__name__)
        else:
            now = self._clock()
            if server not in self._ledger.total.servers:
                self._first_answers[server] = round(now, 3)
            self._ledger.succeed(server, (now - due) * 1000)

    def _report(self, second: int) -> int:
        """Print the second if it is over; return the number of the current one."""
        while self._clock() >= self._start + second:
            self._print(second)
            second += 1
        return second

    def _print(self, second: int) -> None:
        """Print the counts since the last line, and begin anew."""
        line = {
            "second": second,
            "at": round(self._clock(), 3),
            "rate": round(self._pace.rate, 3),
            "in_flight": self._ledger.in_flight,
            "first_answers": self._first_answers,
            **self._ledger.close_second().document(),
        }
        self._first_answers = {}
        print(json.dumps(line), file=self._output, flush=True)


async def _run(load: Load) -> None:
    """Run ``load`` while carrying out the lines that arrive on the standard input."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()
    pending = bytearray()

    def on_input() -> None:
        chunk = os.read(descriptor, 4096)
        if not chunk:
            loop.remove_reader(descriptor)
            return
        pending.extend(chunk)
        while b"\n" in pending:
            line, _, rest = pending.partition(b"\n")
            pending[:] = rest
            try:
                load.obey(line.decode(errors="replace"))
            except ValueError as error:
                print(error, file=sys.stderr, flush=True)

    # A regular file or /dev/null cannot be waited for (epoll_ctl(2), EPERM), and has no commands to give over time.
    with contextlib.suppress(PermissionError):
        loop.add_reader(descriptor, on_input)
    await load.run()


def main() -> int:
    """Run the load; exit status 0 if the run came to its end, whatever the answers were."""
    parser = argparse.ArgumentParser(prog="python -m demo.load", description="Open-loop load that loses no count.")
    parser.add_argument("--url", required=True, help="http://ADDRESS[:PORT]/PATH")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", metavar="RPS", help=f"requests per second, at most {MAX_RATE}")
    how.add_argument("--schedule", type=Path, metavar="FILE", help="one `SECONDS RATE` per line")
    parser.add_argument("--seconds", default="60", metavar="S", help=f"with --rate: how long, at most {MAX_SECONDS}")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="S", help="for one answer")
    parser.add_argument("--new-connections", action="store_true", help="one per request instead of kept ones")
    parser.add_argument("--max-in-flight", type=int, default=2000, help="more count as failed, kind `saturated`")
    options = parser.parse_args()
    try:
        target = Target.parse(options.url)
        if options.schedule is not None:
            steps = parse_schedule(options.schedule.read_text())
        else:
            steps = (Step(seconds=parse_seconds(options.seconds), rate=parse_rate(options.rate)),)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    client = Client(target, keep=not options.new_connections, timeout_s=options.timeout)

    async def start() -> None:
        await _run(Load(client, steps, max_in_flight=options.max_in_flight, output=sys.stdout))

    asyncio.run(start())
    return 0


if __name__ == "__main__":
    sys.exit(main())
