"""Knows how Lambda's API reaches the functions that really run; it must not know how they run."""

from __future__ import annotations

import base64
import time
from typing import Any

from moto.awslambda import models
from moto.core.exceptions import JsonRESTError as RESTError
from moto.sqs.models import sqs_backends

from demo.aws.functions import CannotRunHere, Functions, Throttled
from demo.aws.gaps import Gaps, Moto


class _TooMany(RESTError):  # type: ignore[misc] # moto has no types
    code = 429


def install(gaps: Gaps, functions: Functions) -> None:
    """Fill moto's gaps until ``gaps`` are undone."""
    _invocations(gaps, functions)
    _configurations(gaps, functions)
    _mappings(gaps)
    _urls(gaps)


def _invocations(gaps: Gaps, functions: Functions) -> None:
    def invoke(self: Moto, body: str | bytes, request_headers: Any, response_headers: Any) -> bytes:  # noqa: ANN401
        payload = body.encode() if isinstance(body, str) else body
        kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            functions.invoke_later(self.function_arn, payload)
            return b""
        try:
            qualifier = None if self.version == "$LATEST" else str(self.version)
            outcome = functions.invoke(self.function_name, payload, qualifier=qualifier)
        except Throttled as busy:
            raise _TooMany("TooManyRequestsException", str(busy)) from None
        if outcome.error is not None:
            response_headers["x-amz-function-error"] = outcome.error
        response_headers["x-amz-log-result"] = base64.b64encode(outcome.log_tail.encode()).decode()
        return outcome.payload

    gaps.fill(models.LambdaFunction, "invoke", invoke, gap="runs functions in Docker only")


def _configurations(gaps: Gaps, functions: Functions) -> None:
    backend = models.LambdaBackend

    def create_function(self: Moto, spec: dict[str, Any]) -> Moto:
        architectures = spec.get("Architectures", ["x86_64"])
        try:
            functions.check(name=spec["FunctionName"], runtime=spec.get("Runtime"), architectures=architectures)
        except CannotRunHere as error:
            raise RESTError("InvalidParameterValueException", str(error)) from None
        function = original_create(self, spec)
        _set_log_group(function, spec)
        return function

    original_create = gaps.fill(backend, "create_function", create_function, gap="ignores LoggingConfig")

    def update_configuration(self: Moto, function_name: str, qualifier: str, body: dict[str, Any]) -> Moto:
        answer = original_update(self, function_name, qualifier, body)
        _set_log_group(self.get_function(function_name, qualifier), body)
        return answer

    original_update = gaps.fill(
        backend, "update_function_configuration", update_configuration, gap="ignores LoggingConfig"
    )

    def delete_function(self: Moto, function_name: str, qualifier: str | None = None) -> None:
        functions.forget(self.get_function(function_name, qualifier).function_arn)
        original_delete(self, function_name, qualifier)

    original_delete = gaps.fill(backend, "delete_function", delete_function, gap="has no environments to end")


def _mappings(gaps: Gaps) -> None:
    def create_mapping(self: Moto, spec: dict[str, Any]) -> Moto:
        refused = {"FilterCriteria", "ProvisionedPollerConfig"} & spec.keys()
        if refused:
            raise RESTError(
                "InvalidParameterValueException", f"{', '.join(sorted(refused))} is not supported by this local AWS"
            )
        mapping = original_mapping(self, spec)
        for queue in sqs_backends[self.account_id][self.region_name].queues.values():
            queue.lambda_event_source_mappings.clear()
        return mapping

    original_mapping = gaps.fill(
        models.LambdaBackend,
        "create_event_source_mapping",
        create_mapping,
        gap="invokes inside SendMessage, without batches",
    )


def _urls(gaps: Gaps) -> None:
    def to_dict(self: Moto) -> dict[str, Any]:
        answer: dict[str, Any] = original_to_dict(self)
        answer["FunctionUrl"] = f"{self.url}/"
        answer["CreationTime"] = answer["LastModifiedTime"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return answer

    original_to_dict = gaps.fill(models.FunctionUrlConfig, "to_dict", to_dict, gap="the URL lacks AWS's last slash")


def _set_log_group(function: Moto, spec: dict[str, Any]) -> None:
    group = spec.get("LoggingConfig", {}).get("LogGroup")
    if group:
        function.logs_group_name = group


def url_owner(lambda_backend: Moto, host: str) -> Moto | None:
    """The function whose URL has this host name."""
    for function in lambda_backend.list_functions():
        if function.url_config is not None and function.url_config.url == f"https://{host}":
            return function
    return None
