"""The functions' environment: typed, or an error that names the variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lambdas import environment
from lambdas.errors import VariableError
from tests.handlers.conftest import ENVIRONMENT

READERS = (environment.place, environment.queues, environment.burst_levels)


def test_everything_is_read() -> None:
    """Each variable ends up in the field of its meaning."""
    place = environment.place(ENVIRONMENT)
    assert (place.account, place.region) == ("123456789012", "eu-north-1")
    assert place.group.contract_name == "eu-north-1/drawbridge-edge"
    assert (place.core.host, place.core.port, place.core.user) == ("203.0.113.10", 22, "drawbridge")
    assert environment.queues(ENVIRONMENT).own == "https://queue.example/own"
    levels = environment.burst_levels(ENVIRONMENT)
    assert (levels.alarm, levels.calm_percent, levels.alarm_percent) == ("drawbridge-core-saturated", 25, 100)


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
        (environment.burst_levels, "DRAWBRIDGE_CALM_PERCENT", "-1"),
        (environment.burst_levels, "DRAWBRIDGE_ALARM_PERCENT", "101"),
    ],
)
def test_numbers_are_checked(read: Callable[[Mapping[str, str]], object], name: str, value: str) -> None:
    """A number outside its range is refused with its name, its range and what was found."""
    with pytest.raises(VariableError, match=f"wanted [01] to [0-9]+ in {name}, found '{value}'"):
        read(ENVIRONMENT | {name: value})
