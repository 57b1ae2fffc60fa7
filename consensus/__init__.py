"""The BFT agreement: a pure state machine, see README.md."""
