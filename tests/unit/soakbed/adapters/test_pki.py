"""Certificates that real TLS ends accept and refuse, and files that nobody else can read."""

import datetime as dt
import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from soakbed.adapters.pki import ensure_pki
from soakbed.errors import ConfigureError

DAYS = dt.timedelta(days=1)
HOSTS = {"d1": ["127.0.0.1"], "d2": ["10.83.50.12"]}


def make(folder, hosts=HOSTS, now=None, lifetime=14 * DAYS):
    return ensure_pki(folder, hosts, lifetime=lifetime, renew_below=7 * DAYS, now=now)


@pytest.fixture
def pki(tmp_path):
    return make(tmp_path / "pki")


def certificate(pki, name):
    return x509.load_pem_x509_certificate((pki.folder / f"{name}.crt").read_bytes())


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """Ends of one connection on loopback; what the server read, or "" when it refused."""
    read: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            raw, _ = listener.accept()
            try:
                with server.wrap_socket(raw, server_side=True) as connection:
                    read.append(connection.recv(5).decode())
                    connection.sendall(b"world")
            except (ssl.SSLError, ConnectionError):
                raw.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname()) as raw,
                client.wrap_socket(raw, server_hostname=host) as connection,
            ):
                connection.sendall(b"hello")
                connection.recv(5)
        except (ssl.SSLError, ConnectionError):
            pass
        finally:
            thread.join()
    return "".join(read)


def server_side(pki, name="d1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.pair(name))
    context.load_verify_locations(pki.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_side(pki, name=""):
    context = ssl.create_default_context(cafile=pki.ca)
    if name:
        context.load_cert_chain(*pki.pair(name))
    return context


@pytest.mark.parametrize("client", ["bench", "root", "d2"])
def test_a_certificate_of_the_ca_gets_in(pki, client):
    assert handshake(server_side(pki), client_side(pki, client), "127.0.0.1") == "hello"


def test_a_client_without_a_certificate_is_refused(pki):
    assert handshake(server_side(pki), client_side(pki), "127.0.0.1") == ""


def test_a_client_of_another_ca_is_refused(pki, tmp_path):
    other = make(tmp_path / "other")
    stranger = client_side(pki)
    stranger.load_cert_chain(*other.pair("bench"))
    assert handshake(server_side(pki), stranger, "127.0.0.1") == ""


def test_a_host_answers_by_the_name_localhost_too(pki):
    assert handshake(server_side(pki), client_side(pki, "bench"), "localhost") == "hello"


def test_a_host_cannot_pose_as_another(pki):
    assert handshake(server_side(pki, "d2"), client_side(pki, "bench"), "10.83.50.13") == ""


def test_the_clients_certificate_cannot_serve(pki):
    assert handshake(server_side(pki, "bench"), client_side(pki, "d1"), "127.0.0.1") == ""


def test_names_are_the_users_of_etcd(pki):
    for name in ("root", "bench", "d1"):
        subject = certificate(pki, name).subject
        assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [name]


def test_hosts_may_serve_and_dial(pki):
    usage = certificate(pki, "d1").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_nobody_else_can_read_the_folder_or_a_file_in_it(pki):
    assert stat.S_IMODE(pki.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in pki.folder.iterdir()} == {0o600}


def test_making_it_twice_changes_nothing(pki):
    before = {file.name: file.read_bytes() for file in pki.folder.iterdir()}
    assert make(pki.folder).issued == ()
    assert {file.name: file.read_bytes() for file in pki.folder.iterdir()} == before


def test_too_little_time_left_makes_everything_new(pki):
    later = dt.datetime.now(dt.UTC) + 8 * DAYS
    renewed = make(pki.folder, now=later)
    assert set(renewed.issued) == {"ca", "d1", "d2", "root", "bench"}
    assert renewed.expires > later + 13 * DAYS


def test_a_host_with_another_address_gets_another_certificate(pki):
    assert make(pki.folder, {**HOSTS, "d2": ["10.83.50.99"]}).issued == ("d2",)


def test_a_host_reached_at_two_addresses_proves_itself_at_both(tmp_path):
    pki = make(tmp_path / "pki", {"d1": ["10.90.0.11", "198.51.100.7"]})
    names = certificate(pki, "d1").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert {str(name.value) for name in names.value} == {
        *("10.90.0.11", "198.51.100.7", "127.0.0.1", "localhost"),
    }
    assert make(pki.folder, {"d1": ["198.51.100.7", "10.90.0.11"]}).issued == ()
    assert make(pki.folder, {"d1": ["10.90.0.11", "10.90.0.11"]}).issued == ("d1",)


def test_a_new_host_gets_its_certificate_and_the_others_keep_theirs(pki):
    assert make(pki.folder, {**HOSTS, "d3": ["10.83.50.13"]}).issued == ("d3",)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: file.write_bytes(b"-----BEGIN JUNK-----"), id="junk"),
        pytest.param(lambda file: file.unlink(), id="gone"),
    ],
)
@pytest.mark.parametrize("name", ["d1.key", "d1.crt"])
def test_a_damaged_file_is_made_again(pki, name, damage):
    damage(pki.folder / name)
    assert make(pki.folder).issued == ("d1",)


def test_a_key_that_belongs_to_another_certificate_is_found_out(pki):
    (pki.folder / "d1.key").write_bytes((pki.folder / "d2.key").read_bytes())
    assert make(pki.folder).issued == ("d1",)


def test_a_lost_ca_makes_everything_new(pki):
    (pki.folder / "ca.key").unlink()
    assert "bench" in make(pki.folder).issued


def test_no_certificate_outlives_its_ca(pki):
    tomorrow = dt.datetime.now(dt.UTC) + DAYS
    make(pki.folder, {**HOSTS, "d3": ["10.83.50.13"]}, now=tomorrow)
    assert certificate(pki, "d3").not_valid_after_utc == certificate(pki, "ca").not_valid_after_utc


def test_a_lifetime_that_would_be_renewed_at_once_is_refused(tmp_path):
    with pytest.raises(ConfigureError, match="would be renewed below"):
        make(tmp_path, lifetime=7 * DAYS)


def test_a_host_may_not_bear_a_name_of_the_pki(tmp_path):
    with pytest.raises(ConfigureError, match="a host is named bench"):
        make(tmp_path, {"bench": "10.0.0.1"})
