"""How oracles broke, and the tests of what a contract does against it.

What only members can prevent (a venue's weight, a leader that leaves observations out, copied
observations) is tested with the aggregation, the node and the testnet.
"""

import re
from pathlib import Path

import pytest

INCIDENTS = {
    "Synthetix sKRW 2019": ["test_synthetix_2019_without_enough_sources_there_is_no_price"],
    "bZx 2020": [
        "test_a_flash_that_goes_back_is_never_served[bZx 2020]",
        "test_two_prices_in_one_transaction",
    ],
    "Compound DAI 2020": ["test_a_flash_that_goes_back_is_never_served[Compound DAI 2020]"],
    "Pyth BTC 2021": [
        "test_a_flash_that_goes_back_is_never_served[Pyth BTC 2021]",
        "test_pyth_btc_2021_a_price_as_uncertain_as_that_is_no_price",
        "test_pyth_btc_2021_price_exponent_and_confidence_are_one_number",
    ],
    "Inverse 2022": ["test_a_flash_that_goes_back_is_never_served[Inverse 2022]"],
    "Venus and Blizz, LUNA 2022": [
        "test_venus_and_blizz_2022_a_price_that_stopped_does_not_live_on",
        "test_venus_and_blizz_luna_2022_a_feed_that_stopped_has_no_last_price",
    ],
    "Mango 2022": [
        "test_mango_2022_a_price_pumped_until_the_breaker_trips_pays_nobody",
        "test_mango_2022_a_pump_is_not_served_until_it_lasts",
    ],
    "USDe on Binance 2025": ["test_a_flash_that_goes_back_is_never_served[USDe 2025]"],
    "Moonwell 2025-26": [
        "test_moonwell_2025_26_a_rate_in_ether_becomes_dollars_only_by_the_multiplication",
        "test_moonwell_2025_26_addresses_stand_for_the_feed_s_own_units",
    ],
    "Aave CAPO 2026": ["test_aave_capo_2026_in_shadow_it_logs_and_blocks_nothing"],
    "a delayed report looks fresh (Chronicle's Scribe)": [
        "test_an_age_is_the_time_of_observation_and_a_delayed_report_looks_old"
    ],
    "a leader equivocates": [
        "test_whoever_equivocates_loses_its_stake_and_the_reporter_gets_its_share"
    ],
    "a replay across chain, committee or configuration": [
        "test_a_replay_across_chain_epoch_or_configuration",
        "test_a_closed_epoch_stores_nothing",
    ],
    "a rogue key": ["test_a_rogue_key"],
    "skewed clocks": ["test_skewed_clocks_lead_the_block_by_the_tolerance_and_no_more"],
    "a consumer picks the best report of a window": [
        "test_a_consumer_picks_the_best_report_of_a_window",
        "test_a_picked_report_must_move_more_than_the_confidence_and_wins_little",
    ],
}


@pytest.mark.parametrize("incident", INCIDENTS)
def test_an_incident_has_its_tests(incident: str) -> None:
    """A test that is renamed or dropped does not leave its incident without one."""
    texts = [path.read_text() for path in Path(__file__).parent.rglob("test_*.py")]
    for name in INCIDENTS[incident]:
        function, _, case = name.removesuffix("]").partition("[")
        found = [text for text in texts if re.search(rf"^def {function}\(", text, re.MULTILINE)]
        assert found, f"no test is called {function}"
        assert any(f'id="{case}"' in text for text in found) if case else True
