"""Starting and stopping the local AWS."""

import importlib.metadata
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from moto.autoscaling.models import FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse

from demo.aws.gaps import Gaps
from demo.aws.server import LocalAws
from tests.demo_aws.probe import create_function, eventually, free_port


def test_start_and_stop_leave_moto_as_it_was(tmp_path: Path) -> None:
    """Everything that was replaced in moto is its own again, no thread stays, and a second start begins empty."""
    before = FakeAutoScalingGroup.set_desired_capacity
    threads = threading.active_count()
    for _ in range(2):
        with LocalAws(port=free_port(), log_path=tmp_path / "aws.log") as aws:
            assert FakeAutoScalingGroup.set_desired_capacity is not before
            assert not aws.place.client("sqs").list_queues().get("QueueUrls")
            aws.place.client("sqs").create_queue(QueueName="left-over")
        assert FakeAutoScalingGroup.set_desired_capacity is before
        assert not hasattr(AutoScalingResponse, "complete_lifecycle_action")
    eventually(lambda: threading.active_count() <= threads)


def test_stop_ends_what_runs(tmp_path: Path) -> None:
    """A function that loops for a minute keeps no stop waiting, and its process goes too."""
    log = tmp_path / "aws.log"
    with LocalAws(port=free_port(), log_path=log) as aws:
        source = """
            import os, time
            def handler(event, context):
                print("process", os.getpid(), flush=True)
                time.sleep(60)
        """
        arn = create_function(aws, "long", source, Timeout=70)
        aws.functions.invoke_later(arn, b"{}")
        process = int(eventually(lambda: re.search(r"process (\d+)", log.read_text()))[1])
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert not Path(f"/proc/{process}").exists()


def test_only_one_at_a_time() -> None:
    """A second local AWS in the same process is refused, because moto's records are global."""
    with LocalAws(port=free_port()), pytest.raises(RuntimeError, match="found one running"):
        LocalAws(port=free_port()).start()


def test_taken_port_is_said_at_once() -> None:
    """A taken port is an error, leaves nothing behind, and a later start succeeds."""
    before = FakeAutoScalingGroup.set_desired_capacity
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="Address already in use"):
            LocalAws(port=other.getsockname()[1]).start()
    assert FakeAutoScalingGroup.set_desired_capacity is before
    with LocalAws(port=free_port()) as aws:
        assert aws.place.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_unknown_moto_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another moto than the one whose gaps are known nothing is replaced."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "6.0.0")
    with pytest.raises(RuntimeError, match=r"wanted moto 5\.2\.5.*found 6\.0\.0"):
        Gaps()


def test_vanished_attribute_is_named() -> None:
    """A gap whose place moto no longer has, or has filled itself, fails by name."""
    gaps = Gaps()
    with pytest.raises(AttributeError, match=r"FakeAutoScalingGroup\.no_such"):
        gaps.fill(FakeAutoScalingGroup, "no_such", lambda: None, gap="a test")
    with pytest.raises(AttributeError, match="found one"):
        gaps.add(AutoScalingResponse, "put_lifecycle_hook", lambda: None, gap="a test")
