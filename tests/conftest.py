import sys

import pytest

_RECURSION_LIMIT = sys.getrecursionlimit()


@pytest.fixture(autouse=True)
def _recursion_limit() -> None:
    """Put back what py-evm and py_ecc raise so far that nested JSON overflows the C stack."""
    sys.setrecursionlimit(_RECURSION_LIMIT)
