"""Can hosts that somebody already has be used? Every refusal at once, before anything is changed.

What the hosts are asked is in `probes/have.py`; what their answers mean is in `static_rules`.
Nothing on them is changed.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from soakbed.adapters.openssh import Conversation, known_keys, said_by, user_known_hosts
from soakbed.errors import ProvisionError
from soakbed.records.places import Places
from soakbed.records.testbed import Host
from soakbed.records.testbed_spec import TestbedSpec
from soakbed.stages.static_rules import (
    DOOR,
    LOAD_FOLDER,
    Declared,
    Door,
    Known,
    Refusal,
    about_clock,
    about_door,
    about_each,
    about_likeness,
    about_reach,
    ports_of,
    remarks,
    wanted_ports,
)

__all__ = ["Progress", "check_hosts", "check_static_hosts", "known_hosts_of", "planned_hosts"]

Progress = Callable[[str], None]
Answer = TypeVar("Answer")

PROBE = Path(__file__).with_name("probes") / "have.py"
_ANSWER_WITHIN_S = 30.0
_CLOCK_PROBES = 5


def check_static_hosts(spec: TestbedSpec, places: Places, *, progress: Progress) -> None:
    """Raise ProvisionError with every reason why these hosts cannot be used; nothing is changed."""
    known, refusals = known_hosts_of(spec, places)
    hosts = [host for name, host in planned_hosts(spec, places).items() if name in known]
    declared = {
        name: Declared(cores=host.cores, memory_gib=host.memory_gib)
        for name, host in spec.hosts.items()
    }
    file = str(places.state / "ssh" / "known_hosts")
    refuse(
        "these hosts cannot be used as they are",
        [*refusals, *check_hosts(hosts, file, declared=declared, progress=progress)],
    )


def refuse(what: str, refusals: list[Refusal]) -> None:
    """Raise ProvisionError with all refusals and their remedies, if there are any."""
    if refusals:
        raise ProvisionError(
            f"{what}:\n" + "\n".join(f"- {problem}" for problem, _ in refusals),
            remedy="\n       ".join(dict.fromkeys(way_out for _, way_out in refusals)),
        )


def planned_hosts(spec: TestbedSpec, places: Places) -> dict[str, Host]:
    """The hosts of a static spec as the testbed will have them."""
    return {
        name: Host(
            name=name,
            duty=host.duty,
            address=host.inner_address or host.address,
            ssh_address=host.address if host.inner_address else "",
            user=host.user,
            port=host.port,
            key_file=str(places.project.absolute() / Path(host.key_file).expanduser()),
            data_dir=host.data_dir or "/data",
        )
        for name, host in spec.hosts.items()
    }


def known_hosts_of(spec: TestbedSpec, places: Places) -> tuple[set[str], list[Refusal]]:
    """Hosts whose SSH key their user has accepted, and no others; leaves ssh/known_hosts.

    In the file that the user names, or where ssh itself keeps such keys.
    """
    named = Path(places.known_hosts).expanduser() if places.known_hosts else None
    files = [named] if named else user_known_hosts()
    found = {name: known_keys(host.address, host.port, files) for name, host in spec.hosts.items()}
    unknown = [spec.hosts[name] for name, keys in found.items() if not keys]
    folder = places.state / "ssh"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = dict.fromkeys(line for keys in found.values() for line in keys)
    (folder / "known_hosts").write_text("\n".join(lines) + "\n")
    if not unknown:
        return set(found), []
    refusal = (
        "no SSH host key is known for " + ", ".join(host.address for host in unknown),
        "log in once by hand, compare the fingerprint with the host's own, and accept it:\n"
        + "\n".join(f"       ssh -p {h.port} {h.user}@{h.address} true" for h in unknown),
    )
    return {name for name, keys in found.items() if keys}, [refusal]


def check_hosts(
    hosts: list[Host],
    known_hosts: str,
    *,
    declared: Mapping[str, Declared],
    progress: Progress,
) -> list[Refusal]:
    """Ask the hosts what they are and whether they reach each other; what speaks against them.

    `declared`: by name, the size that a host is said to have.
    """
    doors = _on_all(hosts, lambda host: _door(host, known_hosts))
    refusals = [found for host in hosts for found in about_door(host, doors[host.name])]
    inside = [host for host in hosts if doors[host.name].python]
    if not inside:
        return refusals
    with ExitStack() as stack:
        program = PROBE.read_text()
        open_ = {
            host.name: stack.enter_context(
                Conversation(host, known_hosts, program, as_root=doors[host.name].root)
            )
            for host in inside
        }
        known: dict[str, Known] = {}
        for host, answer in _on_all(inside, lambda host: _known(host, open_[host.name])).items():
            if isinstance(answer, str):
                refusals.append((f"{host}: {answer}", "run the same command again"))
            else:
                known[host] = answer
        inside = [host for host in inside if host.name in known]
        reach = _on_all(inside, lambda host: _reach(host, inside, known, open_[host.name]))
    refusals += _judged(inside, known, reach, declared)
    for remark in remarks(known):
        progress(f"warning: {remark}")
    return refusals


def _judged(
    hosts: list[Host],
    known: Mapping[str, Known],
    reach: Mapping[str, Mapping[str, Mapping[str, str]] | str],
    declared: Mapping[str, Declared],
) -> Iterator[Refusal]:
    for host in hosts:
        yield from about_each(host, known[host.name])
        yield from about_clock(host, known[host.name])
    yield from about_likeness(hosts, known, declared, ours=platform.machine())
    for host in hosts:
        found = reach[host.name]
        if isinstance(found, str):
            yield f"{host.name}: {found}", "run the same command again"
        else:
            yield from about_reach(host, {one.name: one for one in hosts}, found)


def _door(host: Host, known_hosts: str) -> Door:
    done = said_by(host, known_hosts, DOOR)
    return Door.of(done.stdout, done.stderr, refused=done.returncode == 255)


def _known(host: Host, talk: Conversation) -> Known | str:
    """What the host says of itself, or why it says nothing; it listens from then on."""
    asked = {
        "name": host.name,
        "address": host.address,
        "ports": ports_of(host),
        "folders": [host.data_dir if host.duty == "data" else LOAD_FOLDER],
    }
    try:
        facts = talk.ask({"facts": asked}, within_s=_ANSWER_WITHIN_S)
        offset_ns, bound_ns = min(
            (_clock(talk) for _ in range(_CLOCK_PROBES)), key=lambda found: found[1]
        )
    except (OSError, ValueError) as error:
        return f"the questions of the preflight were not answered: {error}"
    return Known.of(facts, offset_ns=offset_ns, bound_ns=bound_ns)


def _clock(talk: Conversation) -> tuple[int, int]:
    """How far the host's clock is ahead of ours, and by how much that may be wrong, in ns."""
    asked_ns = time.time_ns()
    told_ns = int(talk.ask({"time": True}, within_s=_ANSWER_WITHIN_S)["at_ns"])
    half_ns = (time.time_ns() - asked_ns) // 2
    return told_ns - asked_ns - half_ns, half_ns


def _reach(
    host: Host, hosts: list[Host], known: Mapping[str, Known], talk: Conversation
) -> Mapping[str, Mapping[str, str]] | str:
    """What answers this host at each port of each other one."""
    asked: dict[str, Any] = {
        other.name: {"address": other.address, "ports": wanted_ports(host, other)}
        for other in hosts
        if other.name != host.name and not known[other.name].address
    }
    try:
        return talk.ask({"peers": asked}, within_s=_ANSWER_WITHIN_S)
    except (OSError, ValueError) as error:
        return f"it was not learned which hosts it reaches: {error}"


def _on_all(hosts: list[Host], ask: Callable[[Host], Answer]) -> dict[str, Answer]:
    """The answer of every host by name, asked side by side."""
    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        return dict(zip((host.name for host in hosts), pool.map(ask, hosts), strict=True))
