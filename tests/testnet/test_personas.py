from pathlib import Path

from aggregation.observation import LACKING, Entry, ObservationBody
from aggregation.price import UINT64_MAX
from node.runtime import OwnObservation
from testnet.personas import liar


def test_a_liar_lies_from_the_moment_it_is_told_to(tmp_path: Path) -> None:
    told = tmp_path / "told"
    lie = liar(told)
    entries = (Entry(100, 2, 1), LACKING, Entry(UINT64_MAX, 0, 0))
    honest = OwnObservation(ObservationBody(1_000, entries), 7)
    assert lie(honest) == honest
    told.touch()
    changed = lie(honest)
    assert changed.body.entries == (Entry(1_000, 2, 1), LACKING, Entry(UINT64_MAX, 0, 0))
    assert (changed.body.observed_at_ms, changed.newest_ns) == (1_000, 7)
    changed.body.encode()
