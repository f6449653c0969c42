"""Keys that the controller makes, so that known_hosts is complete before a host first boots."""

import stat

from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from soakbed.adapters.host_keys import ensure_host_keys

ADDRESSES = {"d1": "10.83.90.11", "l1": "10.83.90.21"}


def test_private_keys_are_for_their_owner_alone(tmp_path):
    ensure_host_keys(tmp_path / "ssh", ADDRESSES, testbed="t")
    private = [
        path for path in tmp_path.rglob("*") if path.is_file() and "PRIVATE" in path.read_text()
    ]
    assert {path.name for path in private} == {"id_ed25519", "d1_ed25519", "l1_ed25519"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_known_hosts_binds_each_address_to_its_own_key(tmp_path):
    ensure_host_keys(tmp_path, ADDRESSES, testbed="t")
    lines = (tmp_path / "known_hosts").read_text().splitlines()
    known = dict(line.split(" ", 1) for line in lines)
    assert set(known) == set(ADDRESSES.values())
    assert len(set(known.values())) == 2
    for name, address in ADDRESSES.items():
        public = (tmp_path / "hosts" / f"{name}_ed25519.pub").read_text()
        assert public.startswith(known[address])
        load_ssh_public_key(public.encode())


def test_a_second_call_keeps_keys_and_adds_the_one_of_a_new_host(tmp_path):
    ensure_host_keys(tmp_path, {"d1": "10.83.90.11"}, testbed="t")
    before = {path: path.read_text() for path in tmp_path.rglob("*ed25519*")}
    ensure_host_keys(tmp_path, ADDRESSES, testbed="t")
    assert all(path.read_text() == text for path, text in before.items())
    assert (tmp_path / "hosts/l1_ed25519").exists()


def test_a_lost_public_half_is_made_from_the_private_one(tmp_path):
    ensure_host_keys(tmp_path, ADDRESSES, testbed="t")
    lost = tmp_path / "id_ed25519.pub"
    text = lost.read_text()
    lost.unlink()
    ensure_host_keys(tmp_path, ADDRESSES, testbed="t")
    assert lost.read_text() == text
