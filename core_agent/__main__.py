"""The zipapp's command line: ``install``, ``serve``, ``relay``, ``version``."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run one sub-command and return the exit status; no error of the tree ends in a traceback."""
    if arguments == ["relay"]:  # the path of every request: nothing else is imported for it
        from core_agent.relay import relay  # noqa: PLC0415

        return relay("/run/drawbridge/agent.sock")
    from core_agent.command_line import run  # noqa: PLC0415

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
