"""Two nodes on this machine: two underlay namespaces joined by a cable, each with a `Kernel` of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from suanwang.linux.kernel import Kernel, Result
from suanwang.program.objects import AnyObject, identity
from suanwang.program.text import parse


def shell(line: str, check: bool = True) -> str:
    """Run a command line; what it printed."""
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise AssertionError(f"{line}: {done.stderr or done.stdout}")
    return done.stdout


MAC = "02:00:00:00:01:{:02x}"
GATEWAY_MAC = "02:00:5e:00:00:01"
ENDPOINT = {"a": "192.0.2.1", "b": "192.0.2.2"}
LINK_LOCAL = {"a": "fe80::a", "b": "fe80::b"}
TUNNEL_MAC = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
OPEN = """security-group netns=vpc/{vpc} name=open ingress=[{{}}] egress=[{{}}]"""


def router(node: str, vpc: str = "shop", vni: int = 100) -> str:
    other = "b" if node == "a" else "a"
    return f"""
namespace netns=vpc/{vpc} forwarding=true filtered=true
vxlan netns=vpc/{vpc} device=vx vni={vni} local={ENDPOINT[node]} mac={TUNNEL_MAC[node]} mtu_bytes=1500
neighbour netns=vpc/{vpc} device=vx address={ENDPOINT[other]} mac={TUNNEL_MAC[other]}
neighbour netns=vpc/{vpc} device=vx address={LINK_LOCAL[other]} mac={TUNNEL_MAC[other]}
fdb netns=vpc/{vpc} device=vx mac={TUNNEL_MAC[other]} remote={ENDPOINT[other]}
"""


def port(number: int, vpc: str = "shop", groups: str = "open", sources: str = "", more: str = "") -> str:
    mac, device, group = MAC.format(number), f"p{number}", ",".join(f'"{name}"' for name in groups.split(",") if name)
    own = sources or f'"10.0.0.{number}/32","fd00::{number}/128"'
    return f"""
namespace netns=port/{vpc}/{number}
port netns=vpc/{vpc} device={device} workload=port/{vpc}/{number} workload_device=eth0 mac={mac} \
gateway_mac={GATEWAY_MAC} mtu_bytes=1500 addresses=["10.0.0.{number}/24","fd00::{number}/64"] \
gateways=["10.0.0.254","fe80::1"] title={vpc}/{number}{more}
route netns=vpc/{vpc} destination=10.0.0.{number}/32 device={device}
route netns=vpc/{vpc} destination=fd00::{number}/128 device={device}
port-filter netns=vpc/{vpc} device={device} mac={mac} sources=[{own}] groups=[{group}]
"""


def remote(node: str, number: int, vpc: str = "shop") -> str:
    return f"""
route netns=vpc/{vpc} destination=10.0.0.{number}/32 via={ENDPOINT[node]} device=vx
route netns=vpc/{vpc} destination=fd00::{number}/128 via={LINK_LOCAL[node]} device=vx
"""


def opened(vpc: str = "shop") -> str:
    return OPEN.format(vpc=vpc) + "\n"


def pair(node: str, more_a: str = "", more_b: str = "") -> str:
    """Port 1 on node a, port 2 on node b, in one VPC."""
    if node == "a":
        return router("a") + opened() + port(1) + remote("b", 2) + more_a
    return router("b") + opened() + port(2) + remote("a", 1) + more_b


class Nodes:
    """The two nodes. Namespaces: `swt<pid>.a` and `.b` are the underlay, `swt<pid>.a.…` what the kernels make."""

    def __init__(self, directory: Path) -> None:
        self.prefix = f"swt{os.getpid()}."
        self.directory = directory
        self.kernels: dict[str, Kernel] = {}

    def up(self) -> None:
        for name in "ab":
            shell(f"ip netns add {self.prefix}{name}")
            self.kernels[name] = self.kernel(name)
            shell(f"ip -n {self.prefix}{name} link set lo up")
            if name == "b":
                peer = f"peer name u netns {self.prefix}a"
                shell(f"ip -n {self.prefix}b link add u mtu 1550 type veth {peer}")
        for number, name in enumerate("ab", 1):
            shell(f"ip -n {self.prefix}{name} link set u mtu 1550 up")
            shell(f"ip -n {self.prefix}{name} addr add 192.0.2.{number}/24 dev u")

    def kernel(self, name: str) -> Kernel:
        """Another kernel for a node, as after a restart of its agent."""
        return Kernel(underlay=self.prefix + name, prefix=f"{self.prefix}{name}.")

    def down(self) -> None:
        for name, kernel in self.kernels.items():
            kernel.clean_up()
            kernel.close()
            shell(f"ip netns del {self.prefix}{name}", check=False)
        assert not [name for name in os.listdir("/run/netns") if name.startswith(self.prefix)]

    router, port, remote, opened, pair = map(staticmethod, (router, port, remote, opened, pair))

    @staticmethod
    def objects(text: str) -> dict[tuple[str | int, ...], AnyObject]:
        """A program's text as what `Kernel.apply` takes."""
        return {identity(item): item for item in parse(text)}

    def apply(self, name: str, text: str) -> dict[tuple[str | int, ...], Result]:
        """Apply a program's text to a node; every object must be done."""
        results = self.kernels[name].apply(self.objects(text))
        assert {key: result for key, result in results.items() if result.state != "done"} == {}
        return results

    def inside(self, name: str, logical: str, line: str, check: bool = True) -> str:
        """Run a command in a namespace of a node."""
        return shell(f"ip netns exec {self.kernels[name].namespace(logical)} {line}", check)

    def reaches(self, name: str, logical: str, address: str, times: int = 1) -> bool:
        """Whether a workload's ping is answered."""
        line = f"ping -c {times} -W 0.5 -i 0.2 {address} >/dev/null 2>&1 && echo yes || echo no"
        return self.inside(name, logical, f"sh -c '{line}'").strip() == "yes"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    found = Nodes(tmp_path)
    try:
        found.up()
        yield found
    finally:
        found.down()
