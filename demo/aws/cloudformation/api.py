"""Knows how the engine answers CloudFormation's API: moto keeps the records and the wire, the engine does the work."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.cloudformation import models, parsing
from moto.cloudformation.exceptions import CloudFormationError, ValidationError

from demo.aws.cloudformation.engine import DeploymentFailed, Engine, Event, Stack
from demo.aws.cloudformation.kind import Resource
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal

_ANSWER_WITHIN_S = 20.0
"""An API call that starts work waits this long for its end, so that quick stacks cost no polling interval."""


class _NoSuchChangeSet(CloudFormationError):  # type: ignore[misc] # moto has no types
    code = "ChangeSetNotFound"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """A resource under the names that moto's answers want."""

    resource: Resource

    @property
    def logical_resource_id(self) -> str:
        return self.resource.logical_id

    @property
    def physical_resource_id(self) -> str:
        return self.resource.made.physical_id

    @property
    def cf_resource_type(self) -> str:
        return self.resource.type


@dataclass(slots=True)
class _State:
    """The engine's view of the stacks, by stack id."""

    stacks: dict[str, Stack] = field(default_factory=dict)
    exports: dict[str, str] = field(default_factory=dict)


class CloudFormationApi:
    """Puts the engine behind moto's CloudFormation."""

    def __init__(self, engine: Engine, *, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self._state = _State()
        self._working = threading.Lock()

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gaps until ``gaps`` are undone."""
        self._work(gaps)
        self._answers(gaps)
        _change_sets(gaps)

    def _work(self, gaps: Gaps) -> None:
        api, backend = self, models.CloudFormationBackend

        def execute_change_set(self: Moto, change_set_name: str, stack_name: str | None = None) -> None:
            change_set = _find_change_set(self, change_set_name, stack_name)
            stack = self.stacks[change_set.stack_id]
            stack.status = f"{change_set.change_set_type}_IN_PROGRESS"
            stack._add_stack_event(stack.status, resource_status_reason="User Initiated")  # noqa: SLF001 - moto's only way
            _in_background(api._execute, self, stack, change_set)

        def delete_stack(self: Moto, name_or_stack_id: str) -> None:
            for stack in [s for s in self.stacks.values() if name_or_stack_id in {s.name, s.stack_id}]:
                stack.status = "DELETE_IN_PROGRESS"
                stack._add_stack_event(stack.status, resource_status_reason="User Initiated")  # noqa: SLF001 - moto's only way
                _in_background(api._delete, self, stack)

        def whole_or_nothing(*_args: object, **_kwargs: object) -> None:
            raise ValidationError(message="this local AWS deploys through change sets, as `cdk deploy` does by default")

        gaps.fill(backend, "execute_change_set", execute_change_set, gap="no update in place, rollback or real types")
        gaps.fill(backend, "delete_stack", delete_stack, gap="deletes in no order and lacks many types")
        gaps.fill(backend, "create_stack", whole_or_nothing, gap="its own engine skips unknown types silently")
        gaps.fill(backend, "update_stack", whole_or_nothing, gap="its own engine skips unknown types silently")

    def _answers(self, gaps: Gaps) -> None:
        state = self._state

        def outputs(self: Moto) -> list[dict[str, Any]] | None:
            known = state.stacks.get(self.stack_id)
            return [
                {
                    "OutputKey": output.key,
                    "OutputValue": output.value,
                    "Description": output.description,
                    "ExportName": output.export_name,
                }
                for output in (known.outputs if known else ())
            ] or None

        def stack_resources(self: Moto) -> list[_Listed]:
            known = state.stacks.get(self.stack_id)
            return [_Listed(resource=resource) for resource in (known.resources.values() if known else ())]

        gaps.fill(models.Stack, "outputs", property(outputs), gap="change sets lose outputs")
        gaps.fill(models.Stack, "stack_resources", property(stack_resources), gap="knows only its own resource types")

    def export(self, name: str) -> str:
        """The value that another stack exports under ``name``."""
        if name not in self._state.exports:
            raise ValidationError(message=f"No export named {name} found.")
        return self._state.exports[name]

    def _execute(self, backend: Moto, stack: Moto, change_set: Moto) -> None:
        creating = change_set.change_set_type == "CREATE"
        before = self._state.stacks.get(stack.stack_id, Stack(stack_id=stack.stack_id, name=stack.name))
        with self._working:
            try:
                after = self._engine.deploy(
                    before,
                    change_set.template_dict,
                    change_set.parameters,
                    exports=self.export,
                    report=lambda event: self._report(stack, event),
                )
            except DeploymentFailed as failure:
                change_set.execution_status = "EXECUTE_FAILED"
                self._end(stack, "ROLLBACK_COMPLETE" if creating else "UPDATE_ROLLBACK_COMPLETE", str(failure))
                return
            except Exception as error:  # noqa: BLE001 - a stack must end in a state; the journal has the traceback
                self._journal.failed("cloudformation", f"a rollback of {stack.name}")
                self._end(stack, "ROLLBACK_FAILED" if creating else "UPDATE_ROLLBACK_FAILED", str(error))
                return
            self._state.stacks[stack.stack_id] = after
            self._publish(backend, before, after)
            change_set.execution_status = "EXECUTE_COMPLETE"
            _remember_template(stack, change_set)
            self._end(stack, f"{change_set.change_set_type}_COMPLETE", None)

    def _delete(self, backend: Moto, stack: Moto) -> None:
        before = self._state.stacks.get(stack.stack_id, Stack(stack_id=stack.stack_id, name=stack.name))
        with self._working:
            try:
                self._engine.delete(before, report=lambda event: self._report(stack, event))
            except DeploymentFailed as failure:
                self._end(stack, "DELETE_FAILED", str(failure))
                return
            self._publish(backend, before, Stack(stack_id=stack.stack_id, name=stack.name))
            self._state.stacks.pop(stack.stack_id, None)
            self._end(stack, "DELETE_COMPLETE", None)
            backend.stacks.pop(stack.stack_id, None)
            backend.deleted_stacks[stack.stack_id] = stack

    def _publish(self, backend: Moto, before: Stack, after: Stack) -> None:
        for output in before.outputs:
            if output.export_name:
                self._state.exports.pop(output.export_name, None)
                backend.exports.pop(output.export_name, None)
        for output in after.outputs:
            if output.export_name:
                self._state.exports[output.export_name] = output.value
                exported = parsing.Export(after.stack_id, output.export_name, output.value)
                backend.exports[output.export_name] = exported

    def _report(self, stack: Moto, event: Event) -> None:
        stack.events.append(
            models.Event(
                stack.stack_id,
                stack.name,
                event.logical_id,
                event.physical_id,
                event.type,
                event.status,
                event.reason,
                None,
            )
        )
        reason = f": {event.reason}" if event.reason else ""
        self._journal.say("cloudformation", f"{stack.name} {event.status} {event.type} {event.logical_id}{reason}")

    def _end(self, stack: Moto, status: str, reason: str | None) -> None:
        stack._add_stack_event(status, resource_status_reason=reason)  # noqa: SLF001 - moto's only way to add one
        stack.status = status
        self._journal.say("cloudformation", f"{stack.name} {status}{f': {reason}' if reason else ''}")


def _find_change_set(backend: Moto, change_set_name: str, stack_name: str | None = None) -> Moto:
    for change_set_id, change_set in reversed(backend.change_sets.items()):
        of_stack = stack_name in {None, change_set.stack_name, change_set.stack_id}
        if change_set_name == change_set_id or (change_set_name == change_set.change_set_name and of_stack):
            return change_set
    raise _NoSuchChangeSet(f"ChangeSet [{change_set_name}] does not exist")


def _change_sets(gaps: Gaps) -> None:
    backend = models.CloudFormationBackend

    def delete_change_set(self: Moto, change_set_name: str) -> None:
        for change_set_id, change_set in list(self.change_sets.items()):
            if change_set_name in {change_set_id, change_set.change_set_name}:
                del self.change_sets[change_set_id]

    def has_parameters(self: Moto, other: dict[str, str]) -> bool:
        return bool(_with_defaults(self.template_dict, other) == _with_defaults(self.template_dict, self.parameters))

    gaps.fill(backend, "describe_change_set", _find_change_set, gap="answers a missing one with the wrong error")
    gaps.fill(backend, "delete_change_set", delete_change_set, gap="fails when there is none to delete")
    gaps.fill(models.Stack, "has_parameters", has_parameters, gap="takes an unstated default for a change")


def _remember_template(stack: Moto, change_set: Moto) -> None:
    """Keep what moto's answers and its next change set compare with."""
    stack.template = change_set.template
    stack.template_dict = change_set.template_dict
    stack.description = change_set.template_dict.get("Description")
    stack.parameters = change_set.parameters
    stack.tags = change_set.tags or {}
    stack.resource_map.resolved_parameters = _with_defaults(change_set.template_dict, change_set.parameters)
    stack.resource_map.no_echo_parameter_keys = []
    stack.resource_map.input_parameters = change_set.parameters
    stack.resource_map._resource_json_map = json.loads(  # noqa: SLF001 - what moto's change sets are compared with
        json.dumps(change_set.template_dict["Resources"])
    )


def _with_defaults(template: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    declared = template.get("Parameters", {})
    return {name: parameter["Default"] for name, parameter in declared.items() if "Default" in parameter} | given


def _in_background(work: Callable[..., None], *arguments: Moto) -> None:
    thread = threading.Thread(target=work, args=arguments, name="cloudformation", daemon=True)
    thread.start()
    thread.join(_ANSWER_WITHIN_S)
