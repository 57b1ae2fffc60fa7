"""The page in Chromium with the real API before a fake node: what it shows, and when it is true."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from aggregation.status import Status
from node.api.view import ChainView, OffenceView
from node.fairness.view import FairnessAlarm
from node.incidents import Incident

pytestmark = pytest.mark.slow

PATIENCE_MS = 20_000
Node = Callable[..., Any]
Visit = Callable[..., Page]


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


def mode(page: Page, *names: str) -> None:
    """Wait until the page says that it is in one of these modes."""
    page.wait_for_function(
        "names => names.includes(document.body.dataset.mode)", arg=list(names), timeout=PATIENCE_MS
    )


def statuses(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        ".feed", "rows => rows.map(row => row.dataset.status)"
    )
    return found


def says_live(page: Page) -> bool:
    """Tell whether anything on the page claims to be live now."""
    texts: list[str] = page.eval_on_selector_all(
        ".feed .status, .chip:not([hidden]), #connection-text",
        "nodes => nodes.map(node => node.textContent)",
    )
    return any(text.startswith("Live") for text in texts)


def test_live_prices_move_and_say_how_sure_they_are(node: Node, visit: Visit) -> None:
    served = node(4, 4)
    served.run()
    page = visit(served.url)
    mode(page, "live")
    expect(page.locator(".feed")).to_have_count(4)
    row = page.locator(".feed").first
    expect(row.locator("h3")).to_have_text("BTC/USD")
    expect(row.locator(".status")).to_have_text("Live")
    before = row.locator(".price").text_content()
    expect(row.locator(".price")).not_to_have_text(before or "")
    assert (row.locator(".half").text_content() or "").startswith("± ")
    assert (row.locator(".age-field dd").text_content() or "").endswith(" s")
    # The history came with the page, so the chart spans it at once, with its band.
    page.wait_for_function(
        "() => document.querySelector('.feed .line').getAttribute('d').split('L').length > 100",
        timeout=PATIENCE_MS,
    )
    assert row.locator(".band").get_attribute("d")
    expect(page.locator(".figure", has_text="Rounds a second").locator(".value")).to_have_text(
        # Other processes may have the cores, so only that there is a rate.
        re.compile(r"^\d+(\.\d)?$")
    )


def test_who_signs_who_is_absent_and_how_many_may_fail(node: Node, visit: Visit) -> None:
    served = node(7, 2, silent=(2,))
    served.run()
    page = visit(served.url)
    mode(page, "live")
    figures = page.locator(".figure")
    expect(figures.filter(has_text="Signed by")).to_contain_text("5 of 7")
    expect(figures.filter(has_text="Signed by")).to_contain_text("exactly the quorum of 5")
    expect(figures.filter(has_text="Taking part")).to_contain_text("6 of 7")
    expect(figures.filter(has_text="Taking part")).to_contain_text("1 to spare")
    expect(figures.filter(has_text="Late or absent")).to_contain_text("carol")
    rows = page.locator("#members li")
    expect(rows).to_have_count(7)
    expect(rows.nth(2).locator(".state")).to_have_text("never seen")
    expect(page.locator("#members .state", has_text="signed")).to_have_count(5)


def test_a_feed_opens_to_its_sources_with_state_reason_and_age(node: Node, visit: Visit) -> None:
    # What came from outside about a connection is for the operator alone.
    served = node(4, 4, reason="cannot connect to 10.1.2.3:8080 through proxy secret.internal")
    served.run()
    page = visit(served.url)
    mode(page, "live")
    button = page.locator(".feed .open").nth(1)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    table = page.locator(".feed").nth(1).locator("table")
    expect(table.locator("tbody tr")).to_have_count(7)
    bitfinex = table.locator("tbody tr", has_text="bitfinex")
    expect(bitfinex).to_contain_text("stale")
    expect(bitfinex).to_contain_text("its newest price is too old")
    expect(bitfinex.locator("td").nth(1)).to_have_text("no")
    expect(bitfinex.locator("td").last).to_contain_text("s")
    expect(table.locator("tbody tr", has_text="gemini")).to_contain_text("polled")
    expect(table.locator("tbody tr", has_text="binance")).to_contain_text("outlier")
    assert "10.1.2.3" not in page.content()
    page.keyboard.press("Space")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(table).to_be_hidden()


def test_every_status_says_why_and_what_the_price_is(node: Node, visit: Visit) -> None:
    served = node(4, 6)
    network = served.network
    for place, (status, cause) in enumerate(
        (
            (Status.LIVE, "none"),
            (Status.DEGRADED, "wide_confidence"),
            (Status.CARRIED, "too_few_observations"),
            (Status.HALTED, "jump"),
            (Status.UNAVAILABLE, "lacked"),
        )
    ):
        network.feeds[place].status, network.feeds[place].cause = status, cause
    served.run()
    page = visit(served.url)
    mode(page, "live")
    rows = page.locator(".feed")
    expect(rows.nth(1)).to_contain_text("sources disagree more than usual")
    expect(rows.nth(2)).to_contain_text("kept")
    expect(rows.nth(3)).to_contain_text("before the halt")
    expect(rows.nth(3)).to_contain_text("moved farther than its volatility explains")
    expect(rows.nth(4).locator(".price")).to_have_text("–")
    expect(rows.nth(4)).to_contain_text("too many members lack it")
    assert statuses(page) == ["live", "degraded", "carried", "halted", "unavailable", "live"]


def test_nothing_is_live_while_the_network_is_silent(node: Node, visit: Visit) -> None:
    served = node(4, 4)
    served.run()
    page = visit(served.url)
    mode(page, "live")
    served.pause()
    mode(page, "silent")
    assert not says_live(page)
    assert set(statuses(page)) == {"known"}
    expect(page.locator(".feed .word").first).to_have_text("last known")
    expect(page.locator("#banner")).to_contain_text("No certificate for")
    expect(page.locator("#announcer")).to_contain_text("not live")
    assert page.title().startswith("Silent")
    # However long it lasts, it is the network's silence and not the connection's end.
    page.evaluate(
        "() => { window.modes = [];"
        "new MutationObserver(() => window.modes.push(document.body.dataset.mode))"
        ".observe(document.body, {attributes: true}); }"
    )
    page.wait_for_timeout(23_000)
    assert page.evaluate("window.modes") == []
    served.run()
    mode(page, "live")
    expect(page.locator("#banner")).to_be_hidden()
    assert set(statuses(page)) == {"live"}


def test_a_page_that_loses_the_node_says_so_and_comes_back(node: Node, visit: Visit) -> None:
    served = node(4, 4)
    served.run()
    page = visit(served.url)
    mode(page, "live")
    served.close()
    mode(page, "down")
    assert not says_live(page)
    assert set(statuses(page)) == {"known"}
    expect(page.locator("#banner")).to_contain_text("does not reach the node")
    assert page.locator(".feed .price").first.text_content() != "–"
    served.open()
    mode(page, "live")
    assert set(statuses(page)) == {"live"}


def test_where_websockets_do_not_pass_it_asks(node: Node, visit: Visit, browser: Any) -> None:
    served = node(4, 4)
    served.run()
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error('no'); } };")
    page.goto(served.url)
    mode(page, "asking")
    price = page.locator(".feed .price").first
    expect(price).not_to_have_text(price.text_content() or "")
    assert set(statuses(page)) == {"live"}
    served.pause()
    mode(page, "silent")
    assert not says_live(page)
    context.close()


def test_an_old_report_is_not_shown_as_live_when_the_page_opens(node: Node, visit: Visit) -> None:
    served = node(4, 4, past=False)
    served.network.round(int(time.time() * 1000) - 60_000)
    page = visit(served.url)
    mode(page, "silent")
    assert not says_live(page)
    expect(page.locator("#banner")).to_contain_text("No certificate for 60 s")


def test_a_node_that_starts_and_one_without_a_report_say_what_they_wait_for(
    node: Node, visit: Visit
) -> None:
    served = node(4, 4, past=False, not_ready=("connected with 1 members, 3 are needed",))
    page = visit(served.url)
    mode(page, "starting")
    expect(page.locator("#banner")).to_contain_text("The node is still starting")
    served.network.show()
    expect(page.locator("#banner")).to_contain_text("No report has been certified yet")
    expect(page.locator("#notices")).to_contain_text("3 are needed")
    expect(page.locator(".feed")).to_have_count(4)
    expect(page.locator(".feed .age-field dd").first).to_have_text("never")
    assert not says_live(page)
    served.run()
    mode(page, "live")


def test_empty_parts_say_that_they_are_empty(node: Node, visit: Visit) -> None:
    served = node(1, 1)
    served.run()
    page = visit(served.url)
    mode(page, "live")
    expect(page.locator("#chain-empty")).to_have_text("This node publishes to no chain.")
    expect(page.locator("#incident-empty")).to_contain_text("Nothing since")
    page.locator("#search").fill("nothing like it")
    expect(page.locator("#feed-empty")).to_contain_text("No feed matches")


def test_chains_show_what_they_store_and_never_a_balance(node: Node, visit: Visit) -> None:
    chain = ChainView(
        "mainnet", 1, "0xddee", True, "publishing", 1_000, 1, 2, 0, 123_456_789, "rpc.secret:1",
        account="0xacc0", endpoint="rpc.secret", stored_epoch=0,
    )  # fmt: skip
    served = node(4, 4, chains=(chain,))
    served.run()
    page = visit(served.url)
    mode(page, "live")
    shown = page.locator("#chain-list li")
    expect(shown).to_contain_text("epoch 0, view 1,000")
    expect(shown).to_contain_text("views behind the newest")
    expect(shown).to_contain_text("days old")
    for secret in ("123456789", "123,456,789", "rpc.secret", "0xacc0"):
        assert secret not in page.content()


def test_incidents_are_told_newest_first(node: Node, visit: Visit) -> None:
    served = node(
        4,
        4,
        incidents=(
            Incident(
                2_000_000_000_000, "feed_status", feed="BTC/USD", before="live", status="halted",
                cause="jump",
            ),
            Incident(1_000, "fairness_ended", alarm="left_out", leader="carol", member="dave"),
        ),
        offences=(OffenceView("dave", "two_votes", 0, 812, 1_500_000_000_000, "0x3f2c"),),
        alarms=(FairnessAlarm("left_out", "carol", "bob", "", "", "carol leaves out bob"),),
    )  # fmt: skip
    served.run()
    page = visit(served.url)
    mode(page, "live")
    entries = page.locator("#incident-list li")
    expect(entries).to_have_count(3)
    expect(entries.nth(0)).to_contain_text("BTC/USD halted")
    expect(entries.nth(0)).to_contain_text("moved farther")
    expect(entries.nth(1)).to_contain_text("Evidence against dave")
    expect(entries.nth(1)).to_contain_text("two votes in epoch 0, view 812")
    expect(entries.nth(2)).to_contain_text("over")
    expect(page.locator("#alarm-list")).to_contain_text("carol leaves out bob")


def test_what_the_api_says_is_text_whatever_it_says(node: Node, visit: Visit) -> None:
    attack = "<img src=x onerror=alert(1)>"
    wide = "W" * 64

    def forge(document: dict[str, Any]) -> None:
        document["signers"] = [attack, wide, "carol"]
        document["answers"][1]["feed"] = attack
        document["answers"][2]["feed"] = "\u202eDSU/CTB" + wide
        document["answers"][3] |= {"price": "1e999<b>", "confidence_ppm": "many", "status": "<i>"}

    served = node(
        4,
        4,
        forge=forge,
        not_ready=(f"<script>{attack}</script>",),
        incidents=(Incident(1_000, "feed_status", feed=attack, status=attack, cause=attack),),
        offences=(OffenceView(attack, attack, 0, 1, 2_000, attack),),
        chains=(ChainView(attack, 1, attack, True, "", 1, 1, 0, 0, None, ""),),
        alarms=(FairnessAlarm(attack, attack, attack, attack, attack, attack),),
    )
    network = served.network
    network.members = [attack, wide, "c", "d"]
    network.participation = type(network.participation)(network.members)
    network.feeds[1].name = attack
    served.run()
    # The node has no history of a feed that only the report names.
    page = visit(served.url, width=360, height=800, bears="404")
    mode(page, "live")
    expect(page.locator(".feed h3", has_text="<img src=x")).to_have_count(1)
    expect(page.locator("#incident-list")).to_contain_text("<img src=x")
    expect(page.locator("#members")).to_contain_text("<img src=x")
    assert page.locator("main img, main script, main i, main b").count() == 0
    assert "\u202e" not in page.content()
    # A price that is none is not shown as one.
    assert page.locator(".feed", has_text="XRP/USD").locator(".price").text_content() == "–"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
