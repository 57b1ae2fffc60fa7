"""A whole network on one machine, see README.md."""

# Before anything that imports py_ecc: every process here reads JSON that others wrote.
from node import recursion as recursion
