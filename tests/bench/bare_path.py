"""The happy path of the agreement and nothing else: what the real nodes are measured against.

n processes over plain TCP send the messages of the real protocol in its own encoding and do its
cryptography, each signature made and verified once: Ed25519 observations, proposals with a quorum
of them and the last certificate, BLS votes, one aggregate and one verification per member. Up to
ten members, votes and observations go to everyone, beyond that to the collectors. What was voted
for is made durable before the vote or the proposal leaves, as no member can do without: one small
write into a file and one fdatasync. There are no feeds, no aggregation of prices, no store, no
journal, no encryption of the links, no timeouts and no defence against anyone.

    python tests/bench/bare_path.py N --rate ROUNDS_PER_SECOND --warm-up SECONDS --seconds SECONDS

prints one JSON object: the latencies in milliseconds between a member's own observation and its
certificate, the rounds, and the CPU milliseconds of all processes in the measured time.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import msgspec
import trio
from blspy import G2Element, PopSchemeMPL
from nacl.signing import SigningKey

from aggregation.observation import Entry, ObservationBody, observation_digest
from consensus.committee import bitmap_of, quorum, signers_of
from consensus.core import SMALL_COMMITTEE_MAX
from consensus.digests import keccak, proposal_digest
from consensus.messages import (
    QC,
    Block,
    Certificate,
    Header,
    Message,
    ObservationMessage,
    Observed,
    Proposal,
    Vote,
    decode,
    encode,
)

DOMAIN = keccak(b"bare path")
GENESIS = QC(Header(0, 0, bytes(32), bytes(32)), bytes(32), bytes(96))
FEEDS = 4
START_SECONDS_MAX = 30.0
CONNECT_NS = 2_000_000_000
"""So long before the first round, when all processes are ready, they connect."""


def bls_key(member: int) -> object:
    return PopSchemeMPL.key_gen(sha256(b"bls %d" % member).digest())


def ed25519_key(member: int) -> SigningKey:
    return SigningKey(sha256(b"ed25519 %d" % member).digest())


class Member:
    """One member: what it receives, knows and sends."""

    def __init__(self, me: int, n: int, interval_ms: int, votes: Path) -> None:
        self.me, self.n, self.q = me, n, quorum(n)
        self.interval_ms = interval_ms
        self.secret, self.identity = bls_key(me), ed25519_key(me)
        self.bls = [bls_key(member).get_g1() for member in range(n)]
        self.ed25519 = [ed25519_key(member).verify_key for member in range(n)]
        self.small = n <= SMALL_COMMITTEE_MAX
        self.outgoing = [bytearray() for _ in range(n)]
        self.waiting = [trio.Event() for _ in range(n)]
        self.observed: dict[int, dict[int, Observed]] = defaultdict(dict)
        self.shares: dict[int, dict[int, bytes]] = defaultdict(dict)
        self.blocks: dict[int, Block] = {}
        self.qcs: dict[int, QC] = {0: GENESIS}
        self.sent_ns: dict[int, int] = {}
        self.certified: list[tuple[int, int, int]] = []
        """View, time of the certificate and time since the own observation (monotonic ns)."""
        self.nursery: trio.Nursery
        self.votes = os.open(votes, os.O_WRONLY | os.O_CREAT, 0o600)

    def persist(self, header: Header) -> None:
        """Make durable what is voted for, in the place of what was before."""
        os.pwrite(self.votes, msgspec.msgpack.encode(header), 0)
        os.fdatasync(self.votes)

    def leader(self, view: int) -> int:
        return view % self.n

    def send(self, to: set[int] | range, message: Message) -> None:
        frame = encode(message)
        for member in to:
            if member != self.me:
                self.outgoing[member] += len(frame).to_bytes(4, "big") + frame
                self.waiting[member].set()

    async def observe(self, view: int, not_before_ms: int) -> None:
        await trio.sleep(max(0, not_before_ms - time.time_ns() // 1_000_000) / 1000)
        entries = tuple(Entry(10**9 + feed, 10**5, 0) for feed in range(FEEDS))
        body = ObservationBody(time.time_ns() // 1_000_000, entries)
        digest = observation_digest(DOMAIN, view, self.me, body)
        observed = Observed(view, self.me, body.encode(), self.identity.sign(digest).signature)
        self.sent_ns[view] = time.monotonic_ns()
        to = range(self.n) if self.small else {self.leader(view)}
        self.send(to, ObservationMessage(observed))
        self.observed[view][self.me] = observed
        self.try_propose(view)

    def check_observed(self, observed: Observed) -> None:
        if self.observed[observed.view].get(observed.member) != observed:
            body = ObservationBody.decode(observed.body)
            digest = observation_digest(DOMAIN, observed.view, observed.member, body)
            self.ed25519[observed.member].verify(digest, observed.signature)
            self.observed[observed.view][observed.member] = observed

    def try_propose(self, view: int) -> None:
        ready = len(self.observed[view]) >= self.q and view - 1 in self.qcs
        if self.leader(view) != self.me or view in self.blocks or not ready:
            return
        chosen = [self.observed[view][member] for member in sorted(self.observed[view])]
        payload = msgspec.msgpack.encode(chosen[: self.q])
        justify = self.qcs[view - 1]
        block = Block(self.header(view, payload, justify), view, bytes(32), payload, justify)
        block_id = block.header.id(DOMAIN)
        self.persist(block.header)
        share = bytes(PopSchemeMPL.sign(self.secret, block_id))
        signature = self.identity.sign(proposal_digest(block_id)).signature
        self.send(range(self.n), Proposal(block, None, share, signature))
        self.accept(block)
        self.on_share(self.me, block.header, share)

    def header(self, view: int, payload: bytes, justify: QC) -> Header:
        chosen = msgspec.msgpack.decode(payload, type=list[Observed])
        times = sorted(ObservationBody.decode(o.body).observed_at_ms for o in chosen)
        link = keccak(justify.header.id(DOMAIN) + keccak(payload))
        return Header(view, times[(len(times) - 1) // 2], keccak(payload), link)

    def accept(self, block: Block) -> None:
        self.blocks[block.view] = block
        not_before_ms = block.header.observed_at_ms + self.interval_ms
        self.nursery.start_soon(self.observe, block.view + 1, not_before_ms)
        for known in (self.observed, self.shares, self.blocks, self.qcs, self.sent_ns):
            for old in [view for view in known if view < block.view - 4]:
                del known[old]

    def handle(self, sender: int, message: Message) -> None:
        match message:
            case ObservationMessage(observed=observed):
                self.check_observed(observed)
                self.try_propose(observed.view)
            case Proposal(block=block, vote=share, signature=signature):
                self.on_proposal(sender, block, share, signature)
            case Vote(header=header, share=share):
                self.on_share(sender, header, share)
            case Certificate(qc=qc):
                self.check_qc(qc)
            case _:
                raise AssertionError("no such message on the happy path")

    def on_proposal(self, sender: int, block: Block, share: bytes, signature: bytes) -> None:
        block_id = block.header.id(DOMAIN)
        self.ed25519[self.leader(block.view)].verify(proposal_digest(block_id), signature)
        for observed in msgspec.msgpack.decode(block.payload, type=list[Observed]):
            self.check_observed(observed)
        self.check_qc(block.justify)
        assert block.header == self.header(block.view, block.payload, block.justify)
        self.persist(block.header)
        vote = bytes(PopSchemeMPL.sign(self.secret, block_id))
        collectors = {self.leader(block.view), self.leader(block.view + 1)}
        self.send(range(self.n) if self.small else collectors, Vote(block.header, vote))
        self.accept(block)
        self.on_share(sender, block.header, share)
        if self.small or self.me in collectors:
            self.on_share(self.me, block.header, vote)

    def on_share(self, signer: int, header: Header, share: bytes) -> None:
        view = header.view
        if view in self.qcs:
            return
        shares = self.shares[view]
        shares[signer] = share
        collector = self.small or self.me in (self.leader(view), self.leader(view + 1))
        if len(shares) == self.q and collector:
            aggregate = PopSchemeMPL.aggregate([G2Element.from_bytes(s) for s in shares.values()])
            self.check_qc(QC(header, bitmap_of(list(shares)), bytes(aggregate)))
            if not self.small and self.leader(view) == self.me:
                self.send(range(self.n), Certificate(self.qcs[view], None))

    def check_qc(self, qc: QC) -> None:
        """Verify a certificate, unless one of this view is held already."""
        if qc.view in self.qcs:
            return
        keys = [self.bls[signer] for signer in signers_of(qc.bitmap)]
        aggregate = G2Element.from_bytes(qc.aggregate)
        assert PopSchemeMPL.fast_aggregate_verify(keys, qc.header.id(DOMAIN), aggregate)
        self.qcs[qc.view] = qc
        now_ns = time.monotonic_ns()
        if qc.view in self.sent_ns:
            self.certified.append((qc.view, now_ns, now_ns - self.sent_ns[qc.view]))
        self.try_propose(qc.view + 1)

    async def write(self, member: int, stream: trio.SocketStream) -> None:
        await stream.send_all(bytes([self.me]))
        while True:
            await self.waiting[member].wait()
            self.waiting[member] = trio.Event()
            data, self.outgoing[member] = self.outgoing[member], bytearray()
            await stream.send_all(data)

    async def read(self, stream: trio.SocketStream) -> None:
        sender = (await stream.receive_some(1))[0]
        received = bytearray()
        async for chunk in stream:
            received += chunk
            while len(received) >= 4:
                end = 4 + int.from_bytes(received[:4], "big")
                if len(received) < end:
                    break
                frame = bytes(received[4:end])
                del received[:end]
                self.handle(sender, decode(frame))

    async def run(self, listener: socket.socket, ports: list[int], window: "Window") -> None:
        served = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        async with trio.open_nursery() as self.nursery:
            for member, port in enumerate(ports):
                if member != self.me:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    self.nursery.start_soon(self.write, member, stream)
            self.nursery.start_soon(trio.serve_listeners, self.read, [served])
            await sleep_until(window.start_ns)
            self.nursery.start_soon(self.observe, 1, 0)
            await sleep_until(window.begin_ns)
            cpu_ns = time.process_time_ns()
            await sleep_until(window.end_ns)
            cpu_ns = time.process_time_ns() - cpu_ns
            self.nursery.cancel_scope.cancel()
        inside = [c for c in self.certified if window.begin_ns <= c[1] < window.end_ns]
        result = {
            "views": [view for view, _, _ in inside],
            "latency_ms": [latency_ns / 1e6 for _, _, latency_ns in inside],
            "cpu_ms": cpu_ns / 1e6,
        }
        print(json.dumps(result))


class Window(msgspec.Struct):
    """When to start, and between which moments to measure (monotonic ns, one for all processes)."""

    start_ns: int
    begin_ns: int
    end_ns: int


async def sleep_until(monotonic_ns: int) -> None:
    await trio.sleep(max(0, monotonic_ns - time.monotonic_ns()) / 1e9)


def measure(n: int, rate: float, warm_up_s: float, seconds: float) -> dict[str, object]:
    """Run n members and return what they measured together."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=n) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in listeners]
    members = []
    votes = tempfile.TemporaryDirectory(prefix="didyma-bare-")
    try:
        for me, listener in enumerate(listeners):
            place = [listener.fileno(), ports, f"{votes.name}/{me}"]
            job = json.dumps([me, n, round(1000 / rate), *place])
            members.append(
                subprocess.Popen(
                    [sys.executable, __file__, "--member", job],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=[listener.fileno()],
                )
            )
        for member in members:
            member.stdout.readline()  # It is ready.
        start_ns = time.monotonic_ns() + CONNECT_NS
        begin_ns = start_ns + round(warm_up_s * 1e9)
        window = Window(start_ns, begin_ns, begin_ns + round(seconds * 1e9))
        for member in members:
            member.stdin.write(msgspec.json.encode(window) + b"\n")
            member.stdin.flush()
        patience_s = (window.end_ns - time.monotonic_ns()) / 1e9 + START_SECONDS_MAX
        deadline = time.monotonic() + patience_s
        results = []
        for member in members:
            output, _ = member.communicate(timeout=max(0.1, deadline - time.monotonic()))
            results.append(json.loads(output))
    finally:
        for member in members:
            member.kill()
            member.wait()
        for listener in listeners:
            listener.close()
        votes.cleanup()
    return {
        "n": n,
        "rounds": len({view for result in results for view in result["views"]}),
        "latency_ms": sorted(ms for result in results for ms in result["latency_ms"]),
        "cpu_ms": sum(result["cpu_ms"] for result in results),
    }


def serve(job: str) -> None:
    """Be one member's process: say that it is ready, then take the window."""
    me, n, interval_ms, descriptor, ports, votes = json.loads(job)
    listener = socket.socket(fileno=descriptor)
    member = Member(me, n, interval_ms, Path(votes))
    print("ready", flush=True)
    window = msgspec.json.decode(sys.stdin.readline(), type=Window)
    trio.run(member.run, listener, ports, window)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the bare happy path over plain TCP.")
    parser.add_argument("n", type=int)
    parser.add_argument("--rate", type=float, default=4.0, help="rounds a second")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before measuring")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds to measure")
    given = parser.parse_args()
    print(json.dumps(measure(given.n, given.rate, given.warm_up, given.seconds)))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    if sys.argv[1:2] == ["--member"]:
        serve(sys.argv[2])
    else:
        main()
