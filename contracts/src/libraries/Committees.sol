// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Certificate, Header, IOracle, Member} from "../IOracle.sol";
import {BLS12381, Workspace} from "./BLS12381.sol";
import {Blobs} from "./Blobs.sol";
import {Digests} from "./Digests.sol";

/// @title The keys of an epoch's members, and certificates under them
/// @notice A committee is stored as one blob: D | the sum of all keys | the negated key of each
/// member. The key of a certificate is that sum less the keys of the absent, whose number is
/// bounded by the quorum, whatever the number of members.
library Committees {
    uint256 internal constant MEMBERS_MAX = 128;

    uint256 private constant NEGATED_KEYS = 32 + 128;

    /// Returns the votes that certify: any two such sets share an honest member.
    function quorum(uint256 members) internal pure returns (uint256) {
        unchecked {
            return (members + (members - 1) / 3) / 2 + 1;
        }
    }

    /// Checks that no two members share anything, and that each owns its key.
    function checkKeys(Member[] memory members) internal view {
        for (uint256 i; i < members.length; ++i) {
            for (uint256 j; j < i; ++j) {
                (Member memory member, Member memory other) = (members[i], members[j]);
                // One key has one encoding: the pairing takes no coordinate beyond the prime.
                if (_same(member.blsKey, other.blsKey)) revert IOracle.Duplicate("blsKey", j, i);
                if (member.ed25519Key == other.ed25519Key) {
                    revert IOracle.Duplicate("ed25519Key", j, i);
                }
                if (member.operator == other.operator) revert IOracle.Duplicate("operator", j, i);
            }
        }
        Workspace workspace = BLS12381.workspace();
        for (uint256 i; i < members.length; ++i) {
            if (!BLS12381.putKey(workspace, members[i].blsKey)) revert IOracle.InfinityKey(i);
            BLS12381.hashKey(workspace);
            if (!_verifies(workspace, members[i].proofOfPossession)) {
                revert IOracle.BadProofOfPossession(i);
            }
        }
    }

    /// Checks that each checked key was registered by its owner, for this network.
    function checkRegistrations(Member[] memory members, bytes32 network) internal view {
        Workspace workspace = BLS12381.workspace();
        for (uint256 i; i < members.length; ++i) {
            Member memory member = members[i];
            BLS12381.putKey(workspace, member.blsKey);
            BLS12381.hashMessage(
                workspace, Digests.registration(network, member.operator, member.ed25519Key)
            );
            if (!_verifies(workspace, member.registration)) revert IOracle.BadRegistration(i);
        }
    }

    /// Stores the keys of checked members with their D as the next blob.
    function store(Member[] memory members, bytes32 domain) internal {
        bytes memory data = new bytes(NEGATED_KEYS + 128 * members.length);
        uint256[8] memory sum;
        uint256 place;
        uint256 to;
        assembly ("memory-safe") {
            place := sum
            mstore(add(data, 0x20), domain)
            to := add(data, add(0x20, NEGATED_KEYS))
        }
        for (uint256 i; i < members.length; ++i) {
            uint256[4] memory key = members[i].blsKey;
            assembly ("memory-safe") {
                mcopy(add(sum, 0x80), key, 0x80)
            }
            BLS12381.addKey(place);
            BLS12381.negate(key, to + 128 * i);
        }
        assembly ("memory-safe") {
            mcopy(add(data, 0x40), sum, 0x80)
        }
        Blobs.store(data);
    }

    /// Returns the blob of an epoch, which must be as large as its members demand.
    function blobOf(uint256 epoch, uint256 members) internal view returns (address blob) {
        unchecked {
            blob = Blobs.accountOf(2 * epoch + 1);
            if (Blobs.size(blob) != NEGATED_KEYS + 128 * members) {
                revert IOracle.CommitteeMissing(epoch);
            }
        }
    }

    /// Returns the D of the epoch whose committee is stored in this blob.
    function domainOf(address blob) internal view returns (bytes32 domain) {
        assembly ("memory-safe") {
            extcodecopy(blob, 0, 1, 0x20)
            domain := mload(0)
        }
    }

    /// Reverts unless a quorum of the members in this blob certified the header.
    /// @return id The header's id.
    function verify(
        address blob,
        uint256 members,
        Header calldata header,
        Certificate calldata certificate
    ) internal view returns (bytes32 id) {
        Workspace workspace = BLS12381.workspace();
        uint256 keyPlace = BLS12381.keyPlace(workspace);
        unchecked {
            // One copy brings D, in front of the key's place where the signature comes later, and
            // the sum of all keys.
            Blobs.copy(blob, 0, NEGATED_KEYS, keyPlace - 32);
        }
        bytes32 domain;
        assembly ("memory-safe") {
            domain := mload(sub(keyPlace, 0x20))
        }
        id = Digests.headerId(domain, header);
        _subtractAbsent(blob, members, certificate.bitmap, keyPlace);
        if (!BLS12381.keyIsFinite(workspace)) revert IOracle.InfinityAggregateKey();
        if (!BLS12381.putSignature(workspace, certificate.signature)) {
            revert IOracle.InfinitySignature();
        }
        BLS12381.hashMessage(workspace, id);
        (bool wellFormed, bool equal) = BLS12381.pair(workspace);
        if (!wellFormed) revert IOracle.MalformedSignature();
        if (!equal) revert IOracle.BadSignature(id);
    }

    /// Takes the keys of the absent from the sum at `keyPlace`, after checking their number.
    function _subtractAbsent(address blob, uint256 members, uint256 bitmap, uint256 keyPlace)
        private
        view
    {
        unchecked {
            if (bitmap >> members != 0) revert IOracle.UnknownSigner(bitmap, members);
            uint256 absent = ((1 << members) - 1) ^ bitmap;
            if (absent == 0) return;
            uint256 least = quorum(members);
            uint256 signers = members;
            for (uint256 rest = absent; rest != 0; rest &= rest - 1) --signers;
            if (signers < least) revert IOracle.BelowQuorum(signers, least);
            for (uint256 rest = absent; rest != 0; rest &= rest - 1) {
                uint256 index = _lowestBit(rest);
                Blobs.copy(blob, NEGATED_KEYS + 128 * index, 128, keyPlace + 128);
                BLS12381.addKey(keyPlace);
            }
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

    function _verifies(Workspace workspace, uint256[6] memory signature) private view returns (bool) {
        if (!BLS12381.putSignatureFromMemory(workspace, signature)) return false;
        (, bool equal) = BLS12381.pair(workspace);
        return equal;
    }

    function _same(uint256[4] memory a, uint256[4] memory b) private pure returns (bool) {
        return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
    }
}
