"""Tests in `inside/` run only in a sandbox; test_real_parts.py takes them there."""

from __future__ import annotations

from demo import sandbox

collect_ignore_glob = [] if sandbox.inside() else ["inside/*"]
