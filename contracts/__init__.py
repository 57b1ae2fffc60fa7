"""The on-chain feed, its artifacts and its Python client, see README.md."""
