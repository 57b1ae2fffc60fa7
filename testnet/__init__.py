"""A whole network on one machine, see README.md."""
