// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// The result does not fit 256 bits.
error Overflow(uint256 a, uint256 b, uint256 divisor);

/// @title Products of 512 bits
library FullMath {
    /// Returns a * b / divisor, rounded down; reverts if that does not fit or the divisor is zero.
    /// @dev The remainder is taken off, powers of two are divided out, and what is left is multiplied by the
    /// divisor's inverse modulo 2**256, which Newton's iteration finds (Remco Bloemen, "Mulmod").
    function mulDivDown(uint256 a, uint256 b, uint256 divisor)
        internal
        pure
        returns (uint256 result)
    {
        unchecked {
            uint256 low = a * b;
            uint256 high;
            assembly ("memory-safe") {
                let modulo := mulmod(a, b, not(0))
                high := sub(sub(modulo, low), lt(modulo, low))
            }
            if (divisor <= high) revert Overflow(a, b, divisor);
            if (high == 0) return low / divisor;

            uint256 remainder = mulmod(a, b, divisor);
            if (remainder > low) --high;
            low -= remainder;

            uint256 twos = divisor & (0 - divisor);
            divisor /= twos;
            low /= twos;
            // 2**256 / twos, which is 1 for the 2**256 that does not fit.
            low |= high * ((0 - twos) / twos + 1);

            // Right to four bits; each step doubles them.
            uint256 inverse = (3 * divisor) ^ 2;
            for (uint256 bits = 4; bits < 256; bits *= 2) inverse *= 2 - divisor * inverse;
            return low * inverse;
        }
    }
}
