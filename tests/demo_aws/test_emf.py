"""The embedded metric format."""

import json
from datetime import UTC, datetime

import pytest

from demo.aws import emf

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
