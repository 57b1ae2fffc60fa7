"""The account that pays for pushes."""

from dataclasses import dataclass

from node.publisher.fees import Fees


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction, ready to send, and its hash."""

    raw: bytes
    hash: bytes


class Account:
    """Signs EIP-1559 transactions; never shows its key."""

    def __init__(self, private_key: bytes) -> None:
        # eth_account takes a second to import, and only a node that publishes needs it.
        from eth_account import Account as EthAccount

        self._account = EthAccount.from_key(private_key)
        self.address = bytes.fromhex(self._account.address[2:])

    def __repr__(self) -> str:
        return f"Account(0x{self.address.hex()})"

    def sign(
        self, *, chain_id: int, nonce: int, to: bytes, data: bytes, gas: int, fees: Fees
    ) -> Signed:
        """Sign a call of a contract."""
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": chain_id,
                "nonce": nonce,
                "to": to,
                "value": 0,
                "data": data,
                "gas": gas,
                "maxFeePerGas": fees.max_fee,
                "maxPriorityFeePerGas": fees.tip,
            }
        )
        return Signed(bytes(signed.raw_transaction), bytes(signed.hash))
