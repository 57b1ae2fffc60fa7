// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle, Member} from "../IOracle.sol";
import {BLS12381, Workspace} from "./BLS12381.sol";
import {Blobs} from "./Blobs.sol";
import {Digests} from "./Digests.sol";

/// What a stored committee begins with: valid until 64 | decided at 64 | members 128.
type Terms is uint256;

using CommitteeTerms for Terms global;

/// @title Decoding of terms
library CommitteeTerms {
    /// When the epoch's reports cease to be taken, Unix ms.
    function validUntil(Terms terms) internal pure returns (uint256) {
        return Terms.unwrap(terms) >> 192;
    }

    /// When the deciding block was observed, Unix ms; 0 for the first epoch.
    function decidedAt(Terms terms) internal pure returns (uint64) {
        return uint64(Terms.unwrap(terms) >> 128);
    }

    /// The number of members.
    function members(Terms terms) internal pure returns (uint256) {
        return uint128(Terms.unwrap(terms));
    }
}

/// @title The keys of an epoch's members, and certificates under them
/// @notice A committee is stored as one blob:
///
///   deciding id 32 | D 32 | valid until 8, decided at 8, members 16 | the sum of all keys 128 |
///   the negated key of each member 128 | the operator of each member 20
///
/// The key of a certificate is the sum less the keys of the absent, whose number is bounded by the
/// quorum, whatever the number of members.
library Committees {
    uint256 internal constant MEMBERS_MAX = 128;

    uint256 private constant HEAD_BYTES = 96;
    uint256 private constant NEGATED_KEYS = 224;
    uint256 private constant MEMBER_BYTES = 128 + 20;

    /// Returns the votes that certify: any two such sets share an honest member.
    function quorum(uint256 members) internal pure returns (uint256) {
        unchecked {
            return (members + (members - 1) / 3) / 2 + 1;
        }
    }

    /// Stores the members' keys with what else an epoch's certificates need, as the next blob.
    /// @dev The members must be registered, which has shown that each key is in the subgroup.
    function store(
        Member[] calldata members,
        bytes32 domain,
        uint256 validUntil,
        bytes32 decidedBy,
        uint256 decidedAt
    ) internal {
        uint256 n = members.length;
        bytes memory data = new bytes(NEGATED_KEYS + MEMBER_BYTES * n);
        uint256 terms = validUntil << 192 | decidedAt << 128 | n;
        uint256 to;
        assembly ("memory-safe") {
            mstore(add(data, 0x20), decidedBy)
            mstore(add(data, 0x40), domain)
            mstore(add(data, 0x60), terms)
            to := add(data, add(0x20, NEGATED_KEYS))
        }
        // The place of two points for the precompile that adds.
        uint256[8] memory sum;
        uint256 place;
        assembly ("memory-safe") {
            place := sum
        }
        for (uint256 i; i < n; ++i) {
            Member calldata member = members[i];
            address operator = member.operator;
            assembly ("memory-safe") {
                calldatacopy(add(place, 0x80), member, 0x80)
                // The lowest 20 bytes of a word whose others are written before or stay.
                let operatorPlace := add(add(to, mul(128, n)), mul(20, i))
                let rest := and(mload(operatorPlace), 0xffffffffffffffffffffffff)
                mstore(operatorPlace, or(shl(96, operator), rest))
            }
            BLS12381.negate(place + 0x80, to + 128 * i);
            BLS12381.addKey(place);
        }
        if (sum[0] | sum[1] | sum[2] | sum[3] == 0) revert IOracle.InfinityAggregateKey();
        assembly ("memory-safe") {
            mcopy(add(data, add(0x20, HEAD_BYTES)), place, 0x80)
        }
        Blobs.store(data);
    }

    /// Loads the committee of an epoch into a workspace for its certificates.
    /// @dev Only this contract can have stored anything at the blob's address, so what is there is
    /// whole; nothing is there if the number of members reads as zero.
    function load(uint256 epoch)
        internal
        view
        returns (Workspace workspace, address blob, bytes32 domain, Terms terms)
    {
        workspace = BLS12381.workspace();
        unchecked {
            blob = Blobs.accountOf(2 * epoch + 1);
            uint256 keyPlace = BLS12381.keyPlace(workspace);
            // One copy brings D and the terms, in front of the key's place where the signature comes
            // later, and the sum of all keys.
            Blobs.copy(blob, 32, HEAD_BYTES - 32 + 128, keyPlace - (HEAD_BYTES - 32));
            assembly ("memory-safe") {
                domain := mload(sub(keyPlace, 0x40))
                terms := mload(sub(keyPlace, 0x20))
            }
        }
        if (terms.members() == 0) revert IOracle.CommitteeMissing(epoch);
    }

    /// Returns the block that decided a committee.
    function decidingId(address blob) internal view returns (bytes32 id) {
        assembly ("memory-safe") {
            extcodecopy(blob, 0, 1, 0x20)
            id := mload(0)
        }
    }

    /// Returns the operator and the negated key of a member of a committee.
    function memberAt(address blob, Terms terms, uint256 member)
        internal
        view
        returns (address operator, uint256[4] memory negatedKey)
    {
        uint256 n = terms.members();
        if (member >= n) revert IOracle.UnknownMember(member, n);
        uint256 to;
        assembly ("memory-safe") {
            to := negatedKey
            mstore(0, 0)
        }
        unchecked {
            Blobs.copy(blob, NEGATED_KEYS + 128 * member, 128, to);
            Blobs.copy(blob, NEGATED_KEYS + 128 * n + 20 * member, 20, 12);
        }
        assembly ("memory-safe") {
            operator := mload(0)
        }
    }

    /// Reverts unless a quorum of a loaded committee signed the digest.
    function verify(
        Workspace workspace,
        address blob,
        Terms terms,
        bytes32 digest,
        uint256 signers,
        uint256[6] calldata signature
    ) internal view {
        unchecked {
            uint256 absent = _absent(terms.members(), signers);
            if (absent != 0) {
                uint256 least = quorum(terms.members());
                uint256 count = _count(signers);
                if (count < least) revert IOracle.BelowQuorum(count, least);
                _subtract(workspace, blob, absent);
            }
        }
        (bool wellFormed, bool equal) = _pair(workspace, digest, signature);
        if (!wellFormed) revert IOracle.MalformedSignature();
        if (!equal) revert IOracle.BadSignature(digest);
    }

    /// Returns whether exactly these members of a loaded committee signed the digest.
    function isSigned(
        Workspace workspace,
        address blob,
        Terms terms,
        bytes32 digest,
        uint256 signers,
        uint256[6] calldata signature
    ) internal view returns (bool equal) {
        if (signers == 0) revert IOracle.BelowQuorum(0, 1);
        _subtract(workspace, blob, _absent(terms.members(), signers));
        (, equal) = _pair(workspace, digest, signature);
    }

    function _absent(uint256 members, uint256 signers) private pure returns (uint256) {
        unchecked {
            if (signers >> members != 0) revert IOracle.UnknownSigner(signers, members);
            return ((1 << members) - 1) ^ signers;
        }
    }

    /// Takes the keys of the absent from the sum.
    function _subtract(Workspace workspace, address blob, uint256 absent) private view {
        unchecked {
            uint256 keyPlace = BLS12381.keyPlace(workspace);
            for (; absent != 0; absent &= absent - 1) {
                Blobs.copy(blob, NEGATED_KEYS + 128 * _lowestBit(absent), 128, keyPlace + 128);
                BLS12381.addKey(keyPlace);
            }
        }
        // An infinite key would take the signature at infinity for any message.
        if (!BLS12381.keyIsFinite(workspace)) revert IOracle.InfinityAggregateKey();
    }

    function _pair(Workspace workspace, bytes32 digest, uint256[6] calldata signature)
        private
        view
        returns (bool wellFormed, bool equal)
    {
        BLS12381.putSignature(workspace, signature);
        BLS12381.hashMessage(workspace, digest);
        return BLS12381.pair(workspace);
    }

    /// Returns the number of bits set, of the lower 128.
    function _count(uint256 bits) private pure returns (uint256 count) {
        assembly ("memory-safe") {
            let pairs := sub(bits, and(shr(1, bits), 0x55555555555555555555555555555555))
            let nibbles := add(
                and(pairs, 0x33333333333333333333333333333333),
                and(shr(2, pairs), 0x33333333333333333333333333333333)
            )
            let bytes_ := and(add(nibbles, shr(4, nibbles)), 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f)
            // The sum of the sixteen bytes comes to stand in the uppermost of the lower 128 bits.
            count := and(shr(120, mul(bytes_, 0x01010101010101010101010101010101)), 0xff)
        }
    }

    /// Returns the index of the lowest bit set, of the lower 128.
    function _lowestBit(uint256 bits) private pure returns (uint256 index) {
        assembly ("memory-safe") {
            let bit := and(bits, sub(0, bits))
            index := shl(6, gt(bit, 0xffffffffffffffff))
            index := or(index, shl(5, gt(shr(index, bit), 0xffffffff)))
            index := or(index, shl(4, gt(shr(index, bit), 0xffff)))
            index := or(index, shl(3, gt(shr(index, bit), 0xff)))
            index := or(index, shl(2, gt(shr(index, bit), 0xf)))
            index := or(index, shl(1, gt(shr(index, bit), 3)))
            index := or(index, gt(shr(index, bit), 1))
        }
    }
}
