"""What the agent remembers of the load: levels at each look, and what was answered between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_agent.contract.messages import ReadTelemetry, SideReport, TelemetryReport
from core_agent.desired import Mode
from core_agent.errors import DrawbridgeError
from core_agent.haproxy.facts import BackendFacts, ServerFacts
from core_agent.telemetry import Telemetry, Window
from tests.agent.core_under_test import Core, key

START = 1_800_000_000.0
CORE = ("core-a", "core-b")
NODE_SLOTS = 30


def server(
    name: str, *, busy: int = 0, queue: int = 0, answered: int = 0, failed: int = 0, **more: object
) -> ServerFacts:
    """Return one open server with 10 slots of its own."""
    facts: dict[str, object] = {"up": True, "mode": Mode.READY, "maxconn": 10, "weight": 1} | more
    return ServerFacts(
        name=name,
        id=1,
        address="192.0.2.1",
        port=80,
        checking=True,
        check="L7OK",
        busy=busy,
        queue=queue,
        answered=answered,
        failed=failed,
        **facts,  # type: ignore[arg-type]  # the four above
    )


def backend(*servers: ServerFacts, queue: int = 0, requests: int = 1000, failed: int = 0) -> BackendFacts:
    """Return what one look finds."""
    return BackendFacts(
        servers={one.name: one for one in servers}, queue=queue, requests_total=requests, failed_total=failed
    )


def telemetry() -> Telemetry:
    """Return one that has seen nothing yet."""
    return Telemetry(core=CORE, node_slots=NODE_SLOTS, queue_timeout_s=5, low_percent=30)


def after(*looks: BackendFacts, each_s: float = 2.0) -> Telemetry:
    """Return what is remembered of ``looks`` at ``each_s``."""
    seen = telemetry()
    for number, look in enumerate(looks):
        seen.sample(START + number * each_s, look)
    return seen


def window(seen: Telemetry, window_s: float = 300) -> Window:
    """Return a window that must be there."""
    found = seen.window(window_s)
    assert found is not None
    return found


def sides(seen: Telemetry, window_s: float = 300) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return what core and edge answered and failed, and what was refused."""
    answers = window(seen, window_s).answers
    core, edge = answers.core_side, answers.edge_side
    return (core.answered, core.failed), (edge.answered, edge.failed), round(answers.refused)


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "core_percent", "total_percent"),
    [
        (backend(server("core-a", busy=8), server("core-b")), 40, 40),
        (backend(server("core-a", busy=10), server("core-b", busy=10), queue=5), 125, 125),
        (backend(server("core-a", busy=10, queue=10), server("core-b", busy=10)), 150, 150),
        (backend(server("core-a", busy=8), server("core-b", up=False, busy=3)), 80, 80),
        (backend(server("core-a", busy=10), server("i-1", busy=10)), 100, 50),
        (backend(server("core-a", busy=10), server("i-1", maxconn=3, busy=2)), 100, 30),
        (backend(server("core-a", busy=10), server("i-1", busy=9, mode=Mode.DRAIN)), 100, 100),
        (backend(server("core-a", busy=10), server("i-1", busy=9, up=False)), 100, 100),
        (backend(server("core-a", busy=5), server("i-1", queue=15)), 50, 50),
        (backend(server("core-a", up=False), server("i-1", busy=15)), 100, 50),
        (backend(), 100, 100),
    ],
)
def test_saturation(look: BackendFacts, core_percent: int, total_percent: int) -> None:
    """Busy and queued over the slots of what is up and open, a node's at 100 % whatever the level; 100 without any."""
    latest = after(look).latest
    assert latest is not None
    assert (latest.core_percent, latest.total_percent) == (core_percent, total_percent)


@pytest.mark.parametrize("gone", [{"up": False}, {"weight": 0}], ids=["down", "drained"])
@pytest.mark.parametrize(("busy", "told"), [(0, None), (9, None), (10, 33), (30, 100)])
def test_an_edge_that_is_alone_is_not_called_idle(gone: dict[str, object], busy: int, told: int | None) -> None:
    """No core server takes requests: the core is full, and a low total would send home all that there is."""
    seen = after(backend(server("core-a", **gone), server("core-b", **gone), server("i-1", busy=busy)))  # type: ignore[arg-type]  # as above
    (sample,) = window(seen).samples
    assert (sample.core_percent, sample.total_percent) == (100, told)


def test_the_wait_is_the_queue_over_what_is_answered() -> None:
    """Little's law over both sides and every queue; nobody waits in no queue."""
    quiet = backend(server("core-a"), server("i-1"))
    busy = backend(server("core-a", answered=150, queue=6), server("i-1", answered=50), queue=4)
    seen = after(quiet, busy)
    assert seen.latest is not None
    assert (seen.latest.queue, seen.latest.queue_ms) == (10, 100)  # 10 wait, 100 are answered in a second
    calm = after(quiet, backend(server("core-a", answered=1)))
    assert calm.latest is not None
    assert calm.latest.queue_ms == 0


def test_the_wait_ends_where_haproxy_ends_it() -> None:
    """A queue that nothing is answered from waits for the queue's timeout, and so does one that is longer still."""
    for answered in (0, 1):
        seen = after(backend(server("core-a")), backend(server("core-a", answered=answered), queue=50))
        assert seen.latest is not None
        assert seen.latest.queue_ms == 5000


def test_the_first_look_knows_of_no_wait() -> None:
    """A queue alone, of which nothing was counted yet, is no evidence of how fast it moves."""
    seen = after(backend(server("core-a", answered=10**9), queue=50))
    assert seen.latest is not None
    assert (seen.latest.queue_ms, seen.latest.core_percent) == (0, 500)


def test_a_moment_without_an_answer_is_no_standstill() -> None:
    """The rate is that of five seconds: looks may follow each other faster than answers do."""
    looks = [backend(server("core-a", answered=100 * number)) for number in range(4)]
    seen = after(*looks)
    seen.sample(START + 6.05, backend(server("core-a", answered=300), queue=5))
    assert seen.latest is not None
    assert 90 < seen.latest.queue_ms < 120


# --- answers --------------------------------------------------------------------------------------------------------


def test_what_came_before_the_first_look_is_not_counted() -> None:
    """The agent starts later than HAProxy: the counters of the first look are where counting begins."""
    first = backend(server("core-a", answered=500, failed=50), server("i-1", answered=700), failed=60)
    assert sides(after(first)) == ((0, 0), (0, 0), 0)
    assert window(after(first)).covered_s == 0


def test_each_side_counts_its_own() -> None:
    """Answers and 5xx by side; what HAProxy refused is what the frontend failed and no server did."""
    seen = after(
        backend(server("core-a"), server("core-b"), server("i-1")),
        backend(
            server("core-a", answered=60, failed=1),
            server("core-b", answered=40, failed=2),
            server("i-1", answered=30, failed=4),
            failed=12,
        ),
    )
    assert sides(seen) == ((100, 3), (30, 4), 5)
    assert window(seen).answers.core_side == SideReport(answered=100, failed=3)


def test_a_new_server_counts_from_its_first_request() -> None:
    """It was added after the last look, with all its counters at 0."""
    seen = after(backend(server("core-a")), backend(server("core-a"), server("i-1", answered=7, failed=1), failed=1))
    assert sides(seen) == ((0, 0), (7, 1), 0)


def test_a_deleted_server_stays_counted() -> None:
    """What it answered while it was seen remains, and nothing is taken back."""
    seen = after(
        backend(server("core-a"), server("i-1")),
        backend(server("core-a"), server("i-1", answered=20)),
        backend(server("core-a", answered=5)),
    )
    assert sides(seen) == ((5, 0), (20, 0), 0)


def test_a_server_made_again_counts_anew() -> None:
    """Under its old name its counters are not what the former ones can have grown to: all of it is new."""
    seen = after(
        backend(server("i-1")),
        backend(server("i-1", answered=20, failed=3), failed=3),
        backend(server("i-1", answered=6, failed=2), failed=5),
        backend(server("i-1", answered=7, failed=7), failed=12),
    )
    assert sides(seen) == ((0, 0), (33, 12), 0)


def test_another_haproxy_counts_anew() -> None:
    """After a restart or reload every counter began at 0, even one that has overtaken its former self already."""
    seen = after(
        backend(server("core-a", answered=1000), server("i-1", answered=10), requests=2000, failed=40),
        backend(server("core-a", answered=1100, failed=1), server("i-1", answered=20), requests=2120, failed=41),
        backend(server("core-a", answered=50), server("i-1", answered=30, failed=2), requests=80, failed=3),
    )
    assert sides(seen) == ((150, 1), (40, 2), 1)


def test_a_failure_on_its_way_is_refused_by_nobody() -> None:
    """A server's 5xx counts when it begins and the frontend's when it was sent, perhaps after the next look."""
    seen = after(
        backend(server("core-a")),
        backend(server("core-a", answered=9, failed=3), failed=1),
        backend(server("core-a", answered=9, failed=3), failed=3),
        backend(server("core-a", answered=9, failed=3), failed=4),
    )
    assert sides(seen) == ((9, 3), (0, 0), 1)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 5), st.sampled_from(["go", "go", "reload", "gone"])), max_size=30
    )
)
def test_nothing_is_counted_twice_or_taken_back(story: list[tuple[int, int, str]]) -> None:
    """Whatever reloads and deletions come between, the totals are what was answered after the first look.

    A process of HAProxy that ends before it has done more than its successor at the first look cannot be told from it.
    """
    seen = after(backend(server("core-a", answered=7, failed=1), server("i-1", answered=3), requests=100, failed=9))
    counts = {"core-a": (7, 1), "i-1": (3, 0)}
    requests, failed, answered_in_all, failed_in_all = 100, 9, 0, 0
    for number, (good, bad, event) in enumerate(story, start=1):
        if event == "reload" and requests > 1000:
            counts, requests, failed = {"core-a": (0, 0), "i-1": (0, 0)}, 0, 0
        elif event == "gone":
            counts.pop("i-1", None)
        else:
            counts.setdefault("i-1", (0, 0))
        counts = {
            name: (old_answered + good + bad, old_failed + bad) for name, (old_answered, old_failed) in counts.items()
        }
        answered_in_all += (good + bad) * len(counts)
        failed_in_all += bad * len(counts)
        requests, failed = requests + 600, failed + bad * len(counts) + 1
        facts = [server(name, answered=answers, failed=failures) for name, (answers, failures) in counts.items()]
        seen.sample(START + number, backend(*facts, requests=requests, failed=failed))
    totals = seen.totals
    assert (totals.core + totals.edge, totals.core_failed + totals.edge_failed) == (answered_in_all, failed_in_all)
    assert totals.refused == len(story)


# --- windows --------------------------------------------------------------------------------------------------------


def growing(number: int) -> BackendFacts:
    """The ``number``-th look at a core that answers ten requests between two."""
    return backend(server("core-a", answered=10 * number), requests=10 * number)


def test_before_the_first_look_there_is_no_window() -> None:
    """Nothing seen is not nothing there."""
    assert telemetry().window(60) is None
    assert telemetry().latest is None


def test_a_window_has_the_samples_in_it() -> None:
    """In order, each with its moment; so much of the time is covered, and so much was answered."""
    seen = after(*(growing(number) for number in range(31)))
    found = window(seen, 10)
    assert [one.at_ms / 1000 - START for one in found.samples] == [52, 54, 56, 58, 60]
    assert (found.covered_s, found.answers.core_side.answered) == (10, 50)


def test_soon_after_the_start_less_is_covered_than_asked() -> None:
    """The window says how much it knows of."""
    found = window(after(*(growing(number) for number in range(4))), 60)
    assert (found.covered_s, found.answers.core_side.answered) == (6, 30)


def test_the_latest_look_is_in_every_window() -> None:
    """Even when looks are further apart than the window is long; answers count by the share of time inside."""
    found = window(after(*(growing(number) for number in range(4)), each_s=12), 3)
    assert [one.at_ms / 1000 - START for one in found.samples] == [36]
    assert (found.covered_s, found.answers.core) == (3, 2.5)


def test_windows_that_follow_each_other_count_everything_once() -> None:
    """Asked every seven seconds for seven, looking every two: nothing is missed or doubled."""
    seen, counted = telemetry(), 0.0
    for number in range(71):
        seen.sample(START + 2 * number, growing(number))
        if number and not number % 7:
            counted += window(seen, 14).answers.core
    assert counted == 700


def test_five_minutes_are_kept() -> None:
    """However long it runs and however often it looks, it holds 300 samples and a few."""
    seen = after(*(growing(number) for number in range(4000)), each_s=0.25)
    assert len(seen._intervals) <= 301
    found = window(seen)
    assert 298 <= found.covered_s <= 300
    assert seen.totals.core == 39_990


def test_looks_in_quick_succession_are_one_sample() -> None:
    """Commands make looks too: what they count is kept, the latest level stands for all."""
    seen = after(*(growing(number) for number in range(3)))
    seen.sample(START + 4.1, growing(3))
    seen.sample(START + 4.2, backend(server("core-a", answered=40, busy=9), requests=40))
    found = window(seen, 60)
    assert [one.at_ms / 1000 - START for one in found.samples] == [2, 4, pytest.approx(4.2)]
    assert found.samples[-1].core_percent == 90
    assert found.answers.core == 40


def test_a_clock_set_back_begins_anew() -> None:
    """What was seen at moments still to come cannot be put in order; what was answered is counted all the same."""
    seen = after(*(growing(number) for number in range(5)))
    seen.sample(START - 1000, growing(6))
    seen.sample(START - 998, growing(7))
    found = window(seen)
    assert [one.at_ms / 1000 - START for one in found.samples] == [-998]
    assert (found.covered_s, seen.totals.core) == (2, 70)


# --- what the core's slots should be --------------------------------------------------------------------------------


def measured(*, up: bool = True) -> Telemetry:
    """Return what saw core-a half idle for two minutes and then full: 25 slots would do."""
    seen, answered = telemetry(), 0
    for number in range(120):
        busy, per_s = (10, 164) if number < 60 else (50, 410)
        answered += 2 * per_s
        edge = server("i-1", busy=busy, answered=answered)
        facts = server("core-a", busy=busy, answered=answered, up=up)
        seen.sample(START + 2 * number, backend(facts, edge, requests=answered))
    return seen


def test_the_cores_servers_are_measured() -> None:
    """Each by its own busy slots and answers; nothing is said of a node or a stranger."""
    suggestion = measured().suggestion("core-a", slots=50)
    assert suggestion is not None
    assert suggestion.slots == 25
    assert "at 50 busy it answers 410/s in 122 ms each" in suggestion.reason
    assert [measured().suggestion(name, slots=50) for name in ("core-b", "i-1", "nobody")] == [None] * 3


def test_a_server_that_is_down_is_not_measured() -> None:
    """What it still finishes then says nothing of what it can do."""
    assert measured(up=False).suggestion("core-a", slots=50) is None


# --- as the agent tells it ------------------------------------------------------------------------------------------


def ask(core: Core, window_s: int = 60) -> TelemetryReport:
    """Return what the agent answers."""
    report = core.agent.carry_out(ReadTelemetry(window_s=window_s))
    assert isinstance(report, TelemetryReport)
    return report


def test_the_agent_samples_every_full_look(core: Core) -> None:
    """Told a window, it answers from its looks alone: asking is no look, and changes nothing."""
    core.join(1)
    core.agent.tick()
    core.host.answer("no-primary", 90, failed=3)
    core.host.answer("i-1", 10)
    core.host.refuse(2)
    core.host.busy("no-primary", 25)
    core.now += 2
    core.agent.tick()
    core.host.answer("no-primary", 1000)
    report = ask(core)
    assert (report.core_side, report.edge_side, report.refused) == (
        SideReport(answered=90, failed=3),
        SideReport(answered=10, failed=0),
        2,
    )
    assert report.samples[-1].core_percent == 50
    assert (report.covered_s, report.nodes.active) == (2, 1)
    assert ask(core) == report


def test_a_new_life_of_the_agent_counts_from_its_first_look(core: Core) -> None:
    """What HAProxy had counted by then belongs to nobody's window."""
    core.host.answer("no-primary", 500)
    core.restart()
    core.agent.tick()
    core.host.answer("no-primary", 5)
    core.now += 2
    core.agent.tick()
    assert ask(core).core_side.answered == 5


def test_stale_peers_are_those_that_should_speak(core: Core) -> None:
    """Of active nodes the oldest handshake's age, and how many have none that WireGuard still counts."""
    core.join(1, 2, 3)
    for number, age in ((1, 30), (2, 200)):
        core.host.handshake(key(number), int(core.now) - age)
    core.agent.tick()
    report = ask(core)
    assert (report.handshake_age_s, report.stale_peers) == (200, 1)
    core.sync(i_1="serving", i_2="resting", i_3="serving")
    core.agent.tick()
    assert ask(core).stale_peers == 0


def test_a_core_that_cannot_be_seen_tells_nothing(core: Core) -> None:
    """No report is better than an old one that looks new: an alarm that misses it does not move."""
    core.agent.tick()
    core.now += 2
    core.host.haproxy_down = True
    with pytest.raises(DrawbridgeError):
        core.agent.tick()
    with pytest.raises(DrawbridgeError):
        ask(core)
