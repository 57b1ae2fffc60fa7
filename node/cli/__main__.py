"""`python -m node.cli` is `didyma`."""

from node.cli import main

main()
