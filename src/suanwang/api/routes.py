"""All operations of the API, in one table: the server, its access checks and the OpenAPI document are made from it."""

from __future__ import annotations

from suanwang.api import access, changes, documents, operations, proofs, resources
from suanwang.api.call import Query, Route
from suanwang.api.messages import (
    AppliedAnswer,
    EnrolmentAnswer,
    EnrolmentRequest,
    EnrolRequest,
    Health,
    History,
    IssuedAnswer,
    Items,
    Nodes,
    PlanRequest,
    ProbeAnswer,
    ProbeRequest,
    ProofAnswer,
    RenewRequest,
    RollbackRequest,
    TokenAnswer,
    TokenRequest,
    Tokens,
    TraceAnswer,
    TraceRequest,
    WaitAnswer,
    WatchedCommit,
)
from suanwang.controller.plan import Plan

LARGEST_PAGE = 10_000
LARGEST_REVISION = 2**62

_TENANT = Query("tenant", "string", "only this tenant's; default: all that the token sees")
_KIND = Query("kind", "string", "only resources of this kind")

ROUTES: tuple[Route, ...] = (
    Route(
        "GET", "/v1/resources/{kind}", "listResources", "viewer",
        "Resources of a kind that the token sees, in order of tenant and name, by pages.",
        resources.list_resources,
        query=(
            _TENANT,
            Query("limit", "integer", "most resources of the page", 1000, 1, LARGEST_PAGE),
            Query("after", "string", "`next` of the page before"),
        ),
        answer=Items,
    ),
    Route(
        "GET", "/v1/resources/{kind}/{tenant}/{name}", "getResource", "viewer",
        "One resource; the tenant of infrastructure is written `-`.",
        resources.get_resource,
    ),
    Route(
        "DELETE", "/v1/resources/{kind}/{tenant}/{name}", "deleteResource", "operator",
        "Delete one resource, as a plan of this one change would.",
        changes.delete, answer=AppliedAnswer,
    ),
    Route(
        "POST", "/v1/plan", "plan", "operator",
        "Check documents and say what applying them would change, and the programs of which nodes. Changes nothing.",
        changes.plan, body=PlanRequest, answer=Plan,
    ),
    Route(
        "POST", "/v1/apply", "apply", "operator",
        "Carry a plan out verbatim, all of it or nothing. Answers when the programs are compiled; 409 STALE_PLAN when "
        "something it stands on has changed since, 409 PROOF_FAILS when it would break what was promised.",
        changes.apply, body=changes.ApplyRequest, answer=AppliedAnswer,
    ),
    Route(
        "POST", "/v1/rollback", "rollback", "admin",
        "Make all resources what they were at a revision, as a new revision.",
        changes.rollback, body=RollbackRequest, answer=AppliedAnswer,
    ),
    Route(
        "GET", "/v1/history", "history", "viewer", "Commits, newest first, with the changes that the token sees.",
        resources.history,
        query=(
            _KIND, _TENANT,
            Query("name", "string", "only the resource of this kind, tenant and name"),
            Query("limit", "integer", "most commits", 100, 1, 1000),
        ),
        answer=History,
    ),
    Route(
        "GET", "/v1/watch", "watch", "viewer",
        "Commits after a revision as they come, one JSON object a line (NDJSON); empty lines mean nothing.",
        resources.watch,
        query=(
            Query("since", "integer", "the revision to begin after; -1: the present one", -1, -1, LARGEST_REVISION),
            _KIND, _TENANT,
        ),
        answer=WatchedCommit, streams=True,
    ),
    Route(
        "GET", "/v1/wait", "wait", "viewer",
        "Answers when every connected agent whose program a revision changed has applied it, or when the time is over.",
        changes.wait,
        query=(
            Query("revision", "integer", "the revision", 0, 0, LARGEST_REVISION),
            Query("timeout", "number", "longest wait in seconds", 10.0, 0, 600),
        ),
        answer=WaitAnswer, streams=True,
    ),
    Route(
        "GET", "/v1/nodes", "nodes", "viewer", "Every node and what its agent last said.", operations.nodes,
        answer=Nodes,
    ),
    Route(
        "GET", "/v1/nodes/{node}/program", "program", "admin", "A node's compiled program.", operations.program,
        query=(Query("format", "string", "canonical text, or JSON", "text", choices=("text", "json")),),
        answer="text/plain",
    ),
    Route(
        "POST", "/v1/probe", "probe", "operator",
        "Try assertions with real packets between the workloads, and say which hold.",
        operations.probe_assertions, body=ProbeRequest, answer=ProbeAnswer, streams=True,
    ),
    Route(
        "GET", "/v1/prove", "prove", "viewer",
        "Prove every assertion, tenant isolation, and that nothing loops or goes astray, on the programs that run.",
        proofs.prove, query=(_TENANT,), answer=ProofAnswer, streams=True,
    ),
    Route(
        "POST", "/v1/trace", "trace", "viewer", "The way of a packet, hop by hop, with the reason at each.",
        proofs.trace, body=TraceRequest, answer=TraceAnswer,
    ),
    Route(
        "POST", "/v1/tokens", "createToken", "admin", "Make a user's token; it is shown this once.",
        access.create_token, body=TokenRequest, answer=TokenAnswer,
    ),
    Route("GET", "/v1/tokens", "tokens", "admin", "What tokens there are.", access.tokens, answer=Tokens),
    Route(
        "DELETE", "/v1/tokens/{name}", "deleteToken", "admin", "Make a token void at once.",
        access.delete_token, answer=Health,
    ),
    Route(
        "POST", "/v1/enrolment-tokens", "createEnrolmentToken", "admin",
        "Make a one-time token with which a node gets its certificate; it is shown this once.",
        access.create_enrolment, body=EnrolmentRequest, answer=EnrolmentAnswer,
    ),
    Route(
        "GET", "/v1/ca", "authority", "public",
        "The certificate of the controller's authority (PEM). Check its SHA-256 before trusting it.",
        access.authority, answer="application/x-pem-file",
    ),
    Route(
        "POST", "/v1/enrol", "enrol", "public", "A node's certificate in exchange for its enrolment token.",
        access.enrol, body=EnrolRequest, answer=IssuedAnswer,
    ),
    Route(
        "POST", "/v1/renew", "renew", "agent",
        "The next certificate of the node whose certificate secures the connection.",
        access.renew, body=RenewRequest, answer=IssuedAnswer,
    ),
    Route(
        "GET", "/v1/agent", "agent", "agent", "An agent's WebSocket.", operations.agent,
        answer="application/octet-stream", streams=True,
    ),
    Route("GET", "/v1/schema", "schemas", "public", "JSON Schemas of all kinds.", documents.schemas),
    Route("GET", "/v1/schema/{kind}", "kindSchema", "public", "JSON Schema of a kind.", documents.kind_schema),
    Route(
        "GET", "/metrics", "metrics", "local", "Figures in Prometheus' text format.", documents.metrics,
        answer="text/plain",
    ),
    Route("GET", "/healthz", "health", "public", "Whether the process answers.", documents.health, answer=Health),
    Route(
        "GET", "/readyz", "readiness", "public", "Whether it can do its work; 503 when not.", documents.readiness,
        answer=Health,
    ),
)  # fmt: skip
"""`/openapi.json` is not among them: it is made from them, and served beside them."""
