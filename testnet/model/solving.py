"""Asking z3 whether the rules keep what is promised."""

from collections.abc import Iterable

import z3  # type: ignore[import-untyped]

from testnet.model.certificates import Bounds, Certificates, Formula, Report
from testnet.model.mistakes import Mistake
from testnet.model.run import Run

TIME_LIMIT_MS = 600_000


class Undecided(Exception):
    """The solver gave up: nothing is known, which is not good enough."""


def find_breach(bounds: Bounds, mistake: Mistake | None = None) -> Run | None:
    """Return a run that breaks S1 or S2; None proves that there is none within the bounds.

    Raises `Undecided` if the solver gives up.
    """
    model = Certificates(bounds, mistake)
    breach = z3.Or(model.breaks_unique(), model.breaks_final())
    return find_run(model, [*model.names(), breach])


def find_run(model: Certificates, wanted: Iterable[Formula]) -> Run | None:
    """Return a run as the rules allow it, with everything that is wanted and little besides."""
    solver = z3.SolverFor("QF_FD")
    solver.set("timeout", TIME_LIMIT_MS)
    solver.add(model.rules())
    solver.add(*wanted)
    if not _is_satisfiable(solver):
        return None
    return _run_of(model, _sparest(model, solver))


def _is_satisfiable(solver: z3.Solver) -> bool:
    result = solver.check()
    if result == z3.unknown:
        raise Undecided(solver.reason_unknown())
    return bool(result == z3.sat)


def _sparest(model: Certificates, solver: z3.Solver) -> z3.ModelRef:
    """Take away votes and timeouts as long as a solution is left."""
    solution = solver.model()
    signed = [*model.vote.values()]
    for reports in model.timeout.values():
        signed += reports.values()
    for share in signed:
        if not z3.is_true(solution.eval(share)):
            solver.add(z3.Not(share))
            continue
        solver.push()
        solver.add(z3.Not(share))
        if _is_satisfiable(solver):
            solution = solver.model()
        else:
            solver.pop()
            solver.add(share)
    return solution


def _run_of(model: Certificates, solution: z3.ModelRef) -> Run:
    def holds(formula: Formula) -> bool:
        return bool(z3.is_true(solution.eval(formula, model_completion=True)))

    def reports_of(reports: dict[Report, Formula]) -> tuple[Report, ...]:
        return tuple(report for report, said in reports.items() if holds(said))

    return Run(
        bounds=model.bounds,
        q=model.q,
        justify={
            block: next(choice for choice, chosen in choices.items() if holds(chosen))
            for block, choices in model.justify.items()
        },
        votes={
            block: tuple(m for m in model.members if holds(model.vote[m, block]))
            for block in model.blocks
        },
        timeouts={key: reports_of(reports) for key, reports in model.timeout.items()},
        certified=frozenset(
            block for block, certified in model.certified.items() if holds(certified)
        ),
        final=frozenset(block for block in model.blocks if holds(model.final(block))),
    )
