"""The stacks as CloudFormation will see them, synthesised once without AWS; it must not know any logical id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

import settings as settings_file
from app import name_stacks
from settings import Settings

ROOT = Path(__file__).parents[2]
Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What one synth left behind: templates by stack name without prefix, and the report of every check."""

    directory: Path
    templates: Mapping[str, Mapping[str, Any]]
    report: Mapping[str, Any]
    settings: Settings

    def resources(self, stack: str, kind: str) -> list[Resource]:
        """Every resource of one type in ``network``, ``control`` or ``fleet``."""
        found = self.templates[stack]["Resources"].values()
        return [resource for resource in found if resource["Type"] == kind]

    def only(self, stack: str, kind: str) -> Mapping[str, Any]:
        """The properties of the one resource of that type."""
        (resource,) = self.resources(stack, kind)
        properties: Mapping[str, Any] = resource["Properties"]
        return properties

    def all_resources(self) -> Iterator[Resource]:
        """Every resource of every stack."""
        for template in self.templates.values():
            yield from template["Resources"].values()


Synthesise = Callable[[Settings, Path], House]


# One that ends on the next day, and one that another overlaps on some days.
PEAKS = """
[[peaks]]
name = "night"
start = "22:00"
end = "02:30"
days = ["sat", "sun"]
min_capacity = 4
level_percent = 80
core_percent = 70

[[peaks]]
name = "office"
start = "08:00"
end = "16:00"
days = ["mon", "tue"]
min_capacity = 2

[[peaks]]
name = "lunch"
start = "11:00"
end = "13:00"
min_capacity = 3
days = ["mon"]
"""


@pytest.fixture(scope="session")
def default_settings() -> Settings:
    """The repository's own drawbridge.toml."""
    return settings_file.load(ROOT / "drawbridge.toml")


@pytest.fixture(scope="session")
def flags() -> dict[str, object]:
    """The context of cdk.json, which the CLI would hand to the app."""
    context: dict[str, object] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


@pytest.fixture(scope="session")
def synthesise(flags: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """Put up the house from settings, with a stub where the functions' bundle would be."""
    bundle = tmp_path_factory.mktemp("bundle")
    (bundle / "stub.py").write_text("")

    def synthesised(settings: Settings, directory: Path) -> House:
        app = cdk.App(context=flags, outdir=str(directory))
        name_stacks(app, settings, bundle)
        app.synth()
        return House(
            directory=directory,
            templates={
                name: json.loads((directory / f"{settings.name}-{name}.template.json").read_text())
                for name in ("network", "control", "fleet")
            },
            report=json.loads((directory / "validation-report.json").read_text()),
            settings=settings,
        )

    return synthesised


@pytest.fixture(scope="session")
def busy_house(synthesise: Synthesise, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The house of the default settings with three peaks, a topic, and an alarm's period of ten seconds."""
    text = (ROOT / "drawbridge.toml").read_text()
    topic = 'notify_topic = "arn:aws:sns:eu-north-1:123456789012:on-call"'
    text = text.replace("[edge]\n", f"[edge]\n{topic}\n").replace("period_s = 60", "period_s = 10")
    return synthesise(settings_file.parse(text + PEAKS, source="busy"), tmp_path_factory.mktemp("busy"))


@pytest.fixture(scope="session")
def house(synthesise: Synthesise, default_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The house of the default settings, made on a machine that has no credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        return synthesise(default_settings, tmp_path_factory.mktemp("house"))
