"""Patient sockets are read together and in time; all others are served at once."""

import asyncio
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from node import patient_selector
from node.patient_selector import PatientSelector

READ = selectors.EVENT_READ


@pytest.fixture
def selector(monkeypatch: pytest.MonkeyPatch) -> Iterator[PatientSelector]:
    # Long enough that no slow machine takes patience for haste.
    monkeypatch.setattr(patient_selector, "PATIENCE_SECONDS", 1.0)
    made = PatientSelector()
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def names(ready: list[tuple[selectors.SelectorKey, int]]) -> list[str]:
    return sorted(key.data for key, _ in ready)


def test_what_comes_soon_after_waits_and_comes_together(
    selector: PatientSelector, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    (quotes, exchange), (more, other), (caller, client) = pairs
    for patient in (quotes, more):
        selector.mark(patient)
    for end, name in ((quotes, "quotes"), (more, "more"), (caller, "caller")):
        selector.register(end, READ, name)
    exchange.send(b"1")
    assert names(selector.select(30)) == ["quotes"], "whoever was quiet for long is read at once"
    quotes.recv(1)
    exchange.send(b"2")
    other.send(b"2")
    assert selector.select(0.05) == []
    client.send(b"a question")
    assert names(selector.select(30)) == ["caller"]
    caller.recv(100)
    assert names(selector.select(30)) == ["more", "quotes"]
    assert selector.get_key(quotes).data == "quotes"
    assert {key.data for key in selector.get_map().values()} >= {"quotes", "more", "caller"}


def test_patient_sockets_are_read_before_an_expected_moment(
    selector: PatientSelector,
    pairs: list[tuple[socket.socket, socket.socket]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patient_selector, "PATIENCE_SECONDS", 3600.0)
    (quotes, exchange), *_ = pairs
    selector.mark(quotes)
    selector.register(quotes, READ, "quotes")
    selector.expect(0.2)
    exchange.send(b"1")
    assert names(selector.select(30)) == ["quotes"]
    assert names(selector.select(30)) == ["quotes"], "it was not read yet"


def test_until_the_expected_moment_they_are_read_again_and_again(
    selector: PatientSelector,
    pairs: list[tuple[socket.socket, socket.socket]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patient_selector, "PATIENCE_SECONDS", 3600.0)
    monkeypatch.setattr(patient_selector, "LEAD_SECONDS", 3600.0)
    (quotes, exchange), *_ = pairs
    selector.mark(quotes)
    selector.register(quotes, READ, "quotes")
    selector.expect(1800)
    for _ in range(3):
        exchange.send(b"1")
        assert names(selector.select(30)) == ["quotes"]
        quotes.recv(1)


def test_in_a_flood_sockets_wait_less(
    selector: PatientSelector,
    pairs: list[tuple[socket.socket, socket.socket]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (quotes, exchange), *_ = pairs
    selector.mark(quotes)
    selector.register(quotes, READ, "quotes")
    monkeypatch.setattr(patient_selector, "PATIENCE_SECONDS", 0.01)
    exchange.send(b"12")
    assert names(selector.select(30)) == ["quotes"]
    quotes.recv(1)
    monkeypatch.setattr(patient_selector, "PATIENCE_SECONDS", 3600.0)
    assert names(selector.select(30)) == ["quotes"]
    assert selector.select(0) == []
    # What has gathered takes the loop long.
    time.sleep(0.05)
    assert names(selector.select(30)) == ["quotes"]


def test_a_number_that_another_file_has_by_now_is_not_patient(selector: PatientSelector) -> None:
    old, _other = socket.socketpair()
    number = old.fileno()
    selector.mark(old)
    old.close()
    new, peer = socket.socketpair()
    assert new.fileno() == number
    selector.register(new, READ, "new")
    for _ in range(3):
        peer.send(b"x")
        assert names(selector.select(30)) == ["new"]
        assert selector._patient.get_map() == {}
    selector.unregister(new)
    for end in (new, peer, _other):
        end.close()


def test_asyncio_runs_on_it(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    (here, there), *_ = pairs
    selector = PatientSelector()

    async def main() -> bytes:
        here.setblocking(False)
        selector.mark(here)
        reader, writer = await asyncio.open_connection(sock=here)
        there.sendall(b"one")
        got = await reader.readexactly(3)
        there.sendall(b"two")
        got += await reader.readexactly(3)
        writer.write(b"answer")
        await writer.drain()
        writer.close()
        return got

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(main()) == b"onetwo"
    assert there.recv(6) == b"answer"
