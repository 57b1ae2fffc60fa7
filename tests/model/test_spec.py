"""The TLA+ specification: every state of small instances, and liveness under fairness."""

from pathlib import Path

import pytest

from testnet.model import tlc
from testnet.model.tlc import CannotCheck, check

pytestmark = pytest.mark.slow


def test_every_state_of_three_views_is_safe(tmp_path: Path) -> None:
    outcome = check("MCDidyma", "Safety.cfg", {}, tmp_path)
    assert outcome.violated is None, outcome.output
    assert outcome.distinct_states > 20_000


def test_every_state_with_equivocating_leaders_is_safe(tmp_path: Path) -> None:
    outcome = check("MCDidyma", "Equivocation.cfg", {}, tmp_path)
    assert outcome.violated is None, outcome.output
    assert outcome.distinct_states > 1_000


@pytest.mark.parametrize(
    ("mistake", "configuration", "promise"),
    [
        ("no TC needed", "Safety.cfg", "Extended"),
        ("TC highest not checked", "Safety.cfg", "Extended"),
        ("high QC lost", "Safety.cfg", "Extended"),
        ("high QC lost", "Safety.cfg", "NothingHidden"),
        ("commit with a gap", "Safety.cfg", "Extended"),
        ("vote after timeout", "Safety.cfg", "Extended"),
        ("vote after timeout", "Safety.cfg", "NothingHidden"),
        ("vote twice", "Equivocation.cfg", "Unique"),
        ("vote twice", "Equivocation.cfg", "OneVoteAView"),
    ],
)
def test_a_mistake_is_found(mistake: str, configuration: str, promise: str, tmp_path: Path) -> None:
    outcome = check("MCDidyma", configuration, {"Mistake": f'"{mistake}"'}, tmp_path, promise)
    assert outcome.violated == promise, outcome.output


def test_a_quorum_of_three_in_five_is_found(tmp_path: Path) -> None:
    changes = {"Honest": "{m1, m2, m3, m4}"}
    outcome = check("MCDidyma", "Equivocation.cfg", changes, tmp_path)
    assert outcome.violated == "Unique", outcome.output


def test_correct_leaders_commit_after_chaos(tmp_path: Path) -> None:
    outcome = check("DidymaLive", "Liveness.cfg", {}, tmp_path)
    assert outcome.violated is None, outcome.output
    assert outcome.distinct_states > 10_000


@pytest.mark.parametrize("mistake", ["hidden lock", "certificates not handed on"])
def test_a_mistake_that_blocks_the_committee_is_found(mistake: str, tmp_path: Path) -> None:
    outcome = check("DidymaLive", "Liveness.cfg", {"Mistake": f'"{mistake}"'}, tmp_path)
    assert outcome.violated == "temporal", outcome.output


def test_no_result_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match="no result"):
        check("MCDidyma", "Safety.cfg", {"MaxView": '"three"'}, tmp_path)


def test_without_java_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tlc.shutil, "which", lambda _: None)
    with pytest.raises(CannotCheck, match="default-jre-headless"):
        check("MCDidyma", "Safety.cfg", {}, tmp_path)
