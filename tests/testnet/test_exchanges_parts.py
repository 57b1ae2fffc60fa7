"""The parts of the simulated exchanges: pairs, faults, damage, limits, encoding."""

import random
from pathlib import Path

import msgspec
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from feeds.venues import VENUES as SOURCES
from testnet.exchanges import pairs
from testnet.exchanges.damage import at_size, damaged
from testnet.exchanges.faults import Fault
from testnet.exchanges.limits import Counter, Limit
from testnet.exchanges.pairs import listings
from testnet.exchanges.protobuf import length_delimited, text, varint
from testnet.exchanges.session import Binary
from testnet.exchanges.simulator import VENUES

PPM = 1_000_000


@pytest.mark.parametrize("name", sorted(VENUES))
def test_an_exchange_and_our_source_spell_pairs_alike(name: str) -> None:
    profile = VENUES[name].profile
    for pair in profile.pairs():
        assert SOURCES[name].symbol(pair.base, pair.quote) == pair.symbol
        assert SOURCES[name].symbols.pair(pair.symbol) == (pair.base, pair.quote)
    for base in ("DOGE", "LINK", "AVAX", "XRP"):
        assert SOURCES[name].symbol(base, "USD") == profile.symbol(base, "USD")


def test_a_pair_is_one_line_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "pairs.csv"
    line = "AVAX,USD,0.001,4,50,kraken bitfinex:0.01\n"
    table.write_text(pairs._TABLE.read_text() + line)
    monkeypatch.setattr(pairs, "_TABLE", table)
    pairs._table.cache_clear()
    try:
        for name, symbol, tick in (
            ("kraken", "AVAX/USD", "0.001"),
            ("bitfinex", "tAVAX:USD", "0.01"),
        ):
            pair = VENUES[name].profile.pairs()[-1]
            assert (pair.symbol, pair.tick) == (symbol, tick)
        with pytest.raises(ValueError, match=r"pairs\.csv lists nothing at 'mtgox'"):
            listings("mtgox")
    finally:
        pairs._table.cache_clear()


@pytest.mark.parametrize(
    ("order", "after_ms", "factor_ppm"),
    [
        ({"mode": "constant"}, 0, 1_200_000),
        ({"mode": "drift", "ms": 1_000}, 0, PPM),
        ({"mode": "drift", "ms": 1_000}, 500, 1_100_000),
        ({"mode": "drift", "ms": 1_000}, 9_000, 1_200_000),
        ({"mode": "spike", "ms": 1_000}, 100, 1_200_000),
        ({"mode": "spike", "ms": 1_000}, 400, PPM),
        ({"mode": "spike", "ms": 1_000}, 1_100, 1_200_000),
    ],
)
def test_a_lie_is_a_function_of_time(
    order: dict[str, object], after_ms: int, factor_ppm: int
) -> None:
    fault = msgspec.convert({"venue": "okx", "fault": "lie", "factor": 1.2, **order}, Fault)
    assert fault.factor_ppm(after_ms) == factor_ppm


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"fault": "freeze", "mode": "loud"}, "the mode of freeze must be one of silent, repeat"),
        ({"fault": "lag", "mode": "silent"}, "the mode of lag must be none at all"),
        ({"fault": "lag", "ms": 0}, "ms must be above 0"),
        ({"fault": "skew", "ms": 10**9}, "ms must be at most"),
        ({"fault": "huge", "bytes": 10**9}, "bytes must be"),
        ({"fault": "limit", "retry_after_s": -1}, "retry_after_s must be"),
        ({"fault": "limit", "status": 500}, "500"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(order: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({"venue": "okx", **order}, Fault)


TEXT = b'{"e":"t","s":"BTCUSDT","b":"1.5","l":[["1","2"],[3,null]]}'
BINARY = Binary(text(1, "spot@x") + text(3, "BTCUSDT") + varint(6, 1782208005090))


@given(st.integers(), st.sampled_from(["garbage", "types"]), st.sampled_from([TEXT, BINARY]))
def test_damage_always_does_some_and_keeps_to_websocket(
    seed: int, fault: str, frame: bytes
) -> None:
    spoilt = damaged(frame, Fault(venue="okx", fault=fault), random.Random(seed))  # type: ignore[arg-type]
    assert spoilt is not None
    assert spoilt != frame or type(spoilt) is not type(frame)
    if not isinstance(spoilt, Binary):
        spoilt.decode("utf-8")
    if fault == "types" and frame is TEXT:
        msgspec.json.decode(spoilt)


@pytest.mark.parametrize("frame", [TEXT, BINARY])
def test_a_huge_frame_means_the_same(frame: bytes) -> None:
    blown_up = at_size(frame, 100_000)
    assert 100_000 <= len(blown_up) < 100_100
    assert type(blown_up) is type(frame)
    if frame is TEXT:
        assert msgspec.json.decode(blown_up) == msgspec.json.decode(frame)
    else:
        assert blown_up.startswith(frame)


def test_a_limit_counts_within_its_window() -> None:
    counter = Counter(Limit(2, 10), clients=2)
    assert [counter.wait_s(second) for second in (0, 1, 2, 3)] == [0, 0, 0, 0]
    assert counter.wait_s(4) == 6
    assert counter.wait_s(10) == 0
    assert counter.wait_s(10.5) == 0.5


def google_message() -> type:
    """Return a class of Google's for a message with one field of each kind that we encode."""
    file = FileDescriptorProto(name="sample.proto", syntax="proto3")
    sample = file.message_type.add(name="Sample")
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    for name, number, kind in (
        ("words", 1, FieldDescriptorProto.TYPE_STRING),
        ("number", 6, FieldDescriptorProto.TYPE_INT64),
    ):
        sample.field.add(name=name, number=number, type=kind, label=optional)
    sample.field.add(
        name="inner",
        number=315,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        type_name=".Sample",
        label=optional,
    )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("Sample"))


SAMPLE = google_message()


@given(st.text(max_size=300), st.integers(0, 2**63 - 1), st.text(max_size=300))
def test_what_we_encode_is_what_google_s_library_encodes(
    words: str, number: int, inner_words: str
) -> None:
    message = SAMPLE(words=words, number=number, inner=SAMPLE(words=inner_words))
    ours = text(1, words) + varint(6, number) + length_delimited(315, text(1, inner_words))
    assert ours == message.SerializeToString(deterministic=True)
