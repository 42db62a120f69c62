# ruff: noqa: ASYNC110 - what is waited for stands behind HTTP or in asyncio itself, and sets no event
"""The agents' protocol, with a plain WebSocket client at the other end that keeps nothing but what it was told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from suanwang import __version__
from suanwang.program import wire
from suanwang.program.fragment import MODULUS, Fragment
from suanwang.program.program import FORMAT

from .conftest import Running, infrastructure, resource, signing_request, tenant

LIMIT_S = 20.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test, and let the farewells of its TLS connections end before the loop does."""

    async def whole() -> None:
        await main
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT_S):
            while any(one._sock is not None for one in list(loop._transports.values())):  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)

    asyncio.run(whole())


class Peer:
    """An agent without a data plane."""

    def __init__(self, node: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.node = node
        self.socket = socket
        self.held: dict[str, Fragment] = {}
        self.updates: list[wire.Update] = []

    @property
    def hash(self) -> str:
        return f"{sum(part.fingerprint for part in self.held.values()) % MODULUS:032x}" if self.held else ""

    async def send(self, message: wire.FromAgent) -> None:
        await self.socket.send_bytes(wire.encode(message))

    async def hello(self, node: str = "", *, empty: bool = False) -> None:
        have = {} if empty else {id: f"{part.fingerprint:032x}" for id, part in self.held.items()}
        await self.send(wire.Hello(node or self.node, "0.test", FORMAT, "" if empty else self.hash, have))

    async def receive(self) -> wire.FromController:
        async with asyncio.timeout(LIMIT_S):
            message = await self.socket.receive()
        assert message.type == aiohttp.WSMsgType.BINARY, message
        return wire.from_controller(message.data)

    async def update(self) -> wire.Update:
        """Take the next update in, checked as an agent checks it."""
        update = await self.receive()
        assert isinstance(update, wire.Update), update
        assert update.base in ("", self.hash)
        if not update.base:
            self.held = {}
        for id in update.remove:
            del self.held[id]
        for part in map(wire.decode_fragment, update.put):
            self.held[part.id] = part
        assert update.hash in (self.hash, f"{0:032x}")
        self.updates.append(update)
        return update

    async def report(self, update: wire.Update, *, failed: int = 0, pending: int = 0, problems: Any = ()) -> None:
        await self.send(wire.Report(update.revision, update.hash, 5, pending, failed, problems))

    async def closed(self) -> int | None:
        """The code with which the server closes the socket."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                message = await self.socket.receive()
                if message.type == aiohttp.WSMsgType.CLOSE:
                    return int(message.data)
                if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                    return None

    async def silent(self, call: Callable[[], Awaitable[object]]) -> None:
        """Nothing comes while something else is done, and no ping is due."""
        receiving = asyncio.create_task(self.socket.receive())
        await call()
        assert not receiving.done()
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving


class Network:
    """A server, certificates for its hosts, and calls from a coroutine."""

    def __init__(self, server: Running, folder: Path) -> None:
        self.server = server
        self.certificates = {node: server.enrol(node, folder) for node in ("h1", "h2")}

    @contextlib.asynccontextmanager
    async def connect(self, node: str, *, hello: bool = True) -> AsyncIterator[Peer]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            context = self.server.tls(self.certificates[node])
            url = f"wss://127.0.0.1:{self.server.port}/v1/agent"
            async with session.ws_connect(url, ssl=context, max_msg_size=64 << 20) as socket:
                peer = Peer(node, socket)
                if hello:
                    await peer.hello()
                yield peer

    async def call(self, *arguments: Any, **more: Any) -> Any:
        answer = await asyncio.to_thread(self.server.call, *arguments, **more)
        assert answer.status == 200, answer.body
        return answer.json

    async def port(self, name: str, node: str = "h1") -> dict[str, Any]:
        document = resource("Port", name, {"subnet": "web", "node": node}, "red")
        return await asyncio.to_thread(self.server.apply, document)

    async def node(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(n for n in (await self.call("GET", "/v1/nodes"))["nodes"] if n["name"] == name)
        return found

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not await condition():
                await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("agents") / "data") as running:
        running.apply(*infrastructure(), *tenant("red"))
        yield running


@pytest.fixture
def network(server: Running, tmp_path: Path) -> Network:
    return Network(server, tmp_path)


def test_an_agent_gets_its_program_and_then_what_differs(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as peer:
            first = await peer.update()
            assert first.base == ""
            assert first.hash == (await network.node("h1"))["programHash"]
            await peer.report(first)
            await network.port("extra")
            second = await peer.update()
            assert second.base == first.hash
            assert 0 < len(second.put) < len(peer.held)
            assert second.hash == (await network.node("h1"))["programHash"]
            await peer.report(second)
            await network.call("DELETE", "/v1/resources/Port/red/extra")
            third = await peer.update()
            assert third.hash == first.hash

    run(main())


def test_an_agent_that_has_everything_gets_nothing_again(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as peer:
            held = peer.held if await peer.update() else {}
        async with network.connect("h1", hello=False) as again:
            again.held = dict(held)
            await again.hello()
            update = await again.update()
            assert (update.put, update.remove, update.base) == ((), (), update.hash)

    run(main())


def test_changes_while_an_agent_is_busy_become_one_update(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as busy, network.connect("h2") as other:
            first = await busy.update()
            await other.report(await other.update())
            revisions = [(await network.port(f"burst-{index}"))["revision"] for index in range(5)]
            # The other one is told at once, however long the first takes.
            update = await other.update()
            while update.revision < revisions[-1]:
                await other.report(update)
                update = await other.update()
            await other.report(update)
            await busy.silent(lambda: network.call("GET", "/v1/nodes"))
            await busy.report(first)
            update = await busy.update()
            assert update.revision == revisions[-1]
            await busy.report(update)
            for index in range(5):
                await network.call("DELETE", f"/v1/resources/Port/red/burst-{index}")

    run(main())


def test_wait_ends_when_everyone_has_applied(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as peer:
            await peer.report(await peer.update())
            revision = (await network.port("awaited"))["revision"]
            path = f"/v1/wait?revision={revision}"
            early = await network.call("GET", f"{path}&timeout=0")
            assert early["waiting"] == ["h1"]
            assert early["absent"] == ["h2"]  # it needs to know where the new port is, and is away
            waiting = asyncio.create_task(network.call("GET", f"{path}&timeout=20"))
            update = await peer.update()
            await peer.report(update, pending=1)
            await network.call("GET", "/healthz")
            assert not waiting.done()
            await peer.report(update)
            assert (await waiting)["waiting"] == []
            state = await network.node("h1")
            assert (state["appliedRevision"], state["appliedHash"]) == (update.revision, state["programHash"])
            assert (state["connected"], state["agentVersion"], state["done"]) == (True, "0.test", 5)
            await network.call("DELETE", "/v1/resources/Port/red/awaited")

    run(main())


def test_what_fails_on_a_node_is_told(network: Network) -> None:
    async def main() -> None:
        problem = ("port netns=vpc/red/shop device=p7", "NO_DEVICE", "the kernel has none")
        async with network.connect("h1") as peer:
            await peer.report(await peer.update())
            revision = (await network.port("failing"))["revision"]
            update = await peer.update()
            await peer.report(update, failed=1, problems=(problem,))
            answer = await network.call("GET", f"/v1/wait?revision={revision}&timeout=20")
            named = {"object": problem[0], "code": problem[1], "message": problem[2]}
            assert answer["failed"] == {"h1": [named]}
            assert (await network.node("h1"))["problems"] == [named]

            async def condition() -> dict[str, Any]:
                document = await network.call("GET", "/v1/resources/Node/-/h1")
                conditions = document.get("status", {}).get("conditions", [])
                return next((one for one in conditions if one["type"] == "Programmed"), {})

            async def says_false() -> bool:
                return bool((await condition()).get("status") == "False")

            async def says_true() -> bool:
                return bool((await condition()).get("status") == "True")

            await network.until(says_false)
            assert (await condition())["reason"] == "NO_DEVICE"
            await peer.report(update)
            await network.until(says_true)
            # Only the tenant whose object it is hears of it.
            await peer.report(update, failed=1, problems=(problem,))
            token = await asyncio.to_thread(network.server.token, f"blue-{revision}", "viewer", ["blue"])

            async def failing() -> bool:
                return bool((await network.node("h1"))["problems"])

            await network.until(failing)
            nodes = (await network.call("GET", "/v1/nodes", token=token))["nodes"]
            assert [node["problems"] for node in nodes] == [[], []]
            await peer.report(update)
            await network.call("DELETE", "/v1/resources/Port/red/failing")

    run(main())


def test_after_a_refusal_the_next_update_starts_from_nothing(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as peer:
            await peer.report(await peer.update())
            revision = (await network.port("refused"))["revision"]
            update = await peer.update()
            peer.held = {}
            await peer.send(wire.Refusal(update.revision, "CONTRADICTION", "two want one device"))
            answer = await network.call("GET", f"/v1/wait?revision={revision}&timeout=20")
            assert answer["failed"]["h1"][0]["code"] == "CONTRADICTION"
            await network.call("DELETE", "/v1/resources/Port/red/refused")
            whole = await peer.update()
            assert whole.base == ""
            await peer.report(whole)

            async def settled() -> bool:
                return not (await network.node("h1"))["problems"]

            await network.until(settled)

    run(main())


def test_a_second_hello_begins_anew(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as peer:
            first = await peer.update()
            await peer.hello(empty=True)
            again = await peer.update()
            assert (again.base, again.hash, len(again.put)) == ("", first.hash, len(first.put))

    run(main())


def test_a_newer_connection_replaces_the_older(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1") as older:
            await older.update()
            async with network.connect("h1") as newer:
                await newer.report(await newer.update())
                assert await older.closed() == 4001
                assert (await network.node("h1"))["connected"]

    run(main())


def test_an_agent_is_let_in_for_its_own_node_only(network: Network) -> None:
    async def main() -> None:
        async with network.connect("h1", hello=False) as peer:
            await peer.hello("h2")
            assert await peer.closed() == 4000

    run(main())


@pytest.mark.parametrize("message", [b"{", b'{"type":"update"}', b'{"type":"report"}', wire.encode(wire.Armed("x"))])
def test_what_can_not_be_read_ends_the_connection(network: Network, message: bytes) -> None:
    async def main() -> None:
        async with network.connect("h1", hello=False) as peer:
            await peer.socket.send_bytes(message)
            assert await peer.closed() == 4000

    run(main())


def test_without_a_hello_the_connection_ends(start: Callable[..., Running], tmp_path: Path) -> None:
    with start(limits={"hello_timeout_s": 0.2}) as server:
        server.apply(*infrastructure())

        async def main() -> None:
            async with Network(server, tmp_path).connect("h1", hello=False) as peer:
                assert await peer.closed() == 4000

        run(main())


def test_an_agent_that_says_nothing_of_an_update_gets_the_next_all_the_same(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    with start(limits={"update_timeout_s": 0.2}) as server:
        server.apply(*infrastructure(), *tenant("red"))

        async def main() -> None:
            network = Network(server, tmp_path)
            async with network.connect("h1") as peer:
                await peer.update()
                revision = (await network.port("more"))["revision"]
                assert (await peer.update()).revision == revision

        run(main())


def test_without_a_certificate_nobody_is_let_in(server: Running) -> None:
    async def main() -> None:
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"wss://127.0.0.1:{server.port}/v1/agent", ssl=server.tls(), headers=headers)
            assert refused.value.status == 401

    run(main())


def test_a_certificate_speaks_for_agents_only(network: Network) -> None:
    context = network.server.tls(network.certificates["h1"])
    assert network.server.call("GET", "/v1/nodes", token="", context=context).status == 401
    assert network.server.call("GET", "/v1/nodes/h1/program", token="", context=context).status == 401


def test_revocation_ends_a_connection(network: Network, tmp_path: Path) -> None:
    async def main() -> None:
        async with network.connect("h1") as peer:
            await peer.update()
            await asyncio.to_thread(network.server.enrol, "h1", tmp_path)
            assert await peer.closed() == 4003
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with network.connect("h1"):
                pass
        assert refused.value.status == 403

    run(main())


def test_using_a_renewed_certificate_revokes_the_older_one(network: Network, tmp_path: Path) -> None:
    from .conftest import save_certificate

    async def main() -> None:
        older = network.certificates["h1"]
        key, csr = signing_request()
        context = network.server.tls(older)
        renewed = await network.call("POST", "/v1/renew", {"csr": csr}, token="", context=context)
        async with network.connect("h1") as peer:
            await peer.update()
            network.certificates["h1"] = save_certificate(tmp_path / "renewed", renewed["certificate"], key)
            async with network.connect("h1") as newer:
                await newer.update()
                assert await peer.closed() == 4003
                network.certificates["h1"] = older
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    async with network.connect("h1"):
                        pass

    run(main())


def test_deleting_a_node_ends_its_connection(start: Callable[..., Running], tmp_path: Path) -> None:
    with start() as server:
        server.apply(*infrastructure())

        async def main() -> None:
            network = Network(server, tmp_path)
            async with network.connect("h2") as peer:
                await peer.update()
                await network.call("DELETE", "/v1/resources/Node/-/h2")
                assert await peer.closed() == 4003

        run(main())


def test_a_node_without_anything_gets_an_empty_program(start: Callable[..., Running], tmp_path: Path) -> None:
    with start() as server:
        server.apply(*infrastructure())

        async def main() -> None:
            async with Network(server, tmp_path).connect("h1") as peer:
                update = await peer.update()
                assert (update.put, update.hash) == ((), f"{0:032x}")

        run(main())


def test_a_stopping_server_says_goodbye(start: Callable[..., Running], tmp_path: Path) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        server.apply(*infrastructure())

        async def main() -> None:
            async with Network(server, tmp_path).connect("h1") as peer:
                await peer.update()
                stopping = asyncio.create_task(asyncio.to_thread(stack.close))
                assert await peer.closed() == 1001
                await stopping

        run(main())


def assertion(name: str, expect: str, protocol: str = "tcp") -> dict[str, Any]:
    spec = {"from": {"port": "web-1"}, "to": {"port": "web-2"}, "protocol": protocol, "expect": expect}
    return resource("Assertion", name, {**spec, **({"port": 80} if protocol == "tcp" else {})}, "red")


def test_probing_arms_the_far_end_and_then_sends(network: Network) -> None:
    async def source(peer: Peer, outcome: str) -> None:
        request = await peer.receive()
        while isinstance(request, wire.Update):
            await peer.report(request)
            request = await peer.receive()
        assert isinstance(request, wire.RunProbes)
        assert request.count == 2
        results = tuple(
            wire.ProbeResult(name, outcome, 2, 2 if outcome == "allowed" else 0, (150, 140), "red/web-2")  # type: ignore[arg-type]
            for name in request.assertions
        )
        await peer.send(wire.ProbeResults(request.request, results))

    async def far_end(peer: Peer) -> tuple[str, ...]:
        request = await peer.receive()
        while isinstance(request, wire.Update):
            await peer.report(request)
            request = await peer.receive()
        assert isinstance(request, wire.ArmResponders)
        assert request.duration_us > 1_000_000
        await peer.send(wire.Armed(request.request))
        return request.assertions

    async def main() -> None:
        documents = [assertion("opens", "allowed"), assertion("never", "denied"), assertion("pings", "allowed", "icmp")]
        await asyncio.to_thread(network.server.apply, *documents)
        async with network.connect("h1") as near, network.connect("h2") as far:
            await near.report(await near.update())
            await far.report(await far.update())
            asked = asyncio.create_task(network.call("POST", "/v1/probe", {"tenant": "red", "count": 2}))
            _, armed = await asyncio.gather(source(near, "allowed"), far_end(far))
            results = {one["name"]: one for one in (await asked)["results"]}
            assert armed == ("red/never", "red/opens")  # nothing is armed for what the kernel answers by itself
            assert {name: one["holds"] for name, one in results.items()} == {
                "opens": True, "never": False, "pings": True
            }  # fmt: skip
            assert results["opens"]["rttUs"] == [150, 140]
            assert (results["never"]["expect"], results["never"]["outcome"]) == ("denied", "allowed")

        async def written() -> bool:
            document = await network.call("GET", "/v1/resources/Assertion/red/never")
            conditions = {one["type"]: one for one in document.get("status", {}).get("conditions", [])}
            return "Holds" in conditions and conditions["Holds"]["status"] == "False"

        await network.until(written)
        # Without agents nothing can be said, and an older finding stays.
        answer = (await network.call("POST", "/v1/probe", {"assertions": [{"tenant": "red", "name": "opens"}]}))[
            "results"
        ]
        assert (answer[0]["outcome"], answer[0]["holds"]) == ("error", False)
        assert "h2 is not connected" in answer[0]["detail"]
        metrics = await asyncio.to_thread(network.server.call, "GET", "/metrics")
        assert b'suanwang_controller_probes_total{holds="yes",outcome="allowed"} 2.0' in metrics.body
        for document in documents:
            await network.call("DELETE", f"/v1/resources/Assertion/red/{document['metadata']['name']}")

    run(main())


def test_the_version_is_told(network: Network) -> None:
    assert network.server.call("GET", "/openapi.json", token="").json["info"]["version"] == __version__
