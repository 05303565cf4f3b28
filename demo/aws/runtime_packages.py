"""Knows which packages AWS's Python runtime brings along, and lays out a folder with just these; no function."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

_BROUGHT = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
"""boto3 and what it needs: https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html."""


def lay_out(folder: Path) -> Path:
    """Link the installed packages, whose versions the lock pins, into ``folder`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _BROUGHT:
        for entry in _top_level(name):
            link = folder / entry.name
            if not link.is_symlink():
                link.symlink_to(entry)
    return folder


def _top_level(distribution: str) -> set[Path]:
    found = importlib.metadata.distribution(distribution)
    entries = {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}
    return {Path(str(found.locate_file(entry))).resolve() for entry in entries}
