"""The kit for protocols' tests in Python: any price, status and time, really signed."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.encoding import decode_answer, encode_answer
from aggregation.status import Status
from contracts import client
from testnet.oracle_kit import OracleKit, TestAnswer

BTC = 65_000 * 10**8


def reason_of(kit: OracleKit, feed: int, age: int = 60, ppm: int = 5_000) -> client.Reason:
    data = kit.chain.call(kit.oracle, client.encode_try_read(feed, age, ppm))
    return client.decode_try_read(data)[0]


def test_prices_statuses_and_times_as_a_test_needs_them() -> None:
    kit = OracleKit()
    assert reason_of(kit, 0) is client.Reason.UNAVAILABLE
    kit.set_price("BTC/USD", BTC)
    kit.set_price("USDC/USD", 10**8)
    assert [reason_of(kit, feed) for feed in (0, 3)] == [client.Reason.NONE] * 2
    kit.wait(61)
    assert reason_of(kit, 0) is client.Reason.STALE
    kit.push(kit.report({"BTC/USD": TestAnswer(BTC, status=Status.HALTED)}))
    assert reason_of(kit, 0) is client.Reason.HALTED
    kit.push(kit.report({"BTC/USD": TestAnswer(BTC, confidence_ppm=5_001)}))
    assert reason_of(kit, 0) is client.Reason.UNCERTAIN
    kit.push(kit.report({"BTC/USD": TestAnswer(0)}))
    assert reason_of(kit, 0) is client.Reason.UNAVAILABLE


def test_its_reports_go_every_way_in() -> None:
    kit = OracleKit([(f"T{i}/EUR", 2) for i in range(9)])
    report = kit.report({"T8/EUR": 123}, observed_at_ms=kit.now_ms - 5_000)
    used = client.encode_use([report.update("T8/EUR")], [8], 60, 5_000)
    assert client.decode_use(kit.chain.call(kit.oracle, used)) == [(123, kit.now_ms - 5_000)]
    assert client.decode_stored_flag(
        kit.chain.transact(kit.oracle, client.encode_post(report.certificate)).output
    )
    proof = client.encode_prove(report.certificate.header.observed_at_ms, report.claim("T8/EUR"))
    assert client.decode_stored_flag(kit.chain.transact(kit.oracle, proof).output)
    few = kit.push(kit.report({"T0/EUR": 1}, signers=(0, 3)))
    assert not few.succeeded
    assert "BelowQuorum" in client.describe_error(few.output)
    with pytest.raises(ValueError, match="there are T0/EUR"):
        kit.report({"BTC/USD": 1})
    with pytest.raises(ValueError, match="48 bits"):
        kit.report({"T0/EUR": 2**48})


@given(st.integers(0, 300_000))
def test_confidences_are_encoded_as_members_do(ppm: int) -> None:
    answer = TestAnswer(10**6, ppm).encoded
    assert answer == encode_answer(10**6, ppm, Status.LIVE)
    shown = decode_answer(answer).confidence_ppm
    assert shown is not None
    assert ppm <= shown <= ppm + ppm // 128 + 1


@given(st.integers(0, 2**30))
def test_no_confidence_is_understated(ppm: int) -> None:
    shown = decode_answer(TestAnswer(1, ppm).encoded).confidence_ppm
    assert shown is None or shown >= ppm


@pytest.mark.checkout
def test_the_readme_s_lines_run() -> None:
    readme = (Path(__file__).parents[2] / "contracts" / "README.md").read_text("utf-8")
    (text,) = re.findall(r"```python\n(from testnet.*?)```", readme, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(text, "README.md", "exec"), names)  # noqa: S102
    assert reason_of(names["kit"], 1) is client.Reason.STALE
    assert reason_of(names["kit"], 1, age=120) is client.Reason.NONE
