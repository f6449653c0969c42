#!/usr/bin/python3
"""Stands in for tikv-server 6.5.5 in tests: its command line, configuration file and status port.

One file and the standard library alone, since tests push it to hosts as an executable. It holds no
keys: its own port shakes hands and hangs up. It tells the stand-in for PD that it is there, in a
way that the real PD does not know.
"""

from __future__ import annotations

import argparse
import http.client
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
# Where a double of TiKV answers gRPC, see pd_server.py; "" hangs up.
DOUBLE = ""
STORES_FROM = 10  # ports of the double's stores come after those of PD's members
HEARTBEAT_S = 0.5


class Silent(ThreadingHTTPServer):
    """A server that says nothing of clients that are turned away."""

    daemon_threads = True

    def handle_error(self, _request: object, _client: object) -> None:
        pass


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


def number_of(config: dict) -> int:
    """Which store this is, counted from one: PD lives on the same hosts, in the same order."""
    host = config["server"]["addr"].rpartition(":")[0]
    hosts = [url.rpartition("/")[2].rpartition(":")[0] for url in config["pd"]["endpoints"]]
    return hosts.index(host) + 1


def handler_of(config: dict, *, status: bool) -> type[BaseHTTPRequestHandler]:
    """An HTTP handler: the status port's, or one that hangs up."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # or an answer waits 40 ms for the client to acknowledge

        def handle(self) -> None:
            self.request.do_handshake()
            if self.request.selected_alpn_protocol() == "h2":
                pump(self.request, STORES_FROM + number_of(config))
            else:
                super().handle()

        def do_GET(self) -> None:
            answers = {"/status": "", "/config": json.dumps(config), "/metrics": "tikv_up 1\n"}
            if not status:
                self.close_connection = True
                return
            body = answers.get(self.path, "").encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    return Handler


def serve(place: str, tls: ssl.SSLContext, handler: type) -> None:
    """Serve HTTPS on one port, in a thread."""
    host, _, port = place.rpartition(":")
    server = Silent((host, int(port)), handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()


def tell(endpoints: list[str], tls: ssl.SSLContext, address: str) -> str:
    """Tell PD that the store is there; "" when one member took it."""
    said = ""
    body = json.dumps({"address": address, "version": VERSION})
    for endpoint in endpoints:
        link = http.client.HTTPSConnection(endpoint.rpartition("/")[2], timeout=2, context=tls)
        try:
            link.request("POST", "/standin/store", body)
            if link.getresponse().status == 200:
                return ""
        except (OSError, http.client.HTTPException) as error:
            said = f"{endpoint}: {error}"
        finally:
            link.close()
    return said or "PD takes no store"


def main() -> None:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-V", "--version", action="store_true")
    parser.add_argument("-C", "--config", type=Path)
    asked = parser.parse_args()
    if asked.version:
        print(f"TiKV \nRelease Version:   {VERSION}")
        return
    config = tomllib.loads(asked.config.read_text())
    Path(config["storage"]["data-dir"], "db").mkdir(parents=True, exist_ok=True)
    security = config["security"]
    serving, asking = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=security["ca-path"])
        for _ in range(2)
    )
    dialling = ssl.create_default_context(cafile=security["ca-path"])
    for context in (serving, asking, dialling):
        context.load_cert_chain(security["cert-path"], security["key-path"])
    serving.verify_mode = ssl.CERT_REQUIRED
    if DOUBLE:
        serving.set_alpn_protocols(["h2"])
    # As the real one: without a name in this list, the status port asks nobody for a certificate.
    asking.verify_mode = ssl.CERT_REQUIRED if security.get("cert-allowed-cn") else ssl.CERT_NONE
    serve(config["server"]["addr"], serving, handler_of(config, status=False))
    serve(config["server"]["status-addr"], asking, handler_of(config, status=True))
    print(f"stand-in for TiKV: {config['server']['addr']} serves", file=sys.stderr, flush=True)
    before = ""
    while True:
        said = tell(config["pd"]["endpoints"], dialling, config["server"]["addr"])
        if said != before:
            print(said or "PD knows this store", file=sys.stderr, flush=True)
        before = said
        time.sleep(HEARTBEAT_S)


if __name__ == "__main__":
    main()
