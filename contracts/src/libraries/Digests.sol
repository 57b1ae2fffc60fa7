// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Block, Configuration, FeedRecord, Member, Timing} from "../IOracle.sol";

/// @title Everything that is signed or hashed, as `consensus` has it
/// @notice keccak-256 over fixed-width, big-endian preimages, each led by a one-byte tag of its own.
library Digests {
    bytes1 private constant TAG_DOMAIN = 0x02;
    bytes1 private constant TAG_LINK = 0x04;
    bytes1 private constant TAG_TIMEOUT = 0x06;
    bytes1 private constant TAG_CONFIGURATION = 0x0a;
    bytes1 private constant TAG_KEY_LIST = 0x0b;
    bytes1 private constant TAG_FEED_TABLE = 0x0c;
    bytes1 private constant TAG_TIMING = 0x0d;
    bytes1 private constant TAG_NETWORK = 0x0e;
    bytes1 private constant TAG_REGISTRATION = 0x0f;
    bytes1 private constant TAG_HANDOVER = 0x12;

    /// Returns D.
    function domain(bytes32 network_, uint64 epoch, bytes32 configuration_)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(TAG_DOMAIN, network_, epoch, configuration_));
    }

    /// Returns the id of a header, which is what votes sign.
    /// @dev Written to the scratch of `BLS12381`, which must be reserved: its place is known.
    function headerId(
        bytes32 domain_,
        uint256 view_,
        uint256 observedAt,
        bytes32 feedRoot,
        bytes32 link_
    ) internal pure returns (bytes32 id) {
        assembly ("memory-safe") {
            mstore(0x380, shl(248, 0x03))
            mstore(0x381, domain_)
            mstore(0x3a1, shl(128, or(shl(64, view_), observedAt)))
            mstore(0x3b1, feedRoot)
            mstore(0x3d1, link_)
            id := keccak256(0x380, 113)
        }
    }

    /// Returns the link of a block below its parent.
    function link(bytes32 parentId, uint64 parentView, Block calldata block_)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(
                TAG_LINK,
                parentId,
                parentView,
                block_.height,
                block_.stateDigest,
                block_.payloadDigest
            )
        );
    }

    /// Returns the link of which all parts are given.
    function link(
        bytes32 parentId,
        uint64 parentView,
        uint64 height,
        bytes32 stateDigest,
        bytes32 payloadDigest
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(TAG_LINK, parentId, parentView, height, stateDigest, payloadDigest)
        );
    }

    /// Returns what a timeout signs: its view and the view of the highest certificate known.
    function timeout(bytes32 domain_, uint64 view_, uint64 highQcView)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(TAG_TIMEOUT, domain_, view_, highQcView));
    }

    /// Returns what the sitting committee signs when it hands over.
    function handover(
        bytes32 domain_,
        uint64 nextEpoch,
        bytes32 nextDomain,
        bytes32 decidingId,
        uint64 decidedAt
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(TAG_HANDOVER, domain_, nextEpoch, nextDomain, decidingId, decidedAt)
        );
    }

    /// Returns the hash of a configuration.
    function configuration(Configuration calldata c) internal pure returns (bytes32) {
        return configuration(keyList(c.members), feedTable(c.feeds), timing(c.timing), c.validUntil);
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
    function keyList(Member[] calldata members) internal pure returns (bytes32) {
        uint256 offset;
        assembly ("memory-safe") {
            offset := members.offset
        }
        return _table(TAG_KEY_LIST, members.length, offset, 192);
    }

    /// Returns the hash of the feed table.
    function feedTable(FeedRecord[] calldata feeds) internal pure returns (bytes32) {
        uint256 offset;
        assembly ("memory-safe") {
            offset := feeds.offset
        }
        return _table(TAG_FEED_TABLE, feeds.length, offset, 96);
    }

    /// Returns the hash of a member's record.
    function member(Member calldata record) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            calldatacopy(copy, record, 192)
            hash := keccak256(copy, 192)
        }
    }

    /// Returns the hash of the timing parameters.
    function timing(Timing calldata t) internal pure returns (bytes32) {
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

    /// tag | count, 2 bytes | records as they stand in the calldata.
    function _table(bytes1 tag, uint256 count, uint256 offset, uint256 recordBytes)
        private
        pure
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let copy := mload(0x40)
            mstore(copy, or(tag, shl(232, count)))
            calldatacopy(add(copy, 3), offset, mul(count, recordBytes))
            hash := keccak256(copy, add(3, mul(count, recordBytes)))
        }
    }
}
