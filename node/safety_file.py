"""The safety state as a file, for a member that moves to another machine.

What EIP-3076 is for Ethereum's validators: one JSON document with all that a BLS key must never
contradict, in every epoch that its store knows. Bytes are `0x` hexadecimal. It holds no secret, but
whoever can change it can make a member sign twice: it is checked as a whole, and carries a digest
against accidents.
"""

from typing import Final

import msgspec
from msgspec import Struct

from consensus.digests import keccak
from consensus.messages import QC, TC, Header, TimeoutGroup
from consensus.safety import SafetyState
from node.errors import ConfigurationError

FORMAT: Final = "didyma-safety"
VERSION: Final = 1
FILE_BYTES_MAX: Final = 16 << 20


class SafetyFileError(ConfigurationError):
    """A safety file is malformed, of another member, or older than what is known here."""


class HeaderForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A header."""

    view: int
    observed_at_ms: int
    feed_root: str
    link: str


class QCForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A quorum certificate."""

    header: HeaderForm
    bitmap: str
    aggregate: str


class GroupForm(Struct, frozen=True, forbid_unknown_fields=True):
    """Those that reported one high-QC view."""

    high_qc_view: int
    bitmap: str


class TCForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A timeout certificate."""

    view: int
    groups: tuple[GroupForm, ...]
    aggregate: str
    high_qc: QCForm


class TimeoutForm(Struct, frozen=True, forbid_unknown_fields=True):
    """The timeout that was signed last."""

    view: int
    high_qc_view: int


class EpochForm(Struct, frozen=True, forbid_unknown_fields=True):
    """What a member must never forget of one epoch; `epoch` is only for people."""

    epoch: int | None
    domain: str
    last_voted_view: int
    last_vote: HeaderForm | None
    last_timeout: TimeoutForm | None
    last_proposed_view: int
    high_qc: QCForm
    high_tc: TCForm | None
    closed: bool
    closing_qc: QCForm | None


class Document(Struct, frozen=True, forbid_unknown_fields=True):
    """The file; `digest` is keccak-256 of its compact JSON with an empty `digest`."""

    format: str
    version: int
    network: str
    bls_key: str
    instance: str
    exported_at_ms: int
    epochs: tuple[EpochForm, ...]
    digest: str


class SafetyFile(Struct, frozen=True):
    """A member's safety states, and where they come from.

    `instance` is the store that they were exported from, `exported_at_ms` Unix ms; `epochs` are the
    numbers of the states' epochs, as far as the exporting node knew them.
    """

    network: bytes
    bls_key: bytes
    instance: str
    exported_at_ms: int
    states: tuple[SafetyState, ...]
    epochs: tuple[int | None, ...]


def encode_safety_file(file: SafetyFile) -> bytes:
    """Return the file's content."""
    epochs = tuple(map(_epoch_form, file.epochs, file.states))
    unsealed = Document(
        FORMAT,
        VERSION,
        _hex(file.network),
        _hex(file.bls_key),
        file.instance,
        file.exported_at_ms,
        epochs,
        "",
    )
    sealed = msgspec.structs.replace(unsealed, digest=_digest(unsealed))
    return msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"


def decode_safety_file(content: bytes) -> SafetyFile:
    """Return what is in a file; raise `SafetyFileError` if it is not as it was exported."""
    if len(content) > FILE_BYTES_MAX:
        raise SafetyFileError(f"a safety file has at most {FILE_BYTES_MAX} bytes")
    try:
        head = msgspec.json.decode(content)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise SafetyFileError("this is no safety file: `didyma safety export` writes one")
        if head.get("version") != VERSION:
            raise SafetyFileError(
                f"this program reads safety files of version {VERSION}, this one is of another: "
                "import it with the version of didyma that exported it, or a later one"
            )
        document = msgspec.convert(head, Document)
        if document.digest != _digest(msgspec.structs.replace(document, digest="")):
            raise SafetyFileError(
                "the safety file is not as it was exported: its digest does not fit. Copy it again"
            )
        states = tuple(map(_state_in, document.epochs))
        domains = {state.domain for state in states}
        if len(domains) != len(states):
            raise SafetyFileError("the safety file has two states of one epoch")
        return SafetyFile(
            _bytes(document.network, 32),
            _bytes(document.bls_key, 48),
            document.instance,
            document.exported_at_ms,
            states,
            tuple(epoch.epoch for epoch in document.epochs),
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise SafetyFileError(f"the safety file is malformed: {error}") from None


def _digest(unsealed: Document) -> str:
    return _hex(keccak(msgspec.json.encode(unsealed)))


def _epoch_form(epoch: int | None, state: SafetyState) -> EpochForm:
    timeout = state.last_timeout
    return EpochForm(
        epoch,
        _hex(state.domain),
        state.last_voted_view,
        None if state.last_vote is None else _header_form(state.last_vote),
        None if timeout is None else TimeoutForm(*timeout),
        state.last_proposed_view,
        _qc_form(state.high_qc),
        None if state.high_tc is None else _tc_form(state.high_tc),
        state.closed,
        None if state.closing_qc is None else _qc_form(state.closing_qc),
    )


def _state_in(form: EpochForm) -> SafetyState:
    timeout = form.last_timeout
    state = SafetyState(
        domain=_bytes(form.domain, 32),
        last_voted_view=form.last_voted_view,
        last_vote=None if form.last_vote is None else _header_in(form.last_vote),
        last_timeout=None if timeout is None else (timeout.view, timeout.high_qc_view),
        last_proposed_view=form.last_proposed_view,
        high_qc=_qc_in(form.high_qc),
        high_tc=None if form.high_tc is None else _tc_in(form.high_tc),
        closed=form.closed,
        closing_qc=None if form.closing_qc is None else _qc_in(form.closing_qc),
    )
    # Constructing checks nothing, decoding does: ranges and widths are those of the store.
    state = SafetyState.decode(state.encode())
    if state.last_vote is not None and state.last_vote.view > state.last_voted_view:
        raise ValueError("its last vote is later than its last voted view")
    if timeout is not None and timeout.view > state.last_voted_view:
        raise ValueError("its last timeout is later than its last voted view")
    if state.last_proposed_view > state.last_voted_view:
        raise ValueError("its last proposal is later than its last voted view")
    return state


def _header_form(header: Header) -> HeaderForm:
    root, link = _hex(header.feed_root), _hex(header.link)
    return HeaderForm(header.view, header.observed_at_ms, root, link)


def _header_in(form: HeaderForm) -> Header:
    root, link = _bytes(form.feed_root, 32), _bytes(form.link, 32)
    return Header(form.view, form.observed_at_ms, root, link)


def _qc_form(qc: QC) -> QCForm:
    return QCForm(_header_form(qc.header), _hex(qc.bitmap), _hex(qc.aggregate))


def _qc_in(form: QCForm) -> QC:
    return QC(_header_in(form.header), _bytes(form.bitmap, 32), _bytes(form.aggregate, 96))


def _tc_form(tc: TC) -> TCForm:
    groups = tuple(GroupForm(group.high_qc_view, _hex(group.bitmap)) for group in tc.groups)
    return TCForm(tc.view, groups, _hex(tc.aggregate), _qc_form(tc.high_qc))


def _tc_in(form: TCForm) -> TC:
    groups = tuple(TimeoutGroup(g.high_qc_view, _bytes(g.bitmap, 32)) for g in form.groups)
    return TC(form.view, groups, _bytes(form.aggregate, 96), _qc_in(form.high_qc))


def _hex(content: bytes) -> str:
    return "0x" + content.hex()


def _bytes(text: str, length: int) -> bytes:
    content = bytes.fromhex(text[2:]) if text.startswith("0x") else b""
    if len(content) != length or text != _hex(content):
        raise ValueError(f"expected 0x and {2 * length} lower-case hexadecimal digits")
    return content
