// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// The contract's hash to curve, which the vectors judge.
interface IHasher {
    function message(bytes32 digest) external view returns (uint256[8] memory point);
    function key(uint256[4] calldata key_) external view returns (uint256[8] memory point);
}
