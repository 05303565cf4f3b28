"""What holds for all stacks together: they need no AWS to be made, are made alike twice, and pass every check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3

import app
from settings import Settings
from tests.stacks.conftest import ROOT, House, Synthesise


def test_a_second_synth_gives_the_same_templates(
    house: House, synthesise: Synthesise, default_settings: Settings, tmp_path: Path
) -> None:
    """Nothing of the machine, the clock or chance gets into a template: what was reviewed is what is deployed."""
    assert synthesise(default_settings, tmp_path).templates == house.templates


def test_nothing_is_looked_up_in_an_account(house: House) -> None:
    """A look-up would need credentials at synth, and its answer would be cached in a file that nobody reviews."""
    assert "missing" not in json.loads((house.directory / "manifest.json").read_text())


def test_every_check_passes_and_every_exception_has_a_reason(house: House) -> None:
    """The AwsSolutions pack, CDK's own rules and the residency check find nothing that is not acknowledged with why."""
    reports = house.report["pluginReports"]
    assert "AwsSolutions" in {report["pluginName"] for report in reports}
    for report in reports:
        assert report["violations"] == []
        assert all(len(violation["reason"]) > 40 for violation in report.get("suppressedViolations", []))


def test_the_stacks_are_deployed_in_order(house: House) -> None:
    """The fleet waits for the network it stands in and for the function it reports to; control waits for nobody."""
    artifacts = json.loads((house.directory / "manifest.json").read_text())["artifacts"]
    dependencies = {
        name: {other for other in artifacts[f"drawbridge-{name}"].get("dependencies", []) if "assets" not in other}
        for name in ("network", "control", "fleet")
    }
    assert dependencies == {
        "network": set(),
        "control": set(),
        "fleet": {"drawbridge-network", "drawbridge-control"},
    }


def test_all_functions_share_one_asset(house: House) -> None:
    """Four functions, one upload: they differ only in the handler's name."""
    functions = house.resources("control", "AWS::Lambda::Function")
    assert len(functions) == 4
    assert len({json.dumps(function["Properties"]["Code"], sort_keys=True) for function in functions}) == 1


def test_bad_settings_print_one_line_and_exit_1(tmp_path: Path) -> None:
    """A typo in drawbridge.toml is the reader's to mend: file, key, wanted and found, and no traceback."""
    broken = tmp_path / "broken.toml"
    broken.write_text((ROOT / "drawbridge.toml").read_text().replace('region = "eu-north-1"', 'region = "us-east-1"'))
    result = subprocess.run(
        (sys.executable, "app.py"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DRAWBRIDGE_CONFIG": str(broken), "CDK_OUTDIR": str(tmp_path / "out")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = (line for line in result.stderr.splitlines() if "drawbridge" in line)
    assert line.startswith("drawbridge: ")
    assert "edge.region: wanted one of eu-central-1" in line
    assert "found 'us-east-1'" in line
    assert "Traceback" not in result.stderr


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever mistypes the path is told which file was looked for."""
    monkeypatch.setenv("DRAWBRIDGE_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(SystemExit, match=r"drawbridge: reading .*nowhere\.toml"):
        app.main()


def test_a_bucket_fails_the_build(flags: dict[str, object], default_settings: Settings, tmp_path: Path) -> None:
    """Whoever adds something that can hold data to a stack is stopped at synth, with its path."""
    spoilt = cdk.App(context=flags, outdir=str(tmp_path / "out"))
    (tmp_path / "bundle").mkdir()
    app.name_stacks(spoilt, default_settings, tmp_path / "bundle")
    s3.Bucket(cast("cdk.Stack", spoilt.node.find_child("drawbridge-fleet")), "Uploads")
    with pytest.raises(
        RuntimeError, match=r"found AWS::S3::Bucket \(drawbridge-residency\)\s+drawbridge-fleet/Uploads"
    ):
        spoilt.synth()
