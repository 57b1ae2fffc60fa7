// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../IOracle.sol";
import {BLS12381} from "./BLS12381.sol";

/// @title Aggregate signatures on several messages
/// @notice The groups of a timeout certificate sign different digests under one signature, which
/// `IOracle.isSigned` does not take. The Oracle gives the members' keys negated, so what is checked is
/// e(G1, signature) · e(-key of a group, its hashed digest) · ... = 1.
library Aggregates {
    uint256 private constant PAIR_BYTES = 384;
    uint256 private constant SIGNATURE_PLACE = 128;

    /// Returns whether exactly these members of an epoch signed, each group its own digest.
    /// @dev Sound because each member proved possession of its key to the Oracle, and the groups are
    /// disjoint: the caller sees to that, and that none is empty or has a bit for no member. Takes
    /// about 84,000 gas a group and 3,000 a member. `BLS12381.reserve` must have been called.
    /// @param signers Bit i for member i, of each group.
    function isSigned(
        IOracle oracle,
        uint64 epoch,
        bytes32[] memory digests,
        uint256[] memory signers,
        uint256[6] calldata signature
    ) internal view returns (bool equal) {
        uint256 pairs = digests.length + 1;
        bytes memory input = new bytes(PAIR_BYTES * pairs);
        uint256 place;
        assembly ("memory-safe") {
            place := add(input, 0x20)
        }
        BLS12381.negate(BLS12381.START, place);
        _putSignature(place + SIGNATURE_PLACE, signature);
        for (uint256 group; group < digests.length; ++group) {
            uint256 to = place + PAIR_BYTES * (group + 1);
            // An infinite key would take part for any digest.
            if (!_putKey(oracle, epoch, signers[group], to)) return false;
            BLS12381.hashMessage(digests[group]);
            uint256 hashed = BLS12381.MESSAGE;
            assembly ("memory-safe") {
                mcopy(add(to, 128), hashed, 256)
            }
        }
        assembly ("memory-safe") {
            // 37,700 gas and 32,600 a pair. A malformed point burns what is given.
            equal := staticcall(
                add(60000, mul(40000, pairs)), 0x0f, place, mul(PAIR_BYTES, pairs), 0, 0x20
            )
            equal := and(eq(returndatasize(), 0x20), equal)
            equal := and(eq(mload(0), 1), equal)
        }
    }

    /// Writes the sum of the signers' negated keys; returns false if it is the point at infinity.
    function _putKey(IOracle oracle, uint64 epoch, uint256 signers, uint256 to)
        private
        view
        returns (bool finite)
    {
        for (uint256 member; signers >> member != 0; ++member) {
            if ((signers >> member) & 1 == 0) continue;
            (, uint256[4] memory key) = oracle.memberAt(epoch, member);
            assembly ("memory-safe") {
                // Behind the sum, where its message is written afterwards.
                mcopy(add(to, 128), key, 128)
            }
            BLS12381.addKey(to);
        }
        assembly ("memory-safe") {
            finite := iszero(
                iszero(
                    or(
                        or(mload(to), mload(add(to, 0x20))),
                        or(mload(add(to, 0x40)), mload(add(to, 0x60)))
                    )
                )
            )
        }
    }

    /// Writes the signature with each coordinate padded to 64 bytes.
    function _putSignature(uint256 to, uint256[6] calldata signature) private pure {
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, 4) { i := add(i, 1) } {
                calldatacopy(add(add(to, 16), shl(6, i)), add(signature, mul(48, i)), 48)
            }
        }
    }
}
