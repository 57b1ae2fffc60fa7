"""How many of the shipped feeds, the first ones, a testnet agrees on."""

FEEDS_MIN = 4
"""The first ones are converted through the fourth."""

FEEDS_USUAL = 30
