"""The daemon and its command line, see README.md."""

from node import recursion as recursion
