"""The catalogue that is shipped, and what is said of one that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.feed_check import native_venues
from feeds.catalogue import DEFAULT_PATH, feed_rows, feed_table, load_catalogue
from testnet.exchanges.pairs import listings

# A hundred times what these were worth when the decimals were chosen, rounded up.
USD_HUNDREDFOLD = {
    "BTC": 12_500_000, "ETH": 500_000, "SOL": 30_000, "USDT": 100, "USDC": 100, "DAI": 100,
    "XRP": 350, "ADA": 120, "DOGE": 45, "LTC": 14_000, "LINK": 2_800, "AVAX": 4_500, "DOT": 800,
    "BCH": 70_000, "UNI": 1_400, "AAVE": 37_000, "ATOM": 900, "XLM": 50, "ALGO": 50, "NEAR": 700,
    "FIL": 700, "SUI": 500, "ETC": 3_000, "CRV": 120, "COMP": 9_000, "GRT": 30, "ARB": 100,
    "OP": 200, "APT": 1_200, "INJ": 2_800,
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    return feed_rows(load_catalogue().feeds)


def test_the_shipped_catalogue_prices_thirty_feeds() -> None:
    table = load_catalogue()
    assert [feed.pair for feed in table.feeds] == [f"{base}/USD" for base in USD_HUNDREDFOLD]
    assert table.count >= 30
    for feed in table.feeds:
        assert USD_HUNDREDFOLD[feed.base] * 10**feed.decimals < 2**48
        assert feed.minimum_sources >= feed.minimum_venues >= 3
        native = sum(source.weight for source in feed.sources if feed.is_native(source))
        converted = sum(source.weight for source in feed.sources if not feed.is_native(source))
        assert converted < native
        assert all(5_000 <= source.max_age_ms <= 30_000 for source in feed.sources)
        assert 0 < feed.calm_deviation_ppm < feed.deviation_ppm


def test_every_feed_has_five_venues_that_the_simulation_has_too() -> None:
    for feed in load_catalogue().feeds:
        assert len({source.house for source in feed.sources}) >= 5, feed.pair
        assert len(native_venues(feed)) >= 3, feed.pair
        for source in feed.sources:
            listed = {(one.base, one.quote) for one in listings(source.venue)}
            assert (source.base, source.quote) in listed, source.key


def test_what_is_pegged_says_so() -> None:
    pegged = {feed.base for feed in load_catalogue().feeds if feed.alarms.peg_ppm}
    assert pegged == {"USDT", "USDC", "DAI"}


def test_the_two_windows_of_coinbase_are_one_venue() -> None:
    for feed in load_catalogue().feeds:
        houses = {source.house for source in feed.sources if source.venue.startswith("coinbase")}
        assert houses <= {"coinbase_exchange"}


def test_rows_survive_json_and_make_the_same_table() -> None:
    table = load_catalogue()
    again = feed_table(json.loads(json.dumps(rows())), "network.json")
    assert again == table
    assert again.digest() == table.digest()


def changed(**entries: Any) -> list[dict[str, Any]]:
    bitcoin, *others = rows()
    return [{**bitcoin, **entries}, *others]


def without(name: str) -> list[dict[str, Any]]:
    bitcoin, *others = rows()
    return [{key: value for key, value in bitcoin.items() if key != name}, *others]


def source(**entries: Any) -> list[dict[str, Any]]:
    bitcoin, *_ = rows()
    first, *others = bitcoin["sources"]
    return changed(sources=[{**first, **entries}, *others])


REFUSED: list[tuple[object, str]] = [
    (None, r"here: no feeds; add at least one \[\[feeds\]\] table"),
    ([], "no feeds"),
    ({"base": "BTC"}, "no feeds"),
    ([7], r"here: feed 0: Expected `object`, got `int`"),
    ([{}], r"here: feed 0: Object missing required field `base`"),
    (without("decimals"), r"here: feed 0 \(BTC/USD\): .*missing required field `decimals`"),
    (changed(decimal=8), r"feed 0 \(BTC/USD\): unknown entry 'decimal'; known: base, quote"),
    (changed(decimals="7"), r"feed 0 \(BTC/USD\): Expected `int`, got `str` - at `\$.decimals`"),
    (changed(decimals=7.5), r"Expected `int`, got `float`"),
    (changed(decimals=True), r"Expected `int`, got `bool`"),
    (changed(decimals=99), r"feed 0 \(BTC/USD\): decimals must be a whole number from 0 to 18"),
    (changed(minimum_sources=64), r"minimum_sources 64 is more than its [0-9]+ sources; correct"),
    (changed(sources=[]), r"feed 0 \(BTC/USD\)"),
    (changed(sources=[3]), r"feed 0 \(BTC/USD\): Expected `object`, got `int`"),
    (changed(breaker={"sigma": 1}), r"\(BTC/USD\), breaker: unknown entry 'sigma'"),
    (source(venue="krakn"), r"feed 0 \(BTC/USD\): unknown venue 'krakn'; use one of binance,"),
    (
        source(venue="coinbase_advanced", quote="USDC"),
        r"feed 0 \(BTC/USD\): coinbase_advanced has no book of BTC/USDC; name BTC/USD",
    ),
    (source(weights=1), r"feed 0 \(BTC/USD\), source 1: unknown entry 'weights'"),
    (source(weight=0), r"feed 0 \(BTC/USD\): source coinbase_exchange/BTC/USD: weight must be"),
    (source(quote="EUR"), r"needs the feed EUR/USD, which is not in the table"),
    (source(base="ETH"), r"prices ETH, not BTC"),
    (rows() + rows()[:1], r"feed [0-9]+ \(BTC/USD\): the pair stands in the table twice"),
]


@pytest.mark.parametrize(("given_rows", "said"), REFUSED)
def test_an_unusable_table_is_refused_by_place_and_remedy(given_rows: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        feed_table(given_rows, "here")
    assert str(refused.value).startswith("here: ")
    assert ";" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[feeds]\n", "not valid TOML.*line 1.*correct that place"),
        (b"\xff\xfe", "not UTF-8 text; name a catalogue file"),
        (b"[network]\n", r"unknown entry 'network'; only \[\[feeds\]\] and \[counts_as\]"),
        (b"[counts_as]\nbinance = 7\n", "\\[counts_as\\] holds lines such as"),
        (b'[counts_as]\nkrakn = "okx"\n', "\\[counts_as\\] names the unknown venue 'krakn'; use"),
        (b'[counts_as]\nokx = "krakn"\n', "\\[counts_as\\] names the unknown venue 'krakn'; use"),
        (
            b'[counts_as]\nokx = "kraken"\nkraken = "gemini"\n',
            r"\[counts_as\] okx: kraken itself counts",
        ),
        (b"", "no feeds"),
        (b"# " + b"x" * 4 * 1024 * 1024, "larger than"),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "feeds.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"feeds.toml: {said}"):
        load_catalogue(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml: cannot be read .*name an existing"):
        load_catalogue(tmp_path / "none.toml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_catalogue(tmp_path)


def test_the_shipped_file_explains_every_entry() -> None:
    comments = DEFAULT_PATH.read_text().split("[[feeds]]")[0]
    for name in rows()[0]:
        if name not in ("base", "quote", "sources"):
            assert name in comments
    assert "max_age_ms" in comments
    assert "weight" in comments


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(rows()[0])), inner)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_rows_give_a_table_or_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^here: "):
        feed_table(value, "here")


def test_a_venue_can_count_as_another_in_all_feeds(tmp_path: Path) -> None:
    path = tmp_path / "feeds.toml"
    shipped = DEFAULT_PATH.read_text()
    path.write_text(shipped.replace("[counts_as]\n", '[counts_as]\ngemini = "bitstamp"\n'))
    sources = [source for feed in load_catalogue(path).feeds for source in feed.sources]
    assert {s.house for s in sources if s.venue == "gemini"} == {"bitstamp"}
    others = [source for source in sources if source.venue != "gemini"]
    assert {s.venue for s in others if s.house != s.venue} == {"coinbase_advanced"}
