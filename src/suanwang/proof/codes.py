"""Why a packet does not arrive, and what may be wrong with programs: the words that users of reachability analysers
know.

The table in docs/reasons.md is made from these (`make docs`).
"""

from __future__ import annotations

REASONS: dict[str, str] = {}
"""Code -> what it means."""


def reason(name: str, meaning: str) -> str:
    """Enter a reason in the table."""
    if name in REASONS:
        raise ValueError(f"reason {name} is entered twice")
    REASONS[name] = meaning
    return name


DELIVERED = reason("DELIVERED", "the packet reaches a port")
DELIVERED_TO_ROUTER = reason("DELIVERED_TO_ROUTER", "the packet is for the router itself (a gateway address)")
NOT_ATTACHED = reason("NOT_ATTACHED", "the sending port is on no node")
SOURCE_ADDRESS_NOT_ALLOWED = reason(
    "SOURCE_ADDRESS_NOT_ALLOWED", "the port may not send from that source address (anti-spoofing)"
)
NO_ROUTE_TO_DESTINATION = reason("NO_ROUTE_TO_DESTINATION", "no route of the router matches the destination")
BLACKHOLE_ROUTE = reason("BLACKHOLE_ROUTE", "the route that matches says to drop")
SUBNET_ROUTE_TABLE = reason("SUBNET_ROUTE_TABLE", "the subnet's route table decides where the packet goes")
SECURITY_GROUP_DENIES_EGRESS = reason("SECURITY_GROUP_DENIES_EGRESS", "no security group of the sender lets it out")
SECURITY_GROUP_DENIES_INGRESS = reason("SECURITY_GROUP_DENIES_INGRESS", "no security group of the receiver lets it in")
PORT_HAS_NO_FILTER = reason("PORT_HAS_NO_FILTER", "the port has no filter in a guarded namespace, so nothing passes")
NOT_FORWARDING = reason("NOT_FORWARDING", "the namespace does not forward packets")
DEVICE_MISSING = reason("DEVICE_MISSING", "the route names a device that the namespace does not have")
NEIGHBOUR_MISSING = reason("NEIGHBOUR_MISSING", "the next hop's MAC is not known")
TUNNEL_ENTRY_MISSING = reason("TUNNEL_ENTRY_MISSING", "no forwarding entry says to which node that MAC belongs")
TUNNEL_ENDPOINT_MISSING = reason("TUNNEL_ENDPOINT_MISSING", "no node has that tunnel endpoint and network identifier")
FRAME_NOT_FOR_ROUTER = reason("FRAME_NOT_FOR_ROUTER", "the frame's MAC is neither the router's nor a port's there")
ROUTER_REFUSES = reason("ROUTER_REFUSES", "the router itself answers only echo requests and neighbour discovery")
CYCLIC_PATH = reason("CYCLIC_PATH", "the packet comes to where it was before, and so on until its hops are used up")
CONNECTION_UNKNOWN = reason(
    "CONNECTION_UNKNOWN", "an answer passes a router that did not see what it answers, and is dropped there"
)
TRANSLATED = reason("TRANSLATED", "a router rewrites the packet's addresses or ports")
STEERED = reason("STEERED", "a router sends the packet another way than by its destination")
ANSWER_NOT_TRANSLATED = reason(
    "ANSWER_NOT_TRANSLATED",
    "the answer does not come from where the packet was sent to: it came round the router that translated the packet",
)
TOO_MANY_WAYS = reason("TOO_MANY_WAYS", "there are more ways that the packet may take than are looked at")
RETURN_PATH_BLOCKED = reason("RETURN_PATH_BLOCKED", "the packet arrives, but its answer does not come back")
WRONG_DELIVERY = reason("WRONG_DELIVERY", "the packet reaches a port that does not own the destination address")
TENANTS_MEET = reason("TENANTS_MEET", "a port of one tenant can reach a port of another")
ASSERTION_FAILS = reason("ASSERTION_FAILS", "what an assertion expects is not so")
UNREACHABLE_ADDRESS = reason(
    "UNREACHABLE_ADDRESS", "a node does not know the way to an address of a network it is part of"
)
ROUTE_LEADS_NOWHERE = reason("ROUTE_LEADS_NOWHERE", "a route sends packets to where they are dropped")
DETOUR = reason("DETOUR", "a route sends packets round by another node of the same network")
NODES_DISAGREE = reason("NODES_DISAGREE", "what must be the same on all nodes, or all ports of a subnet, is not")
DUPLICATE_TUNNEL = reason("DUPLICATE_TUNNEL", "two namespaces take the same packets of a network identifier")
ATTACHED_TWICE = reason("ATTACHED_TWICE", "one workload hangs on several places at once")
INCOMPLETE_PROGRAM = reason("INCOMPLETE_PROGRAM", "an object names another that the program does not have")
UNREADABLE_PROGRAM = reason(
    "UNREADABLE_PROGRAM", "a program holds what is no address, prefix or protocol, so nothing can be proven of it"
)
