"""The settings that walks run under: a large network, and one in which addresses run out."""

from __future__ import annotations

from pathlib import Path

import settings

_TEXT = (Path(__file__).resolve().parents[3] / "drawbridge.toml").read_text()

_SMALL = _TEXT.replace("10.100.0.0/22", "10.100.0.0/29").replace("max_capacity = 20", "max_capacity = 2")

NETWORKS = {
    "10.100.0.0/22": settings.parse(_TEXT, source="drawbridge.toml"),
    "10.100.0.0/29": settings.parse(_SMALL, source="drawbridge.toml, small"),
}
