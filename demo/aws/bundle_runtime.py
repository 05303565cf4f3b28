"""The program inside a function's process: knows the handler and the pipes, and nothing of the local AWS outside.

Run as ``python -I -S bundle_runtime.py BUNDLE RUNTIME REQUESTS ANSWERS``: isolated from this machine's packages, so
that what the bundle lacks is missing here as it would be on AWS. REQUESTS and ANSWERS are file descriptors that carry
one JSON document per line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


class Context:
    """What AWS passes as a handler's second argument."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.aws_request_id = request["request_id"]
        self.invoked_function_arn = request["arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = time.monotonic() + request["timeout_s"]

    def get_remaining_time_in_millis(self) -> int:
        """Until the function is ended."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def load(handler: str) -> Callable[[Any, Context], Any]:
    """The callable that ``package.module.function`` names."""
    module, _, function = handler.rpartition(".")
    loaded: Callable[[Any, Context], Any] = getattr(importlib.import_module(module.replace("/", ".")), function)
    return loaded


def failure(error: BaseException) -> dict[str, Any]:
    """An error in the shape that AWS returns."""
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": "",
        "stackTrace": traceback.format_tb(error.__traceback__),
    }


def serve(handler: Callable[[Any, Context], Any], requests: int, answers: int) -> None:
    """Answer one request after another until the other side closes."""
    with os.fdopen(requests, encoding="utf-8") as incoming, os.fdopen(answers, "w", encoding="utf-8") as outgoing:
        print(json.dumps({"ready": True}), file=outgoing, flush=True)
        for line in incoming:
            request = json.loads(line)
            os.environ["_X_AMZN_TRACE_ID"] = request["trace_id"]
            answer: dict[str, Any]
            try:
                answer = {"result": json.loads(json.dumps(handler(request["event"], Context(request))))}
            except Exception as error:  # noqa: BLE001 - whatever a handler raises is the answer
                traceback.print_exc()
                answer = {"failure": failure(error) | {"requestId": request["request_id"]}}
            sys.stdout.flush()
            sys.stderr.flush()
            print(json.dumps(answer), file=outgoing, flush=True)


def main() -> int:
    """Load the handler, say so, and serve."""
    bundle, runtime, requests, answers = sys.argv[1:]
    sys.path[:0] = [bundle]
    sys.path.append(runtime)
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:  # noqa: BLE001 - also SystemExit while importing ends a real environment
        traceback.print_exc()
        with os.fdopen(int(answers), "w", encoding="utf-8") as outgoing:
            print(json.dumps({"failure": failure(error)}), file=outgoing, flush=True)
        return 1
    serve(handler, int(requests), int(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
