"""Numbers and addresses of a fabric's switches and ports: by coordinates, so that they stay when the fabric grows.

A switch is told by its plane, its tier and its number within both. Everything follows by arithmetic:

* AS numbers as RFC 7938, section 5.2.1, shares them out, from the private four-byte range (RFC 6996): each leaf has its
  own; switches of a higher tier that have a lower switch in common, however far down, share one. So a route that went
  down is never accepted upwards again: paths are free of valleys, and nothing hunts for longer ones when a leaf fails.
* Loopbacks: plane, tier and number side by side, a /32 and a /128.
* Hosts: each switch that has any, of whatever tier, has one IPv4 prefix and one IPv6 /64, by its number among those of
  its plane; in it every port has a pair, /31 (RFC 3021) and /127 (RFC 6164), the switch first. More leaves, or more
  planes up to 8, change no number that was given before.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations

from suanwang.model.errors import INVALID, SuanwangError

PLANE_BITS, TIER_BITS, NUMBER_BITS = 3, 3, 19
PLANES, TIERS = 2**PLANE_BITS, 2**TIER_BITS
PRIVATE_ASN = 4_200_000_000
"""The first private four-byte AS number (RFC 6996, section 5)."""


@dataclass(frozen=True, slots=True)
class Pools:
    """Where addresses are taken from. The IPv6 ones are unique local (RFC 4193): choose your own forty bits.

    Raises:
        SuanwangError: INVALID for a pool that is no network, or too small, and for two that overlap.
    """

    loopback4: str = "172.16.0.0/12"
    loopback6: str = "fd5a:7761:6e00:ff::/64"
    hosts4: str = "10.0.0.0/8"
    hosts6: str = "fd5a:7761:6f00::/40"
    links6: str = "fd5a:7761:7000::/36"

    def __post_init__(self) -> None:
        for name, version, longest in (
            ("loopback4", 4, 24),
            ("loopback6", 6, 96),
            ("hosts4", 4, 20),
            ("hosts6", 6, 40),
            ("links6", 6, 64 - PLANE_BITS - TIER_BITS - NUMBER_BITS),
        ):
            try:
                pool = ip_network(getattr(self, name))
            except ValueError as problem:
                raise SuanwangError(INVALID, f"{name}: {problem}", hint=f"a network such as {DEFAULTS[name]}") from None
            if pool.version != version or pool.prefixlen > longest:
                raise SuanwangError(
                    INVALID, f"{name}: {pool} is not IPv{version} with a prefix of /{longest} or shorter",
                    hint=f"a network such as {DEFAULTS[name]}",
                )  # fmt: skip
        for names in (("loopback4", "hosts4"), ("loopback6", "hosts6", "links6")):
            for one, other in combinations(names, 2):
                if ip_network(getattr(self, one)).overlaps(ip_network(getattr(self, other))):
                    raise SuanwangError(
                        INVALID, f"{one} {getattr(self, one)} and {other} {getattr(self, other)} overlap",
                        hint="give pools that have no address in common",
                    )  # fmt: skip


DEFAULTS = {field: Pools.__dataclass_fields__[field].default for field in Pools.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Place:
    """Which switch: `plane` from 0, `tier` from 1, `number` within both from 0."""

    plane: int
    tier: int
    number: int


class Numbering:
    """Numbers by place. `ports` is the most host ports that any switch has: it sizes their IPv4 prefixes."""

    def __init__(self, pools: Pools, ports: int) -> None:
        self._loopback4, self._loopback6 = IPv4Network(pools.loopback4), IPv6Network(pools.loopback6)
        self._hosts4, self._hosts6 = IPv4Network(pools.hosts4), IPv6Network(pools.hosts6)
        self._links6 = IPv6Network(pools.links6)
        self.host_bits = max(1, (2 * ports - 1).bit_length())
        # Of networks that are asked for again and again: writing out IPv6 addresses takes longer than all else.
        self._link_prefix: dict[Place, str] = {}

    def asn(self, place: Place, first: int) -> int:
        """The AS number of a switch whose AS is shared from switch number `first` of its tier and plane on."""
        _fits(first, NUMBER_BITS, place, "private AS numbers", "only so many exist")
        return PRIVATE_ASN + (((place.plane << TIER_BITS) | place.tier) << NUMBER_BITS | first)

    def loopback4(self, place: Place) -> str:
        """The IPv4 loopback, which is the router's identifier too."""
        bits = 32 - self._loopback4.prefixlen - PLANE_BITS - TIER_BITS
        _fits(place.number, bits, place, f"loopbacks in {self._loopback4}", "give a larger pool for loopback4")
        return ipv4(
            int(self._loopback4.network_address) + ((place.plane << TIER_BITS | place.tier) << bits | place.number)
        )

    def loopback6(self, place: Place) -> str:
        """The IPv6 loopback."""
        return str(self._loopback6[place.plane << 28 | place.tier << 24 | place.number])

    def link_local(self, place: Place) -> str:
        """The link-local address that a switch has on all its links, where it needs one that is known beforehand."""
        return f"fe80::{place.plane:x}:{place.tier:x}:{place.number >> 16:x}:{place.number & 0xFFFF:x}"

    def prefix4(self, place: Place, rank: int) -> int:
        """The first address of a switch's prefix for hosts; its length is `32 - host_bits`.

        `rank` is the switch's number among those of its plane that have hosts, whatever their tiers.
        """
        bits = 32 - self._hosts4.prefixlen - PLANE_BITS - self.host_bits
        if bits < 0:
            raise SuanwangError(
                INVALID, f"{2**PLANE_BITS} planes of a /{32 - self.host_bits} for hosts do not fit {self._hosts4}",
                hint=f"give a pool for hosts4 of /{32 - PLANE_BITS - self.host_bits} or shorter",
            )  # fmt: skip
        _fits(rank, bits, place, f"prefixes for hosts in {self._hosts4}", "give a larger pool for hosts4")
        return int(self._hosts4.network_address) + ((place.plane << bits | rank) << self.host_bits)

    def prefix6(self, place: Place, rank: int) -> str:
        """A switch's /64 for hosts, without its length and the `::` at the end; `rank` as for IPv4."""
        bits = 64 - self._hosts6.prefixlen - PLANE_BITS
        _fits(rank, bits, place, f"prefixes for hosts in {self._hosts6}", "give a larger pool for hosts6")
        return str(self._hosts6[(place.plane << bits | rank) << 64]).removesuffix("::")

    def link(self, place: Place, index: int) -> str:
        """An address on a link that a switch owns: its links have a /64 together, each link a pair."""
        if (prefix := self._link_prefix.get(place)) is None:
            _fits(place.number, NUMBER_BITS, place, f"links in {self._links6}", "give a larger pool for links6")
            owner = (place.plane << TIER_BITS | place.tier) << NUMBER_BITS | place.number
            prefix = self._link_prefix[place] = str(self._links6[owner << 64]).removesuffix("::")
        return f"{prefix}::{index:x}"


def ipv4(number: int) -> str:
    """An IPv4 address as text."""
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _fits(number: int, bits: int, place: Place, what: str, hint: str) -> None:
    if not (0 <= place.plane < PLANES and 1 <= place.tier < TIERS and 0 <= number < 2**bits):
        raise SuanwangError(
            INVALID,
            f"plane {place.plane}, tier {place.tier}, switch {place.number}: more than the {what}",
            hint=f"{hint}; planes: at most {PLANES}, tiers: {TIERS - 1}, switches of each: {2**bits:,}",
        )
