"""The view of a member against a model: certificates in any order, timers, restarts."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from consensus import effects as fx
from consensus.committee import Timing
from consensus.messages import Certificate

BASE_MS = 1000


class PacemakerMachine(RuleBasedStateMachine):
    """The model: the view is one more than the highest certificate, QC or TC, that came.

    `outcomes` are how the views ended that this life saw end, oldest first: True is a timeout.
    """

    bench: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self.b = self.bench(timing=Timing(base_timeout_ms=BASE_MS))
        self.certified = 0
        self.left = 0
        self.failures = 0
        self.last_by_timeout = False
        self.view = 1
        self.timer: fx.SetTimer | None = None
        self.durable = self.b.core.safety
        self.note(self.b.started)

    def note(self, effects: Sequence[Any]) -> None:
        entered = [e.view for e in effects if isinstance(e, fx.EnteredView)]
        assert entered == sorted(set(entered)), "only forwards"
        for effect in effects:
            match effect:
                case fx.SetTimer():
                    self.timer = effect
                case fx.Persist(safety=safety):
                    self.durable = safety

    def ends(self, view: int, by_timeout: bool) -> None:
        """Model how views up to this one end."""
        if view < self.view:
            return
        if by_timeout:
            self.failures += 1
        elif not self.last_by_timeout:
            self.failures = 0
        self.last_by_timeout = by_timeout
        self.view = view + 1

    def certify(self, view: int) -> None:
        self.certified = max(self.certified, view)
        self.ends(view, by_timeout=False)

    def leave(self, view: int, high: int) -> None:
        self.certify(high)
        if view >= self.view:
            self.left = view
            self.ends(view, by_timeout=True)

    def qc(self, view: int) -> Any:
        return self.b.make(view).qc if view else self.b.context.genesis_qc

    @rule(ahead=st.integers(-3, 4))
    def a_qc_comes(self, ahead: int) -> None:
        view = max(0, self.view + ahead)
        self.note(self.b.give(self.b.others[0], Certificate(self.qc(view), None)))
        self.certify(view)

    @rule(ahead=st.integers(-3, 4), below=st.integers(1, 5), beside=st.integers(0, 3))
    def a_tc_comes(self, ahead: int, below: int, beside: int) -> None:
        view = max(1, self.view + ahead)
        high = max(0, view - below)
        tc = self.b.tc(view, self.qc(high), high=max(0, high - beside))
        self.note(self.b.give(self.b.others[0], Certificate(self.qc(beside), tc)))
        self.certify(beside)
        self.leave(view, high)

    @rule(stale=st.booleans())
    def the_timer_rings(self, stale: bool) -> None:
        view = self.view - stale
        before = self.b.core.safety
        effects = self.b.core.on_timer(view, self.b.now_ms)
        self.note(effects)
        if stale:
            assert not effects
            assert self.b.core.safety is before
        else:
            (timeout,) = [e for e in effects if isinstance(e, fx.SendTimeout)]
            assert timeout.view == view

    @rule(ahead=st.integers(0, 3), high_below=st.integers(1, 3), count=st.integers(1, 3))
    def others_time_out(self, ahead: int, high_below: int, count: int) -> None:
        view = self.view + ahead
        high = max(0, view - high_below)
        for member in self.b.others[:count]:
            self.note(self.b.give(member, self.b.timeout(member, view, high, self.qc(high))))
        self.certify(high)

    @rule()
    def it_starts_again_from_what_is_durable(self) -> None:
        base = Timing(base_timeout_ms=BASE_MS)
        self.b = self.bench(timing=base, safety=msgspec.structs.replace(self.durable))
        qc_view = self.durable.high_qc.view
        tc_view = self.durable.high_tc.view if self.durable.high_tc is not None else 0
        self.certified, self.left = qc_view, tc_view
        self.view, self.failures, self.last_by_timeout = 0, 0, False
        self.ends(max(qc_view, tc_view), by_timeout=tc_view > qc_view)
        self.note(self.b.started)

    @invariant()
    def l1_the_view_follows_the_certificates_at_once(self) -> None:
        assert self.b.core.view == self.view

    @invariant()
    def the_highest_certificate_is_kept(self) -> None:
        assert self.b.core.high_qc.view == self.certified

    @invariant()
    def l1_a_timer_of_the_current_view_runs_within_bounds(self) -> None:
        assert self.timer is not None
        assert self.timer.view == self.view
        expected = min(BASE_MS * 3**self.failures // 2**self.failures, 8 * BASE_MS)
        assert self.timer.duration_ms == expected

    @invariant()
    def s4_nothing_signed_lies_ahead_of_the_view(self) -> None:
        safety = self.b.core.safety
        assert safety.last_voted_view <= self.b.core.view
        assert safety.last_timeout is None or safety.last_timeout[0] <= self.b.core.view


@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_view_of_a_member_against_a_model(bench: Callable[..., Any], thorough: bool) -> None:
    class Machine(PacemakerMachine):
        pass

    Machine.bench = staticmethod(bench)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=250 if thorough else 25,
            stateful_step_count=40 if thorough else 20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
