"""The functions' bundle: for their platform and not this one's, only what they may import, and the same every time."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settings.tables import Functions
from settings.words import Architecture, Runtime
from stacks import bundle
from stacks.bundle import BundleError
from tests.stacks.conftest import ROOT

HERE = Functions(
    architecture=Architecture.ARM64 if platform.machine() == "aarch64" else Architecture.X86_64,
    runtime=Runtime(f"python3.{sys.version_info.minor}"),
)
ELSEWHERE = Functions(architecture=Architecture.ARM64, runtime=Runtime.PYTHON_3_13)


def a_project(root: Path) -> Path:
    """A copy of what a bundle is made from."""
    for package in ("lambdas", "core_agent"):
        shutil.copytree(ROOT / package, root / package)
    return root


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> list[Functions]:
    """Put one file in place of the wheels; the list counts how often pip would have run."""
    installed: list[Functions] = []

    def install(_requirements: Path, functions: Functions, target: Path) -> None:
        installed.append(functions)
        (target / "wheel.py").write_text("")

    monkeypatch.setattr(bundle, "_install", install)
    return installed


def contents(directory: Path) -> dict[str, str]:
    """Every file's name and digest."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_checkouts_give_the_same_bundle_and_it_imports(tmp_path: Path) -> None:
    """By real pip, twice, from nothing: the same files in both, and a bare interpreter can import them."""
    first = bundle.build(a_project(tmp_path / "one"), HERE)
    second = bundle.build(a_project(tmp_path / "another"), HERE)
    assert first.name == second.name
    assert contents(first) == contents(second)
    names = set(contents(first))
    assert {"lambdas/handlers/fleet.py", "core_agent/client/__init__.py", "core_agent/contract/codec.py"} <= names
    assert not any(name.endswith(".pyc") or name.startswith(("bin/", "boto3/", "core_agent/agent")) for name in names)
    imports = f"import sys; sys.path.insert(0, {str(first)!r}); import core_agent.client, fabric, aws_lambda_powertools"
    subprocess.run((sys.executable, "-I", "-S", "-B", "-c", imports), check=True)


def test_a_bundle_is_built_once(tmp_path: Path, no_pip: list[Functions]) -> None:
    """The same input is found again; another platform is another bundle."""
    root = a_project(tmp_path)
    assert bundle.build(root, ELSEWHERE) == bundle.build(root, ELSEWHERE)
    assert len(no_pip) == 1
    other = Functions(architecture=Architecture.X86_64, runtime=Runtime.PYTHON_3_11)
    assert bundle.build(root, other) != bundle.build(root, ELSEWHERE)


@pytest.mark.parametrize(
    ("path", "installs"),
    [
        ("lambdas/look.py", 1),
        ("core_agent/contract/messages.py", 1),
        ("core_agent/client/connection.py", 1),
        ("lambdas/requirements.txt", 2),
    ],
)
def test_a_changed_source_is_a_new_bundle(tmp_path: Path, no_pip: list[Functions], path: str, installs: int) -> None:
    """Any byte that ships changes the name; only the lock file has pip run again."""
    root = a_project(tmp_path)
    before = bundle.build(root, ELSEWHERE)
    with (root / path).open("a") as source:
        source.write("# changed\n")
    assert bundle.build(root, ELSEWHERE) != before
    assert len(no_pip) == installs


@pytest.mark.usefixtures("no_pip")
def test_only_what_the_functions_may_import_is_taken(tmp_path: Path) -> None:
    """The agent's other rooms, caches and requirement files stay at home."""
    root = a_project(tmp_path)
    before = bundle.build(root, ELSEWHERE)
    (root / "core_agent" / "agent.py").write_text("# changed\n")
    (root / "lambdas" / "__pycache__").mkdir(exist_ok=True)
    (root / "lambdas" / "__pycache__" / "look.cpython-313.pyc").write_bytes(b"x")
    assert bundle.build(root, ELSEWHERE) == before
    outside = {name for name in contents(before) if name.startswith("core_agent/")} - {
        "core_agent/__init__.py",
        "core_agent/errors.py",
    }
    assert all(name.startswith(("core_agent/contract/", "core_agent/client/")) for name in outside)
    assert not any(name.endswith((".txt", ".in", ".pyc")) for name in contents(before))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    """A bundle without its client would fail only on AWS, at the first event."""
    root = a_project(tmp_path)
    shutil.rmtree(root / "core_agent" / "client")
    with pytest.raises(BundleError, match=r"wanted core_agent/client, found nothing there"):
        bundle.build(root, ELSEWHERE)


def test_pips_complaint_is_passed_on_and_nothing_half_built_stays(tmp_path: Path) -> None:
    """An unlocked requirement is refused by pip itself; the message says for which platform, and what pip said."""
    root = a_project(tmp_path)
    (root / "lambdas" / "requirements.txt").write_text("paramiko==5.1.0\n")
    wanted = r"bundling the functions for python3.13 on arm64: pip exited 1: (?s:.*)[Hh]ash"
    with pytest.raises(BundleError, match=wanted) as caught:
        bundle.build(root, ELSEWHERE)
    assert caught.value.retryable
    assert list((root / ".build" / "wheels").iterdir()) == []


@pytest.mark.parametrize(
    ("functions", "wanted", "unwanted"),
    [
        (ELSEWHERE, {"3.13", "cp313", "manylinux_2_34_aarch64", "manylinux_2_17_aarch64"}, "x86_64"),
        (
            Functions(architecture=Architecture.X86_64, runtime=Runtime.PYTHON_3_11),
            {"3.11", "cp311", "manylinux_2_17_x86_64", "manylinux2014_x86_64"},
            "manylinux_2_34_x86_64",  # python3.11 runs on Amazon Linux 2, whose glibc is 2.26
        ),
    ],
)
def test_wheels_are_for_the_functions_platform(
    tmp_path: Path, functions: Functions, wanted: set[str], unwanted: str
) -> None:
    """Locked wheels only, with hashes, for the processor, Python and glibc of the runtime."""
    arguments = bundle.pip_arguments(tmp_path / "requirements.txt", functions, tmp_path)
    assert wanted | {"--require-hashes", "--no-deps", "--only-binary", ":all:"} <= set(arguments)
    assert not any(unwanted in argument for argument in arguments)


def test_whoever_comes_second_takes_the_first_ones_work(tmp_path: Path) -> None:
    """Two synths at once build side by side; the later finds the place taken and leaves nothing of its own."""
    place = tmp_path / "wheels" / "digest"

    def overtaken(target: Path) -> None:
        (target / "mine").write_text("")
        place.mkdir(parents=True)
        (place / "theirs").write_text("")

    assert bundle._made(place, overtaken) == place
    assert [path.name for path in place.iterdir()] == ["theirs"]
    assert [path.name for path in place.parent.iterdir()] == ["digest"]
