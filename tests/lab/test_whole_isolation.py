"""Tenants with the same addresses never meet, whatever their workloads send; virtual routers get what is theirs."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

PYTHON = sys.executable
GATEWAY_MAC = bytes.fromhex("027377000001")

BANNERS = """
import socketserver, sys
class Banner(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(sys.argv[1].encode())
socketserver.ThreadingTCPServer.allow_reuse_address = True
server = socketserver.ThreadingTCPServer(("0.0.0.0", int(sys.argv[2])), Banner)
print("listens", flush=True)
server.serve_forever()
"""

SCAN = """
import asyncio, json, sys
found = []
async def attempt(address, port):
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 0.7)
    except OSError:  # also TimeoutError
        return
    found.append([address, port, (await asyncio.wait_for(reader.read(100), 2)).decode()])
    writer.close()
async def scan():
    await asyncio.gather(*(attempt(*target) for target in json.loads(sys.argv[1])))
asyncio.run(scan())
print(json.dumps(sorted(found)))
"""

SNIFFER = """
import re, socket
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print("listens", flush=True)
while True:
    frame, source = sniffer.recvfrom(65535)
    if source[2] != 4:  # not what this workload sends itself
        for mark in re.findall(rb"<[a-z0-9 -]+>", frame):
            print(mark.decode(), flush=True)
"""

SENDER = """
import json, socket, sys
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sender.bind(("eth0", 0))
for frame in json.loads(sys.stdin.read()):
    sender.send(bytes.fromhex(frame))
"""


@pytest.fixture(scope="module")
def tenants(whole: Any, documents: Any) -> None:
    same = {"client": ("h1", "10.0.0.11"), "server": ("h2", "10.0.0.12")}
    whole.apply(
        [
            *documents.tenant_network("red", same),
            *documents.tenant_network("blue", {**same, "third": ("h1", "10.0.0.13"), "fourth": ("h2", "10.0.0.14")}),
        ]
    )


@pytest.fixture
def run(whole: Any) -> Iterator[Callable[..., Path]]:
    """Starts a Python script in a workload, waits until it listens; gives the file with what it says."""
    with ExitStack() as stack:

        def start(target: str, script: str, *words: str) -> Path:
            path: Path = whole.new_path()
            with path.open("wb") as output:
                process = whole.start(target, PYTHON, "-c", script, *words, stdout=output, stderr=output)
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            running.append((path, process))
            return path

        running: list[tuple[Path, subprocess.Popen[str]]] = []
        yield start


def test_same_addresses(whole: Any, tenants: None, run: Callable[..., Path], wait_until: Callable[..., Any]) -> None:
    servers = {("red", "server", 7000), ("blue", "server", 7000), ("blue", "third", 7001), ("blue", "fourth", 7001)}
    said = [run(f"port/{t}/{name}", BANNERS, f"{t} {name}", str(port)) for t, name, port in servers]
    wait_until(lambda: all("listens" in path.read_text() for path in said), "the servers listen")
    addresses = [f"10.0.0.{n}" for n in range(1, 20)] + ["10.255.0.1", "10.255.0.2", "127.0.0.1"]
    targets = json.dumps([(address, port) for address in addresses for port in (7000, 7001)])

    def scan(tenant: str, name: str) -> Any:
        return json.loads(whole.inside(f"port/{tenant}/{name}", PYTHON, "-c", SCAN, targets).stdout)

    assert scan("red", "client") == [["10.0.0.12", 7000, "red server"]]
    assert scan("blue", "client") == [
        ["10.0.0.12", 7000, "blue server"],
        ["10.0.0.13", 7001, "blue third"],
        ["10.0.0.14", 7001, "blue fourth"],
    ]
    assert whole.reaches("port/blue/client", "10.0.0.13")
    assert not whole.reaches("port/red/client", "10.0.0.13")


# --- frames made by hand ---


def ethernet(source: bytes, kind: int, payload: bytes, destination: bytes = GATEWAY_MAC) -> bytes:
    return destination + source + struct.pack("!H", kind) + payload


def ipv4(source: str, destination: str, payload: bytes, protocol: int = 17) -> bytes:
    def head(checksum: int) -> bytes:
        addresses = socket.inet_aton(source) + socket.inet_aton(destination)
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, checksum) + addresses

    total = sum(struct.unpack("!10H", head(0)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head(~total & 0xFFFF) + payload


def udp(payload: bytes, port: int = 9000) -> bytes:
    return struct.pack("!HHHH", 5000, port, 8 + len(payload), 0) + payload


def vxlan(vni: int, frame: bytes) -> bytes:
    return struct.pack("!II", 0x08000000, vni << 8) + frame


def vni_of(whole: Any, tenant: str) -> int:
    client = whole.client()
    try:
        document = client.get(f"/v1/resources/Vpc/{tenant}/net")
    finally:
        client.close()
    return int(document["status"]["vni"])


def mac_of(whole: Any, target: str) -> bytes:
    found = json.loads(whole.inside(target, "ip", "-j", "link", "show", "dev", "eth0").stdout)
    return bytes.fromhex(found[0]["address"].replace(":", ""))


def test_frames_made_by_hand(
    whole: Any, tenants: None, run: Callable[..., Path], wait_until: Callable[..., Any]
) -> None:
    own = mac_of(whole, "port/red/client")
    victims = ["port/red/server", "port/blue/client", "port/blue/server", "port/blue/third", "port/blue/fourth"]
    heard = {victim: run(victim, SNIFFER) for victim in victims}
    underlay = {node: run(node, SNIFFER) for node in ("h1", "h2")}
    wait_until(lambda: all("listens" in path.read_text() for path in (*heard.values(), *underlay.values())))

    def to_server(mark: bytes, source: str = "10.0.0.11", mac: bytes = own) -> bytes:
        return ethernet(mac, 0x0800, ipv4(source, "10.0.0.12", udp(mark)))

    def honest(tenant: str, mark: str) -> None:
        mac = mac_of(whole, f"port/{tenant}/client")
        send(f"port/{tenant}/client", [to_server(mark.encode(), mac=mac)])
        wait_until(lambda: mark in heard[f"port/{tenant}/server"].read_text(), f"{mark} arrives")

    def send(target: str, frames: list[bytes]) -> None:
        whole.inside(target, PYTHON, "-c", SENDER, input=json.dumps([frame.hex() for frame in frames]))

    honest("red", "<honest before>")
    blue = vni_of(whole, "blue")
    blue_server = mac_of(whole, "port/blue/server")
    router = [bytes.fromhex(f"02540aff00{n:02x}") for n in (1, 2)]
    forged = []
    for inner in (
        ethernet(router[0], 0x0800, ipv4("10.0.0.11", "10.0.0.14", udp(b"<forged vxlan>")), router[1]),
        ethernet(own, 0x0800, ipv4("10.0.0.11", "10.0.0.12", udp(b"<forged vxlan>")), blue_server),
    ):
        for vni in (blue, vni_of(whole, "red")):
            for endpoint in ("10.255.0.1", "10.255.0.2", "10.0.0.1", "127.0.0.1"):
                for source in ("10.0.0.11", "10.255.0.1", "10.255.0.2"):
                    forged.append(ethernet(own, 0x0800, ipv4(source, endpoint, udp(vxlan(vni, inner), 4789))))
    other = bytes.fromhex("020000000001")
    frames = [
        *forged,
        to_server(b"<forged source>", "10.0.0.13"),
        to_server(b"<forged source>", "10.0.0.1"),
        to_server(b"<forged source>", "10.0.0.12"),
        to_server(b"<forged source>", "0.0.0.0"),
        to_server(b"<forged source>", "127.0.0.1"),
        to_server(b"<forged source>", "198.51.100.1"),
        to_server(b"<forged mac>", mac=other),
        to_server(b"<forged mac>", mac=blue_server),
        to_server(b"<forged both>", "10.0.0.12", mac_of(whole, "port/red/server")),
        ethernet(own, 0x8100, struct.pack("!HH", blue & 0xFFF, 0x0800) + to_server(b"<forged tag>")[14:]),
        ethernet(own, 0x0800, ipv4("10.0.0.13", "10.0.0.12", udp(b"<forged group>")), b"\xff" * 6),
        ethernet(own, 0x88B5, b"<forged kind>", b"\xff" * 6),
        ethernet(own, 0x88B5, b"<forged kind>", blue_server),
        # An answer that nobody asked for: the server's address is said to be at the client's.
        ethernet(
            own,
            0x0806,
            struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + own + socket.inet_aton("10.0.0.12") + GATEWAY_MAC + b"\0" * 4,
        ),
    ]
    send("port/red/client", frames)
    honest("red", "<honest after>")
    honest("blue", "<honest after>")
    for victim, path in heard.items():
        assert "forged" not in path.read_text(), victim
    for node, path in underlay.items():
        # What a tenant sends is seen in the underlay in its own tunnel only, and nothing forged comes so far.
        assert "forged" not in path.read_text(), node
        assert "honest" in path.read_text(), f"{node}: the sniffer hears nothing"


# --- virtual routers ---


def test_next_hops(whole: Any, tenants: None, documents: Any, wait_until: Callable[..., Any]) -> None:
    make = documents.make
    client, router = "port/green/client", "port/green/router"
    tables = [
        {"destination": "0.0.0.0/0", "nextHop": {"port": "router"}},
        {"destination": "192.0.2.0/24", "nextHop": {"blackhole": True}},
    ]
    network = [
        *documents.tenant_network("green", {}),
        make("Subnet", "inner", "green", vpc="net", cidr="10.0.1.0/24", routeTable="out"),
        documents.port("green", "client", "h1", "10.0.1.11", subnet="inner"),
    ]

    def apply(allowed: list[str], routes: list[dict[str, Any]]) -> None:
        pairs = [{"prefix": prefix} for prefix in allowed]
        port = documents.port("green", "router", "h2", "10.0.0.9", allowedAddressPairs=pairs)
        whole.apply([*network, make("RouteTable", "out", "green", vpc="net", routes=routes), port])

    apply([], tables[:1])
    # Behind the router: a network of its own, which the VPC knows nothing of.
    behind = whole.start(router, "unshare", "--net", "sleep", "1000")
    try:
        wait_until(lambda: Path(f"/proc/{behind.pid}/comm").read_text() == "sleep\n", "there is a namespace behind")
        enter = ("nsenter", f"--net=/proc/{behind.pid}/ns/net")
        for words in (
            ("sysctl", "-qw", "net.ipv4.ip_forward=1"),
            ("ip", "link", "add", "inside", "type", "veth", "peer", "name", "outside", "netns", str(behind.pid)),
            ("ip", "address", "add", "198.51.100.1/24", "dev", "inside"),
            ("ip", "link", "set", "inside", "up"),
            (*enter, "ip", "address", "add", "198.51.100.5/24", "dev", "outside"),
            (*enter, "ip", "address", "add", "192.0.2.1/32", "dev", "outside"),
            (*enter, "ip", "link", "set", "outside", "up"),
            (*enter, "ip", "route", "add", "default", "via", "198.51.100.1"),
            ("ip", "route", "add", "192.0.2.1", "via", "198.51.100.5"),
        ):
            whole.inside(router, *words)
        # Its answers come from addresses that are not the router's: they pass only where that is allowed.
        assert not whole.reaches(client, "198.51.100.5")
        apply(["198.51.100.0/24", "192.0.2.0/24"], tables[:1])
        assert whole.reaches(client, "198.51.100.5")
        assert whole.reaches(client, "192.0.2.1")
        apply(["198.51.100.0/24", "192.0.2.0/24"], tables)
        assert not whole.reaches(client, "192.0.2.1")
        assert whole.reaches(client, "198.51.100.5")
        assert whole.reaches(client, "10.0.0.9"), "the VPC's own addresses go straight"
        apply(["0.0.0.0/0"], tables[:1])
        assert whole.reaches(client, "192.0.2.1")
        assert not whole.reaches("port/red/client", "198.51.100.5")
    finally:
        behind.terminate()
        behind.wait(10)
