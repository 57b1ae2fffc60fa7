// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Square roots
/// @notice Bit by bit from above, which costs what Newton's iteration does and can be proven for all numbers
/// without a division: before each step root² <= x < (root + 2 · bit)², after it root² <= x < (root + bit)².
library Roots {
    /// Returns the square root, rounded down.
    function sqrtDown(uint256 x) internal pure returns (uint256 root) {
        for (uint256 bit = above(x) >> 1; bit != 0; bit >>= 1) root = step(x, root, bit);
    }

    /// Returns a power of two that is greater than the root; at most 2**128.
    function above(uint256 x) internal pure returns (uint256 bit) {
        bit = 1;
        for (uint256 rest = x; rest != 0; rest >>= 2) bit <<= 1;
    }

    /// Returns the root with the bit, if its square does not exceed x. With bits below 2**128 nothing overflows.
    function step(uint256 x, uint256 root, uint256 bit) internal pure returns (uint256) {
        unchecked {
            uint256 next = root + bit;
            return next * next <= x ? next : root;
        }
    }
}
