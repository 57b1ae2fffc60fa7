"""S1 and S2 hold of every run within the bounds, and of no less than what the rules demand."""

import pytest
import z3

from consensus.committee import quorum
from testnet.model import solving
from testnet.model.certificates import Bounds, Certificates, Id
from testnet.model.mistakes import Mistake
from testnet.model.solving import Undecided, find_breach

SEEN_FIRST = {
    Mistake.SMALL_QUORUM: ("S1", Bounds(5, 1)),
    Mistake.SIGNER_COUNTED_TWICE: ("S1", Bounds(4, 1)),
    Mistake.VIEW_NOT_SIGNED: ("S2", Bounds(4, 3)),
    Mistake.OVERLAPPING_GROUPS: ("S2", Bounds(4, 4)),
    Mistake.TC_OF_ANY_VIEW: ("S2", Bounds(4, 3)),
    Mistake.TC_HIGHEST_NOT_CHECKED: ("S2", Bounds(4, 3)),
    Mistake.NO_TC_NEEDED: ("S2", Bounds(4, 3)),
    Mistake.VOTE_TWICE: ("S1", Bounds(4, 1)),
    Mistake.VOTE_AFTER_TIMEOUT: ("S2", Bounds(4, 3)),
    Mistake.VOTE_BACKWARDS: ("S2", Bounds(4, 4)),
    Mistake.COMMIT_WITH_A_GAP: ("S2", Bounds(4, 3)),
    Mistake.HIGH_QC_LOST: ("S2", Bounds(4, 3)),
    Mistake.HIGH_QC_BY_LABEL: ("S2", Bounds(4, 4)),
}
"""What each mistake breaks, and the smallest bounds at which it does."""


@pytest.mark.parametrize(
    "bounds", [Bounds(4, 12), Bounds(5, 9), Bounds(7, 9), Bounds(10, 8)], ids=str
)
def test_reports_are_unique_and_final(bounds: Bounds) -> None:
    assert find_breach(bounds) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(4, 16),
        Bounds(4, 8, ids=3),
        Bounds(5, 12),
        Bounds(6, 10),
        Bounds(7, 11),
        Bounds(7, 6, ids=3),
        Bounds(10, 10),
        Bounds(13, 6),
    ],
    ids=str,
)
def test_reports_are_unique_and_final_in_longer_runs(bounds: Bounds) -> None:
    assert find_breach(bounds) is None


@pytest.mark.parametrize("mistake", Mistake, ids=lambda mistake: mistake.name)
def test_each_mistake_is_seen(mistake: Mistake) -> None:
    promise, bounds = SEEN_FIRST[mistake]
    run = find_breach(bounds, mistake)
    assert run is not None
    assert any(breach.startswith(promise) for breach in run.breaches()), run.text()
    if bounds.views > 1:
        assert find_breach(Bounds(bounds.n, bounds.views - 1), mistake) is None


@pytest.mark.parametrize("n", [5, 6, 8, 9])
def test_a_quorum_of_2f_1_is_too_small_unless_n_is_3f_1(n: int) -> None:
    run = find_breach(Bounds(n, 1), Mistake.SMALL_QUORUM)
    assert run is not None
    assert run.q < quorum(n)


@pytest.mark.parametrize("n", [4, 7, 10])
def test_a_quorum_of_2f_1_is_right_if_n_is_3f_1(n: int) -> None:
    assert find_breach(Bounds(n, 4), Mistake.SMALL_QUORUM) is None


def test_a_solver_that_gives_up_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solving, "TIME_LIMIT_MS", 1)
    with pytest.raises(Undecided):
        find_breach(Bounds(10, 8))


def test_one_certificate_a_view_whatever_the_names_are() -> None:
    # The proof above lets the certified blocks of a view come first; here they need not.
    model = Certificates(Bounds(4, 4))
    assert (
        solving.find_run(model, [z3.And(model.certified[Id(2, 1)], model.breaks_final())]) is None
    )
    assert solving.find_run(model, [model.breaks_unique()]) is None
