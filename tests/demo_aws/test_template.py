"""Templates: functions, conditions and order."""

import pytest

from demo.aws.cloudformation.template import Scope, TemplateError, creation_order, evaluate_conditions
from tests.demo_aws.probe import Json

SCOPE = Scope(
    values={"Stage": "prod", "AWS::Region": "eu-north-1", "List": ["a", "b"]},
    reference=lambda name: f"id-of-{name}",
    attribute=lambda name, attribute: f"{attribute}-of-{name}",
    exports=lambda name: f"export-{name}",
    mappings={"Sizes": {"prod": {"count": "3"}}},
    conditions={"Big": True, "Small": False},
    region="eu-north-1",
)


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        ({"Ref": "Stage"}, "prod"),
        ({"Ref": "Queue"}, "id-of-Queue"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "Arn-of-Queue"),
        ({"Fn::GetAtt": "Queue.Arn"}, "Arn-of-Queue"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}]]}, "a-prod"),
        ({"Fn::Sub": "${Stage}/${Queue.Arn}/${!Literal}"}, "prod/Arn-of-Queue/${Literal}"),
        ({"Fn::Sub": ["${own}-${Stage}", {"own": {"Ref": "Queue"}}]}, "id-of-Queue-prod"),
        ({"Fn::Select": [1, {"Fn::Split": [":", "a:b:c"]}]}, "b"),
        ({"Fn::If": ["Big", 1, 2]}, 1),
        ({"Fn::If": ["Small", 1, 2]}, 2),
        ({"Fn::Base64": {"Ref": "Stage"}}, "cHJvZA=="),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "count"]}, "3"),
        ({"Fn::ImportValue": "other"}, "export-other"),
        ({"keep": 1, "lose": {"Ref": "AWS::NoValue"}}, {"keep": 1}),
        ([1, {"Fn::If": ["Small", 2, {"Ref": "AWS::NoValue"}]}], [1]),
        ({"StringEquals": {"Ref": "List"}}, {"StringEquals": ["a", "b"]}),
    ],
)
def test_functions_resolve(node: Json, wanted: Json) -> None:
    """Every function that cdk writes resolves as CloudFormation resolves it."""
    assert SCOPE.resolve(node) == wanted


def test_unknown_function_is_named() -> None:
    """A function that is not supported fails by its name instead of staying in a property."""
    with pytest.raises(TemplateError, match="Fn::Cidr"):
        SCOPE.resolve({"Fn::Cidr": ["10.0.0.0/16", 2, 8]})


def test_conditions_may_use_one_another() -> None:
    """Conditions resolve through parameters, logic and other conditions, in any order of declaration."""
    template = {
        "Conditions": {
            "Both": {"Fn::And": [{"Condition": "Prod"}, {"Fn::Not": [{"Condition": "Test"}]}]},
            "Prod": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "Test": {"Fn::Or": [{"Fn::Equals": ["a", "b"]}, {"Fn::Equals": [{"Ref": "Stage"}, "test"]}]},
        }
    }
    assert evaluate_conditions(template, {"Stage": "prod"}, "eu-north-1") == {"Both": True, "Prod": True, "Test": False}


def test_order_follows_every_reference() -> None:
    """Ref, GetAtt, Sub and DependsOn all make a resource wait, also behind one another."""
    resources = {
        "a": {"Properties": {"x": {"Ref": "b"}}},
        "b": {"DependsOn": "c"},
        "c": {"Properties": {"x": {"Fn::Sub": "${d.Arn}"}}},
        "d": {"Properties": {"x": [{"Fn::GetAtt": ["e", "Arn"]}]}},
        "e": {},
    }
    assert creation_order(resources) == ["e", "d", "c", "b", "a"]


def test_circle_is_shown() -> None:
    """Resources that wait for one another are named."""
    with pytest.raises(TemplateError, match=r"circle: .*a.*b"):
        creation_order({"a": {"DependsOn": "b"}, "b": {"DependsOn": "a"}})
