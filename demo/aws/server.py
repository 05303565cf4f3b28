"""Knows how the rooms of the local AWS fit together, and their life from start to stop; nothing of what each does."""

from __future__ import annotations

import logging
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from moto.core.config import default_user_config
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from demo.aws import autoscaling_api, cdk_gaps, datapoints, images, lambda_api, queues
from demo.aws.autoscaling import Groups
from demo.aws.cloudformation.api import CloudFormationApi
from demo.aws.cloudformation.custom import Answers, CustomResources
from demo.aws.cloudformation.engine import Engine
from demo.aws.credentials import CredentialStore
from demo.aws.eventbridge import EventBridge
from demo.aws.function_urls import FunctionUrls
from demo.aws.functions import Functions
from demo.aws.gaps import Gaps
from demo.aws.journal import Journal
from demo.aws.logs import LogKeeper
from demo.aws.machines import MachineRoom, Machines, NoMachines
from demo.aws.place import ACCESS_KEY, SECRET_KEY, Place
from demo.aws.queue_metrics import QueueMetrics
from demo.aws.queues import QueuePollers
from demo.aws.scaling_policies import ScalingPolicies
from demo.aws.scheduled_actions import ScheduledActions
from demo.aws.scheduler import Scheduler
from demo.aws.watch import AlarmWatch

_RUNNING = threading.Lock()


class LocalAws:
    """One account in one region, in memory, in this process; nothing outlives ``stop``.

    ``url_bind`` is where function URLs are served over HTTPS (None: nowhere), ``ca_path`` where the authority's
    certificate is written for those who shall trust it, ``log_path`` the journal. ``minute_s`` shortens the minutes of
    schedules, alarm periods and asynchronous retries; times of day are those of ``now``. One at a
    time per process: moto's records are global.
    """

    def __init__(  # noqa: PLR0913 - everything a composition may choose, each by its name
        self,
        *,
        account: str = "123456789012",
        region: str = "eu-north-1",
        port: int = 5555,
        url_bind: tuple[str, int] | None = None,
        ca_path: Path | None = None,
        log_path: Path | None = None,
        machines: Machines | None = None,
        minute_s: float = 60.0,
        abandoned_passes_hook: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if url_bind is not None and ca_path is None:
            raise ValueError("starting the local AWS: wanted ca_path with url_bind, found none")
        self.place = Place(account=account, region=region, endpoint=f"http://localhost:{port}", minute_s=minute_s)
        self.credentials = CredentialStore()
        self.journal = Journal(log_path)
        self._port = port
        self._url_bind = url_bind
        self._ca_path = ca_path
        self._scratch = tempfile.TemporaryDirectory(prefix="local-aws-")
        self._gaps = Gaps()
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        self._machine_room = MachineRoom(machines or NoMachines(), journal=self.journal)
        self._logs = LogKeeper(self.place, journal=self.journal)
        self.functions = Functions(self.place, folder=Path(self._scratch.name), logs=self._logs, journal=self.journal)
        self.events = EventBridge(self.place, self.functions, journal=self.journal)
        self.groups = Groups(
            self.place,
            bridge=self.events,
            machines=self._machine_room,
            journal=self.journal,
            abandoned_passes_hook=abandoned_passes_hook,
        )
        self._policies = ScalingPolicies(self.place, self.groups, journal=self.journal)
        self.alarms = AlarmWatch(
            self.place,
            bridge=self.events,
            functions=self.functions,
            policies=self._policies,
            journal=self.journal,
        )
        self.scheduled_actions = ScheduledActions(self.place, self.groups, journal=self.journal, now=now)
        self.scheduler = Scheduler(self.place, journal=self.journal, now=now)
        self._pollers = QueuePollers(self.place, self.functions, journal=self.journal)
        self._queue_metrics = QueueMetrics(self.place, journal=self.journal)
        self.urls: FunctionUrls | None = None
        self._closing = ExitStack()

    @property
    def client_environment(self) -> dict[str, str]:
        """The variables under which any AWS tool, cdk included, talks to this AWS."""
        return {
            "AWS_ENDPOINT_URL": self.place.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": self.place.region,
            "AWS_DEFAULT_REGION": self.place.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Answer from now on. ``RuntimeError`` if one is running in this process; ``OSError`` if a port is taken."""
        with ExitStack() as opening:
            self._open(opening)
            self._closing = opening.pop_all()

    def stop(self) -> None:
        """End every thread and process, forget everything, and give moto back as it was."""
        self._closing.close()

    def _open(self, opening: ExitStack) -> None:
        """Start room after room; ``opening`` ends them in the reverse order, also when one of them cannot start."""
        if not _RUNNING.acquire(blocking=False):
            raise RuntimeError("starting the local AWS: wanted none in this process, found one running")
        opening.callback(_RUNNING.release)
        opening.callback(self.journal.close)
        opening.callback(self._scratch.cleanup)
        _want_free(self._port)
        self._set_up_moto(opening)
        answers = Answers()
        opening.callback(answers.close)
        self._fill_gaps(CustomResources(answers), opening)
        self._server.start()
        opening.callback(self._server.stop)
        images.publish(self.place)
        opening.callback(self._logs.close)
        opening.callback(self._machine_room.close)
        opening.callback(self.functions.close)
        if self._url_bind is not None and self._ca_path is not None:
            self.urls = FunctionUrls(
                self.place,
                self.functions,
                self.credentials,
                bind=self._url_bind,
                ca_path=self._ca_path,
                journal=self.journal,
            )
            self.urls.start()
            opening.callback(self.urls.stop)
        for service in (
            self.groups,
            self._pollers,
            self.events,
            self.alarms,
            self.scheduled_actions,
            self.scheduler,
            self._queue_metrics,
        ):
            service.start()
            opening.callback(service.stop)

    def _fill_gaps(self, custom: CustomResources, opening: ExitStack) -> None:
        opening.callback(self._gaps.undo)
        engine = Engine(self.place, custom=custom, invoke=self.functions.invoke, journal=self.journal)
        CloudFormationApi(engine, journal=self.journal).install(self._gaps)
        cdk_gaps.install(self._gaps)
        queues.install(self._gaps)
        lambda_api.install(self._gaps, self.functions)
        autoscaling_api.install(self._gaps, self.groups)
        self.events.install(self._gaps)
        self._policies.install(self._gaps)
        self.scheduled_actions.install(self._gaps)
        self.scheduler.install(self._gaps)
        datapoints.install(self._gaps, self.place)
        self.alarms.install(self._gaps)
        for gap in self._gaps.filled:
            self.journal.say("moto", gap)

    def _set_up_moto(self, opening: ExitStack) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto_api_backend.reset()
        opening.callback(moto_api_backend.reset)
        before = dict(default_user_config)
        opening.callback(default_user_config.update, before)
        default_user_config["lambda"] = {"use_docker": True}  # moto's full backend, whose invoke is ours
        default_user_config["iam"] = {"load_aws_managed_policies": True}  # `cdk bootstrap` attaches some

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self.stop()


def _want_free(port: int) -> None:
    """Raise ``OSError`` if somebody listens on the port: moto's server would wait for ever instead."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
