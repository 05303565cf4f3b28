"""Knows how an alarm's breach reaches a group through a step scaling policy; it must not know what a breach decides."""

from __future__ import annotations

import math
from typing import Any

from moto.autoscaling import models, responses
from moto.autoscaling.exceptions import ValidationError
from moto.core.responses import ActionResult

from demo.aws.adjustments import Adjustment, Policy, Step, checked, decide
from demo.aws.autoscaling import Groups
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place


class ScalingPolicies:
    """The step scaling policies of every group; other kinds are refused when they are made."""

    def __init__(self, place: Place, groups: Groups, *, journal: Journal) -> None:
        self._place = place
        self._groups = groups
        self._journal = journal

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gaps until ``gaps`` are undone."""

        def put_scaling_policy(self: Moto, **request: Any) -> Moto:  # noqa: ANN401 - moto's keywords
            _refuse_unknown(self, request)
            return original(self, **request)

        def execute_policy(self: Moto, group_name: str) -> None:  # noqa: ARG001 - moto's signature
            raise ValidationError("ExecutePolicy is not supported by this local AWS")

        def answer_put(self: Moto) -> Moto:
            original_answer(self)
            policy = self.autoscaling_backend.policies[self._get_param("PolicyName")]
            return ActionResult({"PolicyARN": policy.arn})

        backend = models.AutoScalingBackend
        original_answer = gaps.fill(
            responses.AutoScalingResponse, "put_scaling_policy", answer_put, gap="answers no ARN under its name"
        )
        original = gaps.fill(backend, "put_scaling_policy", put_scaling_policy, gap="checks nothing")
        gaps.fill(backend, "execute_policy", execute_policy, gap="knows no steps")

    def carry_out(self, arn: str, *, alarm: Moto, newest: float | None) -> None:
        """Scale as the policy says for an alarm whose newest data point is this one; the journal tells what came of it.

        The alarm need not be the policy's only one, and the policy may be gone: AWS tells nobody either.
        """
        policy = self._find(arn)
        if policy is None or newest is None:
            found = "no such policy" if policy is None else "no data point that could choose a step"
            self._journal.say("alarms", f"{alarm.name}: NOT CARRIED OUT: {arn}: found {found}")
            return
        backend = self._place.backend("autoscaling")
        group = backend.autoscaling_groups[policy.auto_scaling_group_name]
        steps = read(policy.adjustment_type, policy.step_adjustments, policy.min_adjustment_magnitude)
        warmup_s = float(policy.estimated_instance_warmup or group.default_cooldown)
        decision = self._groups.scale(
            group,
            lambda capacity: decide(steps, capacity, newest - float(alarm.threshold)),
            why=f"a monitor alarm {alarm.name} in state {alarm.state_value} triggered policy {policy.name}",
            warmup_s=self._place.seconds(warmup_s),
        )
        done = "nothing to do" if decision.desired is None else f"desired capacity {decision.desired}"
        self._journal.say("alarms", f"{policy.name}: {newest:g}: {done}: {decision.why}")

    def _find(self, arn: str) -> Moto | None:
        policies = self._place.backend("autoscaling").policies.values()
        return next((policy for policy in policies if policy.arn == arn), None)


def read(adjustment: str, steps: list[dict[str, Any]], at_least: str | int | None) -> Policy:
    """The policy that a request describes. ``ValueError`` for one that AWS refuses."""
    found = [
        Step(
            lower=float(step.get("MetricIntervalLowerBound", -math.inf)),
            upper=float(step.get("MetricIntervalUpperBound", math.inf)),
            by=int(step["ScalingAdjustment"]),
        )
        for step in steps
    ]
    kind = Adjustment(adjustment)
    if at_least is not None and kind is not Adjustment.PERCENT:
        raise ValueError(f"reading a policy: MinAdjustmentMagnitude wants {Adjustment.PERCENT}, found {kind}")
    return Policy(adjustment=kind, steps=checked(found), at_least=int(at_least or 0))


def _refuse_unknown(backend: Moto, request: dict[str, Any]) -> None:
    """Raise ``ValidationError`` for what AWS refuses, and for the kinds of policy that this local AWS does not know."""
    if request["policy_type"] != "StepScaling":
        raise ValidationError(
            f"making a scaling policy: wanted StepScaling, found {request['policy_type']}; "
            "this local AWS knows no other kind"
        )
    if request["as_name"] not in backend.autoscaling_groups:
        raise ValidationError("Group name not found - null")
    if (request["metric_aggregation_type"] or "Average") != "Average":
        raise ValidationError(
            f"making a scaling policy: wanted MetricAggregationType Average, found {request['metric_aggregation_type']}"
        )
    if request["scaling_adjustment"] is not None or request["cooldown"] is not None:
        raise ValidationError("making a scaling policy: ScalingAdjustment and Cooldown are not for StepScaling")
    try:
        read(request["adjustment_type"], request["step_adjustments"], request["min_adjustment_magnitude"])
    except ValueError as error:
        raise ValidationError(str(error)) from None
