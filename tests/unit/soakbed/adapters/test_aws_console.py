from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters.aws import AwsRegion
from soakbed.adapters.aws_console import console_host_keys, keys_on_console
from soakbed.errors import ProvisionError
from tests.standins.aws import Answer, AwsDoor, ec2_error


def public(key) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


ED = public(ed25519.Ed25519PrivateKey.generate())
OTHER = public(ed25519.Ed25519PrivateKey.generate())
RSA = public(rsa.generate_private_key(65537, 2048))
EC = public(ec.generate_private_key(ec.SECP256R1()))

# As a Debian 12 machine prints it (key types in cloud-init's order), shortened before and after.
CONSOLE = f"""\
[    3.021339] systemd[1]: Detected virtualization amazon.\r
<14>Nov 24 10:00:01 cloud-init: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r
<14>Nov 24 10:00:01 cloud-init: 256 SHA256:u1 root@ip-10-90-0-11 (ED25519)\r
<14>Nov 24 10:00:01 cloud-init: -----END SSH HOST KEY FINGERPRINTS-----\r
-----BEGIN SSH HOST KEY KEYS-----\r
{EC} root@ip-10-90-0-11\r
{ED} root@ip-10-90-0-11\r
{RSA} root@ip-10-90-0-11\r
-----END SSH HOST KEY KEYS-----\r
[   21.4] cloud-init[612]: Cloud-init v. 22.4.2 finished\r
\r
Debian GNU/Linux 12 ip-10-90-0-11 ttyS0\r
"""


def block(*lines: str) -> str:
    return "\n".join(
        ["-----BEGIN SSH HOST KEY KEYS-----", *lines, "-----END SSH HOST KEY KEYS-----", ""]
    )


@pytest.mark.parametrize(
    ("console", "keys"),
    [
        pytest.param("", [], id="nothing yet"),
        pytest.param(CONSOLE, [EC, ED, RSA], id="a machine that is up"),
        pytest.param(CONSOLE[: CONSOLE.index("-----END SSH HOST KEY KEYS")], [], id="half a block"),
        pytest.param(
            "\n".join(f"[   20.1] cloud-init[612]: {line}" for line in CONSOLE.splitlines()),
            [EC, ED, RSA],
            id="with a time stamp before each line",
        ),
        pytest.param(block(OTHER) + block(ED), [ED], id="booted again with new keys"),
        pytest.param(block(ED) + block(), [ED], id="a later block that holds none"),
        pytest.param(block(ED) + block(OTHER)[:-40], [ED], id="and half of another"),
        pytest.param(f"{ED}\n" + block(), [], id="a key outside of any block"),
        pytest.param(block(f"{ED[:50]}[ 20.1] eth0: up{ED[50:]}", RSA), [RSA], id="broken into"),
        pytest.param(block(ED[:-4], RSA), [RSA], id="cut"),
        pytest.param(block(ED.replace("ssh-ed25519 ", "ssh-rsa "), RSA), [RSA], id="another type"),
        pytest.param(block("ssh-dss AAAAB3NzaC1kc3MAAAAA", ED), [ED], id="a type we do not take"),
        pytest.param(block(ED, f"{ED} root@again"), [ED], id="the same twice"),
    ],
)
def test_keys_are_those_of_the_newest_whole_block(console, keys):
    assert keys_on_console(console) == keys


@given(st.text())
def test_whatever_a_console_shows_is_read_without_complaint(console):
    assert keys_on_console(console) == []


@given(st.lists(st.sampled_from([ED, EC, RSA, OTHER]), min_size=1), st.data())
def test_noise_between_lines_hides_no_key_and_adds_none(keys, data):
    noise = st.text(st.characters(min_codepoint=32, max_codepoint=126))
    lines = [line for key in keys for line in (data.draw(noise), f"{key} root@host")]
    assert keys_on_console(block(*lines)) == list(dict.fromkeys(keys))


@given(st.sampled_from([ED, EC, RSA]), st.data())
def test_a_key_that_lost_letters_is_no_key(key, data):
    kind, encoded = key.split()
    at = data.draw(st.integers(0, len(encoded) - 1))
    length = data.draw(st.integers(1, len(encoded) - at))
    assert keys_on_console(block(f"{kind} {encoded[:at]}{encoded[at + length :]}")) == []


def console_of(text: str) -> Answer:
    encoded = base64.b64encode(text.encode()).decode()
    return Answer(
        200,
        '<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<instanceId>i-1</instanceId><output>{encoded}</output></GetConsoleOutputResponse>",
    )


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch):
    with AwsDoor() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield made


def test_a_machine_is_asked_until_it_has_shown_its_keys(door):
    shown = iter(["", "booting", CONSOLE])
    door.rules = [lambda _call: console_of(next(shown))]
    said: list[str] = []
    found = console_host_keys(
        AwsRegion("eu-central-1"), {"d1": "i-1"}, within_s=30, progress=said.append, every_s=0
    )
    assert found == {"d1": [EC, ED, RSA]}
    assert said == ["d1: its SSH host keys, read from its console"]
    assert {call.parameters["Latest"] for call in door.calls} == {"true"}


def test_a_machine_whose_console_comes_late_is_asked_the_slow_way(door):
    def no_latest(call):
        return ec2_error("UnsupportedOperation") if "Latest" in call.parameters else None

    door.rules = [no_latest, lambda _call: console_of(CONSOLE)]
    region = AwsRegion("eu-central-1")
    assert console_host_keys(region, {"d1": "i-1"}, within_s=0, progress=str)["d1"][1] == ED


def test_machines_that_show_no_keys_are_named_and_nothing_is_trusted(door):
    door.rules = [
        lambda call: console_of(CONSOLE if call.parameters["InstanceId"] == "i-1" else "booting")
    ]
    with pytest.raises(ProvisionError, match=r"console of d2, d3 within 0 s") as raised:
        console_host_keys(
            AwsRegion("eu-central-1"),
            {"d1": "i-1", "d2": "i-2", "d3": "i-3"},
            within_s=0,
            progress=str,
        )
    assert "--instance-id i-2" in raised.value.remedy
