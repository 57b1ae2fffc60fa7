"""The page of a real node in a testnet of real processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

PATIENCE_S = 240


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Run a testnet, and give the page's address as it tells it."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "node.cli", "testnet"),
            *("--dir", str(tmp_path / "net"), "--seed", "5"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    told = []
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        for line in process.stdout:
            told.append(line.strip())
            assert time.monotonic() < deadline
            if line.startswith("The network live"):
                break
        else:
            pytest.fail("\n".join(told))
        yield told[-1].split()[-1]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=180)
        assert process.returncode == 0, rest
    finally:
        process.kill()
        process.wait()


def test_the_address_that_the_testnet_prints_shows_it_live(
    address: str, visit: Callable[..., Page]
) -> None:
    expect.set_options(timeout=60_000)
    page = visit(address)
    page.wait_for_selector("body[data-mode=live]", timeout=60_000)
    expect(page.locator("#where")).to_contain_text("node")
    rows = page.locator(".feed")
    expect(rows.first.locator("h3")).to_have_text("BTC/USD")
    expect(rows.first.locator(".status")).to_have_text("Live")
    price = rows.first.locator(".price")
    expect(price).not_to_have_text(price.text_content() or "")
    page.wait_for_function(
        "() => (document.querySelector('.feed .line').getAttribute('d') ?? '').includes('L')",
        timeout=60_000,
    )
    expect(page.locator("#members li")).to_have_count(4)
    expect(page.locator("#members .state", has_text="signed").first).to_be_visible()
    expect(page.locator(".figure", has_text="Signed by")).to_contain_text("of 4")
    expect(page.locator("#chain-list")).to_contain_text("view", timeout=60_000)
    rows.first.locator(".open").click()
    sources = rows.first.locator("tbody tr")
    expect(sources.filter(has_text="kraken")).to_contain_text("live")
    expect(sources.filter(has_text="kraken").locator("td").nth(1)).to_contain_text("yes")
