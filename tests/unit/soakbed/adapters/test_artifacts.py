"""The resolver, against a local HTTP server, folders, and packages built on the spot."""

import io
import json
import subprocess
import tarfile

import pytest
import yaml

from soakbed.adapters import artifact_debian
from soakbed.adapters.artifacts import CachedArtifacts, machine_arch
from soakbed.adapters.debian import Deb
from soakbed.errors import SpecError, Unavailable
from tests.upstream import Upstream, sha256

ARCH = "amd64"
TARBALL = "etcd-v1.0.0-linux-amd64.tar.gz"


def tarball(*names: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"etcd-v1.0.0-linux-amd64/{name}")
            entry.size, entry.mode = len(name), 0o755
            archive.addfile(entry, io.BytesIO(name.encode()))
    return packed.getvalue()


RELEASE = tarball("etcd", "etcdctl", "README.md")


def deb(folder, package: str, version: str, *programs: str):
    """A real package file, built with dpkg-deb."""
    root = folder / f"{package}-{version}-root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        f"Package: {package}\nVersion: {version}\nArchitecture: {ARCH}\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: test\n"
    )
    (root / "usr" / "bin").mkdir(parents=True)
    for program in programs:
        (root / "usr" / "bin" / program).write_text(f"{program} {version}")
    file = folder / f"{package}_{version}_{ARCH}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", root, file], check=True, capture_output=True
    )
    return file


@pytest.fixture
def upstream(tmp_path):
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / TARBALL).write_bytes(RELEASE)
    with Upstream(folder) as server:
        yield server


@pytest.fixture
def packages(tmp_path):
    """The two packages that stand in for etcd, as Debian would have them."""
    folder = tmp_path / "packages"
    folder.mkdir()
    return {
        "etcd-client": deb(folder, "etcd-client", "1.0.6-4", "etcdctl"),
        "etcd-server": deb(folder, "etcd-server", "1.0.6-4", "etcd"),
    }


class FakeArchive:
    """Stands in for a Debian mirror: gives what it was told to have, and counts."""

    def __init__(self, files, version="1.0.6-4"):
        self.files, self.version, self.fetched = files, version, 0

    def __call__(self, folder, *, mirror, arch):
        return self

    def fetch(self, packages, *, release, into):
        self.fetched += 1
        into.mkdir(parents=True, exist_ok=True)
        debs = []
        for package in packages:
            data = self.files[package].read_bytes()
            file = into / self.files[package].name
            file.write_bytes(data)
            debs.append(Deb(package, self.version, file, sha256(data)))
        return debs


@pytest.fixture
def debian(packages, monkeypatch):
    archive = FakeArchive(packages)
    monkeypatch.setattr(artifact_debian, "DebianArchive", archive)
    return archive


@pytest.fixture
def make(tmp_path, upstream, packages, debian):
    """CachedArtifacts over pins of our own; `named` and `url` may be given."""

    def made(*, named="", url=None, package_version="1.0.6-4"):
        pins = {
            "etcd": {
                "version": "1.0.0",
                "upstream": {
                    "base_url": upstream.url if url is None else url,
                    "files": {ARCH: [{"name": TARBALL, "sha256": sha256(RELEASE)}]},
                },
                "debian": {
                    "release": "trixie",
                    "main_package": "etcd-server",
                    "packages": {
                        name: {
                            "version": package_version,
                            "sha256": {ARCH: sha256(file.read_bytes())},
                        }
                        for name, file in packages.items()
                    },
                },
            }
        }
        file = tmp_path / "artifacts.yml"
        file.write_text(yaml.safe_dump({"artifacts": pins}))
        return CachedArtifacts(file, tmp_path / "cache", named=named)

    return made


NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing listens


def bundle(artifacts, **more):
    return artifacts.bundle("etcd", allow_substitute=more.pop("allow_substitute", True), arch=ARCH)


def test_the_pinned_version_comes_from_upstream_and_then_from_the_cache(make, upstream):
    first = bundle(make())
    again = bundle(make())
    assert [use.origin for use in first.uses] == ["upstream"]
    assert [use.origin for use in again.uses] == ["cache:upstream"]
    assert len(upstream.asked) == 1
    assert not first.substituted
    assert first.version == "1.0.0"


def test_a_folder_that_the_user_names_comes_first(make, tmp_path, upstream):
    named = tmp_path / "named"
    named.mkdir()
    (named / TARBALL).write_bytes(RELEASE)
    assert [use.origin for use in bundle(make(named=str(named))).uses] == ["named"]
    assert upstream.asked == []


def test_a_mirror_that_the_user_names_may_be_a_url(make, upstream):
    assert [use.origin for use in bundle(make(named=upstream.url, url=NOWHERE)).uses] == ["named"]


def test_a_file_with_another_hash_is_refused_wherever_it_comes_from(make, upstream, debian):
    (upstream.folder / TARBALL).write_bytes(tarball("etcd", "etcdctl"))
    got = bundle(make())
    assert got.substituted
    assert "has sha256" in got.reasons[0]


def test_a_damaged_file_in_the_cache_is_fetched_again(make, tmp_path, upstream):
    bundle(make())
    cached = tmp_path / "cache" / "etcd" / TARBALL
    cached.write_bytes(RELEASE[:100])
    assert [use.origin for use in bundle(make()).uses] == ["upstream"]
    assert cached.read_bytes() == RELEASE


def test_a_download_that_breaks_off_leaves_no_file(make, tmp_path, upstream):
    (upstream.folder / TARBALL).write_bytes(RELEASE[:50])
    bundle(make())
    assert list((tmp_path / "cache" / "etcd").glob("*.tar.gz*")) == []


def test_debian_stands_in_when_upstream_cannot_be_had_and_says_why(make):
    got = bundle(make(url=NOWHERE))
    assert got.version == "1.0.6"
    assert got.substituted
    assert {use.origin for use in got.uses} == {"debian"}
    assert {use.pinned_version for use in got.uses} == {"1.0.0"}
    assert got.reasons[0].startswith("1.0.0 could not be had (http://127.0.0.1:9/")
    assert got.reasons[0].endswith("Debian trixie has 1.0.6")


def test_packages_are_fetched_once(make, debian):
    bundle(make(url=NOWHERE))
    again = bundle(make(url=NOWHERE))
    assert debian.fetched == 1
    assert {use.origin for use in again.uses} == {"cache:debian"}


def test_a_damaged_package_in_the_cache_is_fetched_again(make, debian, tmp_path):
    bundle(make(url=NOWHERE))
    (package,) = (tmp_path / "cache").rglob("etcd-server_*.deb")
    package.write_bytes(b"!<arch>")
    bundle(make(url=NOWHERE))
    assert debian.fetched == 2


def test_a_package_of_the_pinned_version_must_be_the_pinned_file(make, debian, tmp_path):
    artifacts = make(url=NOWHERE)
    debian.files["etcd-client"] = debian.files["etcd-server"]
    with pytest.raises(Unavailable, match="is not pinned"):
        bundle(artifacts)


def test_a_newer_revision_of_the_package_is_taken(make, debian):
    artifacts = make(url=NOWHERE, package_version="1.0.6-3")
    assert bundle(artifacts).version == "1.0.6"


def test_no_other_version_is_taken_when_the_spec_forbids_it(make, debian):
    with pytest.raises(Unavailable, match="allow_substitute is off") as refused:
        bundle(make(url=NOWHERE), allow_substitute=False)
    assert "SOAKBED_ARTIFACTS" in refused.value.remedy
    assert debian.fetched == 0


def test_a_bundle_ends_with_the_list_of_its_files(make):
    got = bundle(make())
    with tarfile.open(got.file) as packed:
        names = packed.getnames()
        listed = json.load(packed.extractfile(names[-1]))
    assert names == ["soakbed/bin/etcd", "soakbed/bin/etcdctl", "soakbed/bundles/etcd.json"]
    assert listed == {"stamp": got.stamp, "files": dict(got.files)}
    assert got.files["/opt/soakbed/bin/etcd"] == sha256(b"etcd")


def test_a_damaged_bundle_is_made_again(make):
    first = bundle(make())
    first.file.write_bytes(b"not an archive")
    again = bundle(make())
    assert again.stamp == first.stamp
    assert tarfile.is_tarfile(again.file)


def test_an_archive_that_lacks_a_program_is_an_error_that_names_it(make, upstream, tmp_path):
    without = tarball("etcd")
    (upstream.folder / TARBALL).write_bytes(without)
    pins = tmp_path / "artifacts.yml"
    artifacts = make()
    pins.write_text(pins.read_text().replace(sha256(RELEASE), sha256(without)))
    with pytest.raises(Unavailable, match="none of the files fetched holds bin/etcdctl"):
        bundle(artifacts)


def test_a_mistake_in_the_pins_names_the_key(tmp_path):
    file = tmp_path / "artifacts.yml"
    file.write_text(
        "artifacts: {etcd: {version: 3.5.10, debain: {}, debian: {release: x, packages: {}}}}"
    )
    with pytest.raises(SpecError) as wrong:
        CachedArtifacts(file, tmp_path / "cache").bundle("etcd", allow_substitute=True)
    assert {mistake.key for mistake in wrong.value.mistakes} == {
        "artifacts.etcd.debian.main_package",
        "artifacts.etcd.debain",
    }


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_architectures_have_debians_names(machine, arch):
    assert machine_arch(machine) == arch
