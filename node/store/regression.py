"""The last line of defence against a forgotten signature (S4), whatever the core asks for."""

from consensus.safety import SafetyState
from node.store.errors import SafetyRegression


def refuse_regression(stored: SafetyState, new: SafetyState) -> None:
    """Raise `SafetyRegression` if the new state forgets what the stored one remembers.

    It may only move forwards: views never fall, within one view neither the vote nor the timeout
    changes, and in an epoch that is closed nothing does that is signed.
    """
    for name in ("last_voted_view", "last_proposed_view"):
        if getattr(new, name) < getattr(stored, name):
            raise SafetyRegression(
                f"{name} would fall from {getattr(stored, name)} to {getattr(new, name)}"
            )
    if new.last_voted_view == stored.last_voted_view and new.last_vote != stored.last_vote:
        raise SafetyRegression(f"the vote in view {stored.last_voted_view} would change")
    if stored.last_timeout is not None:
        if new.last_timeout is None or new.last_timeout[0] < stored.last_timeout[0]:
            raise SafetyRegression(f"the timeout of view {stored.last_timeout[0]} would be lost")
        if (
            new.last_timeout[0] == stored.last_timeout[0]
            and new.last_timeout != stored.last_timeout
        ):
            raise SafetyRegression(f"the timeout of view {stored.last_timeout[0]} would change")
    if new.high_qc.view < stored.high_qc.view:
        raise SafetyRegression(
            f"the high QC would fall from view {stored.high_qc.view} to {new.high_qc.view}"
        )
    if stored.high_tc is not None and (
        new.high_tc is None or new.high_tc.view < stored.high_tc.view
    ):
        raise SafetyRegression(f"the high TC of view {stored.high_tc.view} would be lost")
    if stored.closed and not new.closed:
        raise SafetyRegression("a closed epoch would be opened again")
    if stored.closed and _signed(new) != _signed(stored):
        raise SafetyRegression("something would be signed in a closed epoch")


def _signed(safety: SafetyState) -> tuple[object, ...]:
    return (
        safety.last_voted_view,
        safety.last_vote,
        safety.last_timeout,
        safety.last_proposed_view,
    )
