"""Two agents and the real server, from declared resources to probed packets; their underlay is one cable."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import threading

import pytest

from suanwang.api.server import Server
from suanwang.api.settings import Settings
from suanwang.model.registry import load

pytestmark = pytest.mark.root


class Running:
    """The server in a thread, and a client of it."""

    def __init__(self, directory):
        self.directory = directory
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(60)

    async def _serve(self):
        self.loop, self.ending = asyncio.get_running_loop(), asyncio.Event()
        self.server = Server(Settings(self.directory, port=0), load())
        await self.server.start()
        self.ready.set()
        await self.ending.wait()
        await self.server.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.ending.set)
        self.thread.join(60)

    def call(self, method, path, body=None):
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        port = int(self.server.url.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        token = (self.directory / "admin.token").read_text().strip()
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            found = json.loads(answer.read())
            assert answer.status == 200, found
            return found
        finally:
            connection.close()

    def apply(self, *documents):
        plan = self.call("POST", "/v1/plan", {"documents": documents})
        accept = [one["subject"] for one in plan["broken"]]
        applied = self.call("POST", "/v1/apply", {"plan": plan, "accept": accept})
        return self.call("GET", f"/v1/wait?revision={applied['revision']}&timeout=30")


def resource(kind, name, spec, tenant=""):
    metadata = {"name": name, "tenant": tenant} if tenant else {"name": name}
    return {"apiVersion": "suanwang/v1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture
def cable(tmp_path):
    """Two underlay namespaces joined by a cable: their names by node."""
    prefix = f"swe{os.getpid()}."
    names = {node: prefix + node for node in ("h1", "h2")}
    for name in names.values():
        subprocess.run(["ip", "netns", "add", name], check=True)
    first, second = names.values()
    link = ["ip", "-n", first, "link", "add", "u", "type", "veth", "peer", "name", "u", "netns", second]
    subprocess.run(link, check=True)
    yield names
    for name in names.values():
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_from_declaration_to_probed_packets_and_back(tmp_path, cable, start_agent, until):
    running = Running(tmp_path / "server")
    agents = []
    try:
        tunnels = {"h1": "10.255.0.1", "h2": "10.255.0.2"}
        nodes = [
            resource("Node", name, {"region": "east", "roles": ["host"], "address": tunnels[name]}) for name in cable
        ]
        region = resource("Region", "east", {"underlay": {"loopbacks": ["10.255.0.0/24"]}})
        running.apply(region, *nodes)
        for node, name in cable.items():
            for command in (["addr", "add", f"{tunnels[node]}/24", "dev", "u"], ["link", "set", "u", "up"]):
                subprocess.run(["ip", "-n", name, *command], check=True)
            token = running.call("POST", "/v1/enrolment-tokens", {"node": node, "ttl": 600})["token"]
            agents.append(
                start_agent(
                    controller=running.server.url,
                    node=node,
                    token=token,
                    state_directory=str(tmp_path / node),
                    underlay=name,
                    prefix=f"{name}.",
                )
            )
        until(lambda: all(node["connected"] for node in running.call("GET", "/v1/nodes")["nodes"]))
        waited = running.apply(
            resource("Tenant", "red", {}),
            resource("Vpc", "shop", {"cidrs": ["10.0.0.0/16"]}, "red"),
            resource("Subnet", "web", {"vpc": "shop", "cidr": "10.0.1.0/24"}, "red"),
            resource(
                "SecurityGroup", "web", {"vpc": "shop", "rules": [{"direction": "ingress", "protocol": "icmp"}]}, "red"
            ),
            *(
                resource("Port", f"web-{node}", {"subnet": "web", "node": node, "securityGroups": ["web"]}, "red")
                for node in cable
            ),
            resource("Assertion", "ping", {"from": {"port": "web-h1"}, "to": {"port": "web-h2"}}, "red"),
            resource(
                "Assertion",
                "no-web",
                {
                    "from": {"port": "web-h1"},
                    "to": {"port": "web-h2"},
                    "protocol": "tcp",
                    "port": 80,
                    "expect": "denied",
                },
                "red",
            ),
        )
        assert (waited["waiting"], waited["failed"]) == ([], {})
        results = running.call("POST", "/v1/probe", {"assertions": [], "count": 3})["results"]
        assert {result["name"]: (result["holds"], result["answered"]) for result in results} == {
            "ping": (True, 3),
            "no-web": (True, 0),
        }, results
        # The server goes: packets do not notice.
        port = running.call("GET", "/v1/resources/Port/red/web-h2")
        running.close()
        address = re.search(r"10\.0\.1\.\d+", json.dumps(port["status"]))[0]
        workload = f"{cable['h1']}.port.red.web-h1"
        ping = ["ip", "netns", "exec", workload, "ping", "-c", "3", "-i", "0.05", "-W", "2", address]
        subprocess.run(ping, check=True, stdout=subprocess.DEVNULL)
    finally:
        for agent in agents:
            agent.end(signal.SIGKILL)
            ending = start_agent(**{**agent.settings, "token": None, "clean_up": True})
            assert ending.process.wait(30) == 0, ending.output
        if running.thread.is_alive():
            running.close()
    assert not [name for name in os.listdir("/run/netns") if name.startswith(f"swe{os.getpid()}.h1.")]
