"""Publishing on one chain: when to look, whose turn it is, what to send, what became of it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from contracts import client
from node.publisher.account import Account
from node.publisher.call import Call, Step
from node.publisher.fees import first_offer, gas_limit, replacement
from node.publisher.oracle import Contract, Look, Oracle, Receipt, Refused
from node.publisher.pending import Pending
from node.publisher.rpc import Endpoint, RpcError, RpcFailure
from node.publisher.settings import ChainSettings
from node.publisher.stages import transmitter_order
from node.publisher.status import ChainStatus
from node.publisher.succession import Handing, Succession
from node.publisher.terms import EpochTerms
from node.publisher.triggers import Due, Stored, Trigger, answers_in, due
from node.report import Report

REPORTS_REMEMBERED: Final = 1_024
BACK_OFF_FIRST_S: Final = 0.5
BACK_OFF_MAX_S: Final = 30.0
REFUSED_RETRY_S: Final = 10.0
HEAD_AGE_MAX_MS: Final = 120_000
_LOOKS_FOR_A_RECEIPT: Final = 6

OnStored = Callable[[str, float], None]
"""Takes a chain's name and the seconds from a certificate to its report being seen there."""

_log = structlog.get_logger("node.publisher")


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait for the next step; news may end it early if `for_news`."""

    seconds: float
    for_news: bool = True


class ChainPublisher:
    """One chain's task. All methods but `status` belong to the asyncio thread.

    Members of the Oracle's epoch transmit in turns; a node that is none comes after all of them.
    """

    def __init__(
        self,
        settings: ChainSettings,
        *,
        network: bytes,
        terms: EpochTerms,
        account: Account,
        on_stored: OnStored,
    ) -> None:
        self._settings = settings
        self._on_stored = on_stored
        self._network = network
        self._terms = {terms.epoch: terms}
        self._account = account
        self._oracle = Oracle(settings.oracle, settings.chain_id, network)
        self._endpoints = [Endpoint(url, settings.request_timeout_ms) for url in settings.rpc_urls]
        self._current = 0
        self._changed: ChainSettings | None = None
        self._news = asyncio.Event()
        self._newest: tuple[Report, Stored, Sequence[int]] | None = None
        self._recent: OrderedDict[tuple[int, int], Stored] = OrderedDict()
        self._submitted: OrderedDict[int, float] = OrderedDict()
        self._contract: Contract | None = None
        self._look: Look | None = None
        self._looked_at = 0.0
        self._compared_at = time.monotonic()
        self._compared = 0
        self._stored: Stored | None = None
        self._registered: tuple[int, tuple[bool, ...]] | None = None
        """An epoch, and which of its members the chain knows."""
        self._due_at = 0.0
        self._due_key: tuple[int, int] | None = None
        self._pending: Pending | None = None
        self._failed_in_a_row = 0
        self._rejected_in_a_row = 0
        self._not_before = 0.0
        self._held = ""
        self._log = _log.bind(chain=settings.name)
        self._status = ChainStatus(
            name=settings.name,
            chain_id=settings.chain_id,
            oracle="0x" + settings.oracle.hex(),
            account="0x" + account.address.hex(),
            state="starting",
            reason="",
            endpoint=self._endpoint.shown,
            head=None,
            head_time_ms=None,
            stored_epoch=None,
            stored_view=None,
            stored_observed_at_ms=None,
            stage=None,
            pending=None,
            pending_since_ms=None,
            replacements=0,
            pushes={trigger.value: 0 for trigger in Trigger},
            superseded=0,
            successions=0,
            reverted=0,
            last_push_transaction=None,
            last_push_gas_used=None,
            gas_used=0,
            cost_wei=0,
            balance_wei=None,
            dry=False,
            errors=0,
            last_error="",
        )

    @property
    def status(self) -> ChainStatus:
        """A snapshot, for any thread."""
        return self._status

    def begin(self, terms: EpochTerms) -> None:
        """Take the terms of another epoch."""
        self._terms[terms.epoch] = terms
        self._news.set()

    def change(self, settings: ChainSettings) -> None:
        """Take other RPC servers and fees with the next step; the chain and its Oracle stay."""
        self._changed = settings
        self._news.set()

    async def _take_change(self) -> None:
        settings, self._changed = self._changed, None
        if settings is None:
            return
        assert settings.oracle == self._settings.oracle
        if settings.rpc_urls != self._settings.rpc_urls:
            for endpoint in self._endpoints:
                await endpoint.close()
            self._endpoints = [
                Endpoint(url, settings.request_timeout_ms) for url in settings.rpc_urls
            ]
            # Another server may be of another chain, so it is looked at as at the start.
            self._current, self._failed_in_a_row, self._contract = 0, 0, None
            self._note(endpoint=self._endpoint.shown)
        self._settings = settings

    def submit(self, report: Report, deviations_ppm: Sequence[int] | None = None) -> None:
        """Take a certified report; an older one than the newest is only remembered.

        Its epoch has begun here. `deviations_ppm` as the publisher's.
        """
        header, feeds = report.header, self._terms[report.epoch].feeds
        answers = answers_in(report.words, len(feeds))
        if deviations_ppm is None:
            deviations_ppm = [feed.deviation_ppm for feed in feeds]
        stored = Stored(report.epoch, header.view, header.observed_at_ms, answers)
        self._recent[(report.epoch, header.view)] = stored
        if self._newest is not None and report.epoch > self._newest[0].epoch:
            self._submitted.clear()  # Views begin again.
        self._submitted.setdefault(header.view, time.monotonic())
        while len(self._recent) > REPORTS_REMEMBERED:
            self._recent.popitem(last=False)
        while len(self._submitted) > REPORTS_REMEMBERED:
            self._submitted.popitem(last=False)
        if self._newest is None or report.order > self._newest[0].order:
            self._newest = report, stored, deviations_ppm
            self._news.set()

    async def run(self) -> None:
        """Publish until cancelled. Nothing that a chain or a server does ends it."""
        try:
            while True:
                wait = await self._step_safely()
                if wait.for_news:
                    self._news.clear()
                    try:
                        await asyncio.wait_for(self._news.wait(), max(0.0, wait.seconds))
                    except TimeoutError:
                        continue
                else:
                    await asyncio.sleep(wait.seconds)
        finally:
            for endpoint in self._endpoints:
                await endpoint.close()

    @property
    def _endpoint(self) -> Endpoint:
        return self._endpoints[self._current]

    async def _step_safely(self) -> Wait:
        try:
            await self._take_change()
            wait = await self._step()
        except RpcFailure as failure:
            return self._fail_over("unreachable", str(failure), BACK_OFF_MAX_S)
        except Refused as refused:
            return self._fail_over("refused", str(refused), REFUSED_RETRY_S)
        except Exception as error:
            # A fault of ours on one chain must not stop the node, nor the other chains.
            self._log.exception("publisher.fault")
            self._error(f"internal: {type(error).__name__}: {error}")
            return Wait(BACK_OFF_MAX_S, for_news=False)
        self._failed_in_a_row = 0
        self._note(state="publishing", reason=self._held)
        return wait

    def _fail_over(self, state: str, reason: str, retry_s: float) -> Wait:
        """Go to the next endpoint at once, and back off when every one of them has failed."""
        self._error(reason)
        self._next_endpoint()
        self._failed_in_a_row += 1
        rounds, place = divmod(self._failed_in_a_row, len(self._endpoints))
        if place:
            return Wait(0.0, for_news=False)
        self._note(state=state, reason=reason)
        delay = min(BACK_OFF_FIRST_S * 2 ** min(rounds - 1, 10), retry_s)
        return Wait(delay, for_news=False)

    def _next_endpoint(self) -> None:
        self._contract = None
        self._current = (self._current + 1) % len(self._endpoints)
        self._note(endpoint=self._endpoint.shown)

    # One step.

    async def _step(self) -> Wait:
        started_at = time.monotonic()
        self._held = ""
        if self._contract is None:
            self._contract = await self._verify()
            self._look = None
        await self._resend()
        if self._look is None or time.monotonic() >= self._looked_at + self._poll_s():
            await self._look_again()
        work = self._work()
        if work is None:
            self._due_key = None
            return self._until_next_look()
        now = time.monotonic()
        turn_at = max(self._turn(work, now), self._not_before)
        pending = self._pending
        if pending is not None:
            turn_at = max(turn_at, pending.sent_at + self._settings.stuck_ms / 1000)
        if now < turn_at:
            return Wait(min(turn_at - now, self._until_next_look().seconds))
        if self._looked_at < started_at:
            # Somebody else may have been faster since the last look.
            await self._look_again()
            work = self._work()
            if work is None or max(self._turn(work, now), self._not_before) > now:
                return Wait(0.0, for_news=False)
        await self._send(await self._call(work))
        return self._until_next_look() if self._contract else Wait(0.0, for_news=False)

    async def _verify(self) -> Contract:
        feeds_in = {epoch: len(terms.feeds) for epoch, terms in self._terms.items()}
        return await self._oracle.verify(self._endpoint, feeds_in)

    def _poll_s(self) -> float:
        settings = self._settings
        return (settings.pending_poll_ms if self._pending else settings.poll_ms) / 1000

    def _until_next_look(self) -> Wait:
        return Wait(self._looked_at + self._poll_s() - time.monotonic())

    def _work(self) -> Handing | tuple[Report, Due] | None:
        """Return what is due on this chain: the next epoch before any report."""
        contract = self._contract
        succession = self._succession()
        if succession is None or contract is None:
            return self._newest_due()
        decided_at_ms = succession.certificate.observed_at_ms
        if max(decided_at_ms, _unix_ms()) > contract.valid_until_ms:
            self._held = (
                f"the Oracle is in epoch {contract.epoch}, whose configuration ended at "
                f"{contract.valid_until_ms} (Unix ms), so it cannot be handed over any more: "
                "deploy another"
            )
            return None
        if self._registered is None or self._registered[0] != succession.epoch:
            # The epoch began after the last look, or during it.
            self._looked_at = 0.0
            return None
        return Handing(succession, self._registered[1])

    def _succession(self) -> Succession | None:
        """Return how the Oracle's epoch is followed by the next, if that has begun."""
        if self._contract is None:
            return None
        terms = self._terms.get(self._contract.epoch + 1)
        return None if terms is None else terms.succession

    def _newest_due(self) -> tuple[Report, Due] | None:
        """Return the newest report and why it is due; None if it is not, or may not be sent."""
        stored, contract = self._stored, self._contract
        if self._newest is None or stored is None or contract is None:
            return None
        report, as_stored, deviations_ppm = self._newest
        observed_at_ms, now_ms = as_stored.observed_at_ms, _unix_ms()
        if report.epoch != contract.epoch:
            self._held = (
                f"the Oracle is in epoch {contract.epoch}, reports in {report.epoch}: it must be "
                "handed over"
            )
        elif max(observed_at_ms, now_ms) > contract.valid_until_ms:
            self._held = f"the epoch's configuration ended at {contract.valid_until_ms} (Unix ms)"
        elif now_ms - observed_at_ms > self._settings.report_age_max_ms:
            self._held = "the newest certified report is too old to be worth its fee"
        else:
            lead_ms = self._settings.heartbeat_lead_ms
            feeds = self._terms[report.epoch].feeds
            answers = as_stored.answers
            found = due(stored, observed_at_ms, answers, feeds, deviations_ppm, lead_ms)
            return None if found is None else (report, found)
        return None

    def _turn(self, work: Handing | tuple[Report, Due], now: float) -> float:
        """Return when this node's stage begins for what is stored now (monotonic seconds)."""
        stored = self._stored
        assert stored is not None
        if isinstance(work, Handing):
            key = (stored.epoch, work.stage_key)
        else:
            key = (stored.epoch, stored.view)
        if self._due_key != key:
            self._due_key, self._due_at = key, now
        settings = self._settings
        terms = self._terms[stored.epoch]
        order = transmitter_order(
            self._network, settings.chain_id, settings.oracle, *key, terms.members
        )
        stage = terms.members if terms.me is None else order.index(terms.me)
        self._note(stage=stage)
        return self._due_at + stage * settings.stage_ms / 1000

    # Looking.

    async def _look_again(self) -> None:
        pending = self._pending
        hashes = pending.hashes if pending else ()
        look = await self._oracle.look(self._endpoint, self._account.address, hashes)
        if len(self._endpoints) > 1 and _unix_ms() - look.head_time_ms > HEAD_AGE_MAX_MS:
            age_s = (_unix_ms() - look.head_time_ms) // 1000
            raise RpcFailure(f"{self._endpoint.shown}: its newest block is {age_s} s old")
        await self._compare(look)
        if self._contract is None or look.place.epoch != self._contract.epoch:
            self._contract = await self._verify()
            if look.place.epoch != self._contract.epoch:
                raise RpcFailure(f"{self._endpoint.shown}: the epoch changed while it was read")
            self._log.info("publisher.epoch", epoch=self._contract.epoch)
        succession = self._succession()
        if succession is not None:
            members = succession.configuration.members
            known = await self._oracle.registered(self._endpoint, members)
            self._registered = succession.epoch, known
        await self._read_stored(look)
        self._look, self._looked_at = look, time.monotonic()
        dry = look.balance_wei < self._settings.min_balance_wei
        if dry and not self._status.dry:
            self._log.warning(
                "publisher.account_runs_dry",
                account=self._status.account,
                balance_wei=look.balance_wei,
                minimum_wei=self._settings.min_balance_wei,
            )
        self._note(
            head=look.head,
            head_time_ms=look.head_time_ms,
            balance_wei=look.balance_wei,
            dry=dry,
            stored_epoch=look.place.epoch,
            stored_view=look.place.view,
            stored_observed_at_ms=look.place.observed_at_ms,
        )
        if pending is not None:
            await self._settle(pending, look)

    async def _compare(self, look: Look) -> None:
        """Ask another server what is stored, now and then; raise RpcFailure if that is less.

        A server that lies can keep this node from pushing, or make it push what is stored already,
        which costs little. So of two that contradict each other, the one is believed by which more
        is to be done, unless its chain is shorter.
        """
        others = [one for one in self._endpoints if one is not self._endpoint]
        if not others or time.monotonic() < self._compared_at + self._settings.compare_ms / 1000:
            return
        self._compared_at = time.monotonic()
        self._compared += 1
        other = others[self._compared % len(others)]
        try:
            seen = await self._oracle.look(other, self._account.address, ())
        except RpcFailure as failure:
            self._error(str(failure))
            return
        here, there = look.place, seen.place
        if seen.head >= look.head and (there.epoch, there.view) < (here.epoch, here.view):
            disbelieved = self._endpoint.shown
            self._current = self._endpoints.index(other) - 1  # What fails goes to the next one.
            raise RpcFailure(
                f"{disbelieved} says that view {here.view} is stored at block {look.head}, "
                f"{other.shown} that view {there.view} is at block {seen.head}: one of them lies"
            )

    async def _read_stored(self, look: Look) -> None:
        place = look.place
        stored = self._stored
        if stored is not None and (stored.epoch, stored.view, stored.observed_at_ms) == (
            place.epoch,
            place.view,
            place.observed_at_ms,
        ):
            return
        remembered = self._recent.get((place.epoch, place.view))
        if remembered is not None and remembered.observed_at_ms == place.observed_at_ms:
            self._stored = remembered
            return
        count = len(self._terms[place.epoch].feeds)
        read = await self._oracle.answers(self._endpoint, place, count)
        if read is None:
            raise RpcFailure(f"{self._endpoint.shown}: what is stored changed while it was read")
        self._stored = read

    # Sending.

    async def _call(self, work: Handing | tuple[Report, Due]) -> Call:
        """Return the call that does what is due."""
        if isinstance(work, Handing):
            assert self._look is not None
            # Many proofs are unpacked, which takes a while.
            return await asyncio.to_thread(work.call, self._look.block_gas)
        report, found = work
        certificate = client.certificate_of(
            report.epoch, report.header, report.bitmap, report.signature
        )
        calldata = client.encode_push(certificate, report.words)
        return Call(found, calldata, gas_limit(len(report.words)), report.header.view)

    async def _send(self, call: Call) -> None:
        look, pending, settings = self._look, self._pending, self._settings
        assert look is not None
        if pending is not None and look.nonce < pending.nonce:
            # Some server told a wrong nonce: what waits beyond a gap is never mined.
            pending = None
        if pending is None:
            fees = first_offer(look.base_fee, look.tip_suggested, settings.max_fee_wei)
        else:
            cap = settings.max_fee_wei
            fees = replacement(pending.fees, look.base_fee, look.tip_suggested, cap)
        if fees is None:
            self._reject(f"the fee cap of {settings.max_fee_wei} wei per gas is too low at present")
            return
        gas = call.gas
        if look.balance_wei < gas * fees.max_fee:
            self._reject(
                f"account 0x{self._account.address.hex()} holds {look.balance_wei} wei, "
                f"{gas * fees.max_fee} are needed: fund it"
            )
            return
        if self._rejected_in_a_row and not await self._would_succeed(call):
            return
        nonce = look.nonce if pending is None else pending.nonce
        signed = self._account.sign(
            chain_id=settings.chain_id,
            nonce=nonce,
            to=settings.oracle,
            data=call.calldata,
            gas=gas,
            fees=fees,
        )
        now = time.monotonic()
        if pending is None:
            self._pending = Pending(
                nonce=nonce,
                fees=fees,
                call=call,
                raw=signed.raw,
                hashes=(signed.hash,),
                sent_at=now,
                since=now,
                since_ms=_unix_ms(),
            )
        else:
            self._pending = pending.superseded_by(signed, fees, call, now)
            self._note(replacements=self._status.replacements + 1)
        self._log.info(
            "publisher.send" if pending is None else "publisher.replace",
            **call.facts,
            nonce=nonce,
            max_fee_wei=fees.max_fee,
            transaction="0x" + signed.hash.hex(),
        )
        self._note(pending="0x" + signed.hash.hex(), pending_since_ms=self._pending.since_ms)
        if pending is not None and len(self._endpoints) > 1:
            # A server may take transactions and pass none on: the next step tries another one.
            self._next_endpoint()
        else:
            await self._resend()

    async def _would_succeed(self, call: Call) -> bool:
        """Try a call without sending it: after a failure, before paying for another."""
        request = self._oracle.call(call.calldata, "pending", self._account.address)
        (result,) = await self._endpoint.batch([request])
        if not isinstance(result, RpcError):
            return True
        self._reject(f"the transaction would fail: {_explained(result)}")
        return False

    async def _resend(self) -> None:
        """Send the pending transaction to the current endpoint unless one has taken it."""
        pending = self._pending
        if pending is None or pending.accepted:
            return
        (result,) = await self._endpoint.batch(
            [("eth_sendRawTransaction", ["0x" + pending.raw.hex()])]
        )
        if not isinstance(result, RpcError):
            self._pending = replace(pending, accepted=True)
            return
        message = result.message.lower()
        if "already known" in message or "already imported" in message:
            self._pending = replace(pending, accepted=True)
        elif "nonce too low" in message:
            # Another version, or another user of the account, was faster: the next look tells.
            self._pending = replace(pending, accepted=True)
            self._looked_at = 0.0
        elif "underpriced" in message:
            # The pool holds another transaction of ours at this nonce, as after a restart.
            self._error(f"the pool asks for a higher fee: {result.message}")
            earlier = pending.sent_at - self._settings.stuck_ms / 1000
            self._pending = replace(pending, accepted=True, sent_at=earlier)
        else:
            self._pending = None
            self._note(pending=None, pending_since_ms=None)
            self._reject(f"transaction refused: {result.message}")

    def _reject(self, reason: str) -> None:
        """Note that nothing could be sent, and wait longer each time before the next try."""
        self._error(reason)
        exponent = min(self._rejected_in_a_row, 5)
        self._rejected_in_a_row += 1
        self._not_before = time.monotonic() + self._settings.stage_ms / 1000 * 2**exponent

    # What became of it.

    async def _settle(self, pending: Pending, look: Look) -> None:
        if look.receipts:
            self._pending = None
            self._note(pending=None, pending_since_ms=None)
            await self._conclude(pending, look.receipts[0])
        elif look.nonce > pending.nonce:
            # The nonce is used. Receipts may come later than the count; then nobody knows.
            if pending.looks_since_used >= _LOOKS_FOR_A_RECEIPT:
                self._pending = None
                self._note(pending=None, pending_since_ms=None)
                self._error(f"nonce {pending.nonce} was used by a transaction that is not ours")
            else:
                looks = pending.looks_since_used + 1
                self._pending = replace(pending, looks_since_used=looks)

    async def _conclude(self, pending: Pending, receipt: Receipt) -> None:
        status = self._status
        self._note(
            gas_used=status.gas_used + receipt.gas_used,
            cost_wei=status.cost_wei + receipt.cost_wei,
        )
        transaction = "0x" + receipt.transaction_hash.hex()
        if not receipt.succeeded:
            reason = await self._why_reverted(pending, receipt)
            self._note(reverted=status.reverted + 1)
            self._reject(f"{transaction} reverted: {reason}")
            return
        self._rejected_in_a_row = 0
        self._not_before = 0.0
        call = pending.call
        if not receipt.changed:
            self._note(superseded=status.superseded + 1)
            self._log.info("publisher.superseded", transaction=transaction)
            return
        if isinstance(call.purpose, Step):
            self._note(successions=status.successions + 1)
        else:
            trigger = call.purpose.trigger.value
            submitted = self._submitted.get(call.view or 0)
            if submitted is not None:
                self._on_stored(self._settings.name, time.monotonic() - submitted)
            self._note(
                pushes=status.pushes | {trigger: status.pushes[trigger] + 1},
                last_push_transaction=transaction,
                last_push_gas_used=receipt.gas_used,
            )
        self._log.info(
            "publisher.done",
            **call.facts,
            transaction=transaction,
            gas_used=receipt.gas_used,
            cost_wei=receipt.cost_wei,
            after_ms=int((time.monotonic() - pending.since) * 1000),
        )

    async def _why_reverted(self, pending: Pending, receipt: Receipt) -> str:
        """Run a reverted call again where it reverted, for its reason."""
        request = self._oracle.call(
            pending.call.calldata, hex(receipt.block), self._account.address
        )
        try:
            (result,) = await self._endpoint.batch([request])
        except RpcFailure as failure:
            return f"unknown reason ({failure})"
        if isinstance(result, RpcError):
            return _explained(result)
        return f"with {receipt.gas_used} gas, but not when it is run again"

    # The snapshot.

    def _note(self, **changes: object) -> None:
        if any(getattr(self._status, name) != value for name, value in changes.items()):
            self._status = replace(self._status, **changes)  # type: ignore[arg-type]

    def _error(self, message: str) -> None:
        if message != self._status.last_error:
            self._log.warning("publisher.trouble", reason=message)
        self._note(errors=self._status.errors + 1, last_error=message)


def _explained(error: RpcError) -> str:
    return client.describe_error(error.data) if error.data else error.message


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000
