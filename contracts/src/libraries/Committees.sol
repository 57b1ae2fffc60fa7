// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle, Member} from "../IOracle.sol";
import {BLS12381} from "./BLS12381.sol";
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

    /// Loads the committee of an epoch, and the sum of its keys to where a key is verified with.
    /// @dev Only this contract can have stored anything at the blob's address, so what is there is
    /// whole; nothing is there if the number of members reads as zero.
    function load(uint256 epoch)
        internal
        view
        returns (address blob, bytes32 domain, Terms terms)
    {
        unchecked {
            blob = Blobs.accountOf(2 * epoch + 1);
            // One copy brings D and the terms, in front of the key's place where the signature comes
            // later, and the sum of all keys.
            Blobs.copy(blob, 32, HEAD_BYTES - 32 + 128, BLS12381.KEY - (HEAD_BYTES - 32));
            assembly ("memory-safe") {
                domain := mload(0x1c0)
                terms := mload(0x1e0)
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

    /// Returns the operator and the negated key of a member of an epoch.
    function memberAt(uint256 epoch, uint256 member)
        internal
        view
        returns (address operator, uint256[4] memory negatedKey)
    {
        unchecked {
            address blob = Blobs.accountOf(2 * epoch + 1);
            Terms terms;
            uint256 to;
            assembly ("memory-safe") {
                extcodecopy(blob, 0, 65, 0x20)
                terms := mload(0)
                to := negatedKey
            }
            uint256 n = terms.members();
            if (n == 0) revert IOracle.CommitteeMissing(epoch);
            if (member >= n) revert IOracle.UnknownMember(member, n);
            Blobs.copy(blob, NEGATED_KEYS + 128 * member, 128, to);
            assembly ("memory-safe") {
                mstore(0, 0)
            }
            Blobs.copy(blob, NEGATED_KEYS + 128 * n + 20 * member, 20, 12);
        }
        assembly ("memory-safe") {
            operator := mload(0)
        }
    }

    /// Reverts unless a quorum of a loaded committee signed the digest.
    function verify(
        address blob,
        Terms terms,
        bytes32 digest,
        uint256 signers,
        uint256[6] calldata signature
    ) internal view {
        unchecked {
            uint256 members = terms.members();
            uint256 absent = ((1 << members) - 1) ^ signers;
            if (absent != 0) {
                if (signers >> members != 0) revert IOracle.UnknownSigner(signers, members);
                uint256 least = quorum(members);
                uint256 count = _count(signers);
                if (count < least) revert IOracle.BelowQuorum(count, least);
                _subtract(blob, absent);
            }
        }
        BLS12381.hashMessage(digest);
        (bool wellFormed, bool equal) = BLS12381.pair(signature);
        if (!equal) {
            if (!wellFormed) revert IOracle.MalformedSignature();
            revert IOracle.BadSignature(digest);
        }
    }

    /// Returns whether exactly these members of a loaded committee signed the digest.
    function isSigned(
        address blob,
        Terms terms,
        bytes32 digest,
        uint256 signers,
        uint256[6] calldata signature
    ) internal view returns (bool equal) {
        unchecked {
            uint256 members = terms.members();
            if (signers >> members != 0) revert IOracle.UnknownSigner(signers, members);
            if (signers == 0) revert IOracle.BelowQuorum(0, 1);
            _subtract(blob, ((1 << members) - 1) ^ signers);
        }
        BLS12381.hashMessage(digest);
        (, equal) = BLS12381.pair(signature);
    }

    /// Takes the keys of the absent from the sum.
    function _subtract(address blob, uint256 absent) private view {
        bool ok;
        // The place of the sum, and behind it that of the key to be added.
        (uint256 sum, uint256 key, uint256 keys) =
            (BLS12381.KEY, BLS12381.KEY + 128, NEGATED_KEYS + 1);
        assembly ("memory-safe") {
            ok := 1
            for {} absent {} {
                let bit := and(absent, sub(0, absent))
                absent := xor(absent, bit)
                // The bit's index: which 32 bits by a product, which of them by a quotient
                // (ffs of Solady's LibBit, MIT).
                let index := shl(5, shr(252, shl(shl(2, shr(250, mul(bit,
                    0xb6db6db6ddddddddd34d34d349249249210842108c6318c639ce739cffffffff))),
                    0x8040405543005266443200005020610674053026020000107506200176117077)))
                index := or(index, byte(and(div(0xd76453e0, shr(index, bit)), 0x1f),
                    0x001f0d1e100c1d070f090b19131c1706010e11080a1a141802121b1503160405))
                extcodecopy(blob, key, add(keys, shl(7, index)), 0x80)
                // 375 gas
                ok := and(staticcall(3000, 0x0b, sum, 0x100, sum, 0x80), ok)
                ok := and(eq(returndatasize(), 0x80), ok)
            }
        }
        if (!ok) revert IOracle.PrecompileFailed(0x0b);
        // An infinite key would take the signature at infinity for any message.
        if (!BLS12381.keyIsFinite()) revert IOracle.InfinityAggregateKey();
    }

    /// Returns the number of bits set, of the lower 128.
    function _count(uint256 bits) internal pure returns (uint256 count) {
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
}
