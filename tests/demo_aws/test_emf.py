"""The embedded metric format."""

import json
from datetime import UTC, datetime

import pytest

from demo.aws import emf
from tests.demo_aws.probe import Json

LINE = {
    "_aws": {
        "Timestamp": 1_700_000_000_000,
        "CloudWatchMetrics": [
            {
                "Namespace": "Drawbridge",
                "Dimensions": [["service"], ["service", "group"]],
                "Metrics": [{"Name": "Saturation", "Unit": "Percent"}, {"Name": "Absent"}],
            }
        ],
    },
    "service": "fleet",
    "group": "edge",
    "Saturation": [81.0, 90],
}


def test_one_point_per_set_of_dimensions() -> None:
    """A metric is published under every set of dimensions, with all its values; one without a value is left out."""
    points = list(emf.parse(json.dumps(LINE)))
    assert [point.dimensions for point in points] == [{"service": "fleet"}, {"service": "fleet", "group": "edge"}]
    first = points[0]
    assert (first.namespace, first.name, first.unit, first.values) == (
        "Drawbridge",
        "Saturation",
        "Percent",
        (81.0, 90.0),
    )
    assert first.time == datetime.fromtimestamp(1_700_000_000, UTC)


@pytest.mark.parametrize("line", ["hello", '{"a": 1}', '{"_aws": 3}', '{"_aws"', '["_aws"]', '{"_aws": {}}'])
def test_other_lines_carry_nothing(line: str) -> None:
    """Log lines of any other kind are no metrics and no error."""
    assert list(emf.parse(line)) == []


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ({"Name": "Load"}, list(range(101)), "wanted 1 to 100 values, found 101"),
        ({"Name": "Load"}, [], "wanted 1 to 100 values, found 0"),
        ({"Name": "Load", "StorageResolution": 10}, 1, "wanted StorageResolution 1 or 60, found 10"),
    ],
)
def test_what_cloudwatch_would_drop_is_refused(metric: Json, value: Json, words: str) -> None:
    """A metric against the specification is an error here, where CloudWatch drops it in silence."""
    directive = {"Namespace": "N", "Dimensions": [[]], "Metrics": [metric]}
    line = {"_aws": {"Timestamp": 1_700_000_000_000, "CloudWatchMetrics": [directive]}, "Load": value}
    with pytest.raises(ValueError, match=words):
        list(emf.parse(json.dumps(line)))


def test_resolution_is_kept() -> None:
    """StorageResolution 1 makes a metric one of seconds; without it, it is one of minutes."""
    metrics = [{"Name": "A", "StorageResolution": 1}, {"Name": "B"}]
    directive = {"Namespace": "N", "Dimensions": [[]], "Metrics": metrics}
    line = {"_aws": {"Timestamp": 1_700_000_000_000, "CloudWatchMetrics": [directive]}, "A": list(range(100)), "B": 1}
    assert [point.resolution_s for point in emf.parse(json.dumps(line))] == [1, 60]
