"""Knows how the rooms of the local AWS fit together, and their life from start to stop; nothing of what each does."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moto.core.config import default_user_config
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from demo.aws import autoscaling_api, cdk_gaps, images, lambda_api, queues
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
from demo.aws.watch import AlarmWatch

_ALARMS_EVERY_S = 5.0
_RUNNING = threading.Lock()


class LocalAws:
    """One account in one region, in memory, in this process; nothing outlives ``stop``.

    ``url_bind`` is where function URLs are served over HTTPS (None: nowhere), ``ca_path`` where the authority's
    certificate is written for those who shall trust it, ``log_path`` the journal. ``minute_s`` shortens the minutes of
    schedules, alarm periods and asynchronous retries. One at a time per process: moto's records are global.
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
        self.alarms = AlarmWatch(
            self.place,
            bridge=self.events,
            functions=self.functions,
            journal=self.journal,
            every_s=self.place.seconds(_ALARMS_EVERY_S),
        )
        self._pollers = QueuePollers(self.place, self.functions, journal=self.journal)
        self._queue_metrics = QueueMetrics(self.place, journal=self.journal)
        self._answers: Answers | None = None
        self.urls: FunctionUrls | None = None
        self._environment: dict[str, str | None] = {}
        self._user_config: dict[str, Any] = {}

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
        """Answer from now on. ``RuntimeError`` if one is running in this process; ``OSError`` if the port is taken."""
        if not _RUNNING.acquire(blocking=False):
            raise RuntimeError("starting the local AWS: wanted none in this process, found one running")
        self._set_up_moto()
        self._answers = Answers()
        engine = Engine(
            self.place,
            custom=CustomResources(self._answers),
            invoke=self.functions.invoke,
            journal=self.journal,
        )
        CloudFormationApi(engine, journal=self.journal).install(self._gaps)
        cdk_gaps.install(self._gaps)
        queues.install(self._gaps)
        lambda_api.install(self._gaps, self.functions)
        autoscaling_api.install(self._gaps, self.groups)
        self.events.install(self._gaps)
        self.alarms.install(self._gaps)
        for gap in self._gaps.filled:
            self.journal.say("moto", gap)
        self._server.start()
        images.publish(self.place)
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
        self.events.start()
        self.groups.start()
        self.alarms.start()
        self._pollers.start()
        self._queue_metrics.start()

    def stop(self) -> None:
        """End every thread and process, forget everything, and give moto back as it was."""
        self._queue_metrics.stop()
        self.alarms.stop()
        self.events.stop()
        self._pollers.stop()
        if self.urls is not None:
            self.urls.stop()
        self.functions.close()
        self.groups.stop()
        self._machine_room.close()
        self._logs.close()
        self._server.stop()
        if self._answers is not None:
            self._answers.close()
        self._gaps.undo()
        self._put_moto_back()
        self._scratch.cleanup()
        self.journal.close()
        _RUNNING.release()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def _set_up_moto(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        moto_api_backend.reset()
        self._user_config = {name: dict(value) for name, value in default_user_config.items()}
        default_user_config["lambda"] = {"use_docker": True}  # moto's full backend, whose invoke is ours
        default_user_config["iam"] = {"load_aws_managed_policies": True}  # `cdk bootstrap` attaches some
        # moto decides by this variable how S3 and CloudFormation's TemplateURL are told apart from other hosts.
        self._environment = {name: os.environ.get(name) for name in ("MOTO_PORT",)}
        os.environ["MOTO_PORT"] = str(self._port)

    def _put_moto_back(self) -> None:
        default_user_config.clear()
        default_user_config.update(self._user_config)
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        moto_api_backend.reset()
