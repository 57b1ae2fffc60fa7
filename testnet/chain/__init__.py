"""EVM chains for the testnet: an embedded one (py-evm) and anvil, both behind JSON-RPC."""
