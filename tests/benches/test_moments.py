"""What the bench of fleet changes makes of HAProxy's own words, look by look."""

from __future__ import annotations

from benches.fleet_changes.moments import Moment, Moments

NODE = "10.100.0.2:8080"


def row(status: str, *, check: str = "L7OK", answered: int = 0, busy: int = 0) -> dict[str, str]:
    """One line of `show stat`."""
    return {"status": status, "check_status": check, "hrsp_2xx": str(answered), "scur": str(busy)}


def test_a_node_of_its_own_server_is_followed_from_its_first_look_to_its_last() -> None:
    """Each moment is the time of the first look that shows it."""
    moments = Moments()
    looks = [
        {NODE: row("MAINT", check="INI")},
        {NODE: row("MAINT")},
        {NODE: row("UP")},
        {NODE: row("UP", answered=3)},
        {NODE: row("DRAIN", answered=9, busy=1)},
        {},
    ]
    for now, look in enumerate(looks):
        moments.take_in(look, now)
    assert list(moments.of(NODE).items()) == list(zip(Moment, range(6), strict=True))


def test_answers_of_the_server_s_last_node_are_not_the_new_one_s() -> None:
    """A server that changes its address keeps its counters: only what is added counts as served."""
    moments = Moments()
    moments.take_in({NODE: row("UP", answered=70)}, 1)
    assert Moment.SERVED not in moments.of(NODE)
    moments.take_in({NODE: row("UP", answered=71)}, 2)
    assert moments.of(NODE)[Moment.SERVED] == 2


def test_a_new_worker_counts_from_zero() -> None:
    """After a reload a smaller count is no answer, and the first one above zero is."""
    moments = Moments()
    moments.take_in({NODE: row("UP", answered=70)}, 1)
    moments.take_in({NODE: row("UP", answered=0)}, 2)
    assert Moment.SERVED not in moments.of(NODE)
    moments.take_in({NODE: row("UP", answered=1)}, 3)
    assert moments.of(NODE)[Moment.SERVED] == 3


def test_a_server_in_maintenance_is_done_only_without_a_connection() -> None:
    """Closed at once, let go of when its last request is over; what stays in the file is not a new node."""
    moments = Moments()
    moments.take_in({NODE: row("UP")}, 1)
    moments.take_in({NODE: row("MAINT", busy=2)}, 2)
    assert moments.of(NODE)[Moment.CLOSED] == 2
    assert Moment.REMOVED not in moments.of(NODE)
    moments.take_in({NODE: row("MAINT")}, 3)
    moments.take_in({NODE: row("MAINT")}, 4)
    assert moments.of(NODE)[Moment.REMOVED] == 3


def test_an_address_that_comes_back_begins_anew() -> None:
    """The moments of the node before are forgotten when another one opens at its address."""
    moments = Moments()
    moments.take_in({NODE: row("UP", answered=5)}, 1)
    moments.take_in({}, 2)
    moments.take_in({NODE: row("UP", answered=0)}, 3)
    assert dict(moments.of(NODE)) == {Moment.KNOWN: 3, Moment.HEALTHY: 3, Moment.OPEN: 3}
