"""Epochs, and what is of them, proven from the committee file on."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from consensus import messages as wire
from consensus.committee import Timing
from consensus.evidence import single_vote, two_votes
from node import epoch_file, epoch_history, network_file
from node.cli import main
from node.epoch_history import EpochHistory, EpochPage, decode_page, follow
from node.errors import NetworkFileError
from node.evidence_file import document_of, encode_document


def test_the_epochs_are_proven_from_the_committee_file_on(chain: Any, tmp_path: Path) -> None:
    epochs = list(chain.epochs)
    with chain.store(tmp_path / "store") as store:
        history = EpochHistory(epochs, store)
        page = decode_page(history.page(0) or b"")
        assert page == chain.page()
        later = decode_page(history.page(1) or b"")
        assert later.epochs == page.epochs[1:]
        assert history.page(3) is history.page(-1) is None
    proven = follow(chain.network, page)
    assert [epoch.context for epoch in proven] == [epoch.context for epoch in epochs]
    # One that ends with an epoch that is over proves the one after it all the same.
    assert len(follow(chain.network, EpochPage(page.network, page.epochs[:2], None))) == 3
    path = tmp_path / "epochs.json"
    epoch_history.save(path, page)
    assert epoch_history.load(path) == page


def test_pages_are_bounded_and_follow_each_other(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_history, "PAGE_EPOCHS_MAX", 1)
    with chain.store(tmp_path / "store") as store:
        history = EpochHistory(chain.epochs, store)
        pages = [decode_page(history.page(first) or b"") for first in range(3)]
        assert [page.next for page in pages] == [1, 2, None]
        assert sum((page.epochs for page in pages), ()) == chain.page().epochs


def test_no_history_that_says_anything_else_is_believed(chain: Any) -> None:
    page = chain.page()
    swap = msgspec.structs.replace
    zero, one, two = page.epochs
    assert zero.ended is not None
    assert one.ended is not None
    garbled = base64.b64encode(b"junk").decode()
    for lie in (
        swap(page, network="0x" + 64 * "0"),
        swap(page, epochs=(one, two)),
        swap(page, epochs=(zero, two)),
        swap(page, epochs=(swap(zero, ended=None), one, two)),
        swap(page, epochs=(swap(zero, ended=one.ended), one, two)),
        swap(page, epochs=(swap(zero, ended=swap(zero.ended, proof=garbled)), one, two)),
        swap(page, epochs=(swap(zero, ended=swap(zero.ended, proof="\u00fc")), one, two)),
        swap(page, epochs=(swap(zero, ended=swap(zero.ended, signers=("x",))), one, two)),
        swap(page, epochs=(zero, swap(one, members=one.members[::-1]), two)),
        swap(page, epochs=(zero, swap(one, valid_until_ms=one.valid_until_ms + 1), two)),
        swap(page, epochs=(zero, one, swap(two, quorum=1))),
        swap(page, epochs=(zero, one, two, two)),
    ):
        with pytest.raises(NetworkFileError):
            follow(chain.network, lie)
    for content in (b"", b"{}", b"[" * 100_000, b"\xff", b'{"network": "0x"}'):
        with pytest.raises(NetworkFileError):
            decode_page(content)


def test_reports_of_later_epochs_are_verified_with_the_committee_file_and_proofs(
    chain: Any, tmp_path: Path
) -> None:
    network, epochs, old = (tmp_path / f"{name}.json" for name in ("network", "epochs", "old"))
    network_file.save(network, chain.network)
    page = chain.page()
    epoch_history.save(epochs, page)
    zero = msgspec.structs.replace(page.epochs[0], ended=None)
    epoch_history.save(old, EpochPage(page.network, (zero,), None))

    def verify(content: bytes, *more: str | Path) -> Result:
        arguments = ["reports", "verify", "-", "--network", str(network), *map(str, more)]
        result = CliRunner().invoke(main, arguments, input=content)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    for number in range(3):
        result = verify(chain.report(number), "--epochs", epochs)
        assert result.exit_code == 0, result.stderr
        assert f"of epoch {number} of net" in result.stdout
    assert verify(chain.report(0)).exit_code == 0
    for more, reason in (
        ((), "give --epochs"),
        (("--epochs", old), "epochs up to 0 only"),
        (("--epochs", network), "no history of epochs"),
        (("--epochs", tmp_path / "absent"), "does not exist"),
    ):
        result = verify(chain.report(1), *more)
        assert result.exit_code in (1, 3)
        assert reason in result.stderr
    # The committee of another epoch certifies nothing in this one.
    forged = json.loads(chain.report(1))
    forged["epoch"] = 2
    assert verify(json.dumps(forged).encode(), "--epochs", epochs).exit_code == 1
    assert verify(chain.report(2, (0, 1)), "--epochs", epochs).exit_code == 1


def test_evidence_of_later_epochs_is_verified_with_the_committee_file_and_proofs(
    chain: Any, tmp_path: Path
) -> None:
    """An offence in epoch 1; whoever only writes a configuration with own keys convicts nobody."""
    network, epochs, file = (tmp_path / f"{name}.json" for name in ("network", "epochs", "proof"))
    network_file.save(network, chain.network)
    epoch_history.save(epochs, chain.page())

    def offence(world: Any) -> bytes:
        context = world.epoch.context
        headers = [wire.Header(7, 7, bytes([root]) * 32, bytes(32)) for root in (1, 2)]
        votes = [single_vote(3, h, world.bls(3).sign(h.id(context.domain))) for h in headers]
        return encode_document(document_of(context, two_votes(context, *votes)))

    def verify(content: bytes, *more: str | Path) -> Result:
        file.write_bytes(content)
        arguments = ["evidence", "verify", str(file), "--network", str(network), *map(str, more)]
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    for number, world in enumerate(chain.worlds):
        result = verify(offence(world), "--epochs", epochs)
        assert result.exit_code == 0, result.stderr
        assert f"in epoch {number} of net by {world.epoch.member_names[3]}" in result.stdout
    assert verify(offence(chain.worlds[0])).exit_code == 0
    unproven = verify(offence(chain.worlds[1]))
    assert (unproven.exit_code, "give --epochs" in unproven.stderr) == (1, True)
    # The same offence in an epoch 1 that only its inventor knows of.
    world = chain.worlds[0]
    other = world.next_file(timing=Timing(grace_ms=71))
    invented = type(world)(
        world.keys, world.epoch.next(world.successor(epoch_file.to_document(other)))
    )
    refused = verify(offence(invented), "--epochs", epochs)
    assert (refused.exit_code, "with configuration" in refused.stderr) == (1, True)
