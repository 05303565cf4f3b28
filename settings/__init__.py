"""The one typed reader of ``drawbridge.toml`` (standard library only); it must not know who acts on the settings.

Read by ``app.py``, ``fabfile.py``, the demo and, on the core, the agent. Every error names the file, the key, what was
wanted and what was found, and nothing is returned unless everything holds.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from core_agent.contract.shapes import build
from core_agent.errors import ContractError, SettingsError
from settings.checks import problems
from settings.tables import Settings

__all__ = ["Settings", "load", "parse"]

DEFAULT_PATH = Path("drawbridge.toml")
PATH_VARIABLE = "DRAWBRIDGE_CONFIG"


def load(path: Path | str | None = None) -> Settings:
    """Read the file at ``path``, else at ``$DRAWBRIDGE_CONFIG``, else ``drawbridge.toml`` here.

    Raises ``SettingsError``.
    """
    chosen = Path(path or os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        text = chosen.read_bytes().decode()
    except FileNotFoundError:
        raise SettingsError(
            f"reading {chosen}: no such file; copy drawbridge.toml from the repository, or set {PATH_VARIABLE}"
        ) from None
    except OSError as error:
        raise SettingsError(f"reading {chosen}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"reading {chosen}: wanted UTF-8, found a byte that is not at {error.start}") from None
    return parse(text, source=str(chosen))


def parse(text: str, *, source: str) -> Settings:
    """Return the settings in ``text``; ``source`` names it in errors. Raises ``SettingsError``."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source}: wanted TOML, found: {error}") from None
    except RecursionError:
        raise SettingsError(f"{source}: wanted TOML, found values nested too deeply") from None
    try:
        settings = build(Settings, tables, source)
    except ContractError as error:
        raise SettingsError(str(error)) from None
    for problem in problems(settings):
        raise SettingsError(f"{source}.{problem}")
    return settings
