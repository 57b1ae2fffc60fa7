// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FeedRecord, IOracle} from "../IOracle.sol";
import {Blobs} from "./Blobs.sol";

/// @title What feeds are called and promise, for readers on chain
/// @notice Stored as one blob an epoch: the configuration's hash | 64 bytes a feed.
library Catalogues {
    uint256 internal constant FEEDS_MAX = (Blobs.BYTES_MAX - 32) / 64;

    /// base 12 bytes | quote 12 bytes | decimals 1: what a feed keeps for ever.
    uint256 private constant FOR_EVER = type(uint256).max << 56;

    /// Stores the feeds with their configuration's hash as the next blob.
    function store(FeedRecord[] calldata feeds, bytes32 hash) internal {
        bytes memory data = new bytes(32 + 64 * feeds.length);
        assembly ("memory-safe") {
            mstore(add(data, 0x20), hash)
        }
        for (uint256 i; i < feeds.length; ++i) {
            FeedRecord calldata record = feeds[i];
            assembly ("memory-safe") {
                calldatacopy(add(add(data, 0x40), shl(6, i)), record, 0x40)
            }
        }
        Blobs.store(data);
    }

    /// Reverts unless the first feeds are those that the epoch has.
    function checkKept(uint256 epoch, uint256 count, FeedRecord[] calldata feeds) internal view {
        for (uint256 i; i < count; ++i) {
            (bytes32 kept,) = recordOf(epoch, i);
            if ((uint256(kept) ^ uint256(feeds[i].identity)) & FOR_EVER != 0) {
                revert IOracle.FeedChanged(i);
            }
        }
    }

    /// Returns the hash of an epoch's configuration.
    function configurationHash(uint256 epoch) internal view returns (bytes32 hash) {
        (hash,) = _words(epoch, 0);
    }

    /// Returns a feed's identity and thresholds, as `FeedRecord` has them.
    function recordOf(uint256 epoch, uint256 feed)
        internal
        view
        returns (bytes32 identity, bytes32 thresholds)
    {
        unchecked {
            return _words(epoch, 32 + 64 * feed);
        }
    }

    /// Returns a name that is padded with zero bytes on the right.
    function nameOf(bytes12 padded) internal pure returns (string memory) {
        uint256 length;
        while (length < 12 && padded[length] != 0) ++length;
        bytes memory name = new bytes(length);
        for (uint256 i; i < length; ++i) name[i] = padded[i];
        return string(name);
    }

    function _words(uint256 epoch, uint256 from) private view returns (bytes32 a, bytes32 b) {
        unchecked {
            address blob = Blobs.accountOf(2 * epoch + 2);
            assembly ("memory-safe") {
                extcodecopy(blob, 0, add(from, 1), 0x40)
                a := mload(0)
                b := mload(0x20)
            }
        }
    }
}
