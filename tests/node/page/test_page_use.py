"""The page for everyone: phone, keyboard, screen reader, light and dark, thirty feeds."""

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from aggregation.status import Status
from node.api.view import ChainView
from node.incidents import Incident

pytestmark = pytest.mark.slow

PATIENCE_MS = 20_000
AXE = "axe-core@4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
Node = Callable[..., Any]
Visit = Callable[..., Page]


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


def live(page: Page) -> None:
    page.wait_for_selector("body[data-mode=live]", timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the source of axe-core, which is fetched for the test."""
    if not shutil.which("npm"):
        pytest.skip("axe-core comes from npm, which is not installed")
    place = tmp_path_factory.mktemp("axe")
    done = subprocess.run(
        ["npm", "pack", "--silent", AXE], cwd=place, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shutil.unpack_archive(place / done.stdout.strip(), place, filter="data")
    return (place / "package" / "axe.min.js").read_text("utf-8")


@pytest.fixture
def crowd(node: Node) -> Any:
    """A network of thirty feeds and 31 members in which all sorts of things happen."""
    served = node(
        31,
        30,
        silent=(3, 17),
        chains=(ChainView("mainnet", 1, "0x" + "ab" * 20, True, "", 1_000, 1_000, 2, 0, 1, ""),),
        incidents=tuple(
            Incident(n * 1_000, "feed_status", feed="BTC/USD", status="halted", cause="jump")
            for n in range(40)
        ),
        warnings=("this machine's clock seems to be 1500 ms behind the exchanges'",),
    )
    for place, status in ((4, Status.DEGRADED), (7, Status.HALTED), (9, Status.UNAVAILABLE)):
        served.network.feeds[place].status = status
    served.run()
    return served


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 800), (1440, 900)])
def test_axe_finds_nothing(
    crowd: Any, visit: Visit, axe: str, scheme: str, width: int, height: int
) -> None:
    # The policy of the page would keep the checker out; what it checks stays the same.
    page = visit(crowd.url, width=width, height=height, color_scheme=scheme, bypass_csp=True)
    live(page)
    page.locator(".feed .open").first.click()
    expect(page.locator(".feed table tbody tr").first).to_be_visible()
    crowd.pause()
    for wanted in ("live", "silent"):
        page.wait_for_selector(f"body[data-mode={wanted}]", timeout=PATIENCE_MS)
        page.evaluate(f"() => {{ {axe} }}")
        result = page.evaluate("rules => axe.run({runOnly: {type: 'tag', values: rules}})", RULES)
        assert len(result["passes"]) > 20
        told = [
            (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"][:3]])
            for one in result["violations"]
        ]
        assert told == [], json.dumps(told, indent=1)


@pytest.mark.parametrize("width", [320, 360, 700, 900, 1024, 1280, 1366, 1440, 2560])
def test_nothing_overflows_or_hides_a_price(crowd: Any, visit: Visit, width: int) -> None:
    page = visit(crowd.url, width=width, height=800)
    live(page)
    page.locator(".feed .open").first.click()
    expect(page.locator(".feed table tbody tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.eval_on_selector_all(
        ".feed .head, .feed .price, .feed .half, .feed .status, .figure .value, .members .state",
        "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth + 1 && node.clientWidth)"
        ".map(node => node.className + ' ' + node.textContent)",
    )
    assert cut == []


def test_thirty_feeds_are_filtered_by_words_and_by_status(crowd: Any, visit: Visit) -> None:
    page = visit(crowd.url)
    live(page)
    rows = page.locator(".feed")
    expect(rows).to_have_count(30)
    expect(page.locator("#members li")).to_have_count(31)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("tkn1")
    expect(rows).to_have_count(10)
    expect(page.locator("#found")).to_have_text("10 feeds of 30")
    page.keyboard.press("Escape")
    expect(rows).to_have_count(30)
    # From the field the status is one Tab and an arrow away.
    page.keyboard.press("Tab")
    expect(page.locator("#chips input[value=all]")).to_be_focused()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#chips input[value=degraded]")).to_be_checked()
    expect(rows).to_have_count(1)
    page.locator("#chips input[value=halted]").check()
    expect(rows.locator("h3")).to_have_text("LINK/USD")


def test_the_keyboard_reaches_everything_and_keeps_its_place(crowd: Any, visit: Visit) -> None:
    page = visit(crowd.url)
    live(page)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#feeds")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    first = page.locator(".feed .open").first
    expect(first).to_be_focused()
    outline = first.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    # Reports come all the time and must not take the focus away.
    price = page.locator(".feed .price").first
    expect(price).not_to_have_text(price.text_content() or "")
    expect(first).to_be_focused()
    more = page.locator("#more")
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#incident-list li")).to_have_count(40)
    expect(more).to_have_text("Show fewer")


def test_a_screen_reader_is_told_little_and_finds_names(crowd: Any, visit: Visit) -> None:
    page = visit(crowd.url)
    page.evaluate(
        "() => { window.told = [];"
        "for (const region of document.querySelectorAll('[aria-live], [role]'))"
        "if (region.ariaLive || ['status', 'alert', 'log'].includes(region.role))"
        "new MutationObserver(() => window.told.push(region.textContent))"
        ".observe(region, {childList: true, subtree: true, characterData: true}); }"
    )
    live(page)
    page.wait_for_timeout(3_000)
    assert page.evaluate("window.told.length") == 0
    crowd.pause()
    page.wait_for_selector("body[data-mode=silent]", timeout=PATIENCE_MS)
    page.wait_for_timeout(3_000)
    assert page.evaluate("window.told.length") == 1
    headings = page.locator("h1, h2")
    assert headings.all_text_contents() == ["Didyma", "Feeds", "Committee", "On chain", "Incidents"]
    terms = page.locator(".feed").first.locator(".head dt").all_text_contents()
    assert terms == [
        "Price", "Confidence", "Last 5 minutes", "Status", "Age", "Members", "Sources",
    ]  # fmt: skip


def test_the_theme_follows_the_system_until_it_is_chosen(crowd: Any, visit: Visit) -> None:
    page = visit(crowd.url, color_scheme="dark")
    live(page)

    def ground() -> list[int]:
        text = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in text.strip("rgb()").split(",")]

    assert sum(ground()) < 100
    button = page.get_by_role("button", name="Theme")
    button.click()
    expect(button).to_contain_text("light")
    assert sum(ground()) > 600
    page.reload()
    live(page)
    assert sum(ground()) > 600
    button.click()
    assert sum(ground()) < 100


def test_it_loads_nothing_from_elsewhere_and_little(crowd: Any, visit: Visit) -> None:
    page = visit("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    policy = page.goto(crowd.url)
    assert policy is not None
    assert "default-src 'none'" in policy.headers["content-security-policy"]
    live(page)
    assert all(url.startswith(crowd.url) for url in asked)
    size = page.evaluate(
        "performance.getEntriesByType('resource').filter(one => one.name.includes('/page/'))"
        ".reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    assert 0 < size < 40_000


def test_markup_of_strings_is_impossible(crowd: Any, visit: Visit, browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(crowd.url)
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>'; return false; } catch { return true; } }"
    )
    assert refused
    inline = page.evaluate(
        "() => { const script = document.createElement('script');"
        "try { script.text = 'window.ran = 1'; document.body.append(script); } catch {}"
        "return window.ran === undefined; }"
    )
    assert inline
    context.close()
