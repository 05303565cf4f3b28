"""What the demo's machines have on their disks beyond Debian's own files; it must not know which machine has what."""

from __future__ import annotations

from pathlib import Path

FOLDER = "/opt/drawbridge-demo"
WEBAPP_PATH = f"{FOLDER}/webapp.py"
_DEMO = Path(__file__).parents[1]


def with_webapp() -> dict[str, bytes]:
    """Return path → content of an image that has the demo's application at ``WEBAPP_PATH``."""
    return {WEBAPP_PATH: (_DEMO / "hosts/webapp.py").read_bytes()}


def with_load_generator() -> dict[str, bytes]:
    """Return path → content of an image on which `python3 -m demo.load` runs in ``FOLDER``."""
    sources = {f"{FOLDER}/demo/load/{path.name}": path.read_bytes() for path in sorted((_DEMO / "load").glob("*.py"))}
    return {f"{FOLDER}/demo/__init__.py": b"", **sources}
