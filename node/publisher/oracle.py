"""What a chain says about the Oracle there, about its head, and about an account: checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aggregation.status import Status
from consensus.committee import Member
from contracts import client, epochs
from node.publisher.rpc import Endpoint, Request, RpcError, RpcFailure, integer, octets
from node.publisher.triggers import Stored

BATCH_MAX: Final = 99
NONCE_MAX: Final = 2**64 - 1
T = TypeVar("T")


class Refused(Exception):
    """The chain or the contract is not what the configuration says: nothing is sent there."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What the Oracle says of itself and never changes within an epoch."""

    epoch: int
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction; `changed` says whether the Oracle took what it brought."""

    transaction_hash: bytes
    block: int
    succeeded: bool
    changed: bool
    gas_used: int
    cost_wei: int


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a chain: head, place of what is stored, the account, receipts that came."""

    head: int
    head_time_ms: int
    block_gas: int
    base_fee: int
    tip_suggested: int
    place: client.StoredPlace
    nonce: int
    balance_wei: int
    receipts: tuple[Receipt, ...]


class Oracle:
    """One Oracle contract, seen through whichever endpoint it is asked with."""

    def __init__(self, address: bytes, chain_id: int, network: bytes) -> None:
        self.address = address
        self._chain_id = chain_id
        self._network = network
        self._to = "0x" + address.hex()

    def call(self, calldata: bytes, block: str = "latest", sender: bytes | None = None) -> Request:
        """Return the request that calls the contract."""
        message = {"to": self._to, "input": "0x" + calldata.hex()}
        if sender is not None:
            message["from"] = "0x" + sender.hex()
        return ("eth_call", [message, block])

    async def verify(self, endpoint: Endpoint, feeds_in: Mapping[int, int]) -> Contract:
        """Check that the endpoint serves our chain and that our Oracle is there; raise Refused.

        `feeds_in` has the number of feeds in each epoch that this node knows.
        """
        getters = ("network", "feedCount", "epoch", "committee")
        chain_id, code, *results = await endpoint.batch(
            [
                ("eth_chainId", []),
                ("eth_getCode", [self._to, "latest"]),
                *(self.call(client.encode_getter(getter)) for getter in getters),
            ]
        )
        found = integer(chain_id, "eth_chainId")
        if found != self._chain_id:
            raise Refused(
                f"{endpoint.shown} serves chain {found}, not {self._chain_id}: "
                "correct chain_id or rpc_urls"
            )
        if not octets(code, "eth_getCode"):
            raise Refused(
                f"there is no contract at {self._to} on chain {found}: correct oracle, or deploy it"
            )
        if any(isinstance(result, RpcError) for result in results):
            raise Refused(f"the contract at {self._to} is no Oracle: correct oracle")
        network, feeds, epoch, committee = results
        if _read(client.decode_bytes32, network, "network") != self._network:
            raise Refused(f"the Oracle at {self._to} is of another network: correct oracle")
        number = _read(client.decode_integer, epoch, "epoch")
        if number not in feeds_in:
            raise Refused(
                f"the Oracle at {self._to} is in epoch {number}, of which this node does not know: "
                "wait until it has caught up, or correct oracle"
            )
        if _read(client.decode_integer, feeds, "feedCount") != feeds_in[number]:
            raise Refused(f"the Oracle at {self._to} has another feed table: correct oracle")
        return Contract(
            number,
            _read(epochs.decode_committee, committee, "committee").valid_until_ms,
        )

    async def look(self, endpoint: Endpoint, account: bytes, hashes: Sequence[bytes]) -> Look:
        """Look at the head, the contract, the account and these transactions, in one round trip."""
        sender = "0x" + account.hex()
        # The receipts come first: a block between two answers must not show a transaction that is
        # done beside a contract that does not hold its report yet, or it would be sent again.
        *receipts, block, place, nonce, balance, tip = await endpoint.batch(
            [
                *(("eth_getTransactionReceipt", ["0x" + one.hex()]) for one in hashes),
                ("eth_getBlockByNumber", ["latest", False]),
                self.call(client.encode_getter("stored")),
                ("eth_getTransactionCount", [sender, "latest"]),
                ("eth_getBalance", [sender, "latest"]),
                ("eth_maxPriorityFeePerGas", []),
            ]
        )
        if not isinstance(block, dict):
            raise RpcFailure(f"{endpoint.shown}: no newest block")
        next_nonce = integer(nonce, "nonce")
        if next_nonce >= NONCE_MAX:
            raise RpcFailure(f"{endpoint.shown}: a nonce of {next_nonce}")
        return Look(
            head=integer(block.get("number"), "block number"),
            head_time_ms=integer(block.get("timestamp"), "block time") * 1000,
            block_gas=integer(block.get("gasLimit"), "block gas limit"),
            base_fee=integer(block.get("baseFeePerGas"), "base fee"),
            # Not every server has the method; one wei is what the protocol itself asks for.
            tip_suggested=1 if isinstance(tip, RpcError) else integer(tip, "tip"),
            place=_read(client.decode_stored, place, "stored"),
            nonce=next_nonce,
            balance_wei=integer(balance, "balance"),
            receipts=tuple(
                self._receipt(one, transaction_hash)
                for one, transaction_hash in zip(receipts, hashes, strict=True)
                if isinstance(one, dict)
            ),
        )

    async def answers(
        self, endpoint: Endpoint, place: client.StoredPlace, count: int
    ) -> Stored | None:
        """Read the stored answers of so many feeds; None if another report came meanwhile.

        Before an epoch's first report none is stored: what an earlier one left is not its own.
        """
        answers: list[tuple[int, Status]] = []
        if place.view == 0:
            nothing = (0, Status.UNAVAILABLE)
            return Stored(place.epoch, 0, place.observed_at_ms, (nothing,) * count)
        for first in range(0, count, BATCH_MAX):
            feeds = range(first, min(first + BATCH_MAX, count))
            # The place comes last: servers answer a batch in its order.
            *results, again = await endpoint.batch(
                [
                    *(self.call(client.encode_latest(feed)) for feed in feeds),
                    self.call(client.encode_getter("stored")),
                ]
            )
            if _read(client.decode_stored, again, "stored") != place:
                return None
            for result in results:
                answer = _read(client.decode_latest, result, "latest")
                # Later than the place is an answer that somebody proved since the last push.
                if answer.observed_at_ms < place.observed_at_ms:
                    return None
                try:
                    answers.append((answer.price, Status(answer.status)))
                except ValueError:
                    raise RpcFailure(f"{endpoint.shown}: an answer has no known status") from None
        return Stored(place.epoch, place.view, place.observed_at_ms, tuple(answers))

    async def registered(self, endpoint: Endpoint, members: Sequence[Member]) -> tuple[bool, ...]:
        """Return which of these members the contract knows the proofs of."""
        known: list[bool] = []
        for first in range(0, len(members), BATCH_MAX):
            part = members[first : first + BATCH_MAX]
            results = await endpoint.batch(
                [self.call(epochs.encode_is_registered(member)) for member in part]
            )
            known += [_read(client.decode_stored_flag, one, "isRegistered") for one in results]
        return tuple(known)

    def _receipt(self, receipt: dict[str, Any], transaction_hash: bytes) -> Receipt:
        gas_used = integer(receipt.get("gasUsed"), "gasUsed")
        price = integer(receipt.get("effectiveGasPrice"), "effectiveGasPrice")
        logs = receipt.get("logs")
        topics = ["0x" + topic.hex() for topic in (client.pushed_topic(), *epochs.epoch_topics())]
        return Receipt(
            transaction_hash=transaction_hash,
            block=integer(receipt.get("blockNumber"), "blockNumber"),
            succeeded=integer(receipt.get("status"), "status") == 1,
            changed=isinstance(logs, list) and any(self._is_one_of(log, topics) for log in logs),
            gas_used=gas_used,
            cost_wei=gas_used * price,
        )

    def _is_one_of(self, log: Any, wanted: Sequence[str]) -> bool:
        if not isinstance(log, dict):
            return False
        topics = log.get("topics")
        address = str(log.get("address", "")).lower()
        return (
            address == self._to
            and isinstance(topics, list)
            and any(topics[:1] == [topic] for topic in wanted)
        )


def _read(decode: Callable[[bytes], T], result: Any, what: str) -> T:
    try:
        return decode(octets(result, what))
    except ValueError as error:
        raise RpcFailure(f"{what}: {error}") from None
