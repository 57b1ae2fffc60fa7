// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BLS12381} from "../src/libraries/BLS12381.sol";
import {IHasher} from "./IHasher.sol";

/// Opens the hash to curve. Compiled by itself: who uses it need not be compiled with it.
contract Hasher is IHasher {
    function message(bytes32 digest) external view returns (uint256[8] memory point) {
        _reserve(point);
        BLS12381.hashMessage(digest);
        return _hashed();
    }

    function key(uint256[4] calldata key_) external view returns (uint256[8] memory point) {
        _reserve(point);
        BLS12381.putKey(key_);
        BLS12381.hashKey();
        return _hashed();
    }

    /// The value to return has taken memory already; nothing has been written there yet.
    function _reserve(uint256[8] memory) private pure {
        assembly ("memory-safe") {
            mstore(0x40, 0x80)
        }
        BLS12381.reserve();
    }

    function _hashed() private pure returns (uint256[8] memory point) {
        assembly ("memory-safe") {
            mcopy(point, 0x280, 0x100)
        }
    }
}
