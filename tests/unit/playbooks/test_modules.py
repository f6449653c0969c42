"""The decisions inside our own Ansible modules, without hosts: files in a temporary folder."""

import getpass
import importlib.util
import io
import itertools
import stat
import sys
from pathlib import Path

import ansible.module_utils
import pytest
from hypothesis import given
from hypothesis import strategies as st

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
# Where Ansible puts them too, when it packs a module for a host.
ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))


def load(name):
    spec = importlib.util.spec_from_file_location(name, PLAYBOOKS / "library" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


kernel_settings = load("kernel_settings")
redis_topology = load("redis_topology")
small_files = load("small_files")
host_state, target_wiped = load("host_state"), load("target_wiped")

from ansible.module_utils import host_parts, mutual_tls  # noqa: E402  (only importable from here)


@pytest.fixture
def machine(monkeypatch):
    """A machine of its own, not a container."""
    monkeypatch.setattr(kernel_settings, "in_container", lambda: False)
    monkeypatch.setattr(kernel_settings, "owns_network", lambda: True)


@pytest.fixture
def container(monkeypatch):
    """A container with a network of its own."""
    monkeypatch.setattr(kernel_settings, "in_container", lambda: True)
    monkeypatch.setattr(kernel_settings, "owns_network", lambda: True)


@pytest.fixture
def knob(tmp_path):
    """A file that stands in for one under /sys."""
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n")
    return file


def sysfs(file, value="never"):
    return kernel_settings.Setting(str(file), "sysfs", value, "/data")


def test_the_choice_in_brackets_is_the_value(knob):
    assert sysfs(knob).found() == "madvise"


def test_a_machine_of_its_own_is_tuned_and_what_was_found_is_remembered(machine, knob):
    before = {}
    applied, refused, changed = kernel_settings.settle([sysfs(knob)], before, check=False)
    assert (knob.read_text(), changed, refused) == ("never", True, [])
    assert applied == [{"setting": str(knob), "wanted": "never", "found": "madvise"}]
    assert before == {str(knob): {"kind": "sysfs", "value": "madvise"}}


def test_tuning_twice_changes_nothing_and_remembers_the_first_value(machine, knob):
    before = {}
    kernel_settings.settle([sysfs(knob)], before, check=False)
    knob.write_text("always madvise [never]\n")
    assert kernel_settings.settle([sysfs(knob)], before, check=False)[2] is False
    assert before[str(knob)]["value"] == "madvise"


def test_what_is_no_longer_wanted_is_put_back_and_forgotten(machine, knob):
    before = {}
    kernel_settings.settle([sysfs(knob)], before, check=False)
    refused, changed = kernel_settings.restore(before, set(), "/data", check=False)
    assert (knob.read_text(), refused, changed, before) == ("madvise", [], True, {})


def test_checking_only_touches_nothing(machine, knob):
    _, _, changed = kernel_settings.settle([sysfs(knob)], {}, check=True)
    assert changed
    assert "[madvise]" in knob.read_text()


def test_a_container_never_touches_its_machines_kernel(container, knob):
    applied, refused, changed = kernel_settings.settle([sysfs(knob)], {}, check=False)
    assert (applied, changed) == ([], False)
    assert "[madvise]" in knob.read_text()
    assert refused[0]["found"] == "madvise"
    assert "a container shares" in refused[0]["reason"]


def test_a_container_on_its_machines_network_leaves_that_alone_too(container, monkeypatch, knob):
    monkeypatch.setattr(kernel_settings, "owns_network", lambda: False)
    setting = kernel_settings.Setting("net.core.somaxconn", "sysctl", "9", "/data")
    monkeypatch.setattr(kernel_settings.Setting, "file", lambda _self: knob)
    _, refused, _ = kernel_settings.settle([setting], {}, check=False)
    assert "the machine's own network" in refused[0]["reason"]


def test_a_setting_that_the_kernel_does_not_have_is_reported(machine, tmp_path):
    _, refused, changed = kernel_settings.settle([sysfs(tmp_path / "none")], {}, check=False)
    assert refused[0]["reason"] == "No such file or directory"
    assert not changed


def test_open_files_are_measured_and_never_raised(machine, monkeypatch):
    monkeypatch.setattr(kernel_settings, "has_capability", lambda _: False)
    monkeypatch.setattr(kernel_settings, "hard_limit_nofile", lambda: 20_000)
    setting = kernel_settings.Setting("nofile", "nofile", "65536", "/data")
    _, refused, _ = kernel_settings.settle([setting], {}, check=False)
    assert refused[0]["found"] == "20000"


def test_a_machine_keeps_its_tuning_over_a_reboot_and_a_container_does_not_try(machine, knob):
    settings = [sysfs(knob), kernel_settings.Setting("vm.swappiness", "sysctl", "1", "/data")]
    applied = [{"setting": setting.name} for setting in settings]
    files = kernel_settings.persisted(settings, applied)
    assert files["/etc/sysctl.d/90-soakbed.conf"] == "vm.swappiness = 1\n"
    assert files["/etc/tmpfiles.d/soakbed.conf"] == f"w {knob} - - - - never\n"


def test_the_mount_of_a_folder_that_is_not_there_yet_is_the_one_above():
    assert host_parts.mount_of("/proc/soakbed/none")[0] == "/proc"


@given(st.sets(st.integers(0, redis_topology.SLOTS - 1), max_size=60))
def test_stretches_hold_exactly_the_slots(slots):
    found = redis_topology.stretches(sorted(slots))
    assert {slot for low, high in found for slot in range(low, high + 1)} == slots
    assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(found))


@pytest.mark.parametrize(("word", "slots"), [("5", [5]), ("3-5", [3, 4, 5]), ("[93->-292f8b]", [])])
def test_slots_are_read_as_cluster_nodes_writes_them(word, slots):
    assert redis_topology.slots_in(word) == slots


class Wire(mutual_tls.Resp):
    """A connection whose replies are already there."""

    def __init__(self, reply: bytes) -> None:
        self._stream = io.BytesIO(reply)
        self._socket = self

    def sendall(self, _):
        pass


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b"+OK\r\n", "OK"),
        (b":42\r\n", 42),
        (b"$5\r\nhello\r\n", "hello"),
        (b"$-1\r\n", None),
        (b"*2\r\n$1\r\na\r\n*1\r\n:7\r\n", ["a", [7]]),
    ],
)
def test_replies_are_read_as_they_are(reply, value):
    assert Wire(reply).call("X") == value


def test_an_error_is_raised_in_the_members_words():
    with pytest.raises(mutual_tls.ReplyError, match="NOPERM nothing for you"):
        Wire(b"-NOPERM nothing for you\r\n").call("X")


@pytest.mark.parametrize("reply", [b"", b"+O", b"$5\r\nhel"])
def test_a_member_that_hangs_up_is_no_reply(reply):
    with pytest.raises(ConnectionError):
        Wire(reply).call("X")


def wanted(path, content="secret", mode="0600"):
    owner = getpass.getuser()
    return small_files.Wanted({"path": path, "content": content, "owner": owner, "mode": mode})


def test_a_file_is_written_once_with_its_mode(tmp_path):
    file = tmp_path / "key"
    assert wanted(file).file(check=False)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("secret", 0o600)
    assert not wanted(file).file(check=False)


@pytest.mark.parametrize(("content", "mode"), [("other", "0600"), ("secret", "0644")])
def test_other_content_or_another_mode_is_a_change(tmp_path, content, mode):
    wanted(tmp_path / "key").file(check=False)
    assert wanted(tmp_path / "key", content, mode).file(check=False)


def test_a_link_is_replaced_and_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("secret")
    (tmp_path / "key").symlink_to(elsewhere)
    assert wanted(tmp_path / "key", "new").file(check=False)
    assert elsewhere.read_text() == "secret"
    assert not (tmp_path / "key").is_symlink()


def test_strangers_in_an_exclusive_folder_are_named(tmp_path):
    for name in ("key", "old.key"):
        (tmp_path / name).write_text("")
    assert small_files.strangers(str(tmp_path), [wanted(tmp_path / "key")]) == [
        tmp_path / "old.key"
    ]


def test_a_folder_that_is_wiped_is_gone_and_so_is_what_an_earlier_wipe_left(tmp_path):
    folder, aside = tmp_path / "tikv", tmp_path / ".tikv.wiped"
    for path in (folder / "pd", aside / "store"):
        path.mkdir(parents=True)
    target_wiped.remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_wipe_that_breaks_off_leaves_nothing_that_looks_like_data(tmp_path, monkeypatch):
    (tmp_path / "tikv").mkdir()

    def broken(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(target_wiped.shutil, "rmtree", broken)
    with pytest.raises(KeyboardInterrupt):
        target_wiped.remove(tmp_path / "tikv")
    assert [path.name for path in tmp_path.iterdir()] == [".tikv.wiped"]


@pytest.mark.parametrize(("may_raise", "gets"), [(True, 1_000_000), (False, 20_000)])
def test_a_unit_gets_the_open_files_that_its_host_can_give(monkeypatch, may_raise, gets):
    monkeypatch.setattr(host_state, "has_capability", lambda _: may_raise)
    monkeypatch.setattr(host_state, "hard_limit_nofile", lambda: 20_000)
    assert host_state.nofile(1_000_000) == gets
    assert host_state.nofile(10) == 10
