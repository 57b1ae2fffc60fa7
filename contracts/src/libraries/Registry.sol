// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle, Member, Registration} from "../IOracle.sol";
import {BLS12381} from "./BLS12381.sol";
import {Digests} from "./Digests.sol";

/// @title Which members proved that their keys are their own
/// @notice A sum of keys is safe only if each was proven by its holder (rogue keys). The proofs are
/// checked here, once for each member's record, whatever certificate brings it into a committee.
library Registry {
    /// Checks and remembers what is new; reverts if a proof does not hold.
    function register(
        mapping(bytes32 => bool) storage registered,
        Registration[] calldata registrations,
        bytes32 network
    ) internal {
        for (uint256 i; i < registrations.length; ++i) {
            Registration calldata registration = registrations[i];
            Member calldata member = registration.member;
            bytes32 hash = Digests.member(member);
            if (registered[hash]) continue;
            if (!BLS12381.putKey(member.blsKey)) revert IOracle.InfinityKey(i);
            BLS12381.hashKey();
            if (!_verifies(registration.proofOfPossession)) {
                revert IOracle.BadProofOfPossession(i);
            }
            BLS12381.hashMessage(
                Digests.registration(network, member.operator, member.ed25519Key)
            );
            if (!_verifies(registration.registration)) revert IOracle.BadRegistration(i);
            registered[hash] = true;
            emit IOracle.Registered(hash, member.operator);
        }
    }

    /// Reverts unless all members are registered and no two of them share anything.
    function check(mapping(bytes32 => bool) storage registered, Member[] calldata members)
        internal
        view
    {
        uint256 n = members.length;
        // Hash of the key | Ed25519 key | operator, of each.
        uint256[] memory seen = new uint256[](3 * n);
        for (uint256 i; i < n; ++i) {
            Member calldata member = members[i];
            if (!registered[Digests.member(member)]) revert IOracle.NotRegistered(i);
            // One key has one encoding: the pairing took no coordinate beyond the prime.
            seen[3 * i] = uint256(keccak256(abi.encode(member.blsKey)));
            seen[3 * i + 1] = uint256(member.ed25519Key);
            seen[3 * i + 2] = uint160(member.operator);
            for (uint256 j; j < i; ++j) {
                bool shared;
                assembly ("memory-safe") {
                    let mine := add(add(seen, 0x20), mul(96, i))
                    let other := add(add(seen, 0x20), mul(96, j))
                    shared := or(
                        eq(mload(mine), mload(other)),
                        or(
                            eq(mload(add(mine, 0x20)), mload(add(other, 0x20))),
                            eq(mload(add(mine, 0x40)), mload(add(other, 0x40)))
                        )
                    )
                }
                if (shared) revert IOracle.Duplicate(_shared(seen, i, j), j, i);
            }
        }
    }

    function _shared(uint256[] memory seen, uint256 i, uint256 j)
        private
        pure
        returns (string memory)
    {
        if (seen[3 * i] == seen[3 * j]) return "blsKey";
        if (seen[3 * i + 1] == seen[3 * j + 1]) return "ed25519Key";
        return "operator";
    }

    function _verifies(uint256[6] calldata signature) private view returns (bool equal) {
        (, equal) = BLS12381.pair(signature);
    }
}
