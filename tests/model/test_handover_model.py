"""An epoch has one successor and no price after its end, within the bounds; mistakes are seen."""

import pytest
import z3

from testnet.model.certificates import Bounds, Id
from testnet.model.handover import EndMistake, Handover, find_second_end
from testnet.model.mistakes import Mistake
from testnet.model.solving import find_run


@pytest.mark.parametrize("bounds", [Bounds(4, 8), Bounds(5, 6), Bounds(7, 6)], ids=str)
def test_an_epoch_has_one_end(bounds: Bounds) -> None:
    assert find_second_end(bounds) is None


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [Bounds(4, 12), Bounds(7, 9), Bounds(10, 8)], ids=str)
def test_an_epoch_has_one_end_in_longer_runs(bounds: Bounds) -> None:
    assert find_second_end(bounds) is None


@pytest.mark.parametrize("left_out", EndMistake, ids=lambda one: one.name)
def test_each_rule_of_the_end_is_needed(left_out: EndMistake) -> None:
    assert find_second_end(Bounds(4, 4), left_out=left_out) is not None


@pytest.mark.parametrize("mistake", [Mistake.COMMIT_WITH_A_GAP, Mistake.TC_HIGHEST_NOT_CHECKED])
def test_what_breaks_finality_gives_an_epoch_two_ends(mistake: Mistake) -> None:
    assert find_second_end(Bounds(4, 6), mistake) is not None


def test_a_certified_block_beside_the_end_may_have_prices() -> None:
    """Block 1 decides and is final with 3, which is built on it; 2, beside them, has prices."""
    model = Handover(Bounds(4, 4))
    first, beside, final = Id(1, 0), Id(2, 0), Id(3, 0)
    found = z3.And(
        model.handed_over(first),
        model.final(final),
        model.extends[final, first],
        model.certified[beside],
        model.priced[beside],
        z3.Not(model.extends[beside, first]),
    )
    run = find_run(model, [found])
    assert run is not None
    assert list(run.breaches()) == []


def test_an_epoch_does_end_in_the_model() -> None:
    model = Handover(Bounds(4, 4))
    first, second = Id(1, 0), Id(2, 0)
    ends = z3.And(model.handed_over(first), model.priced[first], model.certified[second])
    run = find_run(model, [ends])
    assert run is not None
    assert first in run.final
    assert list(run.breaches()) == []
