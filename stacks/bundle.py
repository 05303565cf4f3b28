"""Builds the one directory that all functions run from, without Docker; it must not know what they do.

Wheels are chosen for the functions' processor and Python, not for this machine's, with the hashes of
``lambdas/requirements.txt``. pip reads that file's environment markers for the interpreter that runs it, so the
interpreter's version is part of what names a bundle; a lock line that does not fit the target fails here, loudly.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from core_agent.errors import DrawbridgeError
from settings.tables import Functions
from settings.words import Runtime

REQUIREMENTS = Path("lambdas/requirements.txt")
# Of the agent, the Lambdas see the contract, the client and the errors: an import of anything else fails on AWS too.
SOURCES = ("lambdas", "core_agent/__init__.py", "core_agent/contract", "core_agent/client", "core_agent/errors.py")
_RECIPE = "1"  # part of every digest: raise it when this file builds another result from the same input
_AMAZON_LINUX_2 = frozenset({Runtime.PYTHON_3_11})  # glibc 2.26; later runtimes stand on Amazon Linux 2023, 2.34
_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}


class BundleError(DrawbridgeError):
    """The functions' bundle could not be built; carries pip's last lines."""

    retryable = True


def build(root: Path, functions: Functions) -> Path:
    """Return the bundle for ``functions`` of the project at ``root``, built or found in ``.build``.

    The directory's name is the digest of everything that went in; the same input gives the same files. Raises
    ``BundleError``.
    """
    sources = tuple(_source_files(root))
    wheels = _wheels(root, functions)
    digest = hashlib.sha256(wheels.name.encode())
    for source in sources:
        digest.update(f"{source}\0{hashlib.sha256((root / source).read_bytes()).hexdigest()}\0".encode())

    def fill(target: Path) -> None:
        # Links, for speed: both directories are written once and never again.
        shutil.copytree(wheels, target, copy_function=os.link, dirs_exist_ok=True)
        for source in sources:
            (target / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / source, target / source)

    return _made(root / ".build" / "bundles" / digest.hexdigest()[:32], fill)


def _source_files(root: Path) -> Iterator[Path]:
    """Every Python file of ``SOURCES``, relative to ``root``, sorted."""
    for name in SOURCES:
        path = root / name
        if not path.exists():
            raise BundleError(f"bundling the functions: wanted {name}, found nothing there")
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        yield from (file.relative_to(root) for file in files)


def _wheels(root: Path, functions: Functions) -> Path:
    requirements = (root / REQUIREMENTS).read_bytes()
    host = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(requirements)
    digest.update(f"\0{_RECIPE}\0{functions.architecture}\0{functions.runtime}\0{host}".encode())
    return _made(
        root / ".build" / "wheels" / digest.hexdigest()[:32],
        lambda target: _install(root / REQUIREMENTS, functions, target),
    )


def _install(requirements: Path, functions: Functions, target: Path) -> None:
    argv = (sys.executable, "-m", "pip", *pip_arguments(requirements, functions, target))
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = "\n".join(result.stderr.strip().splitlines()[-10:])
        raise BundleError(
            f"bundling the functions for {functions.runtime} on {functions.architecture}: "
            f"pip exited {result.returncode}: {tail or 'no output'}"
        )
    # Both name this machine's interpreter, so they differ from machine to machine; no function starts a script.
    shutil.rmtree(target / "bin", ignore_errors=True)
    for record in target.glob("*.dist-info/RECORD"):
        record.unlink()


def pip_arguments(requirements: Path, functions: Functions, target: Path) -> tuple[str, ...]:
    """What pip is asked for: locked wheels alone, for the functions' platform."""
    version = functions.runtime.removeprefix("python")
    glibc_minors = (17,) if functions.runtime in _AMAZON_LINUX_2 else (34, 28, 17)
    machine = _MACHINES[functions.architecture]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in glibc_minors] + [f"manylinux2014_{machine}"]
    abi = f"cp{version.replace('.', '')}"
    return (
        *("install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-deps"),
        *("--require-hashes", "--only-binary", ":all:", "--implementation", "cp", "--python-version", version),
        *(word for name in (abi, "abi3", "none") for word in ("--abi", name)),
        *(word for platform in platforms for word in ("--platform", platform)),
        *("--target", str(target), "--requirement", str(requirements)),
    )


def _made(directory: Path, fill: Callable[[Path], None]) -> Path:
    """Return ``directory``, filled by ``fill`` unless it is there: whole or not at all, also when two build at once."""
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".making-") as making:
        filled = Path(making) / "filled"
        filled.mkdir()
        fill(filled)
        try:
            filled.rename(directory)
        except OSError:
            if not directory.is_dir():
                raise
    return directory
