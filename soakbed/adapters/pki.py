"""The throwaway CA of one testbed and every certificate it signs (design.md D10).

Made by `stages.configure` before the hosts are prepared; the role `pki` brings the files to the
hosts. Nothing here ever leaves `<state>/pki` except through that role.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from soakbed.errors import ConfigureError

__all__ = ["ADMIN", "CLIENT", "Pki", "ensure_pki", "expiry"]

# etcd takes the certificate's CN as the user's name (RBAC), so these two are user names.
ADMIN = "root"
CLIENT = "bench"

# Clocks of hosts and controller may differ a little, and the certificate must be valid at once.
_BACKDATED = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the files lie. `issued`: names of what was made now, () when nothing was."""

    folder: Path
    issued: tuple[str, ...]
    expires: dt.datetime

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca.crt"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a host, of CLIENT or of ADMIN."""
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure_pki(
    folder: Path,
    addresses: Mapping[str, Sequence[str]],
    *,
    lifetime: dt.timedelta,
    renew_below: dt.timedelta,
    now: dt.datetime | None = None,
) -> Pki:
    """Make what is missing, of other addresses, or valid for less than `renew_below`.

    `addresses`: host name -> where it is reached, by hosts and by us, which may be the same; each
    host gets one certificate for serving and dialling.
    A new CA makes every certificate new. Calling it twice changes nothing.
    """
    now = now or dt.datetime.now(dt.UTC)
    _check(addresses, lifetime, renew_below)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    until = now + lifetime
    authority, made = _authority(folder, until=until, keep_until=now + renew_below, now=now)
    issued = ["ca"] if made else []
    wanted = {
        name: list(dict.fromkeys([*found, "127.0.0.1", "localhost"]))
        for name, found in addresses.items()
    }
    for name, places in {**wanted, ADMIN: [], CLIENT: []}.items():
        if not made and _still_good(folder, name, places, authority, keep_until=now + renew_below):
            continue
        _issue(folder, name, places, authority=authority, now=now, until=until)
        issued.append(name)
    ends = [_load(folder / f"{name}.crt") for name in ("ca", *wanted, ADMIN, CLIENT)]
    expires = min(certificate.not_valid_after_utc for certificate in ends if certificate)
    return Pki(folder, tuple(issued), expires)


def _check(
    addresses: Mapping[str, Sequence[str]], lifetime: dt.timedelta, renew_below: dt.timedelta
) -> None:
    if renew_below >= lifetime:
        raise ConfigureError(
            f"certificates live {lifetime} and would be renewed below {renew_below}",
            remedy="ask for a lifetime above the time that must be left",
        )
    clash = {ADMIN, CLIENT, "ca"} & set(addresses)
    if clash:
        raise ConfigureError(
            f"a host is named {', '.join(sorted(clash))}, which is a name of the PKI",
            remedy="give the host another name in the testbed's file",
        )


def expiry(folder: Path) -> dt.datetime | None:
    """When the first certificate of a folder ends; None: it holds none."""
    found = [_load(path) for path in sorted(folder.glob("*.crt"))]
    return min((one.not_valid_after_utc for one in found if one), default=None)


def _authority(
    folder: Path, *, until: dt.datetime, keep_until: dt.datetime, now: dt.datetime
) -> tuple[_Authority, bool]:
    certificate, key = _load(folder / "ca.crt"), _load_key(folder / "ca.key")
    if (
        certificate
        and key
        and certificate.not_valid_after_utc >= keep_until
        and certificate.public_key() == key.public_key()
    ):
        return _Authority(certificate, key), False
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("soakbed throwaway CA")
    certificate = (
        _builder(name, name, key, now=now, until=until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_pair(folder, "ca", certificate, key)
    return _Authority(certificate, key), True


def _issue(
    folder: Path,
    name: str,
    places: Sequence[str],
    *,
    authority: _Authority,
    now: dt.datetime,
    until: dt.datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # A certificate may not outlive its CA, which an earlier run may have made.
    until = min(until, authority.certificate.not_valid_after_utc)
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if places:
        purposes.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    issuer = authority.certificate.subject
    builder = (
        _builder(_name(name), issuer, key, now=now, until=until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if places:
        builder = builder.add_extension(_alternative_names(places), critical=False)
    _write_pair(folder, name, builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _still_good(
    folder: Path,
    name: str,
    places: Sequence[str],
    authority: _Authority,
    *,
    keep_until: dt.datetime,
) -> bool:
    certificate, key = _load(folder / f"{name}.crt"), _load_key(folder / f"{name}.key")
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        return False
    if certificate.not_valid_after_utc < keep_until:
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return _names_in(certificate) == set(places)


def _names_in(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _alternative_names(places: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for place in places:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(place)))
        except ValueError:
            names.append(x509.DNSName(place))
    return x509.SubjectAlternativeName(names)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load(file: Path) -> x509.Certificate | None:
    """The certificate, or None when it is missing or damaged (it is then made again)."""
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _write_pair(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    # The key first: a certificate whose key does not match is found out and made again.
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for file, content in (
        (folder / f"{name}.key", private),
        (folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM)),
    ):
        with _private_file(file) as stream:
            stream.write(content)


@contextlib.contextmanager
def _private_file(file: Path) -> Iterator[tempfile._TemporaryFileWrapper[bytes]]:
    """A file of mode 0600 from its first byte, in place only when whole."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as out:
        partial = Path(out.name)
        try:
            yield out
            out.flush()
            os.fsync(out.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
