"""Metrics: one registry per daemon, names with units, a help text each."""

import re
import time

from prometheus_client.parser import text_string_to_metric_families

from node.api.view import (
    ChainView,
    CommitteeView,
    FeedView,
    Identity,
    MemberView,
    NodeView,
    SourceView,
    ViewCell,
)
from node.api.view_metrics import ViewCollector
from node.metrics import Metrics
from node.publisher.status import ChainStatus

UNITS = (
    "seconds", "number", "members", "blocks", "frames", "ppm", "units", "code", "wei", "sources",
    "reports", "connections", "alarms",
)  # fmt: skip
COUNTED = {
    "build_info", "ready", "peer_connected", "source_up", "api_streams", "publisher_dry",
    "publisher_working", "feed_sources_apart",
}  # fmt: skip


def a_view() -> NodeView:
    member = MemberView("one", 0, "aa", "bb", "0xcc")
    feed = FeedView(0, "BTC/USD", 7, 1, 1, 1, "1.5", None, "halted", "jump", 4_000, 3, 6, ("one",))
    return NodeView(
        made_at_ns=time.monotonic_ns(),
        identity=Identity("0.1.0", "test", "0x", "0x", "one", 0, "i", 1),
        committee=CommitteeView(0, "0x", 1, 1, 3, ("one",), (member,)),
        view=9,
        height=8,
        rounds_certified=8,
        rounds_committed=7,
        timeouts=2,
        latest=None,
        feeds=(feed,),
        sources=(
            SourceView("kraken", "BTC/USD", True, "", 12, 1, 6_000, "polled", 5, 99, 2, "", -40),
            SourceView("kraken", "ETH/USD", False, "", 3, 1, None, "frozen", 0, 99, 2, "", -40),
        ),
        chains=(
            ChainView(
                "dev",
                1,
                "0x",
                True,
                "publishing",
                4,
                4_000,
                2,
                1,
                10**18,
                "",
                pushes_by=(("deviation", 2), ("heartbeat", 0)),
                gas_used=200_000,
            ),
        ),
    )


def samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_two_daemons_share_nothing() -> None:
    first, second = Metrics(process=False), Metrics(process=False)
    first.api_streams.labels("events").inc()
    assert samples(first)["didyma_api_streamsevents"] == 1
    assert "didyma_api_streamsevents" not in samples(second)


def test_state_is_read_from_the_newest_view() -> None:
    metrics, cell = Metrics(process=False), ViewCell()
    metrics.registry.register(ViewCollector(cell))
    assert "didyma_view_number" not in samples(metrics)
    cell.swap(a_view())
    found = samples(metrics)
    assert found["didyma_view_number"] == 9
    assert found["didyma_rounds_certified_total"] == 8
    assert found["didyma_ready"] == 1
    assert found["didyma_quorum_margin_members"] == -2
    assert found["didyma_feed_price_unitsBTC/USD"] == 1.5
    assert found["didyma_feed_status_codeBTC/USD"] == 4
    assert found["didyma_publisher_pushes_totaldevdeviation"] == 2
    assert found["didyma_publisher_gas_totaldev"] == 200_000
    assert found["didyma_publisher_balance_weidev"] == 1e18
    assert "didyma_feed_confidence_ppmBTC/USD" not in found
    assert "didyma_last_certified_view_number" not in found


def test_a_stale_view_is_not_ready() -> None:
    metrics, cell = Metrics(process=False), ViewCell()
    metrics.registry.register(ViewCollector(cell, view_age_ms_max=0))
    cell.swap(a_view())
    time.sleep(0.002)
    assert samples(metrics)["didyma_ready"] == 0


def test_every_metric_has_our_prefix_a_unit_and_a_help_text() -> None:
    metrics, cell = Metrics(process=False), ViewCell()
    metrics.registry.register(ViewCollector(cell))
    cell.swap(a_view())
    for family in metrics.registry.collect():
        assert re.fullmatch(r"didyma_[a-z_]+", family.name), family.name
        assert family.documentation.endswith("."), family.name
        name = family.name.removeprefix("didyma_")
        if family.type in ("gauge", "histogram") and name not in COUNTED:
            assert name.endswith(UNITS), family.name


def test_the_process_is_measured_too() -> None:
    assert "process_resident_memory_bytes" in samples(Metrics())


def test_a_chain_is_shown_as_the_publisher_says() -> None:
    status = ChainStatus(
        "dev", 1, "0xoo", "0xaa", "refused", "wrong contract", "http://rpc", 5, 6, 0, 4, 4_000, 1,
        None, None, 0, {"deviation": 2, "heartbeat": 1}, 1, 2, 0, None, None, 9,
        8, None, True, 7, "x",
    )  # fmt: skip
    view = ChainView.of(status)
    assert (view.chain, view.publishing, view.last_error) == ("dev", False, "wrong contract")
    assert (view.pushes, view.pushes_by) == (3, (("deviation", 2), ("heartbeat", 1)))
    assert (view.superseded, view.successions, view.reverted) == (1, 2, 0)
    assert (view.gas_used, view.cost_wei, view.dry, view.errors) == (9, 8, True, 7)


def test_sources_tell_their_state_and_venues_their_faults_once() -> None:
    metrics = Metrics(process=False)
    cell = ViewCell()
    cell.swap(a_view())
    metrics.registry.register(ViewCollector(cell))
    found = samples(metrics)
    assert found["didyma_source_state_codeBTC/USDkraken"] == 4
    assert found["didyma_source_state_codeETH/USDkraken"] == 6
    assert found["didyma_source_polled_quotes_totalBTC/USDkraken"] == 5
    assert found["didyma_venue_faults_totalkraken"] == 2
    assert found["didyma_venue_frames_totalkraken"] == 99
    assert found["didyma_venue_clock_offset_secondskraken"] == -0.04
