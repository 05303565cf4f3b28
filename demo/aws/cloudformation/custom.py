"""Knows the custom resources of a stack: a function is asked, and answers with a PUT to the URL it was given."""

from __future__ import annotations

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource

_ANSWER_S = 60


class Answers:
    """The listener behind every ``ResponseURL``; on the loopback address, because only our own functions call it."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._answers: dict[str, dict[str, Any]] = {}
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with answers._arrived:
                    answers._answers[body["RequestId"]] = body
                    answers._arrived.notify_all()
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """The journal has the function's own log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="custom-resources", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where a function sends its answer."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def wait(self, request_id: str) -> dict[str, Any]:
        """The answer to this request. ``TimeoutError`` after a minute."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: request_id in self._answers, timeout=_ANSWER_S):
                raise TimeoutError(f"waiting for a custom resource: wanted an answer within {_ANSWER_S} s, found none")
            return self._answers.pop(request_id)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class CustomResources:
    """Makes the kind for one custom type, whatever it is called."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def kind(self, resource_type: str, properties: Properties) -> Kind:
        """A kind that takes every property: they are the function's business."""
        return Kind(
            type=resource_type,
            takes=frozenset(properties),
            create=lambda order: self._ask(order, "Create", {}),
            update=self._update,
            delete=self._delete,
        )

    def _update(self, order: Order, old: Resource) -> Made:
        known = {"PhysicalResourceId": old.made.physical_id, "OldResourceProperties": old.properties}
        return self._ask(order, "Update", known)

    def _delete(self, order: Order, resource: Resource) -> None:
        self._ask(order, "Delete", {"PhysicalResourceId": resource.made.physical_id})

    def _ask(self, order: Order, request_type: str, known: Properties) -> Made:
        request_id = str(uuid.uuid4())
        event = {
            "RequestType": request_type,
            "RequestId": request_id,
            "ResponseURL": self._answers.url,
            "StackId": order.stack_id,
            "LogicalResourceId": order.logical_id,
            "ResourceType": order.type,
            "ServiceToken": order.properties["ServiceToken"],
            "ResourceProperties": order.properties,
            **known,
        }
        outcome = order.invoke(order.properties["ServiceToken"], json.dumps(event).encode())
        if outcome.error is not None:
            raise RuntimeError(f"{request_type} of a custom resource: its function failed: {outcome.payload.decode()}")
        answer = self._answers.wait(request_id)
        if answer["Status"] != "SUCCESS":
            raise RuntimeError(f"{request_type} of a custom resource: {answer.get('Reason', 'no reason given')}")
        return Made(physical_id=answer["PhysicalResourceId"], attributes=answer.get("Data") or {})
