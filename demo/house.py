"""The whole house, composed: the core, the users, AWS and the operator's terminal; it tells no story.

Everything runs inside the sandbox; what is left in ``folder`` when it stops goes with the sandbox.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from core_agent.build import build
from demo import configuration
from demo.aws.credentials import InstanceCredentials
from demo.aws.machines import Machine
from demo.aws.server import LocalAws
from demo.hosts import image
from demo.hosts.client import LoadClient
from demo.hosts.core import Core
from demo.hosts.errors import HostError
from demo.hosts.instance import Instances
from demo.hosts.switch import API_ADDRESS, Switch
from demo.recorder import Group
from settings import Settings, parse

ROOT = Path(__file__).resolve().parents[1]
API_PORT = 5555
_CDK = str(ROOT / "node_modules/.bin/cdk")
_CDK_TIMEOUT_S = 240


class House:
    """Build it in this order: ``build_core``, ``open_aws``, then what the operator does with ``cdk`` and ``fab``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self._switch = Switch()
        self.core = Core(switch=self._switch, log_folder=self.logs)
        self.users = LoadClient(switch=self._switch, log_folder=self.logs)
        self._config = folder / "drawbridge.toml"
        self._identity = folder / "id_ed25519"
        self._open = False
        self.aws: LocalAws
        self.instances: Instances
        self.host_key = ""

    # --- the parts --------------------------------------------------------------------------------------------------

    def build_core(self) -> str:
        """Start the core with the product's own installer and the users' machine; return what the installer printed."""
        self._switch.start()
        self.host_key = self.core.boot()
        self._run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drawbridge", "-f", str(self._identity)))
        text = configuration.toml(host_key=self.host_key, identity=str(self._identity))
        self._config.write_text(text)
        public_key = self._identity.with_suffix(".pub").read_text().strip()
        agent = self.folder / "agent.pyz"
        build(agent)
        printed = self.core.install(agent=agent, config=text, authorized_key=public_key)
        self.core.start(self.settings.core.servers, service_ms=configuration.SERVICE_MS)
        self.users.boot()
        return printed

    @property
    def settings(self) -> Settings:
        """The demo's settings, as everybody here reads them."""
        return parse(self._config.read_text(), source=str(self._config))

    def operators_files(self, port: int) -> dict[str, str]:
        """Return the files, name → text, with which ``fab`` reaches the core from outside by the door ``port``."""
        folder = ROOT / ".demo"
        text = configuration.toml(
            host_key=self.host_key, identity=str(folder / "id_ed25519"), address="127.0.0.1", ssh_port=port
        )
        return {
            "drawbridge.toml": text,
            "id_ed25519": self._identity.read_text(),
            "known_hosts": f"[127.0.0.1]:{port} {self.host_key}\n",
        }

    def open_aws(self) -> None:
        """Start the local AWS, whose instances are hosts of this house."""
        authority = self.folder / "authority.pem"
        self.instances = Instances(
            switch=self._switch,
            log_folder=self.logs,
            authority=authority,
            names=self.url_names,
            mint=self._mint,
            image=image.with_webapp(),
        )
        self.aws = LocalAws(
            region=configuration.REGION,
            account=configuration.ACCOUNT,
            port=API_PORT,
            url_bind=(str(API_ADDRESS), 443),
            ca_path=authority,
            log_path=self.logs / "aws.log",
            machines=self.instances,
        )
        self.aws.start()
        self._open = True

    def _mint(self, machine: Machine) -> InstanceCredentials:
        return self.aws.credentials.mint(machine)  # the instances are made before the AWS that launches them

    def close(self) -> None:
        """Stop what this process runs in threads; the sandbox's end takes the rest."""
        if self._open:
            self.aws.stop()

    # --- the operator -----------------------------------------------------------------------------------------------

    def fab(self, *words: str) -> str:
        """Run ``fab WORDS`` as the operator would and return what it printed; raises ``HostError``."""
        return self._run((str(Path(sys.executable).with_name("fab")), *words))

    def cdk(self, *words: str, on_line: Callable[[str], None]) -> None:
        """Run the unmodified ``cdk WORDS``; each line of its output goes to ``on_line``. Raises ``HostError``."""
        log = self.logs / f"cdk-{words[0]}.log"
        process = subprocess.Popen(
            (_CDK, *words, "--no-notices", "--no-color", "--ci"),
            cwd=ROOT,
            env=self._environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        with log.open("a") as file:
            for line in process.stdout:
                file.write(line)
                on_line(line.rstrip())
        if process.wait(_CDK_TIMEOUT_S) != 0:
            tail = "\n".join(log.read_text().splitlines()[-15:])
            raise HostError(f"cdk {words[0]}: wanted exit status 0, found {process.returncode}:\n{tail}")

    def deploy(self, on_line: Callable[[str], None]) -> None:
        """``cdk bootstrap`` and ``cdk deploy --all``."""
        cloud = str(self.folder / "cdk.out")
        self.cdk("bootstrap", f"aws://{configuration.ACCOUNT}/{configuration.REGION}", "--app", "", on_line=on_line)
        self.cdk("synth", "--quiet", "--output", cloud, on_line=on_line)
        self.cdk("deploy", "--all", "--app", cloud, "--require-approval", "never", on_line=on_line)

    def destroy(self, on_line: Callable[[str], None]) -> None:
        """``cdk destroy --all``."""
        self.cdk("destroy", "--all", "--force", "--app", str(self.folder / "cdk.out"), on_line=on_line)

    # --- what the story looks at ------------------------------------------------------------------------------------

    def group(self) -> Group:
        """Return the group as AWS describes it."""
        (group,) = self.aws.place.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.settings.group_name]
        )["AutoScalingGroups"]
        states = {instance["InstanceId"]: instance["LifecycleState"] for instance in group["Instances"]}
        return Group(minimum=group["MinSize"], desired=group["DesiredCapacity"], states=states)

    def alarms(self) -> dict[str, str]:
        """Return the state of every alarm by its name, without the prefix of the settings' name."""
        described = self.aws.place.client("cloudwatch").describe_alarms()["MetricAlarms"]
        prefix = f"{configuration.NAME}-"
        return {alarm["AlarmName"].removeprefix(prefix): alarm["StateValue"] for alarm in described}

    def scaling_causes(self) -> list[str]:
        """Return why AWS changed the group's size, in its own words, the oldest first, each once."""
        activities = self.aws.place.client("autoscaling").describe_scaling_activities(
            AutoScalingGroupName=self.settings.group_name
        )["Activities"]
        # A cause goes on to say what became of one instance; the first sentence is the same for all of a change.
        return list(dict.fromkeys(activity["Cause"].partition(".  At ")[0] for activity in reversed(activities)))

    def url_names(self) -> dict[str, IPv4Address]:
        """Return where the names of the stacks' URLs lead: a node asks for them, and it may boot before all stands."""
        stacks = self.aws.place.client("cloudformation").describe_stacks()["Stacks"]
        urls = [output["OutputValue"] for stack in stacks for output in stack.get("Outputs", [])]
        return {url.split("/")[2]: API_ADDRESS for url in urls if url.startswith("https://")}

    def stacks(self) -> list[str]:
        """Return the names of the product's stacks that exist."""
        summaries = self.aws.place.client("cloudformation").list_stacks()["StackSummaries"]
        return [
            summary["StackName"]
            for summary in summaries
            if summary["StackName"].startswith(configuration.NAME) and summary["StackStatus"] != "DELETE_COMPLETE"
        ]

    # --- how ----------------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        aws = self.aws.client_environment if self._open else {}
        return (
            os.environ
            | aws
            | {
                "HOME": str(self.folder),  # whatever keeps caches keeps them where they go with the sandbox
                "CDK_HOME": str(self.folder / "cdk-home"),  # cdk asks for the user's home, not for HOME
                "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(ROOT / ".build/jsii"),
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "DRAWBRIDGE_CONFIG": str(self._config),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            }
        )

    def _run(self, argv: tuple[str, ...]) -> str:
        done = subprocess.run(
            argv, cwd=ROOT, env=self._environment(), capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise HostError(f"{Path(argv[0]).name} {argv[1]}: wanted exit status 0, found {done.returncode}: {said}")
        return done.stdout.rstrip()
