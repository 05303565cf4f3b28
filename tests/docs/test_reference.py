"""The documents name everything there is, and nothing that there is not."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

import fabfile
import settings
from core_agent.contract.messages import Phase

REFERENCE = Path("docs/reference.md").read_text()
DOCUMENTS = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]


def _keys(kind: type, prefix: str) -> typing.Iterator[str]:
    for name, hint in typing.get_type_hints(kind).items():
        inner = next((part for part in typing.get_args(hint) if dataclasses.is_dataclass(part)), None)
        if dataclasses.is_dataclass(hint):
            yield from _keys(typing.cast("type", hint), f"{prefix}{name}.")
        elif inner is not None:
            yield from _keys(typing.cast("type", inner), f"{prefix}{name}[].")
        else:
            yield f"{prefix}{name}"


def test_every_key_of_the_settings_is_documented() -> None:
    """The table of drawbridge.toml has exactly the keys that the reader knows."""
    table = REFERENCE.partition("| key |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == set(_keys(settings.Settings, ""))


def test_every_default_is_the_readers() -> None:
    """A default in the table is the one that a file without the key gets."""
    documented = dict(re.findall(r"^\| `([^`\]]+)` \|[^|]+\| `([^`]+)` \|", REFERENCE, re.MULTILINE))
    loaded = settings.load(Path("drawbridge.toml"))
    assert documented["tunnel.mtu"] == str(loaded.tunnel.mtu)
    assert documented["burst.weight"] == str(loaded.burst.weight)
    for key, default in documented.items():
        table, _, name = key.rpartition(".")
        (field,) = (f for f in dataclasses.fields(typing.get_type_hints(settings.Settings)[table]) if f.name == name)
        assert str(field.default) == default, key


def test_every_manual_command_is_documented() -> None:
    """Each task of the fabfile has its row."""
    tasks = {name for name in fabfile.namespace.task_names if not name.startswith("_")}
    assert tasks == set(re.findall(r"^\| `fab ([a-z-]+)", REFERENCE, re.MULTILINE))


def test_every_phase_is_documented() -> None:
    """The table of phases is the enumeration, in its order."""
    table = REFERENCE.partition("## Phases of a node")[2].partition("## ")[0]
    assert re.findall(r"^\| `([a-z]+)`", table, re.MULTILINE) == [phase.value for phase in Phase]


def test_no_link_leads_nowhere() -> None:
    """Every relative link of every document has its file."""
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"
