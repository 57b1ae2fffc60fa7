"""The mesh between processes: what happens when the other one freezes or dies."""

import hashlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
import trio
from nacl.signing import SigningKey

from node.network.address import PeerAddress
from node.network.limits import Limits
from node.network.mesh import Mesh, PeerStatus

MEMBER = Path(__file__).with_name("mesh_member.py")
SEEDS = [hashlib.sha256(b"process %d" % member).digest() for member in range(2)]
KEYS = [bytes(SigningKey(seed).verify_key) for seed in SEEDS]


@asynccontextmanager
async def member(listen: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """Run member 1 in a process that is killed at the end; yield it and its address."""
    arguments = [SEEDS[1].hex(), KEYS[0].hex(), listen]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [sys.executable, "-W", "ignore", MEMBER, *arguments],
            stdout=PIPE,
            stderr=DEVNULL,
            stdin=PIPE,
            check=False,
            cwd=MEMBER.parents[2],
            env={"PYTHONPATH": str(MEMBER.parents[2])},
        )
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        address = b""
        while not address.endswith(b"\n"):
            address += await process.stdout.receive_some()
        try:
            yield process, address.decode().strip()
        finally:
            process.kill()


@asynccontextmanager
async def mesh_to(address: str) -> AsyncIterator[Mesh]:
    async with trio.open_nursery() as nursery:
        mesh = Mesh(
            identity_seed=SEEDS[0],
            me=0,
            peers={1: PeerAddress(KEYS[1], address)},
            listen="/ip4/127.0.0.1/tcp/0",
            limits=Limits(heartbeat_seconds=0.2, silence_seconds=1.0, redial_seconds_max=0.2),
        )
        await nursery.start(mesh.run)
        yield mesh
        nursery.cancel_scope.cancel()


async def until(mesh: Mesh, condition: Callable[[PeerStatus], bool]) -> None:
    while not condition(mesh.status()[0]):  # noqa: ASYNC110 -- it has no event
        await trio.sleep(0.01)


async def echo(mesh: Mesh, frame: bytes) -> None:
    await until(mesh, lambda status: status.connected)
    assert mesh.send(1, frame)
    assert await mesh.receive() == (1, frame)


@pytest.mark.slow
async def test_a_frozen_member_is_noticed_and_comes_back() -> None:
    with trio.fail_after(60):
        async with member("/ip4/127.0.0.1/tcp/0") as (process, address), mesh_to(address) as mesh:
            await echo(mesh, b"before")
            process.send_signal(signal.SIGSTOP)
            with trio.fail_after(10):
                await until(mesh, lambda status: not status.connected)
            assert "silent for" in mesh.status()[0].last_error
            process.send_signal(signal.SIGCONT)
            await echo(mesh, b"after")


@pytest.mark.slow
async def test_a_mesh_ends_though_a_member_is_frozen() -> None:
    with trio.fail_after(60):
        async with member("/ip4/127.0.0.1/tcp/0") as (process, address):
            async with mesh_to(address) as mesh:
                await echo(mesh, b"before")
                process.send_signal(signal.SIGSTOP)
                while mesh.send(1, bytes(100_000)):
                    await trio.lowlevel.checkpoint()
            # The deadline above is what fails if leaving hangs on the frozen member.


@pytest.mark.slow
async def test_a_killed_member_is_noticed_and_dialed_again() -> None:
    with trio.fail_after(60):
        async with member("/ip4/127.0.0.1/tcp/0") as (process, address), mesh_to(address) as mesh:
            await echo(mesh, b"before")
            process.kill()
            await process.wait()
            await until(mesh, lambda status: not status.connected)
            async with member(address):
                await echo(mesh, b"after")
