"""The agent from its sources, ``python -m core_agent``; the zipapp has a line of its own for it."""

from __future__ import annotations

import sys

from core_agent.command_line import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
