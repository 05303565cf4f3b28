"""The functions' environment: typed, or an error that names the variable."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest

from core_agent.contract.plain import plain
from lambdas import environment
from lambdas.errors import VariableError
from tests.handlers.conftest import ENVIRONMENT, MORNINGS
from tests.handlers.payloads import ALARMS

READERS = (environment.place, environment.queues, environment.levels, environment.peaks, environment.period_s)


def test_everything_is_read() -> None:
    """Each variable ends up in the field of its meaning."""
    place = environment.place(ENVIRONMENT)
    assert (place.account, place.region) == ("123456789012", "eu-north-1")
    assert place.group.contract_name == "eu-north-1/drawbridge-edge"
    assert (place.core.host, place.core.port, place.core.user) == ("203.0.113.10", 22, "drawbridge")
    assert environment.queues(ENVIRONMENT).own == "https://queue.example/own"
    levels = environment.levels(ENVIRONMENT)
    assert (levels.calm_percent, levels.alarm_percent) == (25, 100)
    alarms = levels.alarms
    assert (alarms.saturated, alarms.calm, alarms.queue_long, alarms.queue_short) == ALARMS
    assert environment.period_s(ENVIRONMENT) == 10


def test_peaks_are_read_as_the_settings_have_them() -> None:
    """The stacks write the settings' own table: every field of it arrives, its defaults too."""
    (peak,) = environment.peaks(ENVIRONMENT)
    assert plain(peak) == plain(MORNINGS)
    assert environment.peaks({"DRAWBRIDGE_PEAKS": "[]"}) == ()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"start": "8"}, r"peaks\[0\].start: wanted a time of day as HH:MM.*found '8'"),
        ({"days": ["noday"]}, r"peaks\[0\].days\[0\]: wanted .*mon.*found 'noday'"),
        ({"timezone": "Europe/Asgard"}, r"peaks\[0\]: wanted a time zone of the IANA database, found 'Europe/Asgard'"),
        ({"timezone": "../../etc"}, r"peaks\[0\]: wanted a time zone of the IANA database"),
        ({"timezone": ""}, r"peaks\[0\]: wanted a time zone of the IANA database"),
        ({"level_percent": 101}, r"peaks\[0\].level_percent: wanted .*found 101"),
        ({"core_percent": 0}, r"peaks\[0\].core_percent: wanted .*found 0"),
        ({"colour": "red"}, r"peaks\[0\].colour: unknown"),
    ],
)
def test_a_broken_peak_is_named(change: dict[str, object], error: str) -> None:
    """A peak that says what cannot be is refused with the variable's name, its own number and its field."""
    broken = json.dumps([{**plain(MORNINGS), **change}])
    with pytest.raises(VariableError, match=f"reading the environment: DRAWBRIDGE_PEAKS.{error}"):
        environment.peaks({"DRAWBRIDGE_PEAKS": broken})


@pytest.mark.parametrize("text", ["{", "{}", "7", "[7]", "[" * 100_000])
def test_peaks_that_are_no_list_are_refused(text: str) -> None:
    """Whatever is no list of tables is refused as that, not by a bug."""
    with pytest.raises(VariableError, match=r"DRAWBRIDGE_PEAKS.*wanted"):
        environment.peaks({"DRAWBRIDGE_PEAKS": text})


@pytest.mark.parametrize("name", sorted(name for name in ENVIRONMENT if not name.startswith("POWERTOOLS")))
def test_each_missing_variable_is_named(name: str) -> None:
    """Without any one of them, its reader says which; so does an empty one."""
    for broken in ({k: v for k, v in ENVIRONMENT.items() if k != name}, ENVIRONMENT | {name: ""}):
        errors = []
        for read in READERS:
            try:
                read(broken)
            except VariableError as error:
                errors.append(str(error))
        assert len(errors) == 1
        assert name in errors[0]


@pytest.mark.parametrize(
    ("read", "name", "value"),
    [
        (environment.place, "DRAWBRIDGE_CORE_PORT", "0"),
        (environment.place, "DRAWBRIDGE_CORE_PORT", "65536"),
        (environment.place, "DRAWBRIDGE_CORE_PORT", "ssh"),
        (environment.place, "DRAWBRIDGE_CORE_PORT", "٢٢"),
        (environment.levels, "DRAWBRIDGE_CALM_PERCENT", "-1"),
        (environment.levels, "DRAWBRIDGE_ALARM_PERCENT", "101"),
        (environment.period_s, "DRAWBRIDGE_PERIOD_S", "9"),
        (environment.period_s, "DRAWBRIDGE_PERIOD_S", "61"),
    ],
)
def test_numbers_are_checked(read: Callable[[Mapping[str, str]], object], name: str, value: str) -> None:
    """A number outside its range is refused with its name, its range and what was found."""
    with pytest.raises(VariableError, match=f"wanted [01]+ to [0-9]+ in {name}, found '{value}'"):
        read(ENVIRONMENT | {name: value})
