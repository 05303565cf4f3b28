# ruff: noqa: T201 - a function logs by printing
"""The sample's functions: one completes lifecycle actions that arrive through a queue, the others answer and answer."""

import itertools
import json
import os
import urllib.request
from typing import Any

import boto3

Json = Any
autoscaling = boto3.client("autoscaling")
calls = itertools.count(1)


def release(event: Json, _context: object) -> Json:
    """Complete each lifecycle action; a message that says so fails on purpose."""
    failures = []
    for record in event["Records"]:
        message = json.loads(record["body"])
        if message.get("poison"):
            failures.append({"itemIdentifier": record["messageId"]})
            continue
        detail = message["detail"]
        if "LifecycleActionToken" not in detail:
            print("swept", message["detail-type"], message["source"])
            continue
        print("releasing", detail["EC2InstanceId"], detail["LifecycleTransition"])
        autoscaling.complete_lifecycle_action(
            AutoScalingGroupName=detail["AutoScalingGroupName"],
            LifecycleHookName=detail["LifecycleHookName"],
            InstanceId=detail["EC2InstanceId"],
            LifecycleActionResult="CONTINUE",
        )
        print(
            json.dumps(
                {
                    "_aws": {
                        "Timestamp": int(record["attributes"]["SentTimestamp"]),
                        "CloudWatchMetrics": [
                            {
                                "Namespace": "Sample",
                                "Dimensions": [["group"]],
                                "Metrics": [{"Name": "Released", "Unit": "Count"}],
                            }
                        ],
                    },
                    "group": detail["AutoScalingGroupName"],
                    "Released": 1,
                }
            )
        )
    return {"batchItemFailures": failures}


def answer(event: Json, _context: object) -> Json:
    """Say who called, how often this process was used, and what the environment says."""
    if event.get("rawPath") == "/fail":
        raise RuntimeError("asked to fail")
    iam = event["requestContext"]["authorizer"]["iam"]
    body = {
        "userArn": iam["userArn"],
        "calls": next(calls),
        "greeting": os.environ["GREETING"],
        "got": event.get("body"),
    }
    return {"statusCode": 201, "headers": {"X-Sample": "yes"}, "body": json.dumps(body)}


def provide(event: Json, _context: object) -> None:
    """A custom resource that shouts."""
    body = {
        "Status": "SUCCESS",
        "RequestId": event["RequestId"],
        "StackId": event["StackId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "PhysicalResourceId": "shout",
        "Data": {"Loud": event["ResourceProperties"]["Text"].upper()},
    }
    request = urllib.request.Request(event["ResponseURL"], json.dumps(body).encode(), method="PUT")
    urllib.request.urlopen(request).read()
