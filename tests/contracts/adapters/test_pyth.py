"""The Pyth adapter: prices with their exponent and confidence, updates, and prices out of them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.digests import genesis_id, link_digest
from consensus.messages import Header
from contracts import abi, client
from contracts.finality import FinalProof, LinkedBlock

BTC, ETH, CBETH, SHIB = range(4)
UINT64_MAX = 2**64 - 1
NO_AVERAGE = (0, UINT64_MAX)


def id_of(market: Any, feed: int) -> bytes:
    network: bytes = market.oracle.committee.network
    return network[:30] + feed.to_bytes(2, "big")


def encoded(update: client.Update) -> bytes:
    """What an element of `updateData` holds: `abi.encode(Update)`."""
    return abi.encode_tuple(update.encoded)


def encoded_proof(proof: FinalProof, claim: client.Claim) -> bytes:
    return abi.encode_tuple(proof.encoded, claim.encoded)


@pytest.fixture
def pyth(market: Any) -> Any:
    return market.create("PythAdapter", market.oracle.address, (60, 5_000))


def test_a_price_has_the_exponent_of_its_feed(market: Any, kit: Any, pyth: Any) -> None:
    market.push(
        kit.answer(640_000_1234567),
        kit.answer(3_000_12345678, confidence=0),
        kit.answer(1_080000001),
        kit.answer(12_345678, confidence=0x640 + 0x10),
    )
    at = market.oracle.stored().observed_at_ms // 1000
    expected = (
        (640_000_1234567, 640000124, -7, at),  # 100 ppm, rounded up
        (3_000_12345678, 0, -8, at),
        (1_080000001, 108001, -9, at),
        (12_345678, 1247, -12, at),  # 101 ppm
    )
    for feed, price in enumerate(expected):
        assert pyth.call("getPriceUnsafe", id_of(market, feed)) == price
        assert pyth.call("getPriceNoOlderThan", id_of(market, feed), 5) == price
    assert pyth.call("getValidTimePeriod") == 60


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(price=st.integers(1, 2**48 - 1), mantissa=st.integers(0, 255), exponent=st.integers(0, 15))
def test_pyth_btc_2021_price_exponent_and_confidence_are_one_number(
    market: Any, kit: Any, price: int, mantissa: int, exponent: int
) -> None:
    """No float, no scale of the caller's: the interval is never narrower than what was signed."""
    pyth = market.create("PythAdapter", market.oracle.address, (60, 2**32 - 1))
    market.push(kit.answer(price, confidence=mantissa << 4 | exponent))
    got, conf, expo, _ = pyth.call("getPriceUnsafe", id_of(market, BTC))
    assert (got, expo) == (price, -7)
    assert 0 <= conf * 10**6 - price * (mantissa << exponent) < 10**6


def test_ids_name_a_feed_of_this_network_and_nothing_else(market: Any, kit: Any, pyth: Any) -> None:
    market.push(*[kit.answer(10**10)] * 4)
    for feed, pair in enumerate((("BTC", "USD"), ("ETH", "USD"), ("CBETH", "ETH"))):
        assert pyth.call("priceIdOf", *pair) == id_of(market, feed)
        assert pyth.call("pairOf", id_of(market, feed)) == pair
        assert pyth.call("priceFeedExists", id_of(market, feed))
    assert pyth.refusal("priceIdOf", "BTC", "EUR") == "PriceFeedNotFound()"
    other_network = kit.Committee(name="other", table=market.oracle.committee.table).network
    for unknown in (
        bytes(32),
        b"\xff" * 32,
        id_of(market, 4),
        other_network[:30] + bytes(2),
    ):
        assert not pyth.call("priceFeedExists", unknown)
        assert pyth.refusal("getPriceUnsafe", unknown) == "PriceFeedNotFound()"
        assert pyth.refusal("getPriceNoOlderThan", unknown, 60) == "PriceFeedNotFound()"


def test_a_price_is_as_young_as_both_the_caller_and_the_adapter_demand(
    market: Any, kit: Any, pyth: Any
) -> None:
    btc = id_of(market, BTC)
    market.push(kit.answer(10**12))
    market.wait(30)
    assert pyth.call("getPriceNoOlderThan", btc, 30)[0] == 10**12
    assert pyth.refusal("getPriceNoOlderThan", btc, 29) == "StalePrice()"
    market.wait(31)
    for age in (60, 61, 2**32 + 100, 2**256 - 1):
        assert pyth.refusal("getPriceNoOlderThan", btc, age) == "StalePrice()"
    assert pyth.refusal("getPriceUnsafe", btc) == "StalePrice()"


@pytest.mark.parametrize("status", [0, 2, 4, 11])
def test_only_live_and_degraded_prices_are_passed_on(
    market: Any, kit: Any, pyth: Any, status: int
) -> None:
    btc = id_of(market, BTC)
    market.push(kit.answer(10**12, status=3))
    assert pyth.call("getPriceUnsafe", btc)[0] == 10**12
    report = market.push(kit.answer(10**12 if status else 0, status=status))
    assert pyth.refusal("getPriceUnsafe", btc).startswith("Unfit(0, ")
    assert pyth.refusal("getPriceNoOlderThan", btc, 60).startswith("Unfit(0, ")
    data = [encoded(report.update(BTC))]
    assert pyth.refusal("parsePriceFeedUpdates", data, [btc], 0, UINT64_MAX).startswith("Unfit(0, ")


def test_an_uncertain_price_is_not_passed_on(market: Any, kit: Any, pyth: Any) -> None:
    btc = id_of(market, BTC)
    report = market.push(kit.answer(10**12, confidence=0xFFF))
    assert pyth.refusal("getPriceUnsafe", btc).startswith("Unfit(0, 5, ")
    data = [encoded(report.update(BTC))]
    assert pyth.refusal("parsePriceFeedUpdates", data, [btc], 0, UINT64_MAX).startswith(
        "Unfit(0, 5, "
    )


def test_there_are_no_averages(market: Any, kit: Any, pyth: Any) -> None:
    market.push(kit.answer(10**12))
    btc = id_of(market, BTC)
    assert pyth.refusal("getEmaPriceUnsafe", btc) == "NoAverage()"
    assert pyth.refusal("getEmaPriceNoOlderThan", btc, 60) == "NoAverage()"
    assert pyth.refusal("parseTwapPriceFeedUpdates", [], [btc]) == "NoAverage()"


def test_updates_store_what_is_newer_and_cost_no_fee(market: Any, kit: Any, pyth: Any) -> None:
    btc, eth = id_of(market, BTC), id_of(market, ETH)
    first = market.report(kit.answer(10**12), kit.answer(3 * 10**11))
    data = [encoded(first.update(BTC, ETH))]
    assert pyth.call("getUpdateFee", data) == 0
    assert pyth.call("getTwapUpdateFee", data) == 0
    assert pyth.send("updatePriceFeeds", data).succeeded
    assert pyth.call("getPriceUnsafe", btc)[0] == 10**12
    assert pyth.call("getPriceUnsafe", eth)[0] == 3 * 10**11
    second = market.report(kit.answer(2 * 10**12), kit.answer(3 * 10**11))
    both = [encoded(second.update(BTC)), *data]
    assert pyth.send("updatePriceFeeds", both).succeeded
    assert pyth.call("getPriceUnsafe", btc)[0] == 2 * 10**12
    refused = pyth.send("updatePriceFeeds", both, value=1)
    assert not refused.succeeded
    assert market.chain.balance(pyth.address) == 0


def test_a_forged_update_is_refused(market: Any, kit: Any, pyth: Any, beside: Any) -> None:
    report = market.report(kit.answer(10**12))
    forged = replace(report, words=(kit.word_of(kit.answer(10**13)),))
    for data in ([encoded(forged.update(BTC))], [encoded(report.update(BTC))[:-32]]):
        assert not pyth.send("updatePriceFeeds", data).succeeded
    for junk in (b"", b"\0" * 31, b"\xff" * 64):
        receipt = pyth.send("updatePriceFeeds", [junk])
        assert not receipt.succeeded
        assert beside.error_text("PythAdapter", receipt.output) == "InvalidUpdateData()"
    assert market.oracle.latest(BTC).price == 0


def test_an_update_is_done_only_if_it_is_needed(
    market: Any, kit: Any, pyth: Any, beside: Any
) -> None:
    btc, eth = id_of(market, BTC), id_of(market, ETH)
    first = market.push(kit.answer(10**12), kit.answer(3 * 10**11))
    at = first.header.observed_at_ms // 1000
    market.wait(5)
    second = market.report(kit.answer(2 * 10**12))
    data = [encoded(second.update(BTC))]

    def outcome(*arguments: Any) -> str:
        receipt = pyth.send("updatePriceFeedsIfNecessary", *arguments)
        return "" if receipt.succeeded else beside.error_text("PythAdapter", receipt.output)

    assert outcome(data, [btc, eth], [at, at]) == "NoFreshUpdate()"
    assert outcome(data, [], []) == "NoFreshUpdate()"
    assert outcome(data, [btc], [at, at]) == "InvalidArgument()"
    assert market.oracle.latest(BTC).price == 10**12
    assert outcome(data, [eth, btc], [at, at + 1]) == ""
    assert market.oracle.latest(BTC).price == 2 * 10**12


def test_prices_are_parsed_out_of_updates_whatever_is_stored(
    market: Any, kit: Any, pyth: Any
) -> None:
    btc, eth = id_of(market, BTC), id_of(market, ETH)
    old = market.report(kit.answer(10**12), kit.answer(3 * 10**11))
    market.wait(100)
    newer = market.report(kit.answer(2 * 10**12), kit.answer(4 * 10**11))
    market.push(kit.answer(3 * 10**12))
    at, newer_at = (report.header.observed_at_ms // 1000 for report in (old, newer))
    data = [encoded(newer.update(BTC, ETH)), encoded(old.update(BTC))]

    def parse(ids: list[bytes], since: int, until: int) -> Any:
        return pyth.call("parsePriceFeedUpdates", data, ids, since, until)

    assert parse([btc], at, at) == ((btc, (10**12, 10**8, -7, at), (*NO_AVERAGE, -7, 0)),)
    parsed = parse([eth, btc], 0, UINT64_MAX)
    assert [(feed_id, price[0], price[3]) for feed_id, price, _ in parsed] == [
        (eth, 4 * 10**11, newer_at),
        (btc, 2 * 10**12, newer_at),
    ]
    for refused in (([eth], at, at), ([btc], at + 1, newer_at - 1), ([id_of(market, 2)], 0, at)):
        assert (
            pyth.refusal("parsePriceFeedUpdates", data, *refused)
            == "PriceFeedNotFoundWithinRange()"
        )
    assert pyth.refusal("parsePriceFeedUpdates", data, [bytes(32)], 0, at) == "PriceFeedNotFound()"
    assert market.oracle.latest(BTC).price == 3 * 10**12


def test_parsing_believes_only_what_a_quorum_of_the_current_epoch_certified(
    market: Any, kit: Any, pyth: Any
) -> None:
    btc = id_of(market, BTC)
    report = market.report(kit.answer(10**12), kit.answer(3 * 10**11))
    update = report.update(BTC)

    def refusal(changed: client.Update) -> str:
        text: str = pyth.refusal("parsePriceFeedUpdates", [encoded(changed)], [btc], 0, UINT64_MAX)
        return text.split("(")[0]

    certificate, (claim,) = update.certificate, update.claims
    forged = replace(claim, word=kit.word_of(kit.answer(10**13), kit.answer(3 * 10**11)))
    assert refusal(replace(update, claims=(forged,))) == "NotCertified"
    assert refusal(replace(update, claims=(claim, replace(forged, feed=1)))) == "BadClaims"
    assert refusal(replace(update, claims=())) == "BadClaims"
    assert refusal(replace(update, claims=(replace(claim, feed=4),))) == "PathLength"
    for signers in ([0, 1], [2], list(range(4))):
        few = market.oracle.committee.sign(report.header, report.words, signers)
        expected = "NotCertified" if len(signers) < 3 else ""
        if expected:
            assert refusal(few.update(BTC)) == expected
            # Nor does a bitmap that claims more, nor one that names who is no member.
            for bitmap in (0b1111, 0b1_0111):
                claimed = replace(few, bitmap=bitmap)
                assert refusal(claimed.update(BTC)) == expected
    assert refusal(replace(update, certificate=replace(certificate, epoch=1))) == "NotOfNow"
    later = (market.chain.head.timestamp * 1000) + kit.MAX_FUTURE_MS + 1
    assert refusal(market.report(kit.answer(1), at_ms=later).update(BTC)) == "NotOfNow"
    beyond = market.report(kit.answer(1), at_ms=kit.VALID_UNTIL_MS + 1).update(BTC)
    market.chain.mine(timestamp=kit.VALID_UNTIL_MS // 1000)
    assert refusal(beyond) == "NotOfNow"
    market.wait(1)
    assert refusal(update) == "NotOfNow"


def chained(market: Any, kit: Any, start_ms: int, *answers: int) -> tuple[list[Header], list[Any]]:
    """Headers and blocks of consecutive views from the epoch's genesis, 1.5 s apart."""
    committee = market.oracle.committee
    genesis = Header(0, 0, bytes(32), genesis_id(committee.domain, bytes(32), b"\x59" * 32))
    headers, blocks = [genesis], []
    parent_id = genesis.link
    for view, answer in enumerate(answers, 1):
        at_ms = start_ms + 1500 * (view - 1)
        root = committee.header([kit.word_of(answer)], at_ms, view).feed_root
        link = link_digest(parent_id, view - 1, view, bytes(32), bytes(32))
        headers.append(Header(view, at_ms, root, link))
        blocks.append(LinkedBlock(view, at_ms, root, view, bytes(32), bytes(32)))
        parent_id = headers[-1].id(committee.domain)
    return headers, blocks


def test_the_unique_price_is_the_first_final_one_of_the_time(
    market: Any, kit: Any, pyth: Any
) -> None:
    btc = id_of(market, BTC)
    answers = [kit.answer(10**12 * (i + 1), status=4 if i == 4 else 1) for i in range(6)]
    start = market.chain.head.timestamp
    headers, blocks = chained(market, kit, start * 1000, *answers)
    market.wait(200)
    committee = market.oracle.committee

    def element(number: int) -> bytes:
        report = committee.sign(headers[number + 1], ())
        proof = FinalProof(
            0,
            headers[number - 1],
            tuple(blocks[number - 1 : number + 1]),
            report.bitmap,
            report.signature,
        )
        claim = client.claim_of(BTC, [kit.word_of(answers[number - 1])])
        return encoded_proof(proof, claim)

    def parse(number: int, since: int, until: int = UINT64_MAX) -> Any:
        function = "parsePriceFeedUpdatesUnique"
        ((got, price, average),) = pyth.call(function, [element(number)], [btc], since, until)
        assert got == btc
        assert average == (*NO_AVERAGE, -7, 0)
        return price[0], price[3]

    def refusal(number: int, since: int, until: int = UINT64_MAX) -> str:
        text: str = pyth.refusal(
            "parsePriceFeedUpdatesUnique", [element(number)], [btc], since, until
        )
        return text.split("(")[0]

    # Seconds 0, 1.5, 3, 4.5, 6, 7.5 after the start.
    assert parse(1, start - 5) == (10**12, start)
    assert parse(2, start + 1) == (2 * 10**12, start + 1)
    assert parse(3, start + 2) == parse(3, start + 3) == (3 * 10**12, start + 3)
    for number, since in ((1, start + 1), (3, start + 1), (2, start + 2), (4, start + 3)):
        assert refusal(number, since) == "NotFirstAfter"
    assert refusal(3, start + 2, start + 2) == "PriceFeedNotFoundWithinRange"
    assert parse(3, start + 2, start + 3) == (3 * 10**12, start + 3)
    # The first of the time is halted: there is no other price to be had.
    assert refusal(5, start + 5) == "Unfit"
    for since in (0, 2**48, UINT64_MAX):
        assert refusal(1, since) == "InvalidArgument"

    unique = "parsePriceFeedUpdatesUnique"
    assert pyth.refusal(unique, [element(1)], [id_of(market, ETH)], start, start) == (
        "PriceFeedNotFoundWithinRange()"
    )
    assert pyth.refusal(unique, [], [btc], start, start) == "InvalidArgument()"
    for junk in (b"", bytes(63), b"\xff" * 96):
        assert pyth.refusal(unique, [junk], [btc], start, start) == "InvalidUpdateData()"
    configured = ([element(3)], [btc], start + 2, UINT64_MAX, True, True)
    parsed, slots = pyth.call("parsePriceFeedUpdatesWithConfig", *configured, False)
    assert parsed[0][1][0] == 3 * 10**12
    assert slots == (3,)
    assert pyth.refusal("parsePriceFeedUpdatesWithConfig", *configured, True) == (
        "InvalidArgument()"
    )


def test_parsing_stores_if_asked_to(market: Any, kit: Any, pyth: Any) -> None:
    btc = id_of(market, BTC)
    report = market.report(kit.answer(10**12))
    data = [encoded(report.update(BTC))]
    function = "parsePriceFeedUpdatesWithConfig"
    arguments = (data, [btc], 0, UINT64_MAX, False, True)
    assert pyth.send(function, *arguments, False).succeeded
    assert market.oracle.latest(BTC).price == 0
    assert pyth.send(function, *arguments, True).succeeded
    assert market.oracle.latest(BTC).price == 10**12
    parsed, slots = pyth.call(function, *arguments, True)
    assert parsed[0][1][0] == 10**12
    assert slots == (report.header.view,)
    twice = ([*data, *data], [btc], 0, UINT64_MAX, False)
    assert pyth.refusal(function, *twice, True, False) == "InvalidArgument()"
    assert pyth.call(function, *twice, False, False)[0] == parsed


def test_every_feed_of_a_large_table_has_its_own_scale(kit: Any, beside: Any) -> None:
    """The first 128 stand in the adapter's code, the others are asked of the Oracle."""
    pairs = tuple((f"A{i}", "USD", i % 15) for i in range(131))
    market = beside.Market(kit, kit.deploy(kit.Committee(table=beside.table(pairs))))
    pyth = market.create("PythAdapter", market.oracle.address, (60, 5_000))
    market.push(*(kit.answer(1000 + i) for i in range(131)))
    for feed in (0, 1, 31, 32, 63, 64, 95, 96, 126, 127, 128, 130):
        price, _, expo, _ = pyth.call("getPriceUnsafe", id_of(market, feed))
        assert (price, expo) == (1000 + feed, -(feed % 15))


def test_limits_are_checked(market: Any, beside: Any) -> None:
    arguments = (market.oracle.address, (0, 5_000))
    assert beside.refused_creation(market.chain, "PythAdapter", *arguments) == (
        "OutOfRange(maxAgeSeconds, 0, 1, 4294967295)"
    )
