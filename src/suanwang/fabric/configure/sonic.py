"""A switch's configuration as SONiC's config_db.json, for images whose FRR is configured from that database (frrcfgd).

Tables and fields are those of SONiC's YANG models (sonic-buildimage, src/sonic-yang-models, August 2026). They know no
link bandwidth in route maps, so FARE's weights are left out. Checked against the models, and not on an image.

frrcfgd leaves FRR's `bgp ebgp-requires-policy` on (RFC 8212), which exchanges no routes with external neighbours that
have no policy: hence a route map that permits everything, both ways. At start it turns the database into a frr.conf
that cannot say `no bgp network import-check`, so FRR announces only what it has a route for: hence a route to nowhere
for the prefix of a switch's hosts, of which the ports have the parts.
"""

from __future__ import annotations

from typing import Any

from suanwang.fabric.configure.frr import MOST_PATHS
from suanwang.fabric.configure.plan import Plan, Switch
from suanwang.model.errors import INVALID, SuanwangError

Table = dict[str, dict[str, Any]]

LANE_BPS = 100 * 10**9
"""What one lane carries, PAM4 at 53.125 GBd (IEEE 802.3ck); slower ports take one."""
MOST_LANES = 8
MOST_SPEED = 1_600_000
"""Mbit/s, by the model of PORT."""
ROLES = ("", "ToRRouter", "LeafRouter", "SpineRouter", "UpperSpineRouter", "UpperSpineRouter")
FAMILIES = ("ipv4_unicast", "ipv6_unicast")
PERMIT_ALL = "permit-all"


def config_db(plan: Plan, switch: Switch) -> dict[str, Table]:
    """The whole database of one switch.

    Raises:
        SuanwangError: INVALID for a rate that a port cannot have.
    """
    names, ports = _ports(switch)
    return {
        "DEVICE_METADATA": {
            "localhost": {
                "hostname": switch.name,
                "type": ROLES[min(switch.place.tier, len(ROLES) - 1)],
                "bgp_asn": str(switch.asn),
                "docker_routing_config_mode": "unified",
                "frr_mgmt_framework_config": "true",
            }
        },
        "PORT": ports,
        "LOOPBACK_INTERFACE": {
            "Loopback0": {},
            f"Loopback0|{switch.loopback4}/32": {},
            f"Loopback0|{switch.loopback6}/128": {},
        },
        "INTERFACE": _interfaces(plan, switch, names),
        **_static_routes(plan, switch, names),
        **_bgp(plan, switch, names),
    }


def _ports(switch: Switch) -> tuple[list[str], Table]:
    """Names of the ports, after their first lane as SONiC has it, and the table PORT."""
    lane, names, table = 0, [""], {}
    for port in switch.ports:
        speed, rest = divmod(port.rate_bps, 10**6)
        lanes = max(1, -(-port.rate_bps // LANE_BPS))
        if rest or not 1 <= speed <= MOST_SPEED:
            raise SuanwangError(
                INVALID, f"port {port.number} of {switch.name} has {port.rate_bps:,} bit/s",
                hint="SONiC's ports have whole Mbit/s, up to 1,600,000",
            )  # fmt: skip
        lanes = min(lanes, MOST_LANES)
        names.append(f"Ethernet{lane}")
        table[names[-1]] = {
            "alias": f"etp{port.number}",
            "lanes": ",".join(str(lane + one) for one in range(1, lanes + 1)),
            "speed": str(speed),
            "index": str(port.number),
            "mtu": "9100",
            "admin_status": "up",
            "description": port.peer_name,
        }
        lane += lanes
    return names, table


def _interfaces(plan: Plan, switch: Switch, names: list[str]) -> Table:
    table: Table = {}
    index = 0
    for port in switch.ports:
        name = names[port.number]
        if port.direction == "host":
            table[name] = {}
            for address in switch.gateway(index):
                table[f"{name}|{address}"] = {}
            index += 1
        else:
            table[name] = {"ipv6_use_link_local_only": "enable"}
            if plan.options.sessions == "pair":
                table[f"{name}|{switch.link_local}/64"] = {}
    return table


def _static_routes(plan: Plan, switch: Switch, names: list[str]) -> dict[str, Table]:
    """To nowhere what is announced for all hosts; with a session per pair, the ways to the neighbours' loopbacks."""
    routes: Table = {}
    if plan.options.announce == "leaf":
        routes |= {f"default|{prefix}": {"blackhole": "true"} for prefix in switch.announced or ()}
    if plan.options.sessions == "pair":
        routes |= {
            f"default|{neighbour.loopback6}/128": {
                "nexthop": ",".join(neighbour.link_local for _ in neighbour.ports),
                "ifname": ",".join(names[port] for port in neighbour.ports),
            }
            for neighbour in switch.neighbours
        }
    return {"STATIC_ROUTE": routes} if routes else {}


def _bgp(plan: Plan, switch: Switch, names: list[str]) -> dict[str, Table]:
    pair = plan.options.sessions == "pair"
    directions = dict.fromkeys(neighbour.direction for neighbour in switch.neighbours)
    group: dict[str, Any] = {"peer_type": "external", "min_adv_interval": "0", "conn_retry": "1"}
    if plan.options.bfd:
        group["bfd"] = "true"
    if pair:
        group |= {"local_addr": switch.loopback6, "disable_ebgp_connected_route_check": "true"}
    neighbours: Table = {}
    for neighbour in switch.neighbours:
        ends = [neighbour.loopback6] if pair else [names[port] for port in neighbour.ports]
        for end in ends:
            neighbours[f"default|{end}"] = {
                "peer_group_name": neighbour.direction,
                "name": neighbour.name,
                "capability_ext_nexthop": "true",
            }
    tables: dict[str, Table] = {
        "BGP_GLOBALS": {
            "default": {
                "local_asn": str(switch.asn),
                "router_id": switch.loopback4,
                "load_balance_mp_relax": "true",
                "default_ipv4_unicast": "false",
                "network_import_check": "true",
                "log_nbr_state_changes": "true",
            }
        },
        "BGP_GLOBALS_AF": {f"default|{family}": {"max_ebgp_paths": str(MOST_PATHS)} for family in FAMILIES},
        "BGP_GLOBALS_AF_NETWORK": {
            f"default|{family}|{prefix}": {} for family, prefix in _announced(plan, switch)
        },
    }  # fmt: skip
    if directions:
        tables["BGP_PEER_GROUP"] = {f"default|{direction}": group for direction in directions}
        tables["BGP_PEER_GROUP_AF"] = {
            f"default|{direction}|{family}": {
                "admin_status": "up",
                "send_community": "both",
                "route_map_in": [PERMIT_ALL],
                "route_map_out": [PERMIT_ALL],
            }
            for direction in directions
            for family in FAMILIES
        }
        tables["BGP_NEIGHBOR"] = neighbours
        tables["ROUTE_MAP_SET"] = {PERMIT_ALL: {}}
        tables["ROUTE_MAP"] = {f"{PERMIT_ALL}|10": {"route_operation": "permit"}}
    return tables


def _announced(plan: Plan, switch: Switch) -> list[tuple[str, str]]:
    found = [(FAMILIES[0], f"{switch.loopback4}/32"), (FAMILIES[1], f"{switch.loopback6}/128")]
    if switch.announced and plan.options.announce == "leaf":
        found += list(zip(FAMILIES, switch.announced, strict=True))
    elif switch.announced:
        for index in range(len(switch.hosts)):
            found += list(zip(FAMILIES, switch.subnet(index), strict=True))
    return found
