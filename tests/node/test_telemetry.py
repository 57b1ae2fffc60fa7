"""What a node remembers of its rounds for those who look: from real blocks, for real keys."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aggregation.state import AgreedState
from aggregation.status import Cause, Status
from node.api.view import Identity
from node.metrics import Metrics
from node.observer import Observer
from node.registration import MemberRecord
from node.running_epoch import RunningEpoch
from node.store import Store
from node.telemetry import Telemetry

NAMES = ("alice", "bob", "carol", "dave")


@pytest.fixture
def seen(tmp_path: Path, keyed: Any) -> Any:
    """Make a node's telemetry, and a way to certify rounds before it."""
    committee = keyed.Committee(4)
    members = tuple(
        MemberRecord(name, bls.public_key, bytes(96), identity.public_key, bytes(20), None)
        for name, bls, identity in zip(NAMES, committee.bls, committee.identities, strict=True)
    )
    epoch = RunningEpoch("test", committee.context, committee.table, members, committee.genesis)
    with Store.create(tmp_path / "data") as store:
        telemetry = Telemetry(
            epoch,
            Identity("0", "test", "0x", "0x", "alice", 0, "ab", 1),
            Observer(committee.table),
            store,
            Metrics(process=False),
            lambda *_: None,
            height=0,
        )

        def certify(
            view: int,
            *,
            signers: tuple[int, ...] = (0, 1, 2),
            observers: tuple[int, ...] = (0, 1, 2),
            change: Callable[[AgreedState], AgreedState] = lambda state: state,
        ) -> None:
            at_ms = keyed.GENESIS_MS + 1_000 * view
            block = committee.block(view, at_ms=at_ms, members=observers)
            outcome = committee.rule.apply(
                committee.genesis, committee.genesis.observed_at_ms, view, block.payload
            )
            telemetry.certified(
                block.header.id(committee.domain),
                block,
                committee.qc(block.header, signers),
                change(outcome.state),
                1_000_000,
            )

        yield telemetry, certify
        telemetry.close()


def halted(state: AgreedState) -> AgreedState:
    first, *others = state.feeds
    stopped = first._replace(status=Status.HALTED, cause=Cause.JUMP)
    return replace(state, feeds=(stopped, *others))


def test_it_remembers_who_took_part(seen: Any) -> None:
    telemetry, certify = seen
    certify(1, signers=(0, 1, 3), observers=(0, 1, 2, 3))
    certify(2, signers=(0, 1, 2), observers=(0, 1, 2))
    participation = telemetry.snapshot(not_ready=()).participation
    assert [(one.view, one.signers, one.observers) for one in participation.certificates] == [
        (1, 0b1011, 0b1111),
        (2, 0b0111, 0b0111),
    ]
    alice, _, carol, dave = participation.members
    assert (alice.last_signed_view, carol.last_signed_view, dave.last_signed_view) == (2, 2, 1)
    assert (dave.member, dave.last_observed_view) == ("dave", 1)
    # An older certificate that comes late is no news of anyone.
    certify(1, signers=(1, 2, 3))
    assert telemetry.snapshot(not_ready=()).participation == participation


def test_a_change_of_status_is_an_incident_and_a_beginning_is_none(seen: Any) -> None:
    telemetry, certify = seen
    certify(1)
    assert telemetry.snapshot(not_ready=()).incidents == ()
    certify(2, change=halted)
    certify(3, change=halted)
    certify(4)
    healed, broken = telemetry.snapshot(not_ready=()).incidents
    assert (broken.feed, broken.before, broken.status, broken.cause) == (
        "BTC/USD", "live", "halted", "jump",
    )  # fmt: skip
    assert (healed.before, healed.status) == ("halted", "live")
    assert healed.at_ms - broken.at_ms == 2_000


def test_a_feed_that_is_not_live_at_the_beginning_is_an_incident(seen: Any) -> None:
    telemetry, certify = seen
    certify(1, change=halted)
    (broken,) = telemetry.snapshot(not_ready=()).incidents
    assert (broken.feed, broken.before, broken.status) == ("BTC/USD", "", "halted")


def test_history_keeps_a_point_of_every_other_second_and_no_price_of_a_halt(seen: Any) -> None:
    telemetry, certify = seen
    for view in range(1, 6):
        certify(view, change=halted if view == 3 else lambda state: state)
    points = telemetry.snapshot(not_ready=()).history
    times = [point.observed_at_ms for point in points]
    assert [later - earlier for earlier, later in pairwise(times)] == [2_000, 2_000]
    assert points[0].prices[0] > 0
    assert points[1].prices[0] == 0
    assert points[1].prices[1] > 0
