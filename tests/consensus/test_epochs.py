"""S5: two epochs may run in one process, and nothing of one counts in the other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from consensus import effects as fx
from consensus.core import Core, genesis_checkpoint, genesis_safety
from testnet.stub_signatures import GENESIS_STATE

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def core_of_next_epoch(b: Any) -> Core:
    context = replace(b.context, epoch=b.context.epoch + 1)
    root = genesis_checkpoint(context, GENESIS_STATE)
    core = Core(context, b.me, b.rule, genesis_safety(context), root)
    core.start((), b.now_ms)
    return core


def test_s5_votes_are_counted_in_their_own_epoch(bench: Bench, of: Of) -> None:
    old = bench()
    new = core_of_next_epoch(old)
    made = old.make(1)
    one, two, three = old.others
    for member in (one, two):
        assert not of(old.give(member, old.vote(member, made)), fx.CertifyVotes)
    # The same header, as a liar would send it: under another D it has another id.
    assert not of(new.on_vote(three, old.vote(three, made), old.now_ms), fx.CertifyVotes)
    assert of(old.give(three, old.vote(three, made)), fx.CertifyVotes)


def test_s5_timeouts_are_counted_in_their_own_epoch(bench: Bench, of: Of) -> None:
    old = bench()
    new = core_of_next_epoch(old)
    one, two, three = old.others
    for member in (one, two):
        old.give(member, old.timeout(member, 1, 0))
    genesis = new.high_qc
    effects = new.on_timeout(three, old.timeout(three, 1, 0, genesis), old.now_ms)
    assert not of(effects, fx.SendTimeout, fx.CertifyTimeouts)
    assert not of(new.on_timer(1, old.now_ms), fx.CertifyTimeouts)
