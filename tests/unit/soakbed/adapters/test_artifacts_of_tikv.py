"""TiKV's two programs: pinned archives, whatever the user's folder has, and pins not resolved."""

import doctest
import io
import json
import tarfile

import pytest
import yaml

from soakbed import units
from soakbed.adapters import artifact_named
from soakbed.adapters.artifact_export import export
from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.errors import Unavailable
from tests.upstream import Upstream, sha256

ARCH = "amd64"
VERSION = "6.5.5"


def program(name, version=VERSION):
    """A stand-in executable that says its version in the words of the real one."""
    words = (
        f"Release Version: v{version}"
        if name == "pd-server"
        else f"TiKV \nRelease Version:   {version}"
    )
    return f"#!/bin/sh\necho '{words}'\n".encode()


def tarball(name, content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o755
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def archive_name(component, version=VERSION, arch=ARCH):
    return f"{component}-v{version}-linux-{arch}.tar.gz"


PINNED = {
    archive_name("pd"): tarball("pd-server", program("pd-server")),
    archive_name("tikv"): tarball("tikv-server", program("tikv-server")),
}


@pytest.fixture
def upstream(tmp_path):
    folder = tmp_path / "upstream"
    folder.mkdir()
    for name, data in PINNED.items():
        (folder / name).write_bytes(data)
    with Upstream(folder) as server:
        yield server


@pytest.fixture
def named(tmp_path):
    """The user's folder, empty; `put` fills it."""
    folder = tmp_path / "named"
    folder.mkdir()
    return folder


def put(folder, **files):
    for name, data in files.items():
        (folder / name.replace("_", "-")).write_bytes(data)


@pytest.fixture
def make(tmp_path, upstream):
    def made(*, named="", url=None, resolved=True):
        files = [
            {
                "name": name,
                "sha256": sha256(data) if resolved else "",
                "length": len(data) if resolved else 0,
            }
            for name, data in PINNED.items()
        ]
        base = upstream.url if url is None else url
        pin = {"version": VERSION, "upstream": {"base_url": base, "files": {ARCH: files}}}
        pins = tmp_path / "artifacts.yml"
        pins.write_text(yaml.safe_dump({"artifacts": {"tikv": pin}}))
        return CachedArtifacts(pins, tmp_path / "cache", named=str(named))

    return made


def bundle(artifacts, *, allow=True, arch=ARCH):
    return artifacts.bundle("tikv", allow_substitute=allow, arch=arch)


def held(made):
    """What a bundle holds: name -> content."""
    with tarfile.open(made.file) as packed:
        return {one.name: packed.extractfile(one).read() for one in packed}


def test_both_pinned_archives_become_one_bundle_and_then_no_network_is_needed(make, upstream):
    first = bundle(make())
    assert sorted(upstream.files) == sorted(f"/{name}" for name in PINNED)
    again = bundle(make(url="http://127.0.0.1:9/"))
    assert again.stamp == first.stamp
    assert [use.origin for use in again.uses] == ["cache:upstream", "cache:upstream"]
    assert (first.version, first.substituted) == (VERSION, False)
    contents = held(first)
    assert contents["soakbed/bin/pd-server"] == program("pd-server")
    assert contents["soakbed/bin/tikv-server"] == program("tikv-server")
    assert list(contents)[-1] == "soakbed/bundles/tikv.json"
    listed = json.loads(contents["soakbed/bundles/tikv.json"])
    assert listed["files"]["/opt/soakbed/bin/tikv-server"] == sha256(program("tikv-server"))


def test_bare_executables_of_another_version_stand_in_and_are_named_as_such(make, named, upstream):
    put(named, pd_server=program("pd-server", "7.1.0"), tikv_server=program("tikv-server", "7.1.1"))
    got = bundle(make(named=named))
    assert got.version == "7.1.1", "TiKV's own version, not PD's"
    assert got.substituted
    assert [(use.name, use.version, use.pinned_version) for use in got.uses] == [
        ("pd-server", "7.1.0", VERSION),
        ("tikv-server", "7.1.1", VERSION),
    ]
    assert got.reasons == (
        "SOAKBED_ARTIFACTS has pd-server of version 7.1.0",
        "SOAKBED_ARTIFACTS has tikv-server of version 7.1.1",
    )
    assert held(got)["soakbed/bin/tikv-server"] == program("tikv-server", "7.1.1")
    assert upstream.files == [], "what the user names comes first"


@pytest.mark.parametrize("where", ["", "bin"], ids=["in the folder", "in its bin"])
def test_executables_need_neither_the_executable_bit_nor_one_certain_place(make, named, where):
    folder = named / where
    folder.mkdir(exist_ok=True)
    put(
        folder, pd_server=program("pd-server", "7.1.0"), tikv_server=program("tikv-server", "7.1.0")
    )
    assert bundle(make(named=named)).version == "7.1.0"


def test_another_version_is_refused_where_substitution_is_off(make, named, upstream):
    put(named, pd_server=program("pd-server", "7.1.0"), tikv_server=program("tikv-server", "7.1.0"))
    with pytest.raises(Unavailable, match="allow_substitute is off") as refused:
        bundle(make(named=named, url="http://127.0.0.1:9/"), allow=False)
    assert "tikv-server of version 7.1.0" in refused.value.problem
    assert "allow another version" in refused.value.remedy
    assert not bundle(make(named=named), allow=False).substituted, "upstream has the pinned one"


def test_executables_that_say_the_pinned_version_are_not_proven_by_that(make, named):
    put(named, pd_server=program("pd-server"), tikv_server=program("tikv-server"))
    got = bundle(make(named=named))
    assert got.version == VERSION
    assert got.substituted
    assert "says that it is 6.5.5; no pinned sha256 proves it" in got.reasons[0]


def test_executables_that_do_not_say_their_version_are_unknown(make, named):
    put(named, pd_server=b"#!/bin/sh\nexit 1\n", tikv_server=b"not a program")
    got = bundle(make(named=named))
    assert [use.version for use in got.uses] == ["unknown", "unknown"]
    assert got.version == "unknown"


def test_the_pinned_archives_in_the_users_folder_are_the_pinned_version(make, named, upstream):
    for name, data in PINNED.items():
        (named / name).write_bytes(data)
    got = bundle(make(named=named), allow=False)
    assert (got.version, got.substituted) == (VERSION, False)
    assert {use.origin for use in got.uses} == {"named"}
    assert upstream.asked == []


def test_archives_of_another_version_stand_in(make, named):
    for component, name in (("pd", "pd-server"), ("tikv", "tikv-server")):
        data = tarball(name, program(name, "6.5.11"))
        (named / archive_name(component, "6.5.11")).write_bytes(data)
        (named / archive_name(component, "6.5.11", "arm64")).write_bytes(b"for others")
    (named / "pd-recover-v6.5.11-linux-amd64.tar.gz").write_bytes(b"something else")
    got = bundle(make(named=named))
    assert (got.version, got.substituted) == ("6.5.11", True)


def test_a_file_that_pretends_to_be_the_pinned_one_is_refused_even_as_a_stand_in(make, named):
    names = list(PINNED)
    (named / names[0]).write_bytes(PINNED[names[0]])
    (named / names[1]).write_bytes(tarball("tikv-server", b"evil"))
    with pytest.raises(Unavailable, match=rf"{names[1]} has sha256 .*, pinned is"):
        bundle(make(named=named, url="http://127.0.0.1:9/"))
    assert not bundle(make(named=named)).substituted, "upstream has the right one"


def test_one_pinned_archive_beside_one_bare_executable(make, named):
    name = archive_name("pd")
    (named / name).write_bytes(PINNED[name])
    put(named, tikv_server=program("tikv-server", "7.1.0"))
    got = bundle(make(named=named))
    assert [use.substituted for use in got.uses] == [False, True]


def test_a_copy_in_the_cache_that_was_damaged_is_made_again(make, named, tmp_path):
    put(named, pd_server=program("pd-server", "7.1.0"), tikv_server=program("tikv-server", "7.1.0"))
    first = bundle(make(named=named))
    for copy in (tmp_path / "cache").rglob("tikv-server"):
        copy.write_bytes(b"rotten")
    assert bundle(make(named=named)).stamp == first.stamp


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"pd_server": b"#!"}, "has neither tikv-server nor tikv-*.tar.gz for amd64"),
        (
            {"pd_server": b"#!", "tikv_server": b"\x7fELF" + bytes(14) + bytes([183, 0])},
            "is built for arm64, the data hosts are amd64",
        ),
        (
            {"pd_server": b"#!", "tikv-v7.0.0.tar.gz": b"", "tikv-v7.1.0.tar.gz": b""},
            "several archives of tikv-server: tikv-v7.0.0.tar.gz, tikv-v7.1.0.tar.gz",
        ),
        ({"pd_server": b"#!", "tikv-v7.0.0.tar.gz": b"half"}, "is not a whole archive"),
        (
            {"pd_server": b"#!", "tikv-v7.0.0.tar.gz": tarball("README", b"")},
            "holds no tikv-server",
        ),
    ],
    ids=["one of two", "another machine's", "several", "half an archive", "an empty archive"],
)
def test_a_folder_that_cannot_serve_says_why(make, named, files, says):
    put(named, **files)
    with pytest.raises(Unavailable) as refused:
        bundle(make(named=named, url="http://127.0.0.1:9/"))
    assert says in refused.value.problem


def test_a_pin_without_sha256_downloads_nothing_and_names_url_and_remedy(make, upstream):
    with pytest.raises(Unavailable) as refused:
        bundle(make(resolved=False))
    assert f"{upstream.url}{archive_name('pd')}: answers; not downloaded" in refused.value.problem
    assert "soakbed artifacts resolve" in refused.value.remedy
    assert "SOAKBED_ARTIFACTS" in refused.value.remedy
    assert upstream.files == []


def test_a_pin_without_sha256_and_a_mirror_out_of_reach_says_so(make):
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:9/pd-.*refused.*not downloaded"):
        bundle(make(resolved=False, url="http://127.0.0.1:9/"))


def test_a_url_is_not_believed_where_no_sha256_is_pinned(make, upstream):
    with pytest.raises(Unavailable, match=rf"{upstream.url}pd-.*: answers; not downloaded"):
        bundle(make(named=upstream.url, resolved=False, url="http://127.0.0.1:9/"))
    assert upstream.files == []


def test_the_users_folder_serves_where_no_sha256_is_pinned(make, named):
    for name, data in PINNED.items():
        (named / name).write_bytes(data)
    got = bundle(make(named=named, resolved=False))
    assert (got.version, got.substituted) == (VERSION, True)
    assert "no pinned sha256 proves it" in got.reasons[0]


def test_an_exported_archive_is_taken_back(make, tmp_path):
    first = make()
    found = first.found("tikv", allow_substitute=False, arch=ARCH)
    archive = tmp_path / "for-others.tar"
    export(archive, {file.name: file for file in found.files}, targets=[])
    for file in found.files:
        file.unlink()
    got = bundle(make(named=archive, url="http://127.0.0.1:9/"), allow=False)
    assert (got.version, got.substituted) == (VERSION, False)
    assert {use.origin for use in got.uses} == {"named"}


@pytest.mark.parametrize("damage", ["cut short", "another file", "changed inside"])
def test_an_exported_archive_that_is_not_whole_is_refused(make, tmp_path, damage):
    archive = tmp_path / "for-others.tar"
    export(archive, dict.fromkeys(["a"], make().pins_file), targets=[])
    data = archive.read_bytes()
    broken = {
        "cut short": data[:600],
        "another file": b"something else",
        "changed inside": data.replace(b"artifacts:", b"artifactz:"),
    }[damage]
    archive.write_bytes(broken)
    with pytest.raises(Unavailable, match="is not a whole archive of artifacts") as refused:
        bundle(make(named=archive))
    assert "soakbed artifacts export" in refused.value.remedy


def test_a_folder_that_does_not_exist_is_named(make, tmp_path):
    with pytest.raises(Unavailable, match=r"SOAKBED_ARTIFACTS: .*/nowhere does not exist"):
        bundle(make(named=tmp_path / "nowhere", url="http://127.0.0.1:9/"))


def test_the_examples_in_the_words_are_true():
    assert doctest.testmod(artifact_named).failed == 0
    assert doctest.testmod(units).failed == 0
