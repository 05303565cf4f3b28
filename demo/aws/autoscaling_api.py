"""Knows how Auto Scaling's API reaches the groups; it must not know how a group works."""

from __future__ import annotations

from moto.autoscaling import models, responses
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.core.responses import ActionResult, EmptyResult

from demo.aws.autoscaling import Groups, NoActiveAction
from demo.aws.gaps import Gaps, Moto
from demo.aws.lifecycle import Result

_REFUSED = ("attach_instances", "detach_instances", "enter_standby_instances", "exit_standby_instances")


def install(gaps: Gaps, groups: Groups) -> None:
    """Fill moto's gaps until ``gaps`` are undone."""
    _capacity(gaps, groups)
    _terminations(gaps, groups)
    _hooks(gaps, groups)
    for name in _REFUSED:
        gaps.fill(models.AutoScalingBackend, name, _refuse(name), gap="knows no lifecycle states")


def _refuse(name: str) -> Moto:
    def refuse(self: Moto, *args: object) -> None:  # noqa: ARG001 - moto's signatures
        raise ValidationError(f"{name} is not supported by this local AWS")

    return refuse


def _group(backend: Moto, name: str) -> Moto:
    if name not in backend.autoscaling_groups:
        raise ValidationError("AutoScalingGroup name not found - null")
    return backend.autoscaling_groups[name]


def _capacity(gaps: Gaps, groups: Groups) -> None:
    backend, group_class = models.AutoScalingBackend, models.FakeAutoScalingGroup

    def resize(self: Moto, new_capacity: int | None) -> None:
        groups.resize(self, new_capacity)

    def set_desired_capacity(self: Moto, group_name: str, desired_capacity: int | None) -> None:
        group = _group(self, group_name)
        desired = int(desired_capacity or 0)
        if desired > group.max_size:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the AutoScalingGroup."
            )
        if desired < group.min_size:
            raise ValidationError(
                f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the AutoScalingGroup."
            )
        groups.resize(group, desired)

    def describe_scaling_activities(self: Moto) -> Moto:
        name = self._get_param("AutoScalingGroupName")
        wanted = set(self._get_param("ActivityIds", []))
        found = [one for one in groups.activities(name) if not wanted or one["ActivityId"] in wanted]
        return ActionResult({"Activities": found[: self._get_int_param("MaxRecords") or 100]})

    gaps.fill(
        responses.AutoScalingResponse, "describe_scaling_activities", describe_scaling_activities, gap="answers none"
    )
    gaps.fill(group_class, "set_desired_capacity", resize, gap="instances skip the hooks")
    gaps.fill(backend, "set_desired_capacity", set_desired_capacity, gap="checks no bounds")


def _terminations(gaps: Gaps, groups: Groups) -> None:
    backend, response = models.AutoScalingBackend, responses.AutoScalingResponse

    def terminate_instance(self: Moto, instance_id: str, should_decrement: bool) -> Moto:  # noqa: FBT001 - moto's
        for group in self.autoscaling_groups.values():
            for state in group.instance_states:
                if state.instance.id != instance_id:
                    continue
                before = group.desired_capacity
                if should_decrement and before <= group.min_size:
                    raise ValidationError(
                        f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
                        "replacement will violate group's min size constraint. Either set "
                        "shouldDecrementDesiredCapacity flag to false or lower group's min size."
                    )
                groups.terminate(group, state, decrement=should_decrement)
                return models.TerminateInstanceActivity(state.instance, before)
        raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")

    def notify_terminate_instances(self: Moto, instance_ids: list[str]) -> None:  # noqa: ARG001 - moto's signature
        groups.terminated_outside(instance_ids)

    def delete_auto_scaling_group(self: Moto) -> Moto:
        name = self._get_param("AutoScalingGroupName")
        group = _group(self.autoscaling_backend, name)
        if group.instance_states and not self._get_bool_param("ForceDelete", False):
            raise AutoscalingClientError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
                "still in the group.",
            )
        groups.dissolve(group)
        del self.autoscaling_backend.autoscaling_groups[name]
        return EmptyResult()

    gaps.fill(backend, "terminate_instance", terminate_instance, gap="instances skip the hooks")
    gaps.fill(backend, "notify_terminate_instances", notify_terminate_instances, gap="replacements skip the hooks")
    gaps.fill(response, "delete_auto_scaling_group", delete_auto_scaling_group, gap="no ForceDelete")


def _hooks(gaps: Gaps, groups: Groups) -> None:
    backend, response = models.AutoScalingBackend, responses.AutoScalingResponse

    def put_lifecycle_hook(self: Moto) -> Moto:
        name, group = self._get_param("LifecycleHookName"), self._get_param("AutoScalingGroupName")
        _group(self.autoscaling_backend, group)
        answer = original_put(self)
        (hook,) = self.autoscaling_backend.describe_lifecycle_hooks(group, [name])
        hook.notification_metadata = self._get_param("NotificationMetadata")
        hook.role_arn = hook.notification_target_arn = None
        return answer

    def delete_lifecycle_hook(self: Moto, as_name: str, name: str) -> None:
        original_delete(self, as_name, name)
        groups.hook_deleted(as_name, name)

    def complete_lifecycle_action(self: Moto) -> Moto:
        try:
            groups.complete(
                group=self._get_param("AutoScalingGroupName"),
                hook=self._get_param("LifecycleHookName"),
                token=self._get_param("LifecycleActionToken"),
                instance_id=self._get_param("InstanceId"),
                result=Result(self._get_param("LifecycleActionResult")),
            )
        except (NoActiveAction, ValueError) as error:
            raise ValidationError(str(error)) from None
        return EmptyResult()

    def record_lifecycle_action_heartbeat(self: Moto) -> Moto:
        try:
            groups.heartbeat(
                group=self._get_param("AutoScalingGroupName"),
                hook=self._get_param("LifecycleHookName"),
                token=self._get_param("LifecycleActionToken"),
                instance_id=self._get_param("InstanceId"),
            )
        except NoActiveAction as error:
            raise ValidationError(str(error)) from None
        return EmptyResult()

    original_put = gaps.fill(response, "put_lifecycle_hook", put_lifecycle_hook, gap="forgets NotificationMetadata")
    original_delete = gaps.fill(backend, "delete_lifecycle_hook", delete_lifecycle_hook, gap="leaves actions open")
    gaps.add(response, "complete_lifecycle_action", complete_lifecycle_action, gap="the call does not exist")
    gaps.add(response, "record_lifecycle_action_heartbeat", record_lifecycle_action_heartbeat, gap="does not exist")
