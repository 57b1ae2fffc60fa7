// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FeedRecord, Header, Member, Timing} from "../IOracle.sol";

/// @title Everything that is signed or hashed, as `consensus` has it
/// @notice keccak-256 over fixed-width, big-endian preimages, each led by a one-byte tag of its own.
library Digests {
    bytes1 private constant TAG_DOMAIN = 0x02;
    bytes1 private constant TAG_CONFIGURATION = 0x0a;
    bytes1 private constant TAG_KEY_LIST = 0x0b;
    bytes1 private constant TAG_FEED_TABLE = 0x0c;
    bytes1 private constant TAG_TIMING = 0x0d;
    bytes1 private constant TAG_NETWORK = 0x0e;
    bytes1 private constant TAG_REGISTRATION = 0x0f;

    /// Returns D.
    function domain(bytes32 network_, uint64 epoch, bytes32 configuration_)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(TAG_DOMAIN, network_, epoch, configuration_));
    }

    /// Returns the id of a header, which is what votes sign.
    function headerId(bytes32 domain_, Header calldata header) internal pure returns (bytes32 id) {
        (uint256 view_, uint256 observedAt) = (header.view_, header.observedAt);
        (bytes32 feedRoot, bytes32 link) = (header.feedRoot, header.link);
        assembly ("memory-safe") {
            let preimage := mload(0x40)
            mstore8(preimage, 0x03)
            mstore(add(preimage, 1), domain_)
            mstore(add(preimage, 33), shl(192, view_))
            mstore(add(preimage, 41), shl(192, observedAt))
            mstore(add(preimage, 49), feedRoot)
            mstore(add(preimage, 81), link)
            id := keccak256(preimage, 113)
        }
    }

    /// Returns the hash of a configuration from those of its parts.
    function configuration(bytes32 keyList_, bytes32 feedTable_, bytes32 timing_, uint64 validUntil)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(TAG_CONFIGURATION, keyList_, feedTable_, timing_, validUntil)
        );
    }

    /// Returns the hash of the members' keys and operators.
    function keyList(Member[] memory members) internal pure returns (bytes32) {
        bytes memory records = new bytes(members.length * 192);
        for (uint256 i; i < members.length; ++i) {
            uint256[4] memory blsKey = members[i].blsKey;
            (bytes32 ed25519Key, address operator) = (members[i].ed25519Key, members[i].operator);
            assembly ("memory-safe") {
                let to := add(add(records, 0x20), mul(i, 192))
                mcopy(to, blsKey, 128)
                mstore(add(to, 128), ed25519Key)
                mstore(add(to, 160), operator)
            }
        }
        return keccak256(abi.encodePacked(TAG_KEY_LIST, uint16(members.length), records));
    }

    /// Returns the hash of the feed table.
    function feedTable(FeedRecord[] memory feeds) internal pure returns (bytes32) {
        bytes memory records = new bytes(feeds.length * 96);
        for (uint256 i; i < feeds.length; ++i) {
            FeedRecord memory record = feeds[i];
            assembly ("memory-safe") {
                mcopy(add(add(records, 0x20), mul(i, 96)), record, 96)
            }
        }
        return keccak256(abi.encodePacked(TAG_FEED_TABLE, uint16(feeds.length), records));
    }

    /// Returns the hash of the timing parameters.
    function timing(Timing memory t) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                TAG_TIMING, t.roundInterval, t.baseTimeout, t.grace, t.maxLag, t.maxSkew, t.carry
            )
        );
    }

    /// Returns the identity of a network.
    function network(bytes32 nameHash, bytes32 genesisConfigurationHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(TAG_NETWORK, nameHash, genesisConfigurationHash));
    }

    /// Returns what a member's BLS key signs so that nobody registers it as theirs.
    function registration(bytes32 network_, address operator, bytes32 ed25519Key)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(TAG_REGISTRATION, network_, uint256(uint160(operator)), ed25519Key)
        );
    }
}
