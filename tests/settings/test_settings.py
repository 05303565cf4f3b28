"""drawbridge.toml as a person may write it: the default loads, and every mistake is named by its key."""

from __future__ import annotations

import base64
import dataclasses
import re
import tomllib
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

import settings
from core_agent.errors import SettingsError
from settings import Settings

DEFAULT = Path("drawbridge.toml")
TEXT = DEFAULT.read_text()
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmN4XKnXrqZ7VnGg1fW0B1kKQbLkqzD6k0Xo3m1b2cV"


def ecdsa(bits: int, point: int) -> str:
    """Return a host key of that curve, well formed and no more."""
    curve = f"nistp{bits}".encode()
    kind = b"ecdsa-sha2-" + curve
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, curve, b"\4" + b"x" * point))
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


def changed(table: str, key: str, value: str) -> str:
    """Return drawbridge.toml with ``key = value`` in ``table`` (empty: the top), in place of what is there."""
    header = f"[[{table}]]" if table == "core.servers" else f"[{table}]"
    begin = TEXT.index(header) + len(header) if table else 0
    end = match.start() + begin if (match := re.search(r"^\[", TEXT[begin:], re.MULTILINE)) else len(TEXT)
    lines = [line for line in TEXT[begin:end].splitlines() if not re.match(rf"{key}\s*=", line)]
    if value:
        lines.append(f"{key} = {value}")
    return TEXT[:begin] + "\n".join(lines) + "\n" + TEXT[end:]


def parse(text: str) -> Settings:
    """Return what ``text`` says, as a file called d.toml."""
    return settings.parse(text, source="d.toml")


# --- what is right --------------------------------------------------------------------------------------------------


def test_the_default_file_loads() -> None:
    """What the repository ships is right, and says what its comments say."""
    loaded = settings.load(DEFAULT)
    assert (loaded.group_name, loaded.node_role_name) == ("drawbridge-edge", "drawbridge-node-eu-north-1")
    assert (loaded.tunnel.core_address, loaded.node_capacity) == (IPv4Address("10.100.0.1"), 1021)


def test_every_key_of_the_default_file_is_read() -> None:
    """Each key in the file arrives in its field, and no table is forgotten."""
    loaded = settings.load(DEFAULT)
    for name, table in tomllib.loads(TEXT).items():
        section = getattr(loaded, name)
        if not isinstance(table, dict):
            assert section == table
            continue
        for key, written in table.items():
            read = getattr(section, key)
            if key == "servers":
                assert [{**dataclasses.asdict(server), "address": str(server.address)} for server in read] == written
            elif isinstance(written, list):
                assert list(read) == written
            else:
                assert (str(read) if isinstance(read, IPv4Network) else read) == written


def test_the_file_is_found_by_argument_variable_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument wins over $DRAWBRIDGE_CONFIG, and that over the file here."""
    for name in ("argument", "variable", "drawbridge"):
        (tmp_path / f"{name}.toml").write_text(changed("", "name", f'"{name}"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRAWBRIDGE_CONFIG", raising=False)
    assert settings.load().name == "drawbridge"
    monkeypatch.setenv("DRAWBRIDGE_CONFIG", "variable.toml")
    assert settings.load().name == "variable"
    assert settings.load("argument.toml").name == "argument"


@pytest.mark.parametrize("host", ["203.0.113.10", "core.example", "a", "x-1.a-b.example", "4ever.example", "a" * 63])
def test_hosts(host: str) -> None:
    """Addresses and names are hosts; only the former have an address."""
    public = parse(changed("core", "public_address", f'"{host}"')).core.public_address
    assert public == host
    assert public.address == (IPv4Address(host) if host == "203.0.113.10" else None)


@pytest.mark.parametrize("key", [ED25519, ecdsa(256, 64), ecdsa(384, 96), ecdsa(521, 132)])
@pytest.mark.parametrize("comment", ["", " root@core", " two words ", "\t"])
def test_a_host_key_is_the_line_of_a_pub_file(key: str, comment: str) -> None:
    """Pasted with its comment, a host key is read without it."""
    written = f'"""{key}{comment}"""'
    assert parse(changed("core", "ssh_host_key", written)).core.ssh_host_key == key


@pytest.mark.parametrize("bind", [":80", "0.0.0.0:443", "203.0.113.10:65535"])
def test_binds(bind: str) -> None:
    """With or without an address, HAProxy can listen there."""
    assert parse(changed("frontend", "bind", f'"{bind}"')).frontend.bind == bind


@pytest.mark.parametrize("port", [0, 1024, 9469, 65535])
def test_metrics_ports(port: int) -> None:
    """None at all, or any that takes no privilege."""
    assert parse(changed("tunnel", "metrics_port", str(port))).tunnel.metrics_port == port


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("core", "ssh_port", "9469"),
        ("frontend", "bind", '":9469"'),
        ("frontend", "bind", '"0.0.0.0:9469"'),
        ("frontend", "bind", '"10.100.0.1:9469"'),
    ],
)
def test_whoever_has_the_metrics_port_is_named(table: str, key: str, value: str) -> None:
    """Two that listen at one address cannot have one port; at another address, they can."""
    with pytest.raises(SettingsError, match=f"metrics_port: wanted a port of its own, found 9469.* {table}.{key}"):
        parse(changed(table, key, value))
    assert parse(changed("frontend", "bind", '"203.0.113.10:9469"')).tunnel.metrics_port == 9469


def test_a_command_may_stand_for_an_image() -> None:
    """An application is an image or a command that the machine image has."""
    text = changed("application", "image", "").replace("port = 8080\n\n[burst]", "port = 8080\n[burst]")
    text = text.replace("[application]", '[application]\ncommand = ["python3", "/srv/app.py", "it\'s"]')
    assert parse(text).application.command == ("python3", "/srv/app.py", "it's")


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("", "name", "", r"d.toml.name: missing"),
        ("", "name", '"Draw Bridge"', r"d.toml.name: wanted a name: 1 to 32 lower-case .*, found 'Draw Bridge'"),
        ("", "name", '"-a"', "d.toml.name: wanted a name"),
        ("", "name", f'"{"a" * 33}"', "d.toml.name: wanted a name"),
        ("", "name", "5", r"d.toml.name: wanted a string, found 5"),
        ("", "colour", '"red"', "d.toml.colour: unknown; wanted only application, burst, core, "),
        ("core", "public_address", '"300.1.1.1"', "d.toml.core.public_address: wanted an IPv4 address or a host name"),
        ("core", "public_address", '"10.1"', "core.public_address: wanted an IPv4 address or a host name"),
        ("core", "public_address", '"core_1.example"', "core.public_address: wanted an IPv4 address or a host name"),
        ("core", "public_address", '"a..b"', "core.public_address: wanted an IPv4"),
        ("core", "public_address", f'"{"a" * 64}.example"', "core.public_address: wanted an IPv4"),
        ("core", "public_address", '"user@host"', "core.public_address: wanted an IPv4"),
        ("core", "public_address", '"10.100.3.9"', r"core.public_address: wanted an address outside tunnel.network"),
        ("core", "public_address", '"10.200.15.9"', r"core.public_address: wanted an address outside tunnel.network"),
        ("core", "ssh_host_key", "", "d.toml.core.ssh_host_key: missing"),
        (
            "core",
            "ssh_host_key",
            '"SHA256:abc"',
            "core.ssh_host_key: wanted the line in /etc/ssh/ssh_host_ed25519_key.pub",
        ),
        ("core", "ssh_host_key", f'"{ED25519[:-8]}"', "core.ssh_host_key: .* damaged or cut short"),
        ("core", "ssh_host_key", f'"{ED25519[:-1]}"', "core.ssh_host_key: .* damaged or cut short"),
        ("core", "ssh_host_key", f'"{ED25519.replace("IJmN", "IJm!")}"', "core.ssh_host_key: wanted the line"),
        (
            "core",
            "ssh_host_key",
            f'"ecdsa-sha2-nistp256 {ED25519.split()[1]}"',
            "core.ssh_host_key: .* damaged or cut short",
        ),
        ("core", "ssh_port", "0", "core.ssh_port: wanted 1 to 65535, found 0"),
        ("core", "ssh_port", "true", "core.ssh_port: wanted a whole number, found True"),
        ("core", "ssh_port", "22.0", "core.ssh_port: wanted a whole number, found 22.0"),
        ("core", "ssh_user", '"ro ot"', "core.ssh_user: wanted a user name"),
        ("core", "ssh_key_parameter", '"no-slash"', "core.ssh_key_parameter: wanted a parameter name"),
        ("core", "servers_", "[]", "core.servers_: unknown"),
        ("core.servers", "maxconn", "0", r"core.servers\[0\].maxconn: wanted 1 to 100000, found 0"),
        ("core.servers", "maxconn", "", r"core.servers\[0\].maxconn: missing"),
        ("core.servers", "address", '"localhost"', r"core.servers\[0\].address: wanted an IPv4 address, found"),
        (
            "core.servers",
            "address",
            '"10.100.0.2"',
            "core.servers: no-primary: wanted an address outside the nodes' 10",
        ),
        ("core.servers", "name", '"i-0abc"', "core.servers: wanted names that do not begin with i-.*, found i-0abc"),
        (
            "tunnel",
            "network",
            '"10.100.0.0/30"',
            "tunnel.network: wanted a prefix length from 16 to 29, found 10.100.0.0/30",
        ),
        ("tunnel", "network", '"10.0.0.0/8"', "tunnel.network: wanted a prefix length from 16 to 29"),
        ("tunnel", "network", '"10.100.0.1/22"', "tunnel.network: wanted an IPv4 network .* has host bits set"),
        ("tunnel", "network", '"fd00::/64"', "tunnel.network: wanted an IPv4 network"),
        (
            "tunnel",
            "network",
            '"10.200.8.0/22"',
            "tunnel.network: wanted a network apart from edge.vpc_network, found 10.200",
        ),
        (
            "tunnel",
            "network",
            '"10.100.0.0/27"',
            "10.100.0.0/27 has 29 addresses for nodes; wanted 40: edge.max_capacity",
        ),
        ("tunnel", "mtu", "9000", "tunnel.mtu: wanted 1280 to 1420, found 9000"),
        ("tunnel", "keepalive_s", "0", "tunnel.keepalive_s: wanted 5 to 120, found 0"),
        ("tunnel", "quarantine_s", "-1", "tunnel.quarantine_s: wanted 0 to 86400, found -1"),
        ("tunnel", "metrics_port", "65536", "tunnel.metrics_port: wanted 0 to 65535, found 65536"),
        ("tunnel", "metrics_port", "1023", "tunnel.metrics_port: wanted 0 for none, or 1024 to 65535.*found 1023"),
        ("frontend", "bind", '"80"', "frontend.bind: wanted ADDRESS:PORT or :PORT, found '80'"),
        ("frontend", "bind", '":0"', "frontend.bind: wanted ADDRESS:PORT"),
        ("frontend", "bind", '":65536"', "frontend.bind: wanted ADDRESS:PORT"),
        ("frontend", "bind", '"256.0.0.1:80"', "frontend.bind: wanted ADDRESS:PORT"),
        ("frontend", "health_path", '"health"', "frontend.health_path: wanted a path"),
        ("frontend", "health_path", r'"/a\nb"', "frontend.health_path: wanted a path"),
        ("edge", "account", "123456789012", "edge.account: wanted a string, found 123456789012"),
        ("edge", "account", '"1234"', "edge.account: wanted an AWS account: 12 digits"),
        ("edge", "region", '"us-east-1"', "edge.region: wanted one of eu-central-1, .*, found 'us-east-1'"),
        ("edge", "region", '"eu-west-2"', "edge.region: wanted one of"),
        ("edge", "region", '"eu-west-1"', "edge.availability_zones: wanted zones of eu-west-1, found eu-north-1a"),
        ("edge", "availability_zones", "[]", "edge.availability_zones: wanted at least one"),
        (
            "edge",
            "availability_zones",
            '["eu-north-1a", "eu-north-1a"]',
            "wanted each zone once, found eu-north-1a twice",
        ),
        ("edge", "availability_zones", '"eu-north-1a"', "edge.availability_zones: wanted a list, found 'eu-north-1a'"),
        ("edge", "availability_zones", '["north"]', r"edge.availability_zones\[0\]: wanted an availability zone"),
        ("edge", "vpc_network", '"10.200.0.0/25"', "edge.vpc_network: wanted a prefix length from 16 to 24"),
        ("edge", "min_capacity", "21", r"edge.min_capacity: wanted at most max_capacity \(20\), found 21"),
        ("edge", "max_capacity", "0", "edge.max_capacity: wanted 1 to 4000, found 0"),
        ("edge", "max_capacity", "511", r"10.100.0.0/22 has 1021 addresses for nodes; wanted 1022"),
        ("edge", "max_capcity", "5", "edge.max_capcity: unknown; wanted only account, "),
        ("edge", "instance_type", '"t4g small"', "edge.instance_type: wanted an instance type"),
        (
            "edge",
            "drain_deadline_s",
            "180",
            r"edge.drain_deadline_s: wanted less than terminate_timeout_s \(180\), found",
        ),
        ("edge", "root_device", '"xvda"', "edge.root_device: wanted a device such as /dev/xvda, found 'xvda'"),
        ("edge", "notify_topic", '"on-call"', "edge.notify_topic: wanted an SNS topic such as arn:aws:sns:"),
        (
            "edge",
            "notify_topic",
            '"arn:aws:sns:us-east-1:123456789012:on-call"',
            "edge.notify_topic: wanted a topic in eu-north-1, found one in us-east-1",
        ),
        ("application", "image", "", "application: wanted either image or command, found neither"),
        ("application", "command", '["sh"]', "application: wanted either image or command, found both"),
        ("application", "command", r'["a\nb"]', r"application.command\[0\]: wanted one word of a command"),
        ("application", "image", '"a b"', "application.image: wanted a container image"),
        ("burst", "weight", "257", "burst.weight: wanted 1 to 256, found 257"),
        ("burst", "calm_percent", "101", "burst.calm_percent: wanted 0 to 100, found 101"),
        ("burst", "alarm_percent", "20", r"burst.calm_percent: wanted at most alarm_percent \(20\), found 25"),
        ("burst", "period_s", "61", "burst.period_s: wanted 10 to 60, found 61"),
        ("burst", "period_s", "20", "burst.period_s: wanted 10, 30 or 60, the periods that .* have, found 20"),
        ("burst", "queue_low_ms", "100", r"burst.queue_low_ms: wanted less than queue_high_ms \(100\), found 100"),
        ("burst", "alarm_percent", "0", "burst.alarm_percent: wanted 1 to 100, found 0"),
        (
            "burst",
            "queue_high_ms",
            "5000",
            r"burst.queue_high_ms: wanted less than 5000, .* frontend.queue_s \(5 s\), found 5000. Lower it",
        ),
        (
            "burst",
            "saturation_low_percent",
            "52",
            r"wanted less than 51.28, or the last .* \(80\) back: its 28 slots go and the other 50 stay; found 52",
        ),
        ("burst", "saturation_high_percent", "46", "saturation_low_percent: wanted less than 29.49, .*; found 30"),
        ("burst", "maxconn", "84", "saturation_low_percent: wanted less than 29.85, .* its 84 slots go .* smaller"),
    ],
)
def test_a_mistake_is_named_by_its_key(table: str, key: str, value: str, message: str) -> None:
    """One wrong value, and the error names the file, the key, what was wanted and what was found."""
    with pytest.raises(SettingsError, match=message) as caught:
        parse(changed(table, key, value))
    assert str(caught.value).startswith("d.toml")
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("appended", "message"),
    [
        ('[functions]\narchitecture = "riscv"', "functions.architecture: wanted one of arm64, x86_64, found 'riscv'"),
        ('[functions]\nruntime = "python3.9"', "functions.runtime: wanted one of python3.11, "),
        ("[edges]", "d.toml.edges: unknown"),
        (
            '[[core.servers]]\nname = "no-primary"\naddress = "127.0.0.1"\nport = 1\nmaxconn = 1',
            "found no-primary twice",
        ),
        (
            '[[core.servers]]\nname = "second"\naddress = "127.0.0.1"\nport = 8080\nmaxconn = 1',
            "core.servers: wanted a place of its own for each, found 127.0.0.1:8080 twice",
        ),
        (
            '[[core.servers]]\nname = "near"\naddress = "10.100.0.1"\nport = 9469\nmaxconn = 1',
            "tunnel.metrics_port: wanted a port of its own, found 9469, which is taken by core.servers: near",
        ),
        ("[edge]", "d.toml: wanted TOML, found: .*edge"),
        ("[[tunnel]]", "d.toml: wanted TOML"),
        ("weight = 1979-05-27", "d.toml.burst.weight"),
        ("x = [" + "[" * 5000, "d.toml: wanted TOML"),
        ("=", "d.toml: wanted TOML, found: .*line"),
    ],
)
def test_a_mistake_in_an_added_table_is_named(appended: str, message: str) -> None:
    """Optional tables, doubled ones and what is no TOML are told just as clearly."""
    text = re.sub(r"^weight = .*$", "", TEXT, flags=re.MULTILINE) if appended.startswith("weight") else TEXT
    with pytest.raises(SettingsError, match=message):
        parse(f"{text}\n{appended}\n")


def test_the_groups_minimum_stays_too() -> None:
    """With nodes that are never let go, one more or less matters less: the low threshold may be higher."""
    standing = changed("edge", "min_capacity", "1").replace(
        "saturation_low_percent = 30", "saturation_low_percent = {}"
    )
    assert parse(standing.format(58)).burst.saturation_low_percent == 58
    with pytest.raises(SettingsError, match=r"wanted less than 58.87, or the last .* the other 78 stay; found 59"):
        parse(standing.format(59))


@pytest.mark.parametrize(("factor", "most", "slots"), [(50, 62.5, 14), (36, 66.67, 10), (1, 78.43, 1)])
def test_a_far_regions_node_has_fewer_slots_to_take_away(factor: int, most: float, slots: int) -> None:
    """The region's factor makes its nodes smaller, in whole slots, as the core does; one is the least."""
    far = changed("edge", "max_capacity", f"20\nregion_factor_percent = {factor}")
    found = f"wanted less than {most}, .* its {slots} slots go and the other 50 stay; found 79"
    with pytest.raises(SettingsError, match=found):
        parse(far.replace("saturation_low_percent = 30", "saturation_low_percent = 79"))


@pytest.mark.parametrize(("key", "value"), [("queue_high_ms", "4999"), ("alarm_percent", "25")])
def test_what_is_just_right_is_read(key: str, value: str) -> None:
    """Each bound's own side."""
    assert getattr(parse(changed("burst", key, value)).burst, key) == int(value)
    assert parse(with_peaks({"core_percent": "31"})).peaks[0].core_percent == 31


def test_small_nodes_leave_by_the_quarter() -> None:
    """Where one node hardly matters it is the quarter that leaves at a time which bounds the low threshold."""
    small = changed("burst", "maxconn", "1").replace("saturation_low_percent = 30", "saturation_low_percent = {}")
    assert parse(small.format(59)).burst.saturation_low_percent == 59
    with pytest.raises(SettingsError, match=r"saturation_low_percent: wanted less than 60, three quarters .* found 60"):
        parse(small.format(60))


PEAK = {"name": '"rush"', "start": '"08:00"', "end": '"16:00"', "min_capacity": "3"}


def with_peaks(*peaks: dict[str, str]) -> str:
    """Return drawbridge.toml with these peaks, each as it differs from an ordinary one."""
    tables = ({**PEAK, **peak} for peak in peaks)
    return TEXT + "".join(
        "\n[[peaks]]\n" + "\n".join(f"{k} = {v}" for k, v in table.items()) + "\n" for table in tables
    )


def test_peaks_have_their_defaults() -> None:
    """A peak is every day's, by Oslo's clock, at full level, and leaves the core's slots to the core."""
    (peak,) = parse(with_peaks({})).peaks
    assert (len(peak.days), peak.timezone, peak.level_percent, peak.core_percent) == (7, "Europe/Oslo", 100, 100)
    night = parse(with_peaks({"start": '"22:00"', "end": '"02:00"'})).peaks[0]
    assert (night.start, night.end) == ("22:00", "02:00")


def test_peaks_may_overlap() -> None:
    """An hour within the office hours is a use, not a mistake."""
    lunch = {"name": '"lunch"', "start": '"11:00"', "end": '"13:00"'}
    assert len(parse(with_peaks({}, lunch)).peaks) == 2


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        ([{}, {}], "peaks: wanted different names, found rush twice"),
        ([{"min_capacity": "21"}], r"peaks: rush: wanted min_capacity at most edge.max_capacity \(20\), found 21"),
        ([{"end": '"08:00"'}], "peaks: rush: wanted an end apart from start, found 08:00 for both"),
        ([{"end": '"24:00"'}], r"peaks\[0\].end: wanted a time of day as HH:MM, from 00:00 to 23:59, found '24:00'"),
        ([{"days": "[]"}], "peaks: rush: wanted at least one day, found none"),
        ([{"days": '["mon", "mon"]'}], "peaks: rush: wanted each day once, found mon twice"),
        ([{"days": '["monday"]'}], r"peaks\[0\].days\[0\]: wanted one of mon, .*, found 'monday'"),
        (
            [{"core_percent": "30"}],
            r"peaks: rush: wanted core_percent more than burst.saturation_low_percent \(30\), .*, found 30. Raise it",
        ),
        ([{"core_percent": "0"}], r"peaks\[0\].core_percent: wanted 1 to 100, found 0"),
        (
            [{}, {"name": '"far"', "timezone": '"Europe/Helsinki"'}],
            "peaks: wanted one timezone for all, .* found Europe/Helsinki and Europe/Oslo",
        ),
        ([{"name": f'"rush-{number}"'} for number in range(11)], "peaks: wanted at most 10, .* found 11"),
    ],
)
def test_a_mistaken_peak_is_named(peaks: list[dict[str, str]], message: str) -> None:
    """By its own name where it has one, and before AWS hears of it."""
    with pytest.raises(SettingsError, match=message):
        parse(with_peaks(*peaks))


def test_no_servers_is_a_mistake() -> None:
    """A core without a server of its own has nothing to burst from."""
    text = re.sub(r"\[\[core\.servers\]\](?:\n[^\[]*)", "", TEXT).replace("[core]", "[core]\nservers = []")
    with pytest.raises(SettingsError, match=r"core\.servers: wanted at least one server, found none"):
        parse(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8: the path and the reason."""
    with pytest.raises(SettingsError, match=rf"reading {tmp_path}/none: no such file; copy drawbridge.toml"):
        settings.load(tmp_path / "none")
    with pytest.raises(SettingsError, match=rf"reading {tmp_path}: Is a directory"):
        settings.load(tmp_path)
    (tmp_path / "latin").write_bytes(b'name = "\xe5"')
    with pytest.raises(SettingsError, match=rf"reading {tmp_path}/latin: wanted UTF-8, found a byte that is not at 8"):
        settings.load(tmp_path / "latin")


@how(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_settings_error(data: st.DataObject) -> None:
    """A file with any line replaced by anything is right still, or a SettingsError: never a traceback."""
    lines = TEXT.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    key = lines[at].partition("=")[0]
    value = st.text(max_size=20) | st.sampled_from(
        ["[]", "{}", "1e999", "nan", "-1", '""', '"\\u0000"', "1979-05-27", "0x"]
    )
    lines[at] = data.draw(st.just(key + "= ") | st.just("")) + data.draw(value)
    try:
        parse("\n".join(lines))
    except SettingsError as error:
        assert str(error).startswith("d.toml")  # noqa: PT017  either outcome is right
