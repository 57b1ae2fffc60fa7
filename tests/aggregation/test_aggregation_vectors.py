"""The committed vectors equal what the code makes today.

`python tests/aggregation/test_aggregation_vectors.py` writes them anew. Bytes, words and answers
are 0x hex; numbers that may exceed 2**53 are decimal strings.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aggregation.advance import advance
from aggregation.encoding import (
    decode_answer,
    encode_answer,
    feed_root,
    pack_words,
    prove,
    verify_proof,
    words_of,
)
from aggregation.feed import AlarmSpec, BreakerSpec, FeedSpec, SourceSpec
from aggregation.observation import (
    LACKING,
    Entry,
    Observation,
    ObservationBody,
    observation_digest,
    payload_digest,
)
from aggregation.price import PRICE_MAX, UINT64_MAX
from aggregation.state import AgreedState, genesis_state
from aggregation.status import Cause, Status
from aggregation.table import FeedTable, feed_record, parameters_digest

VECTORS = Path(__file__).parent.parent / "vectors" / "aggregation.json"

DOMAIN = bytes(range(32))
GENESIS_MS = 1_700_000_000_000


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def answer_hex(answer: int) -> str:
    return f"0x{answer:016x}"


def word_hex(word: int) -> str:
    return f"0x{word:064x}"


def direct(venue: str, base: str) -> SourceSpec:
    return SourceSpec(venue, base, "USD", 10, 5_000)


def table() -> FeedTable:
    venues = ("coinbase", "kraken", "bitstamp", "gemini")
    bitcoin = FeedSpec(
        "BTC",
        "USD",
        7,
        1,
        3,
        2_000,
        1_000,
        30_000,
        (
            *(direct(venue, "BTC") for venue in venues),
            SourceSpec("binance", "BTC", "USDT", 12, 3_000),
            SourceSpec("okx", "BTC", "USDT", 8, 4_000),
        ),
    )
    tether = FeedSpec(
        "USDT",
        "USD",
        10,
        2,
        3,
        3_000,
        500,
        60_000,
        tuple(direct(venue, "USDT") for venue in venues),
        BreakerSpec(6, 2_000, 20, 1_000, 2_000, 10_000, 3, 120_000, 500, 4, 5),
        3,
        350_000,
        4,
        125,
        AlarmSpec(500, 300_000, 5_000, 10_000, 25, 200, 40, 4, 20_000, 5, 800, 300, 10_000),
    )
    ether = FeedSpec(
        "ETH", "USD", 8, 1, 2, 2_500, 1_500, 45_000, tuple(direct(v, "ETH") for v in venues[:3])
    )
    return FeedTable((bitcoin, ether, tether))


def answer_vectors() -> list[dict[str, Any]]:
    million = 1_000_000
    cases = [
        (0, 0, Status.UNAVAILABLE),
        (123, 4, Status.UNAVAILABLE),
        (PRICE_MAX + 1, 1, Status.LIVE),
        (1, 0, Status.LIVE),
        (1, 1, Status.LIVE),
        (PRICE_MAX, 1, Status.LIVE),
        (PRICE_MAX, UINT64_MAX, Status.HALTED),
        (650_000_000_000, 65_000_000, Status.LIVE),
        (650_000_000_000, 65_000_001, Status.CARRIED),
        *((million, ppm, Status.LIVE) for ppm in (255, 256, 257, 508, 510, 511, 512, 65_280)),
        *((million, ppm, Status.DEGRADED) for ppm in (254 << 15, (254 << 15) + 1, 255 << 15)),
        (million, (255 << 15) + 1, Status.HALTED),
    ]
    vectors = []
    for price, confidence, status in cases:
        answer = encode_answer(price, confidence, status)
        decoded = decode_answer(answer)
        vectors.append(
            {
                "price": str(price),
                "confidence": str(confidence),
                "status": int(status),
                "answer": answer_hex(answer),
                "decoded": {
                    "price": decoded.price,
                    "confidence_ppm": decoded.confidence_ppm,
                    "status": int(decoded.status),
                },
            }
        )
    return vectors


def sample_answers(count: int) -> list[int]:
    return [encode_answer(10**6 * (i + 1) + i * i, 1 + 97 * i, Status(i % 5)) for i in range(count)]


def word_vectors() -> list[dict[str, Any]]:
    return [
        {
            "answers": [answer_hex(answer) for answer in answers],
            "words": [word_hex(word) for word in pack_words(answers)],
        }
        for answers in (sample_answers(count) for count in (1, 2, 3, 4, 5, 8, 9))
    ]


def tree_vectors() -> list[dict[str, Any]]:
    vectors = []
    for count in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 25):
        words = pack_words(sample_answers(4 * count))
        root = feed_root(words)
        proofs = [prove(words, index) for index in range(count)]
        for index, proof in enumerate(proofs):
            assert verify_proof(root, index, count, words[index], proof)
        vectors.append(
            {
                "words": [word_hex(word) for word in words],
                "root": hexed(root),
                "proofs": [[hexed(sibling) for sibling in proof] for proof in proofs],
            }
        )
    return vectors


def body_vector(body: ObservationBody) -> dict[str, Any]:
    return {
        "observed_at_ms": str(body.observed_at_ms),
        "entries": [[str(e.price), str(e.confidence), e.risk] for e in body.entries],
        "body": hexed(body.encode()),
    }


def observation_vectors() -> list[dict[str, Any]]:
    bodies = [
        (1, 0, ObservationBody(GENESIS_MS, (Entry(650_000_000_000, 65_000_000, 0),))),
        (
            2**40,
            127,
            ObservationBody(GENESIS_MS + 250, (Entry(1, 1, 2), LACKING, Entry(7, 0, 255))),
        ),
        (2**63 - 1, 3, ObservationBody(2**63 - 1, (Entry(UINT64_MAX, UINT64_MAX, 255),))),
    ]
    return [
        {
            "domain": hexed(DOMAIN),
            "view": str(view),
            "member": member,
            **body_vector(body),
            "digest": hexed(observation_digest(DOMAIN, view, member, body)),
        }
        for view, member, body in bodies
    ]


def payload_vectors() -> list[dict[str, Any]]:
    vectors = []
    for view, members in ((1, (0,)), (77, (0, 2, 3)), (2**40, (1, 5, 6, 30))):
        signed = []
        for member in members:
            body = ObservationBody(GENESIS_MS + member, (Entry(10**9 + member, 100, 0),))
            digest = observation_digest(DOMAIN, view, member, body)
            # A stand-in: the payload's digest covers 64 bytes whatever they are.
            signed.append((member, digest, bytes((member + i) % 256 for i in range(64))))
        vectors.append(
            {
                "view": str(view),
                "observations": [
                    {"member": member, "digest": hexed(digest), "signature": hexed(signature)}
                    for member, digest, signature in signed
                ],
                "digest": hexed(payload_digest(view, signed)),
            }
        )
    return vectors


def feed_table_vectors() -> list[dict[str, Any]]:
    whole = table()
    return [
        {
            "feeds": [asdict(feed) for feed in feeds.feeds],
            "parameters_digests": [hexed(parameters_digest(feed)) for feed in feeds.feeds],
            "records": [hexed(feed_record(feed)) for feed in feeds.feeds],
            "digest": hexed(feeds.digest()),
        }
        for feeds in (FeedTable(whole.feeds[2:]), whole)
    ]


def rounds() -> list[list[Observation]]:
    """Return rounds of four members that take the feeds through every status."""
    lines: list[tuple[int, list[tuple[int, int, int]]]] = [
        (250, [(650_000_000_000, 300_000_000_000, 10_000_000_000)] * 4),
        (500, [(650_100_000_000, 300_010_000_000, 10_001_000_000)] * 4),
        (750, [(650_200_000_000, 0, 10_001_000_000)] * 2 + [(650_300_000_000, 1, UINT64_MAX)]),
        (1_000, [(520_000_000_000, 300_020_000_000, 10_000_000_000)] * 3 + [(1, 1, 1)]),
        (1_250, [(520_100_000_000, 303_000_000_000, 0)] * 3),
        *(
            (1_500 + 250 * step, [(520_000_000_000 + step, 300_000_000_000, 10_000_000_000)] * 3)
            for step in range(24)
        ),
        # Ether's members warn, and then do not.
        *((at, [(520_000_000_000, 300_000_000_000, 10**10)] * 3) for at in (7_500, 7_750)),
        (8_000, [(520_000_000_000, 0, 0)] + [(520_000_000_000, 300_000_000_000, 10**10)] * 2),
        (11_100, [(520_000_000_000, 0, 0)] + [(520_000_000_000, 300_000_000_000, 10**10)] * 2),
    ]
    return [
        [
            Observation(
                member,
                GENESIS_MS + time_ms + member,
                tuple(
                    Entry(price, price // 2_000 + member, 2 if time_ms == 7_500 and i == 1 else 0)
                    if price
                    else LACKING
                    for i, price in enumerate(prices)
                ),
            )
            for member, prices in enumerate(members)
        ]
        for time_ms, members in lines
    ]


def state_vector(state: AgreedState) -> dict[str, Any]:
    words = words_of(state)
    return {
        "observed_at_ms": state.observed_at_ms,
        "feeds": [
            {
                "price": feed.price,
                "confidence": str(feed.confidence),
                "status": int(feed.status),
                "cause": int(feed.cause),
            }
            for feed in state.feeds
        ],
        "encoded": hexed(state.encode()),
        "digest": hexed(state.digest()),
        "words": [word_hex(word) for word in words],
        "root": hexed(feed_root(words)),
    }


def advance_vectors() -> dict[str, Any]:
    feeds, faulty_max, carry_ms = table(), 1, 3_000
    state = genesis_state(feeds, GENESIS_MS)
    steps = []
    genesis = state_vector(state)
    for observations in rounds():
        state = advance(state, observations, feeds, faulty_max, carry_ms)
        steps.append(
            {
                "observations": [
                    {
                        "member": one.member,
                        "body": hexed(ObservationBody(one.observed_at_ms, one.entries).encode()),
                    }
                    for one in observations
                ],
                "state": state_vector(state),
            }
        )
    return {
        "feed_table_digest": hexed(feeds.digest()),
        "faulty_max": faulty_max,
        "carry_ms": carry_ms,
        "genesis": genesis,
        "rounds": steps,
    }


def vectors() -> dict[str, Any]:
    return {
        "answers": answer_vectors(),
        "words": word_vectors(),
        "trees": tree_vectors(),
        "observations": observation_vectors(),
        "payloads": payload_vectors(),
        "feed_tables": feed_table_vectors(),
        "history": advance_vectors(),
    }


def test_the_committed_vectors_are_what_the_code_makes() -> None:
    made = json.loads(json.dumps(vectors()))
    committed = json.loads(VECTORS.read_text())
    assert committed.keys() == made.keys()
    for part in made:
        assert committed[part] == made[part], part


def test_the_vectors_go_through_every_status() -> None:
    history = json.loads(VECTORS.read_text())["history"]
    feeds = [feed for step in history["rounds"] for feed in step["state"]["feeds"]]
    assert {feed["status"] for feed in feeds} == {int(status) for status in Status}
    assert {Cause.HIGH_RISK, Cause.SETTLING, Cause.HEALING} < {feed["cause"] for feed in feeds}


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
