"""Prices from exchanges: sources, their supervision and the catalogue, see README.md."""
