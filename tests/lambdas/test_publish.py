"""What telemetry tells CloudWatch: documents in the embedded metric format, and nothing that was not seen."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricResolution

from core_agent.contract.messages import LoadSample, SideReport, TelemetryReport
from demo.aws import emf
from lambdas.events import metric_names
from lambdas.publish import publish, publish_unreachable
from tests.handlers.fake_core import TELEMETRY

NAMES = {value for name, value in vars(metric_names).items() if name.isupper()} - {
    metric_names.NAMESPACE,
    metric_names.SERVICE,
}


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """Powertools as the function has it."""
    made = Metrics(namespace=metric_names.NAMESPACE, service="drawbridge-telemetry")
    yield made
    made.clear_metrics()


def conforms(document: dict[str, Any]) -> None:
    """Fail unless ``document`` is what the embedded metric format specification's schema and limits want."""
    header = document["_aws"]
    assert header.keys() == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(header["Timestamp"], int)
    for directive in header["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert all(isinstance(document[key], str) for keys in directive["Dimensions"] for key in keys)
        assert 1 <= len(directive["Metrics"]) <= 100
        assert len({one["Name"] for one in directive["Metrics"]}) == len(directive["Metrics"])
        for one in directive["Metrics"]:
            assert one.keys() - {"StorageResolution"} == {"Name", "Unit"}
            assert one.get("StorageResolution", 60) in {1, 60}
            values = document[one["Name"]]
            assert 1 <= len(values) <= 100
            assert all(isinstance(value, float) for value in values)


class Published:
    """The documents that one report became."""

    def __init__(self, text: str) -> None:
        self.lines = [line for line in text.splitlines() if line]
        self.documents: list[dict[str, Any]] = [json.loads(line) for line in self.lines]
        self.values: dict[str, list[float]] = defaultdict(list)
        for document in self.documents:
            conforms(document)
        for point in (point for line in self.lines for point in emf.parse(line)):
            assert (point.namespace, point.dimensions) == ("Drawbridge", {"service": "drawbridge-telemetry"})
            self.values[point.name] += point.values

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """Every metric definition of every document."""
        return [one for document in self.documents for one in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]]


def published(
    report: TelemetryReport,
    metrics: Metrics,
    capsys: pytest.CaptureFixture[str],
    resolution: MetricResolution = MetricResolution.High,
) -> Published:
    """Publish ``report`` and read what was printed, as the demo's CloudWatch does."""
    publish(report, metrics, resolution=resolution)
    metrics.flush_metrics()
    return Published(capsys.readouterr().out)


def test_everything_that_was_seen_is_told(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the names has its value, the four of load one for each sample."""
    found = published(TELEMETRY, metrics, capsys)
    assert found.values.keys() == NAMES
    assert found.values == {
        "CoreSaturation": [float(80 + at) for at in range(10)],
        "TotalSaturation": [40.0] * 10,
        "QueueTime": [7.0 * at for at in range(10)],
        "QueueLength": [float(at) for at in range(10)],
        "CoreRequests": [900.0],
        "EdgeRequests": [100.0],
        "EdgeShare": [10.0],
        "ServerErrors": [3.0],
        "Refused": [4.0],
        "NodesSeated": [1.0],
        "NodesEnrolled": [2.0],
        "NodesActive": [3.0],
        "NodesDraining": [4.0],
        "HandshakeAge": [17.0],
        "StalePeers": [0.0],
        "BurstLevel": [25.0],
        "CoreShare": [100.0],
        "CoreSlots": [50.0],
        "CoreServersUp": [1.0],
        "CoreUnreachable": [0.0],
    }


def test_units_and_resolution(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    """Units are CloudWatch's own words; high resolution is said of each metric, standard of none."""
    definitions = published(TELEMETRY, metrics, capsys).definitions
    units = {one["Name"]: one["Unit"] for one in definitions}
    assert {name: unit for name, unit in units.items() if unit != "Count"} == {
        "CoreSaturation": "Percent",
        "TotalSaturation": "Percent",
        "EdgeShare": "Percent",
        "BurstLevel": "Percent",
        "CoreShare": "Percent",
        "QueueTime": "Milliseconds",
        "HandshakeAge": "Seconds",
    }
    assert all(one["StorageResolution"] == 1 for one in definitions)
    standard = published(TELEMETRY, metrics, capsys, MetricResolution.Standard)
    assert not any("StorageResolution" in one for one in standard.definitions)


def test_what_was_not_seen_is_left_out(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    """No sample, no saturation; no second covered, no count; no answer, no share; no handshake, no age."""
    nobody = replace(TELEMETRY, core_side=SideReport(answered=0, failed=0), edge_side=SideReport(answered=0, failed=0))
    assert NAMES - published(nobody, metrics, capsys).values.keys() == {"EdgeShare"}
    fresh = replace(TELEMETRY, covered_s=0, samples=(), handshake_age_s=None)
    assert NAMES - published(fresh, metrics, capsys).values.keys() == {
        *("CoreSaturation", "TotalSaturation", "QueueTime", "QueueLength"),
        *("CoreRequests", "EdgeRequests", "EdgeShare", "ServerErrors", "Refused"),
        "HandshakeAge",
    }


def test_a_core_server_that_takes_nothing_does_not_count(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is up and that an operator has drained gives no slots, and is no server that is there for users."""
    drained = replace(TELEMETRY.servers[0], name="drained", takes=False)
    found = published(replace(TELEMETRY, servers=(*TELEMETRY.servers, drained)), metrics, capsys)
    assert (found.values["CoreSlots"], found.values["CoreServersUp"]) == ([50.0], [1.0])


def test_a_total_that_is_no_evidence_is_left_out(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the samples that know no total the others are told, and when none does there is no such metric."""
    first, *rest = TELEMETRY.samples
    some = replace(TELEMETRY, samples=(replace(first, total_percent=None), *rest))
    found = published(some, metrics, capsys)
    assert (len(found.values["TotalSaturation"]), len(found.values["CoreSaturation"])) == (9, 10)
    none = replace(TELEMETRY, samples=tuple(replace(one, total_percent=None) for one in TELEMETRY.samples))
    assert NAMES - published(none, metrics, capsys).values.keys() == {"TotalSaturation"}


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_no_document_has_more_values_than_the_format_allows(
    count: int, metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most 100 values of a metric in a document, which ``conforms`` sees to, and each in one of them, once."""
    samples = tuple(
        LoadSample(at_ms=at, core_percent=at, total_percent=at + 1, queue=at + 2, queue_ms=at + 3)
        for at in range(count)
    )
    found = published(replace(TELEMETRY, samples=samples), metrics, capsys)
    for more, name in enumerate(("CoreSaturation", "TotalSaturation", "QueueLength", "QueueTime")):
        assert found.values[name] == [float(at + more) for at in range(count)]
    assert found.values["Refused"] == [4.0]


def test_an_unreachable_core_is_one_and_nothing_else(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made up for a core that did not answer."""
    publish_unreachable(metrics, resolution=MetricResolution.High)
    metrics.flush_metrics()
    assert Published(capsys.readouterr().out).values == {"CoreUnreachable": [1.0]}
