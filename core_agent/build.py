"""Makes the one zipapp that a core needs: ``python -m core_agent.build OUT.pyz``; the same sources, the same bytes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

_SOURCES = Path(__file__).resolve().parents[1]
_PATTERNS = ("core_agent/**/*.py", "core_agent/system/*", "settings/*.py")
# The client is the caller's side and needs Fabric; the builder is not needed on a core.
_LEFT_OUT = ("core_agent/client/", "core_agent/build.py")
_STAMP = (1980, 1, 1, 0, 0, 0)


def members() -> list[Path]:
    """Return the files that belong in the zipapp, relative to the repository, in a fixed order."""
    package = [path for pattern in _PATTERNS for path in _SOURCES.glob(pattern)]
    names = {path.relative_to(_SOURCES) for path in package if path.is_file() and "__pycache__" not in path.parts}
    return sorted(name for name in names if not name.as_posix().startswith(_LEFT_OUT))


def build(out: Path) -> None:
    """Write the zipapp to ``out``, compiled for nothing: any Python from 3.11 on runs it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.new")
    with draft.open("wb") as file:
        file.write(b"#!/usr/bin/env -S python3 -I\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in members():
                archive.writestr(_entry(name.as_posix()), (_SOURCES / name).read_bytes())
            archive.writestr(
                _entry("__main__.py"),
                "import sys\n\nfrom core_agent.command_line import run\n\nsys.exit(run(sys.argv[1:]))\n",
            )
    draft.chmod(0o755)
    draft.replace(out)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_STAMP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m core_agent.build OUT.pyz")
    try:
        build(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"building {sys.argv[1]}: {error}")
