"""Many prices into one, with integers only, see README.md."""
