"""The daemon and its command line, see README.md."""
