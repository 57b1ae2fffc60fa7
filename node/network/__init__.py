"""The committee's network: one authenticated libp2p connection for each pair of members."""
