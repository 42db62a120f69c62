"""Assertion: what must hold between two ends. It is proven on programs and probed with real packets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from suanwang.model.addresses import Address
from suanwang.model.registry import Kind, Ref, Spec


class Source(Spec):
    """Where the packets start."""

    port: Annotated[str, Ref("Port")] = Field(description="the Port that sends")


class Destination(Spec):
    """Where the packets shall go: to a port, or to an address as the sender sees it."""

    port: Annotated[str, Ref("Port")] | None = Field(None, description="the Port that shall (or shall not) be reached")
    address: Address | None = Field(None, description="an address, in the sender's VPC, instead of a port")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.port is None) == (self.address is None):
            raise ValueError("give either port or address; one destination per assertion")
        return self


class AssertionSpec(Spec):
    """Between which ends, by which protocol, and what is expected."""

    source: Source = Field(alias="from", description="where the packets start")
    destination: Destination = Field(alias="to", description="where they go")
    protocol: Literal["icmp", "tcp", "udp"] = Field("icmp", description="`icmp` is ICMPv6 towards an IPv6 address")
    port: int | None = Field(None, ge=1, le=65535, description="destination port, for tcp and udp")
    version: Literal[4, 6] | None = Field(
        None, description="IP version where the destination port has both; default: IPv4 where there is one"
    )
    expect: Literal["allowed", "denied"] = Field("allowed", description="what must hold")

    @model_validator(mode="after")
    def _port_where_needed(self) -> Self:
        if self.protocol != "icmp" and self.port is None:
            raise ValueError(f"{self.protocol} needs a port; add port: 443, say")
        if self.protocol == "icmp" and self.port is not None:
            raise ValueError("icmp has no ports; remove port, or choose tcp or udp")
        return self


ASSERTION = Kind(
    name="Assertion",
    scope="tenant",
    spec=AssertionSpec,
    summary="States what must hold between two ends; it is proven before a change is applied, and probed afterwards.",
    example="""\
apiVersion: suanwang/v1
kind: Assertion
metadata: {name: web-to-db, tenant: retail}
spec:
  from: {port: web-1}
  to: {port: db-1}
  protocol: tcp
  port: 5432
  expect: allowed
""",
    columns={
        "FROM": "spec.from.port",
        "TO": "spec.to",
        "PROTOCOL": "spec.protocol",
        "PORT": "spec.port",
        "EXPECT": "spec.expect",
    },
    order=90,
)
