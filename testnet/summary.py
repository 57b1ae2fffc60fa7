"""What a run came to: one JSON object, or a text for people."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from node.errors import OperatorError
from node.journal import Entry, read_journal
from testnet.audit.verdict import Verdict
from testnet.audit.violation import Violation
from testnet.cluster import Options, Run
from testnet.deployment import Deployment, timing_for
from testnet.measures import Rounds, certificate_to_chain, rounds_of, triggers_of
from testnet.personas.catalogue import PERSONAS
from testnet.quantiles import quantile
from testnet.resumption import GRACE_MS, Resumption, resumption_of


class Quantiles(Struct, frozen=True):
    """Two quantiles; None without any sample."""

    p50: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantiles":
        """Return the quantiles of these values."""
        return cls(quantile(values, 50), quantile(values, 99))


class MiddleAndMost(Struct, frozen=True):
    """The median and the maximum; None without any sample."""

    p50: float | None
    max: float | None


class Latencies(Struct, frozen=True):
    """In milliseconds.

    - `tick_to_observation`: of the newest quote in a node's observation, as the nodes measure it:
      the median of their p50, the greatest of their p99.
    - `observation_to_certificate`: from a node's observation for a view to its certificate there.
    - `certificate_to_chain`: from the first certificate of a view to the moment an onlooker saw it
      stored on the chain.
    """

    tick_to_observation: Quantiles
    observation_to_certificate: Quantiles
    certificate_to_chain: Quantiles


class Summary(Struct, frozen=True):
    """The last line of `didyma testnet --json`. `ok` speaks of safety and correctness only.

    `rounds_per_second` and `longest_gap_ms` are of the time from the first live prices to the stop,
    `rounds_certified` and `rounds_committed` of the whole run. `resumed_ms` is None if nobody was
    taken away. `warnings` are what nodes said of feeds and sources while it ran, by feed. What
    `personas` did against the rules is in `offences_seen`, and no violation.
    """

    nodes: int
    rounds_certified: int
    rounds_committed: int
    rounds_per_second: float | None
    updates_on_chain: int
    pushes_by_trigger: dict[str, int]
    latency_ms: Latencies
    gas_per_push: MiddleAndMost
    deployment_gas: int | None
    faults_injected: int
    personas: dict[str, str]
    offences_seen: dict[str, dict[str, int]]
    resumed_ms: Resumption | None
    longest_gap_ms: int | None
    price_error_bp: MiddleAndMost
    answers_by_status: dict[str, int]
    warnings: dict[str, tuple[str, ...]]
    rate: float
    base_timeout_ms: int
    chain: str
    seed: int
    duration_s: float
    directory: str | None
    violations: tuple[Violation, ...]
    violations_by_kind: dict[str, int]
    ok: bool


def summarise(
    options: Options,
    run: Run,
    deployment: Deployment | None,
    journals: Sequence[Sequence[Entry]],
    verdict: Verdict,
    failure: Exception | None = None,
    *,
    kept: bool,
) -> Summary:
    """Join the verdict with what was measured; a node that stopped by itself is never ok."""
    rounds = rounds_of(journals)
    pushes = run.chain.pushes if run.chain is not None else []
    begin_ms, end_ms = run.warm_ms, run.stopped_ms
    ran = begin_ms is not None and end_ms is not None and end_ms > begin_ms
    seconds = (end_ms - begin_ms) / 1_000 if ran else 0.0  # type: ignore[operator]
    failures = [] if failure is None else [str(failure)]
    crashes = tuple(Violation("process", text) for text in (*failures, *run.crashes))
    by_kind = dict(verdict.violations_by_kind)
    if crashes:
        by_kind["process"] = len(crashes)
    ok = verdict.ok and not crashes and rounds.certified > 0
    gas = [push.gas_used for push in pushes]
    ticks = run.tick_to_observation
    return Summary(
        nodes=options.nodes,
        rounds_certified=rounds.certified,
        rounds_committed=rounds.committed,
        rounds_per_second=(
            round(rounds.certified_between(begin_ms, end_ms) / seconds, 2)  # type: ignore[arg-type]
            if ran
            else None
        ),
        updates_on_chain=len(pushes),
        pushes_by_trigger=triggers_of(pushes, deployment.network.table) if deployment else {},
        latency_ms=Latencies(
            Quantiles(
                _rounded(quantile([p50 for p50, _ in ticks], 50)),
                _rounded(max((p99 for _, p99 in ticks), default=None)),
            ),
            Quantiles.of(rounds.observation_to_certificate),
            Quantiles.of(certificate_to_chain(rounds, pushes)),
        ),
        gas_per_push=MiddleAndMost(quantile(gas, 50), max(gas, default=None)),
        deployment_gas=run.deployment_gas,
        faults_injected=run.faults.injected,
        personas={f"node{index}": name for index, name in sorted(options.personas.items())},
        offences_seen=verdict.offences_seen,
        resumed_ms=_resumed(options, run, rounds),
        longest_gap_ms=rounds.longest_gap_ms(begin_ms, end_ms) if ran else None,  # type: ignore[arg-type]
        price_error_bp=MiddleAndMost(
            _rounded(verdict.price_error_bp_p50), _rounded(verdict.price_error_bp_max)
        ),
        answers_by_status=verdict.statuses,
        warnings={feed: tuple(sorted(of)) for feed, of in sorted(run.warnings.items())},
        rate=options.rate,
        base_timeout_ms=timing_for(options.rate, options.nodes).base_timeout_ms,
        chain=options.chain,
        seed=options.seed,
        duration_s=round(seconds, 1),
        directory=str(options.directory) if kept or not ok else None,
        violations=verdict.violations + crashes,
        violations_by_kind=by_kind,
        ok=ok,
    )


def _resumed(options: Options, run: Run, rounds: Rounds) -> Resumption | None:
    if not run.faults.outages or run.stopped_ms is None:
        return None
    return resumption_of(
        run.faults.outages,
        rounds.first_certified_ms,
        run.stopped_ms,
        timing_for(options.rate, options.nodes).base_timeout_ms,
        sum(persona != "crasher" for persona in options.personas.values()),
    )


def journals_of(options: Options, deployment: Deployment | None) -> list[list[Entry]]:
    """Return what can be read of the honest members' journals; the auditor judges what cannot.

    Those of others tell what they like, such as the time by a clock that is wrong.
    """
    journals = []
    for member in deployment.members if deployment is not None else ():
        persona = options.personas.get(member.index)
        if persona is not None and not PERSONAS[persona].honest:
            continue
        entries: list[Entry] = []
        with suppress(OSError, OperatorError):
            entries.extend(read_journal(member.directory.path / "data" / "journal"))
        journals.append(entries)
    return journals


def to_json(summary: Summary) -> str:
    """Return the summary as one line."""
    return msgspec.json.encode(summary).decode()


def to_text(summary: Summary) -> str:
    """Return the summary for people."""
    latency = summary.latency_ms
    triggers = ", ".join(f"{count} {name}" for name, count in summary.pushes_by_trigger.items())
    statuses = ", ".join(f"{count} {name}" for name, count in summary.answers_by_status.items())
    rows = [
        ("nodes", f"{summary.nodes}, for {summary.duration_s:g} s, seed {summary.seed}"),
        (
            "rounds",
            f"{summary.rounds_certified} certified, {summary.rounds_committed} committed; "
            f"{_shown(summary.rounds_per_second)} a second of {summary.rate:g}; base timeout "
            f"{summary.base_timeout_ms} ms",
        ),
        ("longest gap", f"{_shown(summary.longest_gap_ms)} ms between certificates"),
        ("answers", statuses or "none"),
        (
            "price error",
            f"p50 {_shown(summary.price_error_bp.p50)} bp, "
            f"max {_shown(summary.price_error_bp.max)} bp from the true middle",
        ),
        ("on chain", f"{summary.updates_on_chain} updates ({triggers or 'none'})"),
        (
            "gas of a push",
            f"p50 {_shown(summary.gas_per_push.p50)}, max {_shown(summary.gas_per_push.max)} "
            f"({summary.chain} chain)",
        ),
        ("tick → observation", _latency(latency.tick_to_observation)),
        ("observation → certificate", _latency(latency.observation_to_certificate)),
        ("certificate → chain", _latency(latency.certificate_to_chain)),
        ("faults injected", str(summary.faults_injected)),
    ]
    rows += [("warned of", f"{feed}: {'; '.join(of)}") for feed, of in summary.warnings.items()]
    rows += [
        ("persona", f"{member}: {name}{_offences(summary, member)}")
        for member, name in summary.personas.items()
    ]
    if summary.resumed_ms is not None:
        rows.append(("resumed", _resumption(summary.resumed_ms)))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    if summary.directory is not None:
        lines.append(f"{'kept in':<{width}}  {summary.directory}")
    total = sum(summary.violations_by_kind.values())
    lines += ["", "ok: nothing was violated" if summary.ok else f"NOT OK: {total} violations"]
    lines += [f"  {_violation(violation)}" for violation in summary.violations[:20]]
    return "\n".join(lines)


def _offences(summary: Summary, member: str) -> str:
    kinds = summary.offences_seen.get(member)
    if not kinds:
        return ""
    return "; offences seen: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _resumption(resumed: Resumption) -> str:
    return (
        f"p50 {_shown(resumed.p50)} ms, max {_shown(resumed.max)} ms after "
        f"{resumed.faults} faults; "
        f"{resumed.within_one_timeout} within {resumed.base_timeout_ms + GRACE_MS} ms, "
        f"{resumed.late} late; back p50 {_shown(resumed.rejoined_p50)} ms, "
        f"max {_shown(resumed.rejoined_max)} ms after their return"
    )


def _violation(violation: Violation) -> str:
    place = "" if violation.view is None else f" in view {violation.view}"
    whose = "" if violation.member is None else f" by {violation.member}"
    return f"{violation.kind}{place}{whose}: {violation.detail}"


def _latency(quantiles: Quantiles) -> str:
    return f"p50 {_shown(quantiles.p50)} ms, p99 {_shown(quantiles.p99)} ms"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else f"{value}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
