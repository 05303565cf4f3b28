"""A claim says what was found, and says it loudly when that is not enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benches import claims
from benches.claims import Claim, Spread


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the repository's own results as they are."""
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def _claim(value: float, goal: float | None) -> Claim:
    return Claim(claim="a join", value=value, unit="×", goal=goal, how="twice", spread=Spread.of([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(("value", "goal", "holds"), [(1.5, 1.5, True), (1.51, 1.5, False), (9.0, None, None)])
def test_a_goal_is_the_most_that_a_value_may_be(value: float, goal: float | None, holds: object) -> None:
    """The goal itself is still met; without a goal there is no verdict."""
    assert _claim(value, goal).holds is holds


def test_a_spread_is_the_median_between_the_tenths() -> None:
    """Of 0 to 100, the tenth percentile is 10 and the ninetieth 90; one sample is its own spread."""
    assert Spread.of([float(number) for number in range(101)]) == Spread(median=50, p10=10, p90=90)
    assert Spread.of([7.0]) == Spread(median=7, p10=7, p90=7)


def test_a_missed_goal_is_said_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the table stands which claim does not hold, by how much, and how many do."""
    claims.publish("speed", [_claim(1.2, 1.5), _claim(1.7, 1.5), _claim(9.0, None)])
    told = capsys.readouterr().out
    assert "DOES NOT HOLD: a join: 1.7 ×, goal ≤ 1.5" in told
    assert "1 of 2 goals met" in told


def test_a_value_that_rounds_to_its_goal_is_not_told_as_met(results: Path) -> None:
    """The verdict is on what was measured, not on the three digits that are shown."""
    claims.publish("speed", [_claim(1.5001, 1.5)])
    assert json.loads((results / "speed.json").read_text())[0]["holds"] is False


def test_the_results_hold_every_claim(results: Path) -> None:
    """A document a claim, with value, unit, goal, verdict, the way and the spread."""
    claims.publish("speed", [_claim(1.23456, 1.5)])
    assert json.loads((results / "speed.json").read_text()) == [
        {
            "claim": "a join",
            "value": 1.23,
            "unit": "×",
            "goal": 1.5,
            "holds": True,
            "how": "twice",
            "p10": 1.2,
            "p90": 2.8,
        }
    ]


def test_a_first_look_leaves_the_results_alone(results: Path) -> None:
    """Without ``write`` nothing is kept."""
    claims.publish("speed", [_claim(1.0, 1.5)], write=False)
    assert not results.exists()
