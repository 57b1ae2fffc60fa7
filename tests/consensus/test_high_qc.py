"""The highest certificate ever seen is never lost, however it came."""

from collections.abc import Callable
from typing import Any

import pytest

from consensus import effects as fx
from consensus.messages import Certificate

Bench = Callable[..., Any]
Of = Callable[..., list[Any]]


def test_the_highest_certificate_is_not_the_newest_to_come(bench: Bench, of: Of) -> None:
    b = bench()
    one, two = b.chain(2)
    b.core.on_certificate_message(b.others[0], Certificate(two.qc, None), b.now_ms)
    b.core.on_certificate_message(b.others[1], Certificate(one.qc, None), b.now_ms)
    assert b.core.high_qc == two.qc
    (timeout,) = of(b.core.on_timer(3, b.now_ms), fx.SendTimeout)
    assert (timeout.high_qc_view, timeout.qc) == (2, two.qc)


@pytest.mark.parametrize("beside", ["certificate", "proposal", "timeout"])
def test_the_certificate_within_a_tc_is_taken_over(bench: Bench, of: Of, beside: str) -> None:
    b = bench()
    one, two = b.chain(2)
    tc = b.tc(4, two.qc, high=0)
    sender = b.others[0]
    if beside == "certificate":
        b.give(sender, Certificate(b.context.genesis_qc, tc))
    elif beside == "timeout":
        b.give(sender, b.timeout(sender, 5, 0, tc=tc))
    else:
        # Its signers reported less, so the block need not extend what comes with the TC.
        b.propose(b.make(5, one), tc)
    assert (b.core.view, b.core.high_qc) == (5, two.qc)
    (timeout,) = of(b.core.on_timer(5, b.now_ms), fx.SendTimeout)
    assert timeout.high_qc_view == 2
