"""What a member warns of is logged when it begins and when it ends, and not between."""

from dataclasses import replace

from structlog.testing import capture_logs

from aggregation.alarm import Alarm
from aggregation.feed import SourceSpec
from aggregation.member import MemberPrice
from aggregation.quote import RejectReason
from node.feed_alarms import FeedAlarms, apart, unused

CALM = MemberPrice(100, 1, 0, 3)
PAIRS = ["BTC/USD", "ETH/USD"]


def told(alarms: FeedAlarms, *prices: MemberPrice) -> list[tuple[str, str, str]]:
    with capture_logs() as logs:
        alarms.note(prices)
    return [(one["event"], one["feed"], one["alarm"]) for one in logs]


def test_alarms_are_told_once_each_way() -> None:
    alarms = FeedAlarms(PAIRS)
    assert told(alarms, CALM, CALM) == []
    warned = replace(CALM, alarms=frozenset({Alarm.DRIFT, Alarm.OUTLIER}))
    assert set(told(alarms, CALM, warned)) == {
        ("feed.alarm", "ETH/USD", "drift"),
        ("feed.alarm", "ETH/USD", "outlier"),
    }
    assert told(alarms, CALM, warned) == []
    less = replace(CALM, alarms=frozenset({Alarm.OUTLIER}))
    assert told(alarms, CALM, less) == [("feed.alarm_over", "ETH/USD", "drift")]
    assert told(alarms, warned, CALM)[-1] == ("feed.alarm_over", "ETH/USD", "outlier")


def test_nothing_observed_yet_is_nothing_to_tell() -> None:
    assert told(FeedAlarms(PAIRS)) == []


def test_sources_are_named_with_what_is_wrong_with_them() -> None:
    okx = SourceSpec("okx", "BTC", "USDT", 10, 5_000)
    price = replace(
        CALM, outliers=frozenset({okx.key}), rejected=((okx, RejectReason.WIDE_SPREAD),)
    )
    assert list(apart(price)) == ["okx BTC/USDT"]
    assert list(unused(price)) == ["okx BTC/USDT: half-spread beyond the feed's limit"]
