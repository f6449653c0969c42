"""The chain of signed manifests: believed when whole, refused at every link that is forged."""

import hashlib
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.adapters.artifact_pins import RootPin
from soakbed.adapters.signed_manifests import Manifests, mirror_at, root_of
from soakbed.errors import Unavailable
from tests.signed_mirror import EARLIER, Mirror, key, root, sign
from tests.upstream import Upstream

TIKV = b"the archive of tikv"
NAME = "tikv-v6.5.5-linux-amd64.tar.gz"
BUILDS = {("tikv", "6.5.5", "amd64"): TIKV, ("pd", "6.5.5", "amd64"): b"pd"}
MANIFESTS = (
    *("6.root.json", "7.root.json", "timestamp.json", "snapshot.json"),
    *("3.index.json", "9.tikv.json"),
)
PIN = RootPin(version=6, threshold=2, keys=tuple(key(name).id for name in Mirror.ROOT_KEYS))


@pytest.fixture
def mirror():
    return Mirror(BUILDS)


def resolve(mirror, *, pin=PIN, version="6.5.5", arch="amd64", name=NAME):
    return Manifests(mirror.files.get, pin).file("tikv", version, arch, name=name)


def test_a_whole_chain_gives_the_sha256_and_length_of_the_file(mirror):
    found = resolve(mirror)
    assert (found.sha256, found.length) == (hashlib.sha256(TIKV).hexdigest(), len(TIKV))


def test_every_manifest_read_is_told_with_its_signatures(mirror):
    manifests = Manifests(mirror.files.get, PIN)
    manifests.file("tikv", "6.5.5", "amd64", name=NAME)
    assert [line.split(":")[0] for line in manifests.story] == [
        "6.root.json",
        "7.root.json",
        "timestamp.json",
        "snapshot.json",
        "3.index.json",
        "9.tikv.json",
    ]
    assert manifests.story[0].endswith("signed by 3 (needs 2)")
    assert manifests.story[1].endswith("signed by 2 (needs 2)"), "by keys of root 6"


def test_the_chain_is_read_over_http(mirror, tmp_path):
    for name, data in mirror.files.items():
        (tmp_path / name).write_bytes(data)
    with Upstream(tmp_path) as server:
        manifests = Manifests(mirror_at(server.url), PIN)
        assert manifests.file("tikv", "6.5.5", "amd64", name=NAME).length == len(TIKV)
    on_disk = Manifests(mirror_at(tmp_path.as_uri()), PIN)
    assert on_disk.file("tikv", "6.5.5", "amd64", name=NAME).length == len(TIKV)


def test_a_mirror_out_of_reach_is_named():
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:9/6.root.json: .*refused") as refused:
        Manifests(mirror_at("http://127.0.0.1:9"), PIN)
    assert "--mirror" in refused.value.remedy


def other_keys_in_the_pinned_root(mirror):
    mirror.files["6.root.json"] = root(6, ("evil-a", "evil-b"))


def one_pinned_key_is_too_few(mirror):
    mirror.files["6.root.json"] = root(6, ("root-a", "evil-a", "evil-b"))


def a_next_root_of_strangers(mirror):
    mirror.files["7.root.json"] = root(7, ("evil-a", "evil-b"))


def a_next_root_that_its_own_keys_did_not_sign(mirror):
    mirror.files["7.root.json"] = root(
        7, ("evil-a", "evil-b"), signed_by=("root-a", "root-b", "root-c")
    )


def a_next_root_of_another_version(mirror):
    mirror.files["7.root.json"] = root(9, Mirror.NEXT_ROOT_KEYS)


def an_expired_root(mirror):
    mirror.files["7.root.json"] = root(7, Mirror.NEXT_ROOT_KEYS, expires=EARLIER)


def a_key_under_another_keys_id(mirror):
    content = json.loads(mirror.files["7.root.json"])["signed"]
    held = content["roles"]["timestamp"]["keys"]
    (key_id,) = held
    held[key_id] = dict(key("evil-a").info)
    more = {name: content[name] for name in ("roles",)}
    mirror.files["7.root.json"] = sign("root", 7, Mirror.NEXT_ROOT_KEYS, **more)


def an_expired_timestamp(mirror):
    mirror.publish_timestamp(mirror.files["snapshot.json"], expires=EARLIER)


def a_timestamp_changed_after_signing(mirror):
    data = mirror.files["timestamp.json"]
    mirror.files["timestamp.json"] = data.replace(b'"version":5', b'"version":6')


def a_snapshot_that_the_timestamp_does_not_name(mirror):
    mirror.files["snapshot.json"] = sign("snapshot", 0, ["snapshot"], meta={})


def an_older_index(mirror):
    mirror.files["3.index.json"] = sign("index", 2, ["index"], owners={}, components={})


def an_index_of_another_kind(mirror):
    mirror.files["3.index.json"] = sign("snapshot", 3, ["index"], meta={})


def a_component_that_its_owner_did_not_sign(mirror):
    mirror.publish_component("tikv", keys=("evil-a",))


def a_component_under_anothers_name(mirror):
    mirror.files["9.tikv.json"] = mirror.files["9.pd.json"]


def a_component_that_is_gone(mirror):
    del mirror.files["9.tikv.json"]


def two_signatures_of_one_key(mirror):
    mirror.files["6.root.json"] = root(6, Mirror.ROOT_KEYS, signed_by=("root-a", "root-a"))


def two_signed_parts(mirror):
    data = mirror.files["9.tikv.json"]
    mirror.files["9.tikv.json"] = data[:-1] + b',"signed":{}}'


def no_json(mirror):
    mirror.files["9.tikv.json"] = b"<html>captive portal</html>"


def a_sha256_that_is_none(mirror):
    build = {"url": f"/{NAME}", "length": 3, "hashes": {"sha256": "../../etc"}}
    mirror.publish_component("tikv", platforms={"linux/amd64": {"v6.5.5": build}})


def a_withdrawn_build(mirror):
    build = {"url": f"/{NAME}", "length": 3, "hashes": {"sha256": "ab" * 32}, "yanked": True}
    mirror.publish_component("tikv", platforms={"linux/amd64": {"v6.5.5": build}})


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (other_keys_in_the_pinned_root, "6.root.json is signed by 0 of the trusted keys"),
        (one_pinned_key_is_too_few, "6.root.json is signed by 1 of the trusted keys, 2 are"),
        (two_signatures_of_one_key, "6.root.json has two signatures of one key"),
        (a_next_root_of_strangers, "7.root.json is signed by 0 of the trusted keys"),
        (a_next_root_that_its_own_keys_did_not_sign, "7.root.json is signed by 0"),
        (a_next_root_of_another_version, "7.root.json says that it is version 9"),
        (an_expired_root, "7.root.json expired on 2020-01-01"),
        (a_key_under_another_keys_id, "has a key that is not the one of its id"),
        (an_expired_timestamp, "timestamp.json expired on 2020-01-01"),
        (a_timestamp_changed_after_signing, "timestamp.json has a false signature"),
        (a_snapshot_that_the_timestamp_does_not_name, "snapshot.json is not the one"),
        (an_older_index, "3.index.json says that it is version 2"),
        (an_index_of_another_kind, "3.index.json is of type snapshot, not index"),
        (a_component_that_its_owner_did_not_sign, "9.tikv.json is signed by 0"),
        (a_component_under_anothers_name, "9.tikv.json is of component pd"),
        (a_component_that_is_gone, "9.tikv.json is not on the mirror"),
        (two_signed_parts, "9.tikv.json has signed twice"),
        (no_json, "9.tikv.json is no JSON object"),
        (a_sha256_that_is_none, "9.tikv.json gives '../../etc' as the sha256"),
        (a_withdrawn_build, "9.tikv.json calls v6.5.5 for linux/amd64 withdrawn"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_forged_old_or_broken_is_refused_with_its_name(mirror, forge, says):
    forge(mirror)
    with pytest.raises(Unavailable) as refused:
        resolve(mirror)
    assert says in refused.value.problem
    assert "nothing was written" in refused.value.problem


@given(name=st.sampled_from(MANIFESTS), seed=st.integers(0, 2**32), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_a_mirror_changes_in_a_manifest_is_refused(name, seed, cut):
    mirror = Mirror(BUILDS)
    random = Random(seed)
    data = bytearray(mirror.files[name])
    place = random.randrange(len(data))
    if cut:
        del data[place:]
    else:
        data[place] = random.choice(b'{}[]",:0aA\xff')
    mirror.files[name] = bytes(data)
    try:
        found = resolve(mirror)
    except Unavailable:
        return
    assert found.length == len(TIKV), "what was believed is the truth"
    assert found.sha256 == hashlib.sha256(TIKV).hexdigest()


@pytest.mark.parametrize("data", [b"[]", b"{}", b"[" * 10_000, b'{"signatures":1,"signed":[]}'])
def test_what_is_no_manifest_at_all_is_refused(mirror, data):
    mirror.files["6.root.json"] = data
    with pytest.raises(Unavailable, match=r"6.root.json"):
        resolve(mirror)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"version": "6.5.6"}, "has no v6.5.6 for linux/amd64"),
        ({"arch": "arm64"}, "has no v6.5.5 for linux/arm64"),
        ({"name": "tikv.tar.gz"}, f"has /{NAME} for v6.5.5, artifacts.yml has tikv.tar.gz"),
    ],
    ids=["another version", "another architecture", "another file"],
)
def test_what_the_mirror_does_not_have_is_named(mirror, asked, says):
    with pytest.raises(Unavailable) as refused:
        resolve(mirror, **asked)
    assert says in refused.value.problem


def test_the_root_of_a_mirror_of_ones_own_can_be_trusted_instead(mirror):
    own = root_of(mirror.files["6.root.json"], "root.json")
    assert (own.version, own.threshold, set(own.keys)) == (6, 2, set(PIN.keys))
    assert resolve(mirror, pin=own).length == len(TIKV)
    with pytest.raises(Unavailable, match=r"root.json is no JSON object"):
        root_of(b"nothing", "root.json")
