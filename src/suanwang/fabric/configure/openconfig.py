"""A switch's configuration as OpenConfig JSON (RFC 7951): interfaces, the default network instance with BGP, policy.

After openconfig/public of July 2026 (openconfig-bgp 9.9, openconfig-network-instance 4.x). A neighbour has an address
there, so links are numbered: each has a /127, owned by its end on the lower tier; with a session per pair of switches,
sessions run between loopbacks. Of FARE, `auto-link-bandwidth` gives routes without a bandwidth that of the link they
came by, and multipath weighs by it; that a switch advertises the sum of its paths is left to the implementation.
"""

from __future__ import annotations

from typing import Any

from suanwang.fabric.configure.frr import MOST_PATHS
from suanwang.fabric.configure.plan import Neighbour, Plan, Switch

Node = dict[str, Any]

POLICY = "openconfig-policy-types:"
TYPES = "openconfig-bgp-types:"
FAMILIES = ("IPV4_UNICAST", "IPV6_UNICAST")


def openconfig(plan: Plan, switch: Switch) -> Node:
    """The whole configuration of one switch."""
    return {
        "openconfig-interfaces:interfaces": {"interface": _interfaces(plan, switch)},
        "openconfig-routing-policy:routing-policy": _policy(plan, switch),
        "openconfig-network-instance:network-instances": {"network-instance": [_instance(plan, switch)]},
    }


def interface(number: int) -> str:
    """The name of port `number`."""
    return f"Ethernet{number}"


def _interfaces(plan: Plan, switch: Switch) -> list[Node]:
    found = [_interface("Loopback0", "softwareLoopback", "", (f"{switch.loopback4}/32", f"{switch.loopback6}/128"))]
    index = 0
    for port in switch.ports:
        addresses: tuple[str, ...]
        if port.direction == "host":
            addresses = switch.gateway(index)
            index += 1
        elif plan.options.sessions == "pair":
            addresses = (f"{switch.link_local}/64",)
        else:
            addresses = (f"{plan.link_address(switch.node, port)}/127",)
        found.append(_interface(interface(port.number), "ethernetCsmacd", port.peer_name, addresses))
    return found


def _interface(name: str, kind: str, description: str, addresses: tuple[str, ...]) -> Node:
    subinterface: Node = {"index": 0, "config": {"index": 0}}
    for address in addresses:
        ip, length = address.split("/")
        entry = {"ip": ip, "config": {"ip": ip, "prefix-length": int(length)}}
        family = "ipv6" if ":" in ip else "ipv4"
        container = subinterface.setdefault(f"openconfig-if-ip:{family}", {"config": {"enabled": True}})
        container.setdefault("addresses", {"address": []})["address"].append(entry)
    config = {"name": name, "type": f"iana-if-type:{kind}", "enabled": True}
    if description:
        config["description"] = description
    return {"name": name, "config": config, "subinterfaces": {"subinterface": [subinterface]}}


def _policy(plan: Plan, switch: Switch) -> Node:
    """What is announced, named by its prefixes."""
    exact = [f"{switch.loopback4}/32", f"{switch.loopback6}/128"]
    prefixes = [(prefix, "exact") for prefix in exact]
    for index, prefix in enumerate(switch.announced or ()):
        length = (31, 127)[index]
        prefixes.append((prefix, "exact" if plan.options.announce == "leaf" else f"{length}..{length}"))
    names = ("announced4", "announced6")
    sets = [
        {
            "name": name,
            "config": {"name": name, "mode": mode},
            "prefixes": {
                "prefix": [
                    {"ip-prefix": prefix, "masklength-range": span,
                     "config": {"ip-prefix": prefix, "masklength-range": span}}
                    for prefix, span in prefixes
                    if (":" in prefix) == (mode == "IPV6")
                ]
            },
        }
        for name, mode in zip(names, ("IPV4", "IPV6"), strict=True)
    ]  # fmt: skip
    statements = [
        {
            "name": name,
            "config": {"name": name},
            "conditions": {"match-prefix-set": {"config": {"prefix-set": name, "match-set-options": "ANY"}}},
            "actions": {
                "config": {"policy-result": "ACCEPT_ROUTE"},
                # A `must` of openconfig-bgp-policy 8.3 holds for no statement that leaves the metric alone.
                "openconfig-bgp-policy:bgp-actions": {"config": {"set-med": 0, "set-med-action": "SET"}},
            },
        }
        for name in names
    ]
    return {
        "defined-sets": {"prefix-sets": {"prefix-set": sets}},
        "policy-definitions": {
            "policy-definition": [
                {"name": "announced", "config": {"name": "announced"}, "statements": {"statement": statements}}
            ]
        },
    }


def _instance(plan: Plan, switch: Switch) -> Node:
    protocols = [_protocol("BGP", "bgp", {"bgp": _bgp(plan, switch)}), _protocol("DIRECTLY_CONNECTED", "connected", {})]
    sources = ["DIRECTLY_CONNECTED"]
    if switch.announced and plan.options.announce == "leaf":
        aggregates = [{"prefix": prefix, "config": {"prefix": prefix, "discard": True}} for prefix in switch.announced]
        protocols.append(
            _protocol("LOCAL_AGGREGATE", "hosts", {"local-aggregates": {"aggregate": aggregates}})
        )  # fmt: skip
        sources.append("LOCAL_AGGREGATE")
    if plan.options.sessions == "pair":
        routes = [_static(neighbour) for neighbour in switch.neighbours]
        protocols.append(_protocol("STATIC", "neighbours", {"static-routes": {"static": routes}}))
    return {
        "name": "DEFAULT",
        "config": {
            "name": "DEFAULT",
            "type": "openconfig-network-instance-types:DEFAULT_INSTANCE",
            "router-id": switch.loopback4,
        },
        "table-connections": {
            "table-connection": [_connection(source, family) for source in sources for family in ("IPV4", "IPV6")]
        },
        "protocols": {"protocol": protocols},
        "tables": {
            "table": [
                {"protocol": POLICY + protocol, "address-family": f"openconfig-types:{family}",
                 "config": {"protocol": POLICY + protocol, "address-family": f"openconfig-types:{family}"}}
                for protocol in dict.fromkeys([*sources, "BGP"])
                for family in ("IPV4", "IPV6")
            ]
        },
    }  # fmt: skip


def _protocol(identifier: str, name: str, content: Node) -> Node:
    key = {"identifier": POLICY + identifier, "name": name}
    return {**key, "config": {**key, "enabled": True}, **content}


def _connection(source: str, family: str) -> Node:
    key = {
        "src-protocol": POLICY + source,
        "dst-protocol": POLICY + "BGP",
        "address-family": f"openconfig-types:{family}",
    }
    return {**key, "config": {**key, "import-policy": ["announced"], "default-import-policy": "REJECT_ROUTE"}}


def _static(neighbour: Neighbour) -> Node:
    prefix = f"{neighbour.loopback6}/128"
    hops = [
        {
            "index": str(port),
            "config": {"index": str(port), "next-hop": neighbour.link_local},
            "interface-ref": {"config": {"interface": interface(port), "subinterface": 0}},
        }
        for port in neighbour.ports
    ]
    return {"prefix": prefix, "config": {"prefix": prefix}, "next-hops": {"next-hop": hops}}


def _bgp(plan: Plan, switch: Switch) -> Node:
    multipath: Node = {
        "config": {"enabled": True},
        "ebgp": {"config": {"allow-multiple-as": True, "maximum-paths": MOST_PATHS}},
    }
    if plan.options.fare:
        multipath["ebgp"]["link-bandwidth-ext-community"] = {"config": {"enabled": True}}
    groups = dict.fromkeys(neighbour.direction for neighbour in switch.neighbours)
    return {
        "global": {
            "config": {"as": switch.asn, "router-id": switch.loopback4},
            "use-multiple-paths": multipath,
            "afi-safis": {"afi-safi": [_family(family) for family in FAMILIES]},
        },
        "peer-groups": {"peer-group": [_group(plan, switch, direction) for direction in groups]},
        "neighbors": {
            "neighbor": [
                {
                    "neighbor-address": address,
                    "config": {
                        "neighbor-address": address,
                        "peer-group": neighbour.direction,
                        "peer-as": neighbour.asn,
                        "description": neighbour.name,
                    },
                }
                for neighbour in switch.neighbours
                for address in _addresses(plan, switch, neighbour)
            ]
        },
    }


def _addresses(plan: Plan, switch: Switch, neighbour: Neighbour) -> list[str]:
    if plan.options.sessions == "pair":
        return [neighbour.loopback6]
    return [plan.link_address(switch.node, switch.ports[port - 1], far=True) for port in neighbour.ports]


def _family(family: str) -> Node:
    return {"afi-safi-name": TYPES + family, "config": {"afi-safi-name": TYPES + family, "enabled": True}}


def _group(plan: Plan, switch: Switch, direction: str) -> Node:
    families = []
    for family in FAMILIES:
        entry = _family(family)
        entry["config"]["send-community-type"] = ["BOTH"]
        entry["apply-policy"] = {
            "config": {"default-import-policy": "ACCEPT_ROUTE", "default-export-policy": "ACCEPT_ROUTE"}
        }
        if family == "IPV4_UNICAST":
            entry["ipv4-unicast"] = {"config": {"extended-next-hop-encoding": True}}
        families.append(entry)
    group: Node = {
        "peer-group-name": direction,
        "config": {"peer-group-name": direction, "peer-type": "EXTERNAL"},
        "afi-safis": {"afi-safi": families},
    }
    if plan.options.fare and plan.options.sessions == "link":
        group["auto-link-bandwidth"] = {"import": {"config": {"enabled": True, "transitive": True}}}
    if plan.options.bfd:
        group["enable-bfd"] = {
            "config": {
                "enabled": True,
                "desired-minimum-tx-interval": plan.options.bfd_ms * 1000,
                "required-minimum-receive": plan.options.bfd_ms * 1000,
                "detection-multiplier": plan.options.bfd_multiplier,
            }
        }
    if plan.options.sessions == "pair":
        group["transport"] = {"config": {"local-address": switch.loopback6}}
        group["ebgp-multihop"] = {"config": {"enabled": True, "multihop-ttl": 1}}
    return group
