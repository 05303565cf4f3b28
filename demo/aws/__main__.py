"""Knows the command line of the local AWS: ``python -m demo.aws --port 5555``; nothing of what it starts."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from demo.aws.server import LocalAws


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m demo.aws", description="AWS on one machine, in memory, over moto.")
    parser.add_argument("--account", default="123456789012")
    parser.add_argument("--region", default="eu-north-1")
    parser.add_argument("--port", type=int, default=5555, help="where the API answers, on localhost")
    parser.add_argument("--url-bind", metavar="ADDRESS:PORT", help="where function URLs are served over HTTPS")
    parser.add_argument("--ca", type=Path, default=Path("local-aws-ca.pem"), help="where the authority is written")
    parser.add_argument("--log", type=Path, default=Path("local-aws.log"), help="the journal")
    parser.add_argument(
        "--minute", type=float, default=60.0, help="seconds that a minute of schedules and alarms lasts"
    )
    options = parser.parse_args()
    address, _, url_port = (options.url_bind or "").rpartition(":")
    aws = LocalAws(
        account=options.account,
        region=options.region,
        port=options.port,
        url_bind=(address, int(url_port)) if options.url_bind else None,
        ca_path=options.ca,
        log_path=options.log,
        minute_s=options.minute,
    )
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with aws:
        for name, value in aws.client_environment.items():
            print(f"export {name}={value}", flush=True)
        stopping.wait()


if __name__ == "__main__":
    main()
