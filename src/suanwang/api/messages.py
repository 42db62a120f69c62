"""What goes over HTTP besides plans and resources: one struct a body, camelCase on the wire. OpenAPI is made from
these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from suanwang.controller.credentials import Role

MOST_DOCUMENTS = 1_000_000
MOST_ASSERTIONS = 10_000
MOST_TENANTS = 10_000

Name = Annotated[str, msgspec.Meta(max_length=63, description="a resource's or token's name")]
Text = Annotated[str, msgspec.Meta(max_length=1000, description="for people")]


class Body(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies."""


class Problem(Body, frozen=True):
    """One error: a stable code, what is wrong, what would be right, and where in the input."""

    code: str
    message: str
    hint: str = ""
    file: str = ""
    line: int = 0
    path: str = ""


class Problems(Body, frozen=True):
    """Every answer with a status of 400 or more. `error` is the first of `errors`."""

    error: Problem
    errors: list[Problem]


class Items(Body, frozen=True):
    """A page of resources as users see them. `next` is the `after` of the next page, null at the end."""

    items: list[dict[str, Any]]
    revision: int
    next: str | None = None


class Identity(Body, frozen=True):
    """The name of a resource. `tenant` is empty for infrastructure."""

    kind: str
    name: str
    tenant: str = ""


class PlanRequest(Body, frozen=True):
    """What shall be: resources to create or change, to delete, and whether the set's others shall go (`prune`)."""

    documents: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MOST_DOCUMENTS)] = []
    delete: Annotated[list[Identity], msgspec.Meta(max_length=MOST_DOCUMENTS)] = []
    prune: bool = False
    set: Name = "default"


class ChangeNote(Body, frozen=True):
    """That a resource changed, without its content."""

    action: Literal["create", "update", "delete"]
    kind: str
    tenant: str
    name: str


class AppliedAnswer(Body, frozen=True):
    """What a commit did: its revision, the nodes whose programs changed, the resources."""

    revision: int
    nodes: list[str]
    changes: list[ChangeNote]


class RollbackRequest(Body, frozen=True):
    """Make everything what it was at `revision`, as a new revision; `accept`: subjects of what this may break."""

    revision: Annotated[int, msgspec.Meta(ge=0)]
    message: Text = ""
    accept: Annotated[tuple[Text, ...], msgspec.Meta(max_length=1000)] = ()


class CommitNote(Body, frozen=True):
    """A revision in the history. `time` is RFC 3339, UTC."""

    revision: int
    time: str
    author: str
    message: str
    changes: list[ChangeNote]


class History(Body, frozen=True):
    """Commits, newest first."""

    commits: list[CommitNote]


class WatchedChange(Body, frozen=True):
    """A change with the resource as it is from then on (null: deleted)."""

    action: Literal["create", "update", "delete"]
    kind: str
    tenant: str
    name: str
    document: dict[str, Any] | None


class WatchedCommit(Body, frozen=True):
    """One line of a watch. Without changes it says only that the watch stands at `revision`."""

    revision: int
    author: str
    time: str
    changes: list[WatchedChange]


class ObjectProblem(Body, frozen=True):
    """An object of a program that an agent could not make, and why."""

    object: str
    code: str
    message: str


class WaitAnswer(Body, frozen=True):
    """Who has not applied `revision` yet, who can't, and who would have to but is not connected."""

    revision: int
    waiting: list[str]
    failed: dict[str, list[ObjectProblem]]
    absent: list[str]


class NodeState(Body, frozen=True):
    """An agent as the controller sees it. `lastSeen` is RFC 3339, UTC; empty: never since the controller started."""

    name: str
    connected: bool
    agent_version: str
    program_hash: str
    applied_hash: str
    applied_revision: int
    done: int
    pending: int
    failed: int
    repaired: int
    problems: list[ObjectProblem]
    last_seen: str


class Nodes(Body, frozen=True):
    """All nodes."""

    nodes: list[NodeState]


class AssertionName(Body, frozen=True):
    """An Assertion's name."""

    tenant: Name
    name: Name


class ProbeRequest(Body, frozen=True):
    """Which assertions to try with real packets: those named, or all of `tenant`, or all that the token may see."""

    assertions: Annotated[list[AssertionName], msgspec.Meta(max_length=MOST_ASSERTIONS)] = []
    tenant: Name = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3


class ProbedAssertion(Body, frozen=True):
    """What came of one assertion; `holds` says whether the outcome is the one expected. Times are in microseconds."""

    tenant: str
    name: str
    expect: str
    outcome: str
    holds: bool
    sent: int
    answered: int
    rtt_us: list[int]
    answerer: str
    detail: str


class ProbeAnswer(Body, frozen=True):
    """Results, by tenant and name."""

    results: list[ProbedAssertion]


class Found(Body, frozen=True):
    """Something that does not hold: a reason, what it is about, and a packet with its way that shows it."""

    code: str
    subject: str
    message: str
    packet: str
    steps: list[str]


class ProofAnswer(Body, frozen=True):
    """What was proven of the programs that run. `components`: networks looked at, each as a whole."""

    proven: bool
    findings: list[Found]
    assertions: int
    components: int


class TraceRequest(Body, frozen=True):
    """A packet from a port to another (`toTenant`, `toName`) or to an address. `version` 0: whichever both have."""

    tenant: Name
    port_name: Name
    to_tenant: Name = ""
    to_name: Name = ""
    address: Annotated[str, msgspec.Meta(max_length=64)] = ""
    protocol: Literal["icmp", "tcp", "udp"] = "icmp"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    version: Literal[0, 4, 6] = 0


class TraceStep(Body, frozen=True):
    """What happened to the packet in one place, with a reason where it was decided."""

    node: str
    netns: str
    what: str
    code: str
    detail: str


class TracedWay(Body, frozen=True):
    """A packet's way: how it ended, and at which port if it was delivered."""

    packet: str
    code: str
    delivered: bool
    port: str
    steps: list[TraceStep]


class TraceAnswer(Body, frozen=True):
    """The way there and, if the packet arrives, the way of its answer."""

    there: TracedWay
    back: TracedWay | None


class TokenRequest(Body, frozen=True):
    """A new token. `tenants` may hold `*` for all; `ttl` is in seconds, null: for ever."""

    name: Name
    role: Role
    tenants: Annotated[list[Name], msgspec.Meta(max_length=MOST_TENANTS)] = []
    ttl: Annotated[float, msgspec.Meta(gt=0, le=315_360_000)] | None = None


class TokenNote(Body, frozen=True):
    """What is known of a token; never the token itself."""

    name: str
    role: Role
    tenants: list[str]
    created: str
    expires: str | None


class TokenAnswer(Body, frozen=True):
    """A new token; it is shown this once."""

    token: str
    name: str
    role: Role
    tenants: list[str]
    expires: str | None


class Tokens(Body, frozen=True):
    """All tokens."""

    tokens: list[TokenNote]


class EnrolmentRequest(Body, frozen=True):
    """A one-time token with which `node` gets its certificate; `ttl` is in seconds."""

    node: Name
    ttl: Annotated[float, msgspec.Meta(gt=0, le=604_800)] = 3600


class EnrolmentAnswer(Body, frozen=True):
    """`token` is NODE.SECRET.FINGERPRINT of the authority's certificate; it is shown this once."""

    token: str
    node: str
    expires: str


class EnrolRequest(Body, frozen=True):
    """An agent's first request: the enrolment token's SECRET, and a PEM signing request."""

    node: Name
    token: Annotated[str, msgspec.Meta(max_length=200)]
    csr: Annotated[str, msgspec.Meta(max_length=20_000)]


class RenewRequest(Body, frozen=True):
    """A PEM signing request for the certificate that follows the one in use."""

    csr: Annotated[str, msgspec.Meta(max_length=20_000)]


class IssuedAnswer(Body, frozen=True):
    """The agent's certificate and the authority's, PEM."""

    certificate: str
    ca: str


class Health(Body, frozen=True):
    """`ok`, or what is not."""

    status: str
