"""Who is allowed: Allow, Deny, wildcards and conditions."""

import pytest

from demo.aws.policies import allowed
from tests.demo_aws.probe import Json

ACTION, RESOURCE = "lambda:InvokeFunctionUrl", "arn:aws:lambda:eu-north-1:123456789012:function:enroll"
CONTEXT = {"lambda:functionurlauthtype": "AWS_IAM", "lambda:invokedviafunctionurl": "true"}


def allow(**more: Json) -> Json:
    """An Allow for the action and the resource, but for what is given."""
    return {"Effect": "Allow", "Action": ACTION, "Resource": RESOURCE, **more}


@pytest.mark.parametrize(
    ("statements", "wanted"),
    [
        ([], False),
        ([allow()], True),
        ([allow(Action="lambda:*")], True),
        ([allow(Action=["s3:GetObject", "LAMBDA:invokefunctionurl"])], True),
        ([allow(Action="lambda:InvokeFunction")], False),
        ([allow(Resource="*")], True),
        ([allow(Resource=f"{RESOURCE}:*")], False),
        ([allow(), {"Effect": "Deny", "Action": "*", "Resource": "*"}], False),
        ([allow(), {"Effect": "Deny", "NotAction": "lambda:*", "Resource": "*"}], True),
        ([allow(Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}})], True),
        ([allow(Condition={"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}})], False),
        ([allow(Condition={"Bool": {"lambda:InvokedViaFunctionUrl": True}})], True),
        ([allow(Condition={"StringLike": {"aws:absent": "*"}})], False),
        ([allow(Condition={"StringLikeIfExists": {"aws:absent": "*"}})], True),
        ([allow(Condition={"StringNotEquals": {"aws:absent": "x"}})], True),
        ([allow(Condition={"Null": {"aws:absent": "true"}})], True),
        ([allow(Condition={"DateGreaterThan": {"lambda:FunctionUrlAuthType": "x"}})], False),
        ([allow(), allow(Effect="Deny", Condition={"IpAddress": {"aws:SourceIp": "x"}})], False),
    ],
)
def test_decision(statements: list[Json], *, wanted: bool) -> None:
    """The decision is IAM's, and an operator that is not understood never opens a door."""
    assert allowed(statements, action=ACTION, resource=RESOURCE, context=CONTEXT) is wanted
