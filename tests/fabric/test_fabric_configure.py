"""What switches are told: numbers that are unique and stay, sessions with two ends, files that FRR and models take."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.configure.files import FORMATS, Writer, json_text
from suanwang.fabric.configure.frr import configure_frr, render
from suanwang.fabric.configure.numbering import PRIVATE_ASN, Pools
from suanwang.fabric.configure.openconfig import openconfig
from suanwang.fabric.configure.plan import Options, Plan, Sessions
from suanwang.fabric.configure.sonic import config_db
from suanwang.fabric.network import Network
from suanwang.fabric.routing.fare import FareRoutes, path_bandwidth
from suanwang.model.errors import SuanwangError

GBPS = 10**9
TWO = Clos((Tier(2, 1, 200 * GBPS), Tier(3, 2, 400 * GBPS, bundle=2)), planes=2)
THREE = Clos((Tier(2, 1, 400 * GBPS), Tier(2, 2, 400 * GBPS), Tier(3, 2, 800 * GBPS)))
FABRICS = {"two tiers, two planes": TWO, "three tiers": THREE}
CHOICES = {
    "link": Options(),
    "pair": Options(sessions="pair"),
    "port": Options(announce="port"),
    "plain": Options(fare=False, bfd=False),
}
fabrics = pytest.mark.parametrize("clos", FABRICS.values(), ids=FABRICS)
choices = pytest.mark.parametrize("options", CHOICES.values(), ids=CHOICES)


def small() -> st.SearchStrategy[Clos]:
    tier = st.builds(
        Tier, st.integers(1, 4), st.integers(1, 3), st.sampled_from([100 * GBPS, 400 * GBPS]), bundle=st.integers(1, 2)
    )
    return st.builds(Clos, st.lists(tier, min_size=1, max_size=3).map(tuple), planes=st.integers(1, 3))


@given(small())
@settings(deadline=None, max_examples=40)
def test_numbers_are_unique_and_private(clos: Clos) -> None:
    plan = Plan(clos)
    switches = list(plan.switches())
    for values in ([one.loopback4 for one in switches], [one.loopback6 for one in switches]):
        assert len(set(values)) == len(switches)
    links = [one.link_local for one in switches]
    assert len(set(links)) == len(links)
    leaves = [one for one in switches if one.announced]
    assert len({one.asn for one in leaves}) == len(leaves)
    for one in switches:
        assert PRIVATE_ASN <= one.asn <= 4_294_967_294  # RFC 6996
        assert ip_network(f"{one.loopback4}/32").is_private
    for one, other in combinations(leaves, 2):
        for first, second in zip(one.announced or (), other.announced or (), strict=True):
            assert not ip_network(first).overlaps(ip_network(second))  # type: ignore[arg-type]
    for one in leaves:
        nets = [ip_network(prefix) for prefix in one.announced or ()]
        for index in range(len(one.hosts)):
            for ours, theirs, net in zip(one.gateway(index), one.host(index), nets, strict=True):
                assert ip_interface(ours).network == ip_interface(theirs).network
                assert ip_interface(ours).ip + 1 == ip_interface(theirs).ip
                assert ip_interface(theirs).ip in net


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=80)
def test_hosts_of_listed_networks_have_addresses_of_their_own(switches: list[tuple[int, int, int]]) -> None:
    """Hosts hang on switches of any tier, as tier labels of a file may say."""
    count = max(1, sum(hosts for _, _, hosts in switches))
    at = [count + number for number, (_, _, hosts) in enumerate(switches) for _ in range(hosts)]
    network = Network.build(
        count, range(len(at)), at, GBPS, 1, [0] * count + [tier for _, tier, _ in switches],
        [f"n{number}" for number in range(count + len(switches))],
        [-1] * count + [plane for plane, _, _ in switches],
    )  # fmt: skip
    told = list(Plan(network).switches())
    ours = [address for one in told for index in range(len(one.hosts)) for address in one.gateway(index)]
    theirs = [address for one in told for index in range(len(one.hosts)) for address in one.host(index)]
    assert len(set(ours + theirs)) == 4 * len(at)
    for one, other in combinations([one.announced for one in told if one.announced], 2):
        assert not any(
            ip_network(a).overlaps(ip_network(b))  # type: ignore[arg-type]
            for a, b in zip(one, other, strict=True)
        )


@given(small())
@settings(deadline=None, max_examples=40)
def test_every_session_and_link_has_two_ends(clos: Clos) -> None:
    plan = Plan(clos)
    by_name = {switch.name: switch for switch in plan.switches()}
    for switch in by_name.values():
        for neighbour in switch.neighbours:
            other = by_name[neighbour.name]
            back = next(one for one in other.neighbours if one.name == switch.name)
            assert neighbour.asn == other.asn != switch.asn
            assert (neighbour.loopback6, neighbour.link_local) == (other.loopback6, other.link_local)
            assert neighbour.capacity_bps == back.capacity_bps
            far = {switch.ports[port - 1].peer_number for port in neighbour.ports}
            assert far == set(back.ports)
            for number in neighbour.ports:
                port = switch.ports[number - 1]
                end = other.ports[port.peer_number - 1]
                assert plan.link_address(switch.node, port, far=True) == plan.link_address(other.node, end)
                assert plan.link_address(switch.node, port) != plan.link_address(other.node, end)
    sessions = plan.sessions
    assert sessions.pairs == sum(len(one.neighbours) for one in by_name.values()) // 2
    assert sessions.cables * 2 == sum(len(n.ports) for one in by_name.values() for n in one.neighbours)


def numbers(clos: Clos) -> dict[str, tuple[Any, ...]]:
    return {one.name: (one.asn, one.loopback4, one.loopback6, one.announced) for one in Plan(clos).switches()}


def test_numbers_stay_when_the_fabric_grows() -> None:
    leaves = numbers(Clos((Tier(4, 1, GBPS), Tier(8, 2, GBPS))))
    more = numbers(Clos((Tier(4, 1, GBPS), Tier(20, 3, GBPS))))
    assert leaves.items() <= more.items()
    pods = numbers(THREE)
    more = numbers(Clos((Tier(2, 1, 400 * GBPS), Tier(2, 2, 400 * GBPS), Tier(9, 2, 800 * GBPS))))
    assert pods.items() <= more.items()


def test_as_numbers_are_shared_as_rfc_7938_says() -> None:
    by_tier: dict[int, list[int]] = {}
    for switch in Plan(THREE).switches():
        by_tier.setdefault(switch.place.tier, []).append(switch.asn)
    assert len(set(by_tier[1])) == 6  # each leaf has its own
    assert len(set(by_tier[2])) == 3  # one for the spines of each pod
    assert len(set(by_tier[3])) == 1  # one for the cores
    planes = {switch.asn for switch in Plan(TWO).switches() if switch.place.tier == 2}
    assert len(planes) == 2


LEAF = """\
frr defaults datacenter
hostname leaf1
service integrated-vtysh-config
no zebra nexthop kernel enable
!
interface lo
 ip address 172.16.64.1/32
 ipv6 address fd5a:7761:6e00:ff::100:1/128
exit
interface swp1
 description gpu1
 ip address 10.0.0.2/31
 ipv6 address fd5a:7761:6f00:1::/127
exit
interface swp2
 description spine0 swp3
exit
interface swp3
 description spine0 swp4
exit
!
bfd
 profile fabric
  detect-multiplier 3
  transmit-interval 300
  receive-interval 300
 exit
exit
!
bgp route-map delay-timer 0
route-map up-400 permit 20
 set extcommunity bandwidth 400
exit
!
router bgp 4200524289
 bgp router-id 172.16.64.1
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp bestpath as-path multipath-relax
 neighbor up-400 peer-group
 neighbor up-400 remote-as external
 neighbor up-400 advertisement-interval 0
 neighbor up-400 timers connect 1
 neighbor up-400 bfd
 neighbor up-400 bfd profile fabric
 neighbor swp2 interface peer-group up-400
 neighbor swp3 interface peer-group up-400
 address-family ipv4 unicast
  network 172.16.64.1/32
  network 10.0.0.2/31
  neighbor up-400 activate
  neighbor up-400 route-map up-400 out
  maximum-paths 256
 exit-address-family
 address-family ipv6 unicast
  network fd5a:7761:6e00:ff::100:1/128
  network fd5a:7761:6f00:1::/64
  neighbor up-400 activate
  neighbor up-400 route-map up-400 out
  maximum-paths 256
 exit-address-family
exit
"""


def test_a_leaf_in_full() -> None:
    assert configure_frr(Clos((Tier(1, 1, 200 * GBPS), Tier(2, 1, 400 * GBPS, bundle=2))))["leaf1"] == LEAF


@pytest.mark.skipif(shutil.which("vtysh") is None, reason="FRR's vtysh is not installed")
@fabrics
@choices
def test_frr_takes_every_file(clos: Clos, options: Options, tmp_path: Path) -> None:
    for name, text in configure_frr(clos, options).items():
        if not re.search(r"[01]$", name):
            continue
        (tmp_path / name).write_text(text)
        done = subprocess.run(["vtysh", "-C", "-f", str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), name


def test_what_frr_is_told_of_bandwidth() -> None:
    """Whoever advertises says it: leaves the rate of a link, spines the sum of what they have or what links take."""
    files = configure_frr(TWO)
    assert set(re.findall(r"extcommunity bandwidth (\S+)", files["p0-leaf0"])) == {"400"}
    assert set(re.findall(r"extcommunity bandwidth (\S+)", files["p0-spine0"])) == {"cumulative"}
    assert not any(re.search(r"route-map \S+ in$", text, re.M) for text in files.values())
    # Three tiers: for routes from other pods a spine offers more than the link below takes, so the link's own counts.
    spine = configure_frr(THREE)["spine0"]
    assert re.search(r"match community beyond\n set extcommunity bandwidth 400\n", spine)
    assert re.search(r"neighbor up\S+ route-map from-above in\n", spine)
    # Between loopbacks, a session stands for all links of a pair.
    assert " set extcommunity bandwidth 800\n" in configure_frr(TWO, Options(sessions="pair"))["p0-leaf0"]


def told(plan: Plan, text: str) -> dict[int, tuple[int, int]]:
    """What a file says on each port to a switch: of routes in general and of those from above; 0 is the sum."""
    said: dict[str, dict[str, int]] = {}
    for name, number, body in re.findall(r"^route-map (\S+) permit (\d+)\n((?: .*\n)*)exit", text, re.M):
        found = re.search(r"bandwidth (\S+)", body)
        if found:
            said.setdefault(name, {})[number] = 0 if found[1] == "cumulative" else int(found[1]) * plan.unit_bps
    groups = dict(re.findall(r"^  neighbor (\S+) route-map (\S+) out$", text, re.M))
    return {
        int(port): (said[groups[group]]["20"], said[groups[group]].get("10", said[groups[group]]["20"]))
        for port, group in re.findall(r"neighbor swp(\d+) interface peer-group (\S+)", text)
    }


def frr_shares(network: Network, routes: FareRoutes) -> Iterator[tuple[str, list[float], list[float]]]:
    """Shares by neighbour as FRR makes them of the files, session by session, and as FARE has them."""
    plan = Plan(network)
    said = {switch.node: told(plan, render(plan, switch)) for switch in plan.switches()}

    @cache
    def sessions(node: int, endpoint: int) -> tuple[tuple[int, int], ...]:
        """(neighbour, bandwidth that came with its route) for each session of a switch that has the route."""
        found = []
        for peer in routes.next_hops(node, endpoint).node.tolist():
            beyond = int(routes.kind[routes.group[endpoint], peer - network.endpoints]) == 3
            for port in network.ports_between(peer, node).tolist():
                word = said[peer][port - int(network.first_port[peer]) + 1][beyond]
                found.append((peer, word or sum(bandwidth for _, bandwidth in sessions(peer, endpoint))))
        return tuple(found)

    for node in range(network.endpoints, network.nodes):
        for endpoint in {int(group): one for one, group in enumerate(routes.group)}.values():
            hops, own = routes.next_hops(node, endpoint), sessions(node, endpoint)
            ours = [sum(bandwidth for peer, bandwidth in own if peer == hop) for hop in hops.node.tolist()]
            yield (
                f"{network.names[node]} to {network.names[endpoint]}",
                [one / sum(ours) for one in ours],
                [one / hops.bandwidth_bps.sum() for one in hops.bandwidth_bps.tolist()],
            )


@given(small())
@settings(deadline=None, max_examples=25)
def test_files_say_what_fare_computes(clos: Clos) -> None:
    network = clos.network()
    for where, ours, fares in frr_shares(network, path_bandwidth(network)):
        assert ours == pytest.approx(fares), where


@pytest.mark.parametrize("bundle", [1, 2, 3])
@pytest.mark.parametrize("rate", [50, 100, 150])
def test_files_say_what_fare_computes_with_a_slower_pair(bundle: int, rate: int) -> None:
    """One leaf has slower cables to a spine, fewer than to the others or more."""
    whole = Clos((Tier(1, 1, 200 * GBPS), Tier(4, 3, 200 * GBPS, bundle=2))).network()
    slow = set(whole.ports_between(whole.node("leaf3"), whole.node("spine1")).tolist())
    cables = [port for port in range(whole.ports) if port < whole.peer[port] and port not in slow]
    source, target = whole.source[cables].tolist(), whole.target[cables].tolist()
    rates = whole.rate_bps[cables].tolist() + [rate * GBPS] * bundle
    source += [whole.node("leaf3")] * bundle
    target += [whole.node("spine1")] * bundle
    network = Network.build(whole.endpoints, source, target, rates, 1, whole.tier, whole.names, whole.plane)
    found = list(frr_shares(network, path_bandwidth(network)))
    for where, ours, fares in found:
        assert ours == pytest.approx(fares, rel=0.005), where  # 400 over three sessions is not whole
    assert any(max(fares) - min(fares) > 0.01 for _, _, fares in found if fares) == (bundle * rate < 400)


def test_bandwidths_that_fit_into_frrs_field_stay_whole() -> None:
    wide = Clos((Tier(64, 1, 800 * GBPS), Tier(64, 64, 800 * GBPS)))
    assert Plan(wide).unit_bps == 800 * GBPS
    assert " set extcommunity bandwidth 1\n" in configure_frr(wide)["leaf0"]
    assert Plan(TWO).unit_bps == GBPS
    uneven = Clos((Tier(1, 1, GBPS), Tier(2, 2, 100 * GBPS), Tier(2, 2, 100 * GBPS + 1)))
    with pytest.raises(SuanwangError, match="do not fit FRR"):
        configure_frr(uneven)
    assert configure_frr(uneven, Options(fare=False))


@pytest.mark.parametrize("sessions", ["link", "pair"])
def test_groups_of_next_hops_stay_out_of_the_kernel_where_links_have_sessions(sessions: Sessions) -> None:
    texts = configure_frr(TWO, Options(sessions=sessions)).values()
    assert {"no zebra nexthop kernel enable\n" in text for text in texts} == {sessions == "link"}


def test_fewer_sessions_between_pairs_of_switches() -> None:
    count = Plan(TWO).sessions
    assert (count.cables_and_families, count.cables, count.pairs) == (48, 24, 12)
    assert (count.saved("pair"), count.saved("link")) == (12, 0)
    text = configure_frr(TWO, Options(sessions="pair"))["p1-spine1"]
    assert text.count("remote-as external") == 1
    assert text.count("ipv6 route ") == 6  # two links to each of three leaves
    assert len(re.findall(r"^ neighbor fd\S+ peer-group", text, re.M)) == 3


# SONiC: what the YANG models ask for, told again; the models themselves where they are at hand.

INTEGERS = {"speed", "index", "mtu", "local_asn", "max_ebgp_paths", "min_adv_interval", "conn_retry", "bgp_asn"}
LISTS = {"route_map_in", "route_map_out"}
BOOLEANS = {
    "frr_mgmt_framework_config", "load_balance_mp_relax", "default_ipv4_unicast", "network_import_check",
    "log_nbr_state_changes", "bfd", "disable_ebgp_connected_route_check", "capability_ext_nexthop",
}  # fmt: skip
TABLES: dict[str, tuple[str, dict[int, tuple[str, ...]]]] = {
    "DEVICE_METADATA": ("sonic-device_metadata", {}),
    "PORT": ("sonic-port", {1: ("LIST", "name")}),
    "LOOPBACK_INTERFACE": (
        "sonic-loopback-interface",
        {1: ("LIST", "name"), 2: ("IPPREFIX_LIST", "name", "ip-prefix")},
    ),
    "INTERFACE": ("sonic-interface", {1: ("LIST", "name"), 2: ("IPPREFIX_LIST", "name", "ip-prefix")}),
    "STATIC_ROUTE": ("sonic-static-route", {2: ("LIST", "vrf_name", "prefix")}),
    "BGP_GLOBALS": ("sonic-bgp-global", {1: ("LIST", "vrf_name")}),
    "BGP_GLOBALS_AF": ("sonic-bgp-global", {2: ("LIST", "vrf_name", "afi_safi")}),
    "BGP_GLOBALS_AF_NETWORK": ("sonic-bgp-global", {3: ("LIST", "vrf_name", "afi_safi", "ip_prefix")}),
    "BGP_PEER_GROUP": ("sonic-bgp-peergroup", {2: ("LIST", "vrf_name", "peer_group_name")}),
    "BGP_PEER_GROUP_AF": ("sonic-bgp-peergroup", {3: ("LIST", "vrf_name", "peer_group_name", "afi_safi")}),
    "BGP_NEIGHBOR": ("sonic-bgp-neighbor", {2: ("LIST", "vrf_name", "neighbor")}),
    "ROUTE_MAP_SET": ("sonic-route-map", {1: ("LIST", "name")}),
    "ROUTE_MAP": ("sonic-route-map", {2: ("LIST", "name", "stmt_name")}),
}


@fabrics
@choices
def test_sonic_tables_refer_to_what_is_there(clos: Clos, options: Options) -> None:
    plan = Plan(clos, options)
    for switch in plan.switches():
        database = config_db(plan, switch)
        assert database.keys() <= TABLES.keys()
        ports = database["PORT"]
        lanes = [lane for port in ports.values() for lane in port["lanes"].split(",")]
        assert len(set(lanes)) == len(lanes)
        for name, port in ports.items():
            assert name == f"Ethernet{int(port['lanes'].split(',')[0]) - 1}"
            assert 1 <= int(port["speed"]) <= 1_600_000
            assert 68 <= int(port["mtu"]) <= 9216
        for table in ("INTERFACE", "LOOPBACK_INTERFACE"):
            for key in database[table]:
                name, _, prefix = key.partition("|")
                assert name in database[table]  # each prefix needs its interface
                assert table == "LOOPBACK_INTERFACE" or name in ports
                if prefix:
                    ip_interface(prefix)
        for key, fields in database["BGP_NEIGHBOR"].items():
            vrf, _, end = key.partition("|")
            assert vrf in database["BGP_GLOBALS"]
            assert end in ports if options.sessions == "link" else IPv6Address(end)
            assert f"{vrf}|{fields['peer_group_name']}" in database["BGP_PEER_GROUP"]
        for key, fields in database["ROUTE_MAP"].items():
            name, number = key.split("|")
            assert name in database["ROUTE_MAP_SET"]
            assert 1 <= int(number) <= 65_535
            assert fields == {"route_operation": "permit"}  # and matches everything
        assert {key.rpartition("|")[0] for key in database["BGP_PEER_GROUP_AF"]} == database["BGP_PEER_GROUP"].keys()
        for fields in database["BGP_PEER_GROUP_AF"].values():
            # RFC 8212: without policies, FRR exchanges nothing with external neighbours.
            for way in ("route_map_in", "route_map_out"):
                assert len(fields[way]) == 1
                assert f"{fields[way][0]}|10" in database["ROUTE_MAP"]
        for key in database["BGP_GLOBALS_AF_NETWORK"]:
            ip_network(key.split("|")[2])
        for fields in database.get("STATIC_ROUTE", {}).values():
            if fields != {"blackhole": "true"}:
                assert len(fields["nexthop"].split(",")) == len(fields["ifname"].split(","))
                assert set(fields["ifname"].split(",")) <= ports.keys()
        for rows in database.values():
            for fields in rows.values():
                for name, value in fields.items():
                    assert isinstance(value, list if name in LISTS else str)
                    assert name not in INTEGERS or value.isdigit()
                    assert name not in BOOLEANS or value in ("true", "false")


@fabrics
@choices
def test_sonic_has_a_route_for_all_that_it_announces(clos: Clos, options: Options) -> None:
    """Else FRR keeps it back: at start, frrcfgd's frr.conf has no word against `bgp network import-check`."""
    plan = Plan(clos, options)
    for switch in plan.switches():
        database = config_db(plan, switch)
        assert database["BGP_GLOBALS"]["default"]["network_import_check"] == "true"
        places = [key.partition("|")[2] for table in ("INTERFACE", "LOOPBACK_INTERFACE") for key in database[table]]
        routes = {ip_interface(place).network for place in places if place}
        routes |= {ip_network(key.partition("|")[2]) for key in database.get("STATIC_ROUTE", {})}
        assert {ip_network(key.split("|")[2]) for key in database["BGP_GLOBALS_AF_NETWORK"]} <= routes


def as_yang(database: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """config_db.json as instance data of the models: keys taken apart, numbers and booleans as such."""
    found: dict[str, Any] = {}
    for table, rows in database.items():
        module, lists = TABLES[table]
        place = found.setdefault(f"{module}:{module}", {}).setdefault(table, {})
        for key, fields in rows.items():
            typed = {
                name: int(value) if name in INTEGERS else value == "true" if name in BOOLEANS else value
                for name, value in fields.items()
            }
            if not lists:
                place[key] = typed
                continue
            parts = key.split("|")
            name, *keys = lists[len(parts)]
            named = {key: int(part) if key == "stmt_name" else part for key, part in zip(keys, parts, strict=True)}
            place.setdefault(f"{table}_{name}", []).append({**named, **typed})
    return found


def lint(folder: str, modules: list[str], content: Any, tmp_path: Path) -> str:
    (tmp_path / "data.json").write_bytes(json_text(content))
    words = ["yanglint", "-i", "-i", "-p", folder, "-t", "config", *(f"{folder}/{one}.yang" for one in modules)]
    done = subprocess.run([*words, str(tmp_path / "data.json")], capture_output=True, text=True, check=False)
    return "" if not done.returncode else done.stdout + done.stderr


SONIC_YANG, OPENCONFIG_YANG = os.environ.get("SUANWANG_SONIC_YANG"), os.environ.get("SUANWANG_OPENCONFIG_YANG")


@pytest.mark.skipif(
    not SONIC_YANG or not shutil.which("yanglint"), reason="SUANWANG_SONIC_YANG or yanglint is not there"
)
@fabrics
@choices
def test_sonic_models_take_every_database(clos: Clos, options: Options, tmp_path: Path) -> None:
    plan = Plan(clos, options)
    modules = sorted({module for module, _ in TABLES.values()})
    for node in (plan.network.endpoints, plan.network.nodes - 1):
        database = config_db(plan, plan.switch(node))
        assert lint(str(SONIC_YANG), modules, as_yang(database), tmp_path) == ""
    database["PORT"]["Ethernet0"]["speed"] = "9999999"
    assert "out of the allowed range" in lint(str(SONIC_YANG), modules, as_yang(database), tmp_path)


OPENCONFIG = (
    "openconfig-types", "openconfig-policy-types", "openconfig-bgp-types", "openconfig-ospf-types", "iana-if-type",
    "openconfig-network-instance-types", "openconfig-interfaces", "openconfig-if-ip", "openconfig-routing-policy",
    "openconfig-network-instance", "openconfig-bgp-policy",
)  # fmt: skip


@pytest.mark.skipif(
    not OPENCONFIG_YANG or not shutil.which("yanglint"), reason="SUANWANG_OPENCONFIG_YANG or yanglint is not there"
)
@fabrics
@choices
def test_openconfig_models_take_every_configuration(clos: Clos, options: Options, tmp_path: Path) -> None:
    plan = Plan(clos, options)
    for node in (plan.network.endpoints, plan.network.nodes - 1):
        told = openconfig(plan, plan.switch(node))
        assert lint(str(OPENCONFIG_YANG), list(OPENCONFIG), told, tmp_path) == ""


def interfaces_of(told: dict[str, Any]) -> dict[str, list[str]]:
    found = {}
    for one in told["openconfig-interfaces:interfaces"]["interface"]:
        inner = one["subinterfaces"]["subinterface"][0]
        found[one["name"]] = [
            entry["ip"]
            for family in ("ipv4", "ipv6")
            for entry in inner.get(f"openconfig-if-ip:{family}", {}).get("addresses", {}).get("address", [])
        ]
    return found


@fabrics
@choices
def test_openconfig_neighbours_are_addresses_of_the_other_end(clos: Clos, options: Options) -> None:
    plan = Plan(clos, options)
    told = {switch.name: openconfig(plan, switch) for switch in plan.switches()}
    owner = {
        ip: name for name, one in told.items() for ips in interfaces_of(one).values() for ip in ips if "fe80" not in ip
    }
    sessions = set()
    for name, one in told.items():
        instance = one["openconfig-network-instance:network-instances"]["network-instance"][0]
        bgp = instance["protocols"]["protocol"][0]["bgp"]
        groups = {group["peer-group-name"] for group in bgp["peer-groups"]["peer-group"]}
        for neighbour in bgp["neighbors"]["neighbor"]:
            other = owner[neighbour["neighbor-address"]]
            assert neighbour["config"]["description"] == other
            assert neighbour["config"]["peer-as"] == told[other]["openconfig-network-instance:network-instances"][
                "network-instance"][0]["protocols"]["protocol"][0]["bgp"]["global"]["config"]["as"]  # fmt: skip
            assert neighbour["config"]["peer-group"] in groups
            sessions.add((name, neighbour["neighbor-address"]))
    expected = plan.sessions.cables if options.sessions == "link" else plan.sessions.pairs
    assert len(sessions) == 2 * expected


def test_files_of_all_formats() -> None:
    plan = Plan(TWO)
    files = dict(Writer(plan, FORMATS, "mine").all())
    names = [switch.name for switch in plan.switches()]
    for name in names:
        assert files[f"{name}/frr.conf"].replace(b" swp", b" eth") == files[f"{name}/frr.clab.conf"]
        assert json.loads(files[f"{name}/config_db.json"])["DEVICE_METADATA"]["localhost"]["hostname"] == name
        assert "openconfig-interfaces:interfaces" in json.loads(files[f"{name}/openconfig.json"])
    lab = yaml.safe_load(files["fabric.clab.yml"])
    assert lab["name"] == "mine"
    binds = {bind.partition(":")[0] for node in lab["topology"]["nodes"].values() for bind in node.get("binds", ())}
    assert binds == {"daemons", "vtysh.conf", *(f"{name}/frr.clab.conf" for name in names)}
    assert binds <= files.keys()
    wired = {tuple(link["endpoints"]) for link in lab["topology"]["links"]}
    ends = {end for pair in wired for end in pair}
    for switch in plan.switches():
        assert {f"{switch.name}:eth{port.number}" for port in switch.ports} <= ends
    rows = files["switches.csv"].decode().splitlines()
    assert rows[0].split(",")[:4] == ["switch", "plane", "tier", "asn"]
    assert [row.split(",")[0] for row in rows[1:]] == names
    assert files == dict(Writer(Plan(TWO), FORMATS, "mine").all())


def test_switches_of_one_tier_have_sessions_too() -> None:
    """A triangle: AS numbers apart, for there is no tier that could share one."""
    network = Network.build(
        3,
        [0, 1, 2, 3, 4, 5],
        [3, 4, 5, 4, 5, 3],
        100 * GBPS,
        1,
        [0] * 3 + [1] * 3,
        [f"n{number}" for number in range(6)],
    )
    switches = list(Plan(network).switches())
    assert len({one.asn for one in switches}) == 3
    assert all(one.direction == "side" for switch in switches for one in switch.neighbours)


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        ({"loopback4": "banana"}, "loopback4"),
        ({"loopback4": "10.0.0.0/30"}, "prefix of /24 or shorter"),
        ({"hosts6": "10.0.0.0/8"}, "is not IPv6"),
        ({"hosts4": "10.0.0.1/8"}, "host bits set"),
        ({"links6": "fd00::/40"}, "links6: .* prefix of /39 or shorter"),
        ({"links6": "10.0.0.0/8"}, "is not IPv6"),
        ({"loopback4": "10.1.0.0/16"}, "loopback4 .* and hosts4 .* overlap"),
        ({"links6": "fd5a:7761:6000::/35"}, "loopback6 .* and links6 .* overlap"),
        ({"hosts6": "fd5a:7761:7000::/40"}, "hosts6 .* and links6 .* overlap"),
    ],
)
def test_pools_that_do_not_do(pools: dict[str, str], said: str) -> None:
    with pytest.raises(SuanwangError, match=said):
        Pools(**pools)


def test_pools_that_are_too_small() -> None:
    clos = Clos((Tier(200, 1, GBPS), Tier(64, 1, GBPS)))
    with pytest.raises(SuanwangError, match="prefixes for hosts in"):
        configure_frr(clos, Options(pools=Pools(hosts4="10.0.0.0/16")))
    with pytest.raises(SuanwangError, match="of a /22 for hosts do not fit"):
        configure_frr(Clos((Tier(300, 1, GBPS),)), Options(pools=Pools(hosts4="10.0.0.0/20")))
    with pytest.raises(SuanwangError, match="loopbacks in"):
        configure_frr(clos, Options(pools=Pools(loopback4="192.168.0.0/24")))
    with pytest.raises(SuanwangError, match="planes: at most 8"):
        configure_frr(Clos((Tier(1, 1, GBPS),), planes=9))


def test_names_and_links_that_cannot_be_configured() -> None:
    def named(*names: str, rates: tuple[int, ...] = (1, 1, 1)) -> Network:
        return Network.build(1, [0, 1, 1], [1, 2, 2], rates, 1, [0, 1, 2], names)

    with pytest.raises(SuanwangError, match="switch's name"):
        Plan(named("a", "evil\nhostname x", "c"))
    with pytest.raises(SuanwangError, match="switch's name"):
        Plan(named("a", "../../etc", "c"))
    assert " description a_hostname_x\n" in configure_frr(named("a\nhostname x", "b", "c"), Options(fare=False))["b"]
    with pytest.raises(SuanwangError, match="same name"):
        Plan(named("a", "b", "b"))
    for name in ("daemons", "vtysh.conf", "switches.csv", "Fabric.clab.yml"):
        with pytest.raises(SuanwangError, match="as a file beside the switches' folders"):
            Writer(Plan(named("a", name, "c")), ("frr",))
    with pytest.raises(SuanwangError, match="differ in rate"):
        configure_frr(named("a", "b", "c", rates=(GBPS, GBPS, 2 * GBPS)))
    with pytest.raises(SuanwangError, match="whole Mbit/s"):
        config_db(plan := Plan(named("a", "b", "c")), plan.switch(1))
    with pytest.raises(SuanwangError, match="interval"):
        Options(bfd_ms=1)


def test_default_pools_are_private() -> None:
    pools = Pools()
    assert all(IPv4Network(one).is_private for one in (pools.loopback4, pools.hosts4))
    own = [IPv6Network(one) for one in (pools.loopback6, pools.hosts6, pools.links6)]
    assert all(one.subnet_of(IPv6Network("fc00::/7")) for one in own)
    assert not any(one.overlaps(other) for one, other in combinations(own, 2))
