"""Handlers about the server itself: health, metrics, schemas, and the description of the API."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from suanwang.api.call import Call, raw_json
from suanwang.api.messages import Health
from suanwang.measure.metrics import CONTROLLER_REVISION
from suanwang.model.schema import schema


async def health(call: Call) -> Health:
    """The process answers."""
    return Health("ok")


async def readiness(call: Call) -> web.Response:
    """The store can be read, and programs are compiled up to its last revision."""
    services = call.services
    behind = await asyncio.to_thread(lambda: services.store.revision - services.controller.revision)
    if behind > 0:
        return raw_json(msgspec.json.encode(Health(f"{behind} revisions are not compiled yet")), 503)
    return raw_json(msgspec.json.encode(Health("ok")))


async def metrics(call: Call) -> web.Response:
    """Figures in Prometheus' text format 0.0.4."""
    figures = call.services.figures
    figures.set(CONTROLLER_REVISION, call.services.store.revision)
    body = await asyncio.to_thread(figures.text)
    return web.Response(body=body, headers={"Content-Type": figures.content_type})


async def schemas(call: Call) -> web.Response:
    """JSON Schemas of all kinds, by kind."""
    return raw_json(msgspec.json.encode({kind.name: schema(kind) for kind in call.services.registry}))


async def kind_schema(call: Call) -> web.Response:
    """JSON Schema of a kind."""
    return raw_json(msgspec.json.encode(schema(call.services.registry.kind(call.part("kind")))))
