#!/usr/bin/python3
"""Stands in for pd-server 6.5.5 in tests: its command line, its configuration file, its HTTP API.

One file and the standard library alone, since tests push it to hosts as an executable. Answers have
the form of pd v6.5.5's (server/api). There is no consensus: the first member named in
initial-cluster leads and keeps the map; the others hand requests on to it, as real members do.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import select
import socket
import ssl
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "6.5.5-standin"
# Where a double of TiKV answers gRPC (tests/standins/behind.py), as address:port; a test that wants
# load on it writes it here. "" speaks HTTP alone.
DOUBLE = ""
API = "/pd/api/v1"
DISCONNECTED_AFTER_S = 3
LIMITS = {
    "hot-region-schedule-limit": 4,
    "leader-schedule-limit": 4,
    "merge-schedule-limit": 8,
    "region-schedule-limit": 2048,
    "replica-schedule-limit": 64,
}


class Map:
    """Stores, regions and limits, as the member that leads keeps them."""

    def __init__(self, file: Path | None = None, replicas: int = 3) -> None:
        self.file, self.replicas = file, replicas
        self.stores: dict[str, dict] = {}
        self.regions: list[dict] = []
        self.limits = dict(LIMITS)
        self.moving: list[tuple[int, int]] = []  # operators, each done at the next look
        self.stubborn: set[int] = set()  # regions that do not give up their leader
        self.deaf: set[str] = set()  # keys at which nothing splits
        if file and file.exists():
            kept = json.loads(file.read_text())
            self.stores, self.regions, self.limits = kept["stores"], kept["regions"], kept["limits"]

    def keep(self) -> None:
        if self.file:
            kept = {"stores": self.stores, "regions": self.regions, "limits": self.limits}
            self.file.write_text(json.dumps(kept))

    def register(self, address: str, version: str) -> None:
        """A store says that it is there; the first ones bring the first region about."""
        if address not in self.stores:
            self.stores[address] = {"id": len(self.stores) + 1, "version": version}
            if len(self.stores) == self.replicas:
                ids = [store["id"] for store in self.stores.values()]
                self.regions = [{"id": 100, "start": "", "end": "", "on": ids, "leader": ids[0]}]
            self.keep()
        self.stores[address]["seen"] = time.monotonic()

    def store_rows(self) -> dict:
        rows = []
        for address, store in self.stores.items():
            away = time.monotonic() - store.get("seen", -1e9) > DISCONNECTED_AFTER_S
            meta = {"id": store["id"], "address": address, "version": store["version"]}
            rows.append({"store": {**meta, "state_name": "Disconnected" if away else "Up"}})
        return {"count": len(rows), "stores": rows}

    def region_rows(self) -> dict:
        rows = []
        for region in self.regions:
            peers = [{"id": region["id"] * 10 + on, "store_id": on} for on in region["on"]]
            leader = next(peer for peer in peers if peer["store_id"] == region["leader"])
            keys = {"start_key": region["start"].upper(), "end_key": region["end"].upper()}
            rows.append({"id": region["id"], **keys, "peers": peers, "leader": leader})
        return {"count": len(rows), "regions": rows}

    def split(self, keys: list[str]) -> dict:
        fresh = []
        wanted = [key.lower() for key in keys if key.lower() not in self.deaf]
        for key in sorted(set(wanted) - {region["start"] for region in self.regions}):
            old = [r for r in self.regions if r["start"] < key and (key < r["end"] or not r["end"])]
            new = {**old[0], "id": max(r["id"] for r in self.regions) + 1, "start": key}
            old[0]["end"] = key
            self.regions.append(new)
            fresh.append(new["id"])
        self.keep()
        return {"processed-percentage": 100 * len(wanted) // len(keys), "regions-id": fresh}

    def scatter(self, ids: list[int]) -> dict:
        """Badly: half of the regions stay where they are, so that somebody must even it out."""
        for region in self.regions:
            if region["id"] in ids and region["id"] % 2:
                region["leader"] = region["on"][region["id"] % len(region["on"])]
        self.keep()
        return {"processed-percentage": 100}

    def transfer(self, body: dict) -> str:
        if body["region_id"] not in self.stubborn:
            self.moving.append((body["region_id"], body["to_store_id"]))
        return "The operator is created."

    def operators(self) -> list[str]:
        """What is under way; it is done when asked for the second time."""
        now, self.moving = self.moving, []
        for region, (number, store) in itertools.product(self.regions, now):
            if region["id"] == number:
                region["leader"] = store
        self.keep()
        return [f"transfer-leader {region} to {store}" for region, store in now]


class Member:
    """One member: what it was configured with, and the map if it leads."""

    def __init__(self, config: dict, tls: ssl.SSLContext | None) -> None:
        self.config, self.tls = config, tls
        self.name = config["name"]
        pairs = (word.split("=", 1) for word in config["initial-cluster"].split(","))
        port = config["advertise-client-urls"].rsplit(":", 1)[1]
        hosts = {name: url.rsplit(":", 1)[0] for name, url in pairs}
        self.urls = {name: f"{host}:{port}" for name, host in hosts.items()}
        self.leader = next(iter(self.urls))
        replicas = config.get("replication", {}).get("max-replicas", 3)
        self.map = Map(Path(config["data-dir"]) / "standin.json", replicas)
        if not self.map.file.exists():
            self.map.limits |= config.get("schedule", {})

    def answer(self, method: str, path: str, body: dict) -> tuple[int, object]:
        """Status and JSON, as the member that leads."""
        key = (method, path.removeprefix(API))
        if key == ("POST", "/standin/store"):
            self.map.register(body["address"], body["version"])
            return 200, "noted"
        if key[1].startswith(("/stores", "/regions")) and not self.map.regions:
            return 500, "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped"
        answers = {
            ("GET", "/version"): lambda: {"version": f"v{VERSION}"},
            ("GET", "/config"): lambda: {**self.config, "schedule": self.map.limits},
            ("GET", "/members"): self.members,
            ("GET", "/health"): lambda: [
                {"name": name, "health": self.answers(name)} for name in self.urls
            ],
            ("GET", "/stores"): self.map.store_rows,
            ("GET", "/regions"): self.map.region_rows,
            ("GET", "/operators"): self.map.operators,
            ("POST", "/config"): lambda: self.configure(body),
            ("POST", "/regions/split"): lambda: self.map.split(body["split_keys"]),
            ("POST", "/regions/scatter"): lambda: self.map.scatter(body["regions_id"]),
            ("POST", "/operators"): lambda: self.map.transfer(body),
        }
        if key not in answers:
            return 404, "404 page not found"
        return 200, answers[key]()

    def members(self) -> dict:
        rows = [{"name": name, "client_urls": [url]} for name, url in self.urls.items()]
        return {"members": rows, "leader": rows[0]}

    def configure(self, body: dict) -> str:
        for name, value in body.items():
            self.map.limits[name.removeprefix("schedule.")] = value
        self.map.keep()
        return "The config is updated."

    def answers(self, name: str) -> bool:
        try:
            return name == self.name or self.forward(name, "GET", f"{API}/version", "")[0] == 200
        except OSError:
            return False

    def forward(self, name: str, method: str, path: str, body: str) -> tuple[int, bytes]:
        """What another member answers for itself."""
        place = self.urls[name].removeprefix("https://")
        link = http.client.HTTPSConnection(place, timeout=5, context=self.tls)
        try:
            link.request(method, path, body, {"PD-Allow-follower-handle": "true"})
            reply = link.getresponse()
            return reply.status, reply.read()
        finally:
            link.close()


def pump(client: ssl.SSLSocket, number: int) -> None:
    """Carry gRPC between a client and the double, which speaks it without TLS, until one hangs up.

    One thread for both directions: a TLS socket must not be read and written at the same time.
    """
    host, _, base = DOUBLE.rpartition(":")
    with socket.create_connection((host, int(base) + number)) as double:
        double.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other = {client: double, double: client}
        while True:
            ready = [client] if client.pending() else select.select(other, [], [])[0]
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                other[source].sendall(data)


def handler_of(member: Member) -> type[BaseHTTPRequestHandler]:
    """An HTTP handler that speaks for one member."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or an answer waits 40 ms for the client to acknowledge
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            self.request.do_handshake()
            if self.request.selected_alpn_protocol() == "h2":
                pump(self.request, list(member.urls).index(member.name) + 1)
            else:
                super().handle()

        def do_GET(self) -> None:
            self.serve("GET")

        def do_POST(self) -> None:
            self.serve("POST")

        def serve(self, method: str) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            himself = bool(self.headers.get("PD-Allow-follower-handle"))
            try:
                if member.name == member.leader or himself:
                    with lock:
                        status, data = member.answer(method, self.path, json.loads(text or "{}"))
                    body = json.dumps(data).encode()
                else:
                    status, body = member.forward(member.leader, method, self.path, text)
            except OSError as error:
                status, body = 503, f"no leader: {error}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    return Handler


class Silent(ThreadingHTTPServer):
    """A server that says nothing of clients that are turned away."""

    daemon_threads = True

    def handle_error(self, _request: object, _client: object) -> None:
        pass


def serve(place: tuple[str, int], tls: ssl.SSLContext, handler: type) -> Silent:
    """Serve HTTPS on one port, in a thread."""
    server = Silent(place, handler, bind_and_activate=True)
    # The handshake is the handling thread's: a client that sends nothing must not hold up others.
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def tls_of(security: dict, ca: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for serving, which asks for certificates, and for dialling."""
    pair = (security["cert-path"], security["key-path"])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=security[ca])
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.set_alpn_protocols(["h2", "http/1.1"] if DOUBLE else ["http/1.1"])
    dialling = ssl.create_default_context(cafile=security[ca])
    for context in (serving, dialling):
        context.load_cert_chain(*pair)
    return serving, dialling


def place_in(url: str) -> tuple[str, int]:
    """Address and port of a URL."""
    host, _, port = url.rpartition("/")[2].rpartition(":")
    return host, int(port)


def main() -> None:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-V", "--version", action="store_true")
    parser.add_argument("--config", type=Path)
    asked = parser.parse_args()
    if asked.version:
        print(f"Release Version: v{VERSION}")
        return
    config = tomllib.loads(asked.config.read_text())
    Path(config["data-dir"]).mkdir(parents=True, exist_ok=True)
    serving, dialling = tls_of(config["security"], "cacert-path")
    handler = handler_of(Member(config, dialling))
    serve(place_in(config["peer-urls"]), serving, handler)
    serve(place_in(config["client-urls"]), serving, handler)
    print(f"stand-in for PD: {config['name']} serves", file=sys.stderr, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
