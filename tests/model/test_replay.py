"""The rules of the model are those of the code: it passes every run and refuses every mistake."""

from collections.abc import Callable, Iterator
from itertools import combinations, product

import pytest
import z3

from consensus import rules
from consensus.committee import bitmap_of
from consensus.errors import InvalidMessage
from consensus.messages import QC, Block, Header
from testnet.model.certificates import GENESIS, Bounds, Certificates, Formula, Id, Justify
from testnet.model.mistakes import Mistake
from testnet.model.replay import (
    NO_SIGNATURE,
    Replay,
    model_context,
    proposal_of,
    timeout_certificate,
)
from testnet.model.solving import find_breach, find_run

REFUSED = {
    Mistake.SMALL_QUORUM: "a QC with 3 signers, 4 needed",
    Mistake.SIGNER_COUNTED_TWICE: "a QC with 2 signers, 3 needed",
    Mistake.VIEW_NOT_SIGNED: "skips a view without that view's TC",
    Mistake.OVERLAPPING_GROUPS: "a TC with 2 signers, 3 needed",
    Mistake.TC_OF_ANY_VIEW: "skips a view without that view's TC",
    Mistake.TC_HIGHEST_NOT_CHECKED: "extends less than its TC's signers reported",
    Mistake.NO_TC_NEEDED: "skips a view without that view's TC",
    Mistake.VOTE_TWICE: "may not vote for 1b",
    Mistake.VOTE_AFTER_TIMEOUT: "reports 0 and knows 1",
    Mistake.VOTE_BACKWARDS: "reports 0 and knows 1",
    Mistake.COMMIT_WITH_A_GAP: "1a is not final",
    Mistake.HIGH_QC_LOST: "reports 0 and knows 1",
    Mistake.HIGH_QC_BY_LABEL: "reports 1 and knows 2",
}
"""What the code says to the smallest run that shows a mistake.

Votes come before the timeout of their view here, so a vote that in truth came after it shows as a
report of less than the member knows.
"""


@pytest.mark.parametrize("mistake", Mistake, ids=lambda mistake: mistake.name)
def test_the_code_refuses_the_run_that_shows_a_mistake(mistake: Mistake) -> None:
    n = 5 if mistake is Mistake.SMALL_QUORUM else 4
    run = find_breach(Bounds(n, 4), mistake)
    assert run is not None
    refusals = list(Replay(run).refusals())
    assert refusals, run.text()
    run = next(r for v in range(1, 5) if (r := find_breach(Bounds(n, v), mistake)) is not None)
    assert any(REFUSED[mistake] in refusal for refusal in Replay(run).refusals()), run.text()


def _final_after_a_gap(model: Certificates) -> Formula:
    block, parent = Id(3, 0), Id(1, 0)
    return z3.And(model.justify[block][Justify(parent, 1)], model.final(block))


def _certified_siblings(model: Certificates) -> Formula:
    return z3.And(
        model.certified[Id(1, 0)],
        *(model.certified[Id(v, 0)] for v in (2, 3)),
        *(model.justify[Id(v, 0)][Justify(Id(1, 0), 1)] for v in (2, 3)),
    )


def _equivocation_with_a_certificate(model: Certificates) -> Formula:
    one, other = Id(2, 0), Id(2, 1)
    honest_votes = z3.Or([model.vote[member, other] for member in model.honest])
    same_parent = [model.justify[block][Justify(Id(1, 0), 1)] for block in (one, other)]
    return z3.And(model.certified[one], honest_votes, model.final(one), *same_parent)


def _qc_above_every_report(model: Certificates) -> Formula:
    # Every possible TC of view 3 reports the genesis alone, and its QC is of view 2.
    silent = [
        model.timeout[m, 3][report] for m in model.members for report in _above_genesis(model)
    ]
    chosen = model.justify[Id(4, 0)][Justify(Id(2, 0), 2)]
    return z3.And(model.certified[Id(4, 0)], chosen, *map(z3.Not, silent))


def _above_genesis(model: Certificates) -> Iterator[object]:
    return (report for report in model.timeout[0, 3] if report.high_qc_view > 0)


def _three_views_lost(model: Certificates) -> Formula:
    return z3.And(model.certified[Id(4, 0)], model.justify[Id(4, 0)][Justify(GENESIS, 0)])


@pytest.mark.parametrize("n", [4, 5, 7])
@pytest.mark.parametrize(
    "wanted",
    [
        _final_after_a_gap,
        _certified_siblings,
        _equivocation_with_a_certificate,
        _qc_above_every_report,
        _three_views_lost,
    ],
)
def test_what_the_rules_allow_happens_and_passes_the_code(
    wanted: Callable[[Certificates], Formula], n: int
) -> None:
    model = Certificates(Bounds(n, 4))
    run = find_run(model, [*model.entries(), wanted(model)])
    assert run is not None
    assert list(run.breaches()) == []
    assert list(Replay(run).refusals()) == [], run.text()


@pytest.mark.parametrize("view", [1, 2, 3])
def test_a_block_is_justified_in_the_model_iff_it_is_in_the_code(view: int) -> None:
    model = Certificates(Bounds(4, view, ids=1))
    context = model_context(4)
    choices = [None, *range(view - 1)]
    for justify_view, reports in product(range(view), product(choices, repeat=4)):
        said = {member: high for member, high in enumerate(reports) if high is not None}
        facts = [
            (share, z3.BoolVal(said.get(member) == report.high_qc_view))
            for (member, of), shares in model.timeout.items()
            if of == view - 1
            for report, share in shares.items()
        ]
        formula = model.justified(view, justify_view)
        in_model = z3.is_true(z3.simplify(z3.substitute(formula, *facts)))
        qc = context.genesis_qc
        if justify_view > 0:
            header = Header(justify_view, 1, bytes(32), bytes(32))
            qc = QC(header, bitmap_of([0, 1, 2]), NO_SIGNATURE)
        block = Block(Header(view, 2, bytes(32), bytes(32)), 1, bytes(32), b"", qc)
        tcs = [
            timeout_certificate(view - 1, {m: said[m] for m in signers}, qc)
            for size in (3, 4)
            for signers in combinations(said, size)
        ]
        in_code = False
        for tc in [None, *tcs]:
            try:
                rules.check_proposal(context, context.leader(view), proposal_of(block, tc))
                in_code = True
            except InvalidMessage:
                continue
        assert in_model == in_code, (view, justify_view, said)
