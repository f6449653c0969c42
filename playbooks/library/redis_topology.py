#!/usr/bin/python
"""Joins Redis members into exactly the cluster that was asked for, and waits until it is whole."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mutual_tls import ReplyError, Resp, fields
from ansible.module_utils.redis_options import OPTIONS, NotYet, connect

DOCUMENTATION = r"""
module: redis_topology
short_description: Form a Redis Cluster of given masters, slots and replicas
description:
  - Each step looks before it acts, so it can be repeated from any half-done state, and the same
    members always get the same slots and the same replicas.
  - Fails when a replica is found beside its master.
options:
  members:
    type: list
    elements: dict
    required: true
    description: Each has address, port, and master (position of its master, -1 for a master).
  node_timeout_ms:
    type: int
    required: true
    description: The cluster-node-timeout that members are to have when all is done.
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: A certificate of that CA.}
  key: {type: path, required: true, description: Its key.}
  user: {type: str, required: true, description: ACL user that may change the cluster.}
  password: {type: str, required: true, description: Its password.}
  timeout_s: {type: int, default: 60, description: How long each wait may take.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The cluster is formed
  redis_topology:
    members: [{address: 10.83.17.11, port: 6379, master: -1}]
    node_timeout_ms: 15000
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/host.crt
    key: /etc/soakbed/pki/host.key
    user: admin
    password: "{{ password }}"
"""
RETURN = r"""
did: {type: list, returned: always, description: What was changed.}
soakbed: {type: dict, returned: success, description: Who holds what, topic topology.}
"""

SLOTS = 16384
POLL_S = 0.1

# Members tell each other news at least every half of cluster-node-timeout, and news spreads member
# by member: with the default of 15 s a fresh cluster of six took 17 s to agree, like this 3.
FORMING_TIMEOUT_MS = 1000
TIMEOUT = "cluster-node-timeout"


class Member:
    """One member: what it is to be, and a connection to it."""

    def __init__(self, row: dict, link: Resp) -> None:
        self.address, self.port = str(row["address"]), int(row["port"])
        self.master = int(row["master"])
        self.link = link
        self.id = link.text("CLUSTER", "MYID")

    @property
    def place(self) -> str:
        """Address and port, as CLUSTER NODES writes them."""
        return f"{self.address}:{self.port}"

    def view(self) -> dict[str, dict]:
        """CLUSTER NODES of this member, by node id."""
        rows = {}
        for line in self.link.text("CLUSTER", "NODES").splitlines():
            words = line.split()
            rows[words[0]] = {
                "place": words[1].split("@")[0].split(",")[0],
                "flags": words[2].split(","),
                "master": words[3],
                "slots": [slot for word in words[8:] for slot in slots_in(word)],
            }
        return rows

    def info(self) -> dict[str, str]:
        """CLUSTER INFO as a mapping."""
        return fields(self.link.text("CLUSTER", "INFO"))


class Cluster:
    """All members, and what was done to them."""

    def __init__(self, members: list[Member], timeout_s: int, node_timeout_ms: int) -> None:
        self.members, self.timeout_s = members, timeout_s
        self.node_timeout_ms = node_timeout_ms
        self.masters = [member for member in members if member.master < 0]
        self.replicas = [member for member in members if member.master >= 0]
        self.did: list[str] = []

    def form(self) -> list[dict]:
        """Everything, step by step. Returns who holds what."""
        try:
            self.acquainted()
            self.whole()
        except NotYet:
            self.pace(FORMING_TIMEOUT_MS)
            self.number()
            # Before they meet, so that the first word to each other already says who holds what.
            self.spread_slots()
            self.introduce()
            self.attach_replicas()
            self.wait(self.whole)
        self.pace(self.node_timeout_ms)
        return self.placement()

    def pace(self, node_timeout_ms: int) -> None:
        """Set how often members speak to each other."""
        for member in self.members:
            if member.link.call("CONFIG", "GET", TIMEOUT)[1] != str(node_timeout_ms):
                member.link.call("CONFIG", "SET", TIMEOUT, node_timeout_ms)

    def number(self) -> None:
        """Give fresh members distinct epochs, or their claims collide when they meet."""
        for position, member in enumerate(self.members, start=1):
            info = member.info()
            if info["cluster_my_epoch"] == "0" and info["cluster_known_nodes"] == "1":
                member.link.call("CLUSTER", "SET-CONFIG-EPOCH", position)
                self.did.append(f"{member.place} has epoch {position}")

    def introduce(self) -> None:
        """Make every member known to every other; each pair meets, so nobody waits for gossip."""
        for position, member in enumerate(self.members):
            known = {r["place"] for r in member.view().values() if "handshake" not in r["flags"]}
            for other in self.members[position + 1 :]:
                if other.place not in known:
                    member.link.call("CLUSTER", "MEET", other.address, other.port)
                    self.did.append(f"{member.place} met {other.place}")
        self.wait(self.acquainted)

    def acquainted(self) -> None:
        """Raise NotYet unless each member knows exactly the members."""
        ids = {member.id for member in self.members}
        for member in self.members:
            view = member.view()
            if strangers := [row["place"] for id_, row in view.items() if id_ not in ids]:
                raise NotYet(f"{member.place} knows {strangers} besides its own; wipe them all")
            unsure = ("handshake", "noaddr", "fail")
            if len(view) < len(ids) or any(set(unsure) & set(r["flags"]) for r in view.values()):
                raise NotYet(f"{member.place} knows {len(view)} of {len(ids)} members for sure")

    def spread_slots(self) -> None:
        """Give each master its share of the slots, in order."""
        for position, member in enumerate(self.masters):
            self.lead(member)
            low = position * SLOTS // len(self.masters)
            high = (position + 1) * SLOTS // len(self.masters) - 1
            owners = {slot: id_ for id_, row in member.view().items() for slot in row["slots"]}
            if theirs := [s for s in range(low, high + 1) if owners.get(s, member.id) != member.id]:
                raise NotYet(f"slot {theirs[0]} belongs to another member; wipe them all")
            free = [slot for slot in range(low, high + 1) if slot not in owners]
            for begin, end in stretches(free):
                member.link.call("CLUSTER", "ADDSLOTSRANGE", begin, end)
                self.did.append(f"{member.place} holds slots {begin}-{end}")

    def lead(self, member: Member) -> None:
        """Make a member that lost its lead (it was away too long) the master again."""
        if "master" in member.view()[member.id]["flags"]:
            return
        self.wait(lambda: self.linked(member))
        member.link.call("CLUSTER", "FAILOVER")
        self.did.append(f"{member.place} leads again")

        def leads() -> None:
            if "master" not in member.view()[member.id]["flags"]:
                raise NotYet(f"{member.place} is still a replica")

        self.wait(leads)

    def attach_replicas(self) -> None:
        """Tie each replica to its master."""
        for member in self.replicas:
            master = self.members[member.master]

            def tied(member: Member = member, master: Member = master) -> None:
                if member.view()[member.id]["master"] == master.id:
                    return
                member.link.call("CLUSTER", "REPLICATE", master.id)
                self.did.append(f"{member.place} replicates {master.place}")

            self.wait(tied)

    def linked(self, member: Member) -> None:
        """Raise NotYet unless a replica's link to its master is up."""
        link = member.link.info("replication").get("master_link_status", "up")
        if link != "up":
            raise NotYet(f"{member.place} has no link to its master")

    def whole(self) -> None:
        """Raise NotYet unless every member calls the cluster whole and every replica is linked."""
        for member in self.members:
            info = member.info()
            covered = int(info["cluster_slots_ok"])
            if info["cluster_state"] != "ok" or covered != SLOTS:
                raise NotYet(
                    f"{member.place} calls the cluster {info['cluster_state']}, "
                    f"with {covered:,} of {SLOTS:,} slots"
                )
        for member in self.replicas:
            self.linked(member)
            view = member.view()[member.id]
            if view["master"] != self.members[member.master].id:
                raise NotYet(f"{member.place} does not replicate its master yet")

    def placement(self) -> list[dict]:
        """Who holds what. Fails when a replica lies beside its master."""
        view = self.members[0].view()
        rows = []
        for member in self.members:
            row = view[member.id]
            master = view[row["master"]]["place"] if row["master"] in view else ""
            if master and master.split(":")[0] == member.address:
                raise NotYet(f"{member.place} lies beside its master {master}; wipe them all")
            duty = "replica" if master else "master"
            rows.append(
                {"member": member.place, "is": duty, "master": master, "slots": len(row["slots"])}
            )
        return rows

    def wait(self, check: object) -> None:
        """Repeat a check until it no longer raises NotYet, or time is up."""
        until = time.monotonic() + self.timeout_s
        while True:
            try:
                check()
                return
            except (NotYet, ReplyError) as reason:
                if time.monotonic() > until:
                    raise NotYet(f"after {self.timeout_s} s: {reason}") from reason
            time.sleep(POLL_S)


def slots_in(word: str) -> list[int]:
    """Slots of one word of CLUSTER NODES; slots on the move are written in brackets."""
    if word.startswith("["):
        return []
    begin, _, end = word.partition("-")
    return list(range(int(begin), int(end or begin) + 1))


def stretches(slots: list[int]) -> list[tuple[int, int]]:
    """Neighbouring slots as first and last."""
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def main() -> None:
    """Run as a module."""
    more = {
        "members": {"type": "list", "elements": "dict", "required": True},
        "node_timeout_ms": {"type": "int", "required": True},
    }
    module = AnsibleModule(argument_spec=OPTIONS | more)
    given = module.params
    try:
        rows = given["members"]
        made = [Member(row, connect(given, row["address"], int(row["port"]))) for row in rows]
        cluster = Cluster(made, given["timeout_s"], given["node_timeout_ms"])
        placement = cluster.form()
    except (NotYet, ReplyError, OSError) as error:
        module.fail_json(msg=f"the cluster could not be formed: {error}")
    module.exit_json(changed=bool(cluster.did), did=cluster.did, soakbed={"topology": placement})


if __name__ == "__main__":
    main()
