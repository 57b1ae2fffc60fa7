"""Judges a testnet from what its members journaled and its chain stored, as a process of its own.

`python -m testnet.audit DIRECTORY` trusts no node and no launcher: it recomputes every id, verifies
certificates against the committee file, and compares members with each other and with the chain.
"""
