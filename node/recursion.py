"""Keeps the interpreter's recursion limit, which py_ecc raises a hundredfold when it is imported.

With its 100,000, deeply nested JSON from an exchange or a client overflows the C stack and kills
the process; with the interpreter's own limit it is a `RecursionError`. The packages `node` and
`testnet` import this module before everything else, so whatever imports py_ecc later finds it
loaded. (py-evm raises the limit as well, to 10,240, which the stack bears.)
"""

import importlib
import sys


def _import_without_side_effect() -> None:
    limit = sys.getrecursionlimit()
    importlib.import_module("py_ecc")
    sys.setrecursionlimit(limit)


_import_without_side_effect()
