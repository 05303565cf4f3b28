"""When an alarm is in which state: AWS's own table of missing data, and the comparisons."""

import pytest

from demo.aws.alarms import AlarmState, Missing, Rule, evaluate

OK, ALARM, NO_DATA = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA
KEEP = None

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html: the newest point is last;
# 0 does not breach, X breaches, - is missing; then missing, ignore, breaching, notBreaching.
THREE_OF_THREE = [
    ("0-X-X", OK, OK, OK, OK),
    ("----0", OK, OK, OK, OK),
    ("-----", NO_DATA, KEEP, ALARM, OK),
    ("0XX-X", ALARM, ALARM, ALARM, ALARM),
    ("--X--", ALARM, KEEP, ALARM, OK),
]
TWO_OF_THREE = [
    ("0-X-X", ALARM, ALARM, ALARM, ALARM),
    ("00X0X", ALARM, ALARM, ALARM, ALARM),
    ("0-X--", OK, OK, ALARM, OK),
    ("----0", OK, OK, ALARM, OK),
    ("---X-", ALARM, KEEP, ALARM, OK),
]


@pytest.mark.parametrize(
    ("datapoints", "history", "wanted"),
    [
        pytest.param(datapoints, row[0], row[1:], id=f"{datapoints}of3 {row[0]}")
        for datapoints, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
        for row in table
    ],
)
def test_missing_data_as_aws_tables_it(datapoints: int, history: str, wanted: tuple[AlarmState | None, ...]) -> None:
    """Each way to treat missing data gives the state that AWS documents."""
    recent = [{"0": 0.0, "X": 9.0, "-": None}[mark] for mark in reversed(history)]
    for missing, state in zip(Missing, wanted, strict=True):
        rule = Rule(comparison="GreaterThanThreshold", threshold=5, periods=3, datapoints=datapoints, missing=missing)
        for current in (OK, ALARM):
            assert evaluate(rule, recent, current) is (current if state is KEEP else state), (missing, current)


@pytest.mark.parametrize(
    ("comparison", "value", "breaches"),
    [
        ("GreaterThanThreshold", 5.0, False),
        ("GreaterThanOrEqualToThreshold", 5.0, True),
        ("LessThanThreshold", 5.0, False),
        ("LessThanOrEqualToThreshold", 5.0, True),
    ],
)
def test_comparisons_at_the_threshold(comparison: str, value: float, *, breaches: bool) -> None:
    """Each comparison operator says whether the threshold itself breaches."""
    rule = Rule(comparison=comparison, threshold=5, periods=1, datapoints=1, missing=Missing.MISSING)
    assert evaluate(rule, [value, None, None], OK) is (ALARM if breaches else OK)
