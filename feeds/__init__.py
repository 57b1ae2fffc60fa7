"""Supervised market-data sources on asyncio, see README.md."""
