// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../IOracle.sol";

/// @title Data stored as the code of accounts that the contract creates
/// @notice Blobs are found by their ordinal: an account's address follows from its creator and the
/// creator's nonce, so no pointer is stored or loaded. The code is a zero byte, which stops any
/// call, and then the data.
library Blobs {
    /// The most data that one blob holds (EIP-170, less the zero byte).
    uint256 internal constant BYTES_MAX = 24_575;

    /// Stores the data as the next blob; the first of a contract has ordinal 1.
    /// @return account Where it is stored.
    function store(bytes memory data) internal returns (address account) {
        if (data.length > BYTES_MAX) revert IOracle.BlobNotStored();
        // Pushes the size, copies what follows these ten bytes, and returns it as the code.
        bytes memory creation =
            abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a3d393df3", hex"00", data);
        assembly ("memory-safe") {
            account := create(0, add(creation, 0x20), mload(creation))
        }
        if (account == address(0) || size(account) != data.length) revert IOracle.BlobNotStored();
    }

    /// Returns where a blob is stored: the last 20 bytes of H(rlp([this contract, ordinal])).
    function accountOf(uint256 ordinal) internal view returns (address account) {
        assembly ("memory-safe") {
            let bytes_ := 0
            let encoded := shl(72, ordinal)
            if gt(ordinal, 0x7f) {
                bytes_ := add(
                    1,
                    add(gt(ordinal, 0xff), add(gt(ordinal, 0xffff), gt(ordinal, 0xffffff)))
                )
                bytes_ := add(bytes_, gt(ordinal, 0xffffffff))
                encoded := or(shl(72, add(0x80, bytes_)), shl(sub(72, shl(3, bytes_)), ordinal))
            }
            encoded := or(encoded, shl(80, address()))
            mstore(0, or(encoded, or(shl(248, add(0xd6, bytes_)), shl(240, 0x94))))
            account := and(keccak256(0, add(23, bytes_)), 0xffffffffffffffffffffffffffffffffffffffff)
        }
    }

    /// Returns how many bytes of data an account holds, all ones if it holds nothing.
    function size(address account) internal view returns (uint256) {
        unchecked {
            return account.code.length - 1;
        }
    }

    /// Copies data to memory, which must be the caller's own.
    function copy(address account, uint256 from, uint256 bytes_, uint256 to) internal view {
        assembly ("memory-safe") {
            extcodecopy(account, to, add(from, 1), bytes_)
        }
    }
}
