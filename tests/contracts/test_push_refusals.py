"""What a push refuses, with the reason, leaving everything as it was (O1, O2, O9, O10)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from blspy import G2Element, PopSchemeMPL

from consensus.committee import domain_digest
from contracts import client
from contracts.points import FIELD_MODULUS, decompress_g2
from testnet.chain.evm import Reverted
from testnet.chain.precompiles import NativeComputation

GROUP_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def refusal(oracle: Any, report: Any, **changes: Any) -> str:
    """Push, and return the error; nothing may have changed."""
    before = oracle.snapshot()
    receipt = oracle.push(report, **changes)
    assert not receipt.succeeded
    assert oracle.snapshot() == before
    assert receipt.logs == ()
    return str(client.decode_error(receipt.output))


def refuses(oracle: Any, calldata: bytes) -> str:
    """Call without keeping what it does: for many cases."""
    with pytest.raises(Reverted) as raised:
        oracle.chain.call(oracle.address, calldata)
    error = client.decode_error(raised.value.data)
    assert error is not None
    return error.name


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10])
def test_below_quorum(kit: Any, n: int) -> None:
    committee = kit.Committee(n=n)
    oracle = kit.deploy(committee)
    q = committee.quorum
    for signers in (range(q - 1), range(n - q + 1, n), [0]):
        text = refusal(oracle, committee.report(signers=list(signers)))
        assert text == f"BelowQuorum(signers={len(signers)}, quorum={q})"


def test_an_empty_bitmap(oracle: Any) -> None:
    report = oracle.committee.report()
    assert refusal(oracle, report, bitmap=0) == "BelowQuorum(signers=0, quorum=3)"


@pytest.mark.parametrize("bit", [4, 5, 126, 127])
def test_a_bit_that_stands_for_no_member(oracle: Any, bit: int) -> None:
    report = oracle.committee.report()
    for bitmap in (report.bitmap | 1 << bit, 0b0111 | 1 << bit, 0b0011 | 1 << bit, 1 << bit):
        text = refusal(oracle, report, bitmap=bitmap)
        assert text == f"UnknownSigner(signers={bitmap}, members=4)"


def test_a_report_of_an_epoch_to_come(oracle: Any) -> None:
    report = oracle.committee.report()
    assert refusal(oracle, report, epoch=1) == "EpochAhead(epoch=1, current=0)"


def test_a_bitmap_that_is_not_that_of_the_signers(oracle: Any) -> None:
    report = oracle.committee.report(signers=[0, 1, 2])
    for bitmap in (0b1111, 0b1011, 0b1101, 0b1110):
        assert refusal(oracle, report, bitmap=bitmap).startswith("BadSignature")


def test_a_signer_counted_twice(oracle: Any) -> None:
    committee = oracle.committee
    report = committee.report(signers=[0, 1])
    message = report.header.id(committee.domain)
    shares = [PopSchemeMPL.sign(committee.keys[i], message) for i in (0, 1, 1)]
    aggregate = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
    text = refusal(oracle, report, bitmap=0b0111, signature=aggregate)
    assert text.startswith("BadSignature")


def test_a_replay_across_chain_epoch_or_configuration(oracle: Any, kit: Any) -> None:
    """O1: a certificate is good for one network, epoch and configuration only."""
    committee = oracle.committee
    words = committee.report().words
    header = committee.header(words)
    configuration = committee.configuration.hash
    other = kit.Committee(name="another network")
    longer = kit.Committee(valid_until_ms=kit.VALID_UNTIL_MS + 1)
    for domain in (
        domain_digest(committee.network, 1, configuration),
        domain_digest(other.network, 0, configuration),
        domain_digest(committee.network, 0, longer.configuration.hash),
        other.domain,
        bytes(32),
    ):
        report = committee.sign(header, words, domain=domain)
        assert refusal(oracle, report).startswith("BadSignature(id=")
    assert oracle.push(committee.sign(header, words)).succeeded


def test_signatures_on_other_digests_are_no_certificates(oracle: Any, kit: Any) -> None:
    from consensus.digests import timeout_digest

    committee = oracle.committee
    report = committee.report()
    for message in (timeout_digest(committee.domain, 1, 0), report.header.link, bytes(32)):
        shares = [PopSchemeMPL.sign(key, message) for key in committee.keys]
        signature = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
        assert refusal(oracle, report, signature=signature).startswith("BadSignature")


def test_no_feed_root(oracle: Any, kit: Any) -> None:
    """All descendants of a handover's decision carry root 0."""
    committee = oracle.committee
    header = kit.Header(1, kit.NOW_MS, bytes(32), b"\x77" * 32)
    assert refusal(oracle, committee.sign(header, ())) == "NoFeedRoot()"
    closed = committee.sign(header, committee.report().words)
    assert refusal(oracle, closed).startswith("BadSignature")
    receipt = oracle.post(closed)
    assert str(client.decode_error(receipt.output)) == "NoFeedRoot()"


def test_words_that_are_not_the_headers(kit: Any) -> None:
    committee = kit.Committee(table=kit.feed_table(12))
    oracle = kit.deploy(committee)
    report = committee.report()
    a, b, c = report.words
    for words in ((), (a,), (a, b), (b, a, c), (a, b, c, 0), (a, b, c, c), (a, c, b), (0, b, c)):
        text = refusal(oracle, report, words=words)
        assert text == "NoFeedRoot()" if not words else text.startswith("BadSignature")
    assert oracle.push(report).succeeded


@pytest.mark.parametrize("index", [0, 1])
def test_bits_of_the_words_count(kit: Any, index: int) -> None:
    committee = kit.Committee(table=kit.feed_table(8))
    oracle = kit.deploy(committee)
    report = committee.report()
    for bit in range(index, 256, 5):
        words = list(report.words)
        words[index] ^= 1 << bit
        calldata = replace(report, words=tuple(words)).calldata
        assert refuses(oracle, calldata) == "BadSignature"


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Where the fields stand in the calldata of a report of one word: first byte, bytes.
SIGNATURE, LINK, VIEW, OBSERVED_AT, SIGNERS, WORD = (
    (4, 192), (196, 32), (232, 4), (236, 8), (244, 16), (324, 32),
)  # fmt: skip


def every_bit(oracle: Any, step: int) -> None:
    calldata = oracle.committee.report().calldata
    assert client.decode_stored_flag(oracle.chain.call(oracle.address, calldata))
    for start, width in (SIGNATURE, LINK, VIEW, OBSERVED_AT, SIGNERS, WORD):
        for bit in range(start * 8, (start + width) * 8, step):
            changed = flipped(calldata, bit)
            assert refuses(oracle, changed) in {
                "BadSignature", "FromTheFuture", "MalformedSignature", "UnknownSigner",
                "BelowQuorum",
            }, bit  # fmt: skip


def test_bits_of_header_bitmap_and_signature_count(oracle: Any) -> None:
    every_bit(oracle, 61)


@pytest.mark.slow
def test_every_bit_of_header_bitmap_and_signature_counts(oracle: Any) -> None:
    every_bit(oracle, 1)


def point_outside_the_subgroup() -> bytes:
    """A point of the curve with a small x; the chance that it is in the subgroup is nil."""
    for x in range(1, 100):
        try:
            point = decompress_g2(b"\x80" + bytes(47) + x.to_bytes(48, "big"))
        except ValueError:
            continue
        with pytest.raises(ValueError, match=r"."):
            G2Element.from_bytes(b"\x80" + bytes(47) + x.to_bytes(48, "big"))
        return point
    raise AssertionError


def malformed(report: Any) -> dict[str, bytes]:
    good = report.signature
    x0 = int.from_bytes(good[:48], "big")
    return {
        "off the curve": good[:-1] + bytes([good[-1] ^ 1]),
        "outside the subgroup": point_outside_the_subgroup(),
        "a coordinate not below p": (x0 + FIELD_MODULUS).to_bytes(48, "big") + good[48:],
        "all ones": b"\xff" * 192,
        "halves swapped": good[96:] + good[:96],
        "c0 and c1 swapped": good[48:96] + good[:48] + good[144:] + good[96:144],
    }


def test_malformed_signatures_are_refused_at_bounded_cost(oracle: Any) -> None:
    """O9: a malformed point burns what its precompile is given, which is capped."""
    for signers in ([0, 1, 2, 3], [1, 2, 3]):
        report = oracle.committee.report(signers=signers)
        for what, signature in malformed(report).items():
            receipt = oracle.push(report, signature=signature)
            assert not receipt.succeeded
            error = client.decode_error(receipt.output)
            assert error is not None, what
            assert error.name == "MalformedSignature", what
            assert receipt.gas_used <= 250_000, what
    assert oracle.stored().observed_at_ms == 0


def test_the_negated_signature_is_refused(oracle: Any) -> None:
    report = oracle.committee.report()
    good = report.signature
    y = [int.from_bytes(good[i : i + 48], "big") for i in (96, 144)]
    negated = good[:96] + b"".join((FIELD_MODULUS - c).to_bytes(48, "big") for c in y)
    assert refusal(oracle, report, signature=negated).startswith("BadSignature")


def test_the_signature_at_infinity_is_refused(oracle: Any) -> None:
    report = oracle.committee.report()
    assert refusal(oracle, report, signature=bytes(192)).startswith("BadSignature")


def test_keys_that_sum_to_infinity_certify_nothing(kit: Any) -> None:
    """Members can register keys that cancel out: their sum is good for any message."""
    a, b = 0x1234567, 0x7654321
    committee = kit.Committee(n=4, secrets=(a, b, GROUP_ORDER - a - b, 5))
    oracle = kit.deploy(committee)
    words = (kit.word_of(kit.answer(1)),)
    unsigned = kit.SignedReport(committee.header(words), words, 0b0111, bytes(192))
    assert refusal(oracle, unsigned) == "InfinityAggregateKey()"
    forged = point_outside_the_subgroup()
    assert refusal(oracle, unsigned, signature=forged) == "InfinityAggregateKey()"
    with pytest.raises(AssertionError, match="InfinityAggregateKey"):
        kit.deploy(kit.Committee(n=2, secrets=(a, GROUP_ORDER - a)))


def test_a_signature_of_strangers_is_refused(oracle: Any, kit: Any) -> None:
    strangers = kit.Committee(n=9)
    report = oracle.committee.report()
    message = report.header.id(oracle.committee.domain)
    shares = [PopSchemeMPL.sign(key, message) for key in strangers.keys[5:]]
    signature = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
    assert refusal(oracle, report, signature=signature).startswith("BadSignature")


def test_truncated_calldata(oracle: Any) -> None:
    calldata = oracle.committee.report().calldata
    for length in (4, 100, 259, 300, len(calldata) - 1):
        receipt = oracle.chain.transact(oracle.address, calldata[:length])
        assert not receipt.succeeded


def test_values_wider_than_their_type(oracle: Any) -> None:
    calldata = oracle.committee.report().calldata
    # The offset of the words and their number.
    for byte in (260, 290):
        receipt = oracle.chain.transact(oracle.address, flipped(calldata, byte * 8))
        assert not receipt.succeeded


def test_too_little_gas_stores_nothing(oracle: Any) -> None:
    calldata = oracle.committee.report().calldata
    for gas in (40_000, 90_000, 140_000, 180_000, 200_000):
        receipt = oracle.chain.transact(oracle.address, calldata, gas=gas)
        assert not receipt.succeeded
    assert oracle.stored().observed_at_ms == 0
    assert oracle.chain.transact(oracle.address, calldata, gas=230_000).succeeded


def without(*numbers: int) -> dict[bytes, Callable[[Any], None]]:
    table = NativeComputation._precompiles
    gone = {number.to_bytes(20, "big") for number in numbers}
    return {address: code for address, code in table.items() if address not in gone}


def test_a_chain_without_the_precompiles(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """O10: a call to a missing precompile succeeds and returns nothing."""
    committee = kit.Committee()
    oracle = kit.deploy(committee)
    report = committee.report(signers=[0, 1, 2])
    monkeypatch.setattr(NativeComputation, "_precompiles", without(*range(0x0B, 0x12)))
    assert refusal(oracle, report) == "PrecompileFailed(precompile=11)"
    full = committee.report()
    assert refusal(oracle, full) == "PrecompileFailed(precompile=17)"
    with pytest.raises(AssertionError, match="PrecompileFailed"):
        # Another network than that which was deployed before: nothing of it is made yet.
        kit.deploy(kit.Committee(name="without precompiles"))


PRECOMPILES = [0x02, 0x0B, 0x0D, 0x0F, 0x11]


def missing(code: Callable[[Any], None]) -> Callable[[Any], None] | None:
    return None


def longer(code: Callable[[Any], None]) -> Callable[[Any], None]:
    def answer(computation: Any) -> None:
        code(computation)
        computation.output = bytes(computation.output) + b"\0"

    return answer


def shorter(code: Callable[[Any], None]) -> Callable[[Any], None]:
    def answer(computation: Any) -> None:
        code(computation)
        computation.output = bytes(computation.output)[:-1]

    return answer


def reverting(code: Callable[[Any], None]) -> Callable[[Any], None]:
    from eth.exceptions import Revert

    def answer(computation: Any) -> None:
        code(computation)
        raise Revert("as contracts do, with the output in place")

    return answer


@pytest.mark.parametrize("number", PRECOMPILES)
@pytest.mark.parametrize("fault", [missing, longer, shorter, reverting])
def test_a_precompile_that_answers_otherwise_is_not_believed(
    unused: Any,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    fault: Callable[[Any], Callable[[Any], None] | None],
) -> None:
    calldata = unused.committee.report(signers=[0, 1, 2]).calldata
    address = number.to_bytes(20, "big")
    table = without(number)
    replacement = fault(NativeComputation._precompiles[address])
    if replacement is not None:
        table[address] = replacement
    monkeypatch.setattr(NativeComputation, "_precompiles", table)
    assert refuses(unused, calldata) in ("PrecompileFailed", "MalformedSignature")
    monkeypatch.undo()
    assert client.decode_stored_flag(unused.chain.call(unused.address, calldata))


@pytest.fixture(scope="module")
def unused(kit: Any) -> Any:
    """An oracle for calls that keep nothing."""
    return kit.deploy(kit.Committee())
