"""PD's and TiKV's files: golden for two sizes of host, and no key that 6.5.5 does not know."""

import tomllib
from pathlib import Path

import pytest

from tests.contract.rendering import HOSTS, rendered
from tests.golden.configs import SIZES, files_of, golden

DATA = Path(__file__).parent / "data"
PROGRAMS = {"pd.toml": "pd-server", "tikv.toml": "tikv-server"}


@pytest.fixture(scope="module", params=SIZES)
def made(request):
    """Size, and its files as the roles make them now."""
    return request.param, files_of(request.param)


@pytest.fixture(scope="module")
def stock():
    return files_of("8c16g", "stock")


def known_keys(program: str) -> set[str]:
    lines = (DATA / f"{program.removesuffix('-server')}-6.5.5-keys.txt").read_text().splitlines()
    return {line for line in lines if not line.startswith("#")}


def keys_in(tree: dict, above: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        found |= keys_in(value, f"{above}{name}.") if isinstance(value, dict) else {above + name}
    return found


def settings(files: dict[str, str], name: str = "tikv.toml") -> dict:
    return tomllib.loads(files[name])


# ---- golden


def test_files_are_the_golden_ones(made):
    """Renew with `python -m tests.golden.configs`, and read the difference."""
    size, files = made
    kept = {path.name: path.read_text() for path in golden(size).iterdir()}
    assert files == kept


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_key_is_one_that_the_pinned_version_knows(made, name):
    """PD only warns of others and TiKV says nothing: a typing error would go unnoticed."""
    _, files = made
    assert keys_in(settings(files, name)) - known_keys(PROGRAMS[name]) == set()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_key_of_the_stock_profile_is_known_too(stock, name):
    assert keys_in(settings(stock, name)) - known_keys(PROGRAMS[name]) == set()


@pytest.mark.parametrize(
    ("program", "key"),
    [
        ("pd-server", "security.ca-path"),  # TiKV's name for it
        ("tikv-server", "security.cacert-path"),  # PD's
        ("tikv-server", "raftstore.sync-log"),  # gone since 5.0
        ("pd-server", "schedule.merge-schedule-limits"),
    ],
)
def test_the_lists_do_not_know_what_the_version_does_not(program, key):
    assert key not in known_keys(program)
    assert len(known_keys(program)) > 100


# ---- security


def test_every_address_is_https_and_both_ask_for_certificates(made):
    _, files = made
    pd, tikv = settings(files, "pd.toml"), settings(files)
    urls = [value for key, value in pd.items() if key.endswith("-urls")]
    assert len(urls) == 4
    assert all(url.startswith("https://") for url in [*urls, *tikv["pd"]["endpoints"]])
    assert set(pd["security"]) == {"cacert-path", "cert-path", "key-path"}
    assert set(tikv["security"]) == {"ca-path", "cert-path", "key-path", "cert-allowed-cn"}


def test_tikv_names_who_may_speak_to_it_or_its_status_port_would_ask_nobody(made):
    _, files = made
    assert settings(files)["security"]["cert-allowed-cn"] == [*HOSTS, "bench", "root"]


def test_an_empty_list_of_names_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="would answer anybody on its status port"):
        rendered(tmp_path / "open", "tikv", tikv_allowed_cn=[])


def test_ports_are_none_of_etcds(made):
    _, files = made
    pd, tikv = settings(files, "pd.toml"), settings(files)
    ports = {url.rsplit(":", 1)[1] for key, url in pd.items() if key.endswith("-urls")}
    ports |= {tikv["server"][name].rsplit(":", 1)[1] for name in ("addr", "status-addr")}
    assert ports == {"2479", "2480", "20160", "20180"}


# ---- what is measured


def test_the_measured_mode_is_raw_keys_without_a_time_to_live(made):
    _, files = made
    storage = settings(files)["storage"]
    assert (storage["api-version"], storage["enable-ttl"]) == (1, False)


def test_nothing_moves_by_itself_in_a_tuned_run_and_nothing_merges_in_any(made, stock):
    tuned = settings(made[1], "pd.toml")["schedule"]
    assert set(tuned.values()) == {0}
    assert settings(stock, "pd.toml")["schedule"] == {
        "hot-region-schedule-limit": 4,
        "leader-schedule-limit": 4,
        "merge-schedule-limit": 0,
        "region-schedule-limit": 2048,
    }


@pytest.mark.parametrize("limits", [{}, {"merge-schedule-limit": 8}])
def test_merging_is_refused_with_the_way_out(tmp_path, limits):
    with pytest.raises(AssertionError, match="Set merge-schedule-limit to 0"):
        rendered(tmp_path / "merging", "pd", pd_schedule_limits=limits)


def test_stock_tikv_has_none_of_the_tuned_settings(stock):
    found = keys_in(settings(stock))
    assert not {key for key in found if key.startswith(("raftstore.", "readpool."))}
    assert "server.grpc-concurrency" not in found


def test_a_member_that_crashes_is_not_restarted_behind_the_runs_back(made):
    _, files = made
    for unit in ("soakbed-pd.service", "soakbed-tikv.service"):
        assert "Restart=no" in files[unit]
        assert "[Install]" not in files[unit]


# ---- sizes


def mib(text: str) -> int:
    return int(text.removesuffix("MiB"))


def test_memory_of_all_that_lives_on_a_machine_fits_it(made):
    size, files = made
    host = SIZES[size]
    units = "".join(files[name] for name in files if name.endswith(".service"))
    limits = [int(line.split("=")[1]) for line in units.splitlines() if "MemoryMax=" in line]
    assert len(limits) == 2
    assert sum(limits) * host.sharing <= host.memory_bytes
    # memory-usage-limit, which TiKV derives from the cache: three quarters for its 45 %.
    cache = mib(settings(files)["storage"]["block-cache"]["capacity"]) * 2**20
    assert cache / 0.45 * 0.75 <= max(limits)


def test_open_files_of_both_databases_fit_the_hosts_limit(made):
    """TiKV refuses to start when they do not (components/server/src/server.rs, v6.5.5)."""
    size, files = made
    found = settings(files)
    wanted = 1000 + found["rocksdb"]["max-open-files"] + found["raftdb"]["max-open-files"]
    assert wanted <= SIZES[size].nofile


def test_a_limit_of_open_files_that_tikv_cannot_live_with_is_refused(tmp_path):
    state = {**SIZES["local"].state(), "nofile": 3000}
    with pytest.raises(AssertionError, match=r"lets a unit open 3000 files.*3,072"):
        rendered(tmp_path / "few", "tikv", __tikv_state=state)


def test_raft_log_and_reserve_fit_the_disk(made):
    size, files = made
    host, found = SIZES[size], settings(files)
    log = mib(found["raft-engine"]["purge-threshold"]) * 2**20
    assert log * host.sharing <= host.disk_bytes / 49
    reserve = (found["storage"]["reserve-space"], found["storage"]["reserve-raft-space"])
    assert reserve == (("5GB", "1GB") if size == "8c16g" else ("0B", "0B"))


def test_threads_fit_the_cores(made):
    size, files = made
    found, cores = settings(files), SIZES[size].cores
    assert found["readpool"]["unified"]["max-thread-count"] <= max(2, cores)
    assert found["rocksdb"]["max-background-jobs"] <= max(2, cores // 2)
    assert 0 < found["rocksdb"]["max-sub-compactions"] <= found["rocksdb"]["max-background-jobs"]
    assert found["raftstore"]["store-io-pool-size"] == (1 if cores >= 8 else 0)


def test_a_store_with_next_to_no_memory_is_refused(tmp_path):
    state = {**SIZES["local"].state(), "memory_bytes": 2**28}
    with pytest.raises(AssertionError, match="under 128 MiB"):
        rendered(tmp_path / "tiny", "tikv", __tikv_state=state)


@pytest.mark.parametrize("role", ["pd", "tikv"])
def test_too_few_hosts_are_refused(tmp_path, role):
    variable = {"pd": "pd_members", "tikv": "tikv_stores"}[role]
    few = {"d1": "10.0.0.1"} if role == "pd" else ["10.0.0.1"]
    with pytest.raises(AssertionError, match="give the testbed"):
        rendered(tmp_path / "few", role, **{variable: few})
