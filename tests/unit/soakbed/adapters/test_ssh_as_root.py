"""Commands and files as root: what goes over the line, and what a shell makes of it."""

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soakbed.adapters import ssh
from soakbed.records.testbed import Host

ROOT = Host(name="d1", duty="data", address="10.0.0.1", key_file="k")
ADMIN = ROOT.model_copy(update={"user": "admin"})
LINE = "rm -rf /var/lib/soakbed/sessions/one"
TEXTS = st.text(
    st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=300
)


class Channel:
    """What was started, and what it was given to read."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.command, self.read, self.ended, self.refuses = "", "", False, refuses

    def exec_command(self, command: str) -> None:
        self.command = command

    def settimeout(self, _timeout_s: float) -> None: ...

    def sendall(self, sent: bytes) -> None:
        if self.refuses:
            raise OSError("Socket is closed")
        self.read += sent.decode()

    def shutdown_write(self) -> None:
        self.ended = True


def run(script: str, folder) -> int:
    return subprocess.run(
        ["/bin/sh", "-s"], input=script.encode(), cwd=folder, capture_output=True, check=False
    ).returncode


def test_root_needs_no_shell_of_ours():
    channel = Channel()
    ssh._begin(channel, ROOT, LINE)
    assert (channel.command, channel.read) == (LINE, "")


def test_sudo_asks_for_no_password_and_its_log_tells_no_arguments():
    channel = Channel()
    ssh._begin(channel, ADMIN, LINE)
    assert channel.command == "sudo -n -- /bin/sh -s"
    assert LINE in channel.read
    assert channel.ended


def test_who_was_refused_is_still_asked_for_the_reason():
    ssh._begin(Channel(refuses=True), ADMIN, LINE)


@pytest.mark.parametrize("user", ["root", "admin"])
def test_files_are_written_by_the_same_shell_for_everybody(tmp_path, user):
    channel = Channel()
    host = ROOT.model_copy(update={"user": user})
    ssh._feed(channel, host, ssh._writing(f"{tmp_path}/a b/c", {"x.json": "1\n", "it's": "2"}))
    assert channel.command.endswith("/bin/sh -s")
    assert run(channel.read, tmp_path) == 0
    found = {path.name: path.read_text() for path in (tmp_path / "a b/c").iterdir()}
    assert found == {"x.json": "1\n", "it's": "2"}


def test_a_large_file_is_no_trouble(tmp_path):
    text = "it's 'quoted' $HOME `date`\n" * 200_000
    assert run(ssh._writing(str(tmp_path), {"plan.json": text}), tmp_path) == 0
    assert (tmp_path / "plan.json").read_text() == text


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=TEXTS)
def test_any_text_arrives_as_it_is(tmp_path, text):
    assert run(ssh._writing(str(tmp_path), {"-n": text}), tmp_path) == 0
    assert (tmp_path / "-n").read_bytes().decode() == text


def test_of_a_script_that_breaks_off_nothing_is_run(tmp_path):
    channel = Channel()
    ssh._begin(channel, ADMIN, "touch one; touch two")
    whole = channel.read
    for cut in range(len(whole) - 2):
        run(whole[:cut], tmp_path)
        assert list(tmp_path.iterdir()) == [], whole[:cut]
    assert run(whole, tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert run(ssh._writing(f"{tmp_path}/file/below", {"x": "1"}), tmp_path) != 0
