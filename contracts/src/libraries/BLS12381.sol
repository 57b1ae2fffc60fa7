// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../IOracle.sol";

/// The place in memory where one signature is verified:
///
///   0x000 -G1 | 0x080 signature (G2) | 0x180 key (G1) | 0x200 hashed message (G2) | 0x300 scratch
///
/// The first 0x300 bytes are the input of the pairing precompile as it stands.
type Workspace is uint256;

/// @title BLS signatures over BLS12-381 by the precompiles of EIP-2537
/// @notice Keys in G1, signatures in G2, ciphersuites BLS_SIG_/BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_.
/// @dev Each precompile's gas is capped, because a malformed point burns all that it is given, and
/// both the call's flag and the size of what it returned are checked, because a call to a missing
/// precompile succeeds. The arguments of a Yul expression are evaluated from the right, so
/// `and(eq(returndatasize(), n), staticcall(...))` looks at the size after the call.
library BLS12381 {
    uint256 private constant WORKSPACE_BYTES = 0x400;

    // The field's prime p and (p - 1) / 2, as upper and lower 256 bits.
    uint256 private constant P_UPPER = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOWER =
        0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;
    uint256 private constant HALF_P_UPPER = 0x0d0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_P_LOWER =
        0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;

    // floor(2**512 / p)
    uint256 private constant RECIPROCAL = 0x9d835d2f3cc9e45ce28101b0cc7a6ba29;

    // The message's length-to-expand and a zero byte (01 00 00), then the domain separation tag with
    // its length behind it: 3 + 44 bytes. The two tags differ in three letters.
    bytes32 private constant SUFFIX_OF_MESSAGES =
        0x010000424c535f5349475f424c53313233383147325f584d443a5348412d3235;
    bytes32 private constant SUFFIX_OF_PROOFS =
        0x010000424c535f504f505f424c53313233383147325f584d443a5348412d3235;
    bytes32 private constant SUFFIX_END =
        0x365f535357555f524f5f504f505f2b0000000000000000000000000000000000;

    /// Returns a fresh workspace with the negated generator in its place.
    function workspace() internal pure returns (Workspace work) {
        assembly ("memory-safe") {
            work := mload(0x40)
            mstore(0x40, add(work, WORKSPACE_BYTES))
            mstore(work, 0x17f1d3a73197d7942695638c4fa9ac0f)
            mstore(add(work, 0x20), 0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb)
            mstore(add(work, 0x40), 0x114d1d6855d545a8aa7d76c8cf2e21f2)
            mstore(add(work, 0x60), 0x67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca)
        }
    }

    /// Puts a signature in its place.
    /// @dev The point at infinity needs no refusal: under a finite key it is on no message, and `pair`
    /// finds it unequal.
    function putSignature(Workspace work, uint256[6] calldata signature) internal pure {
        assembly ("memory-safe") {
            let to := add(work, 0x80)
            mstore(to, shr(128, calldataload(signature)))
            mstore(add(to, 0x20), calldataload(add(signature, 16)))
            mstore(add(to, 0x40), shr(128, calldataload(add(signature, 48))))
            mstore(add(to, 0x60), calldataload(add(signature, 64)))
            mstore(add(to, 0x80), shr(128, calldataload(add(signature, 96))))
            mstore(add(to, 0xa0), calldataload(add(signature, 112)))
            mstore(add(to, 0xc0), shr(128, calldataload(add(signature, 144))))
            mstore(add(to, 0xe0), calldataload(add(signature, 160)))
        }
    }

    /// Puts a key in its place; returns false if it is the point at infinity.
    function putKey(Workspace work, uint256[4] calldata key) internal pure returns (bool finite) {
        uint256 to = keyPlace(work);
        assembly ("memory-safe") {
            calldatacopy(to, key, 0x80)
        }
        finite = !_isZero(to);
    }

    /// Returns where the key stands in memory. Its 128 bytes are followed by as many that may be used.
    function keyPlace(Workspace work) internal pure returns (uint256) {
        unchecked {
            return Workspace.unwrap(work) + 0x180;
        }
    }

    /// Returns whether the key in its place is a point other than infinity.
    function keyIsFinite(Workspace work) internal pure returns (bool) {
        return !_isZero(keyPlace(work));
    }

    /// Adds the G1 point at `place + 0x80` to the one at `place`. Does not check subgroups.
    function addKey(uint256 place) internal view {
        bool ok;
        assembly ("memory-safe") {
            // 375 gas
            ok := staticcall(3000, 0x0b, place, 0x100, place, 0x80)
            ok := and(eq(returndatasize(), 0x80), ok)
        }
        if (!ok) revert IOracle.PrecompileFailed(0x0b);
    }

    /// Writes the negation of the point at `key` to `to`. Sound for every point of the subgroup but
    /// infinity (none has y = 0).
    function negate(uint256 key, uint256 to) internal pure {
        assembly ("memory-safe") {
            mcopy(to, key, 0x40)
            let lower := mload(add(key, 0x60))
            mstore(add(to, 0x40), sub(sub(P_UPPER, mload(add(key, 0x40))), gt(lower, P_LOWER)))
            mstore(add(to, 0x60), sub(P_LOWER, lower))
        }
    }

    /// Hashes what votes and registrations sign to its place in G2 (RFC 9380, hash_to_curve).
    function hashMessage(Workspace work, bytes32 message) internal view {
        uint256 suffix;
        assembly ("memory-safe") {
            let block_ := add(work, 0x200)
            mstore(block_, 0)
            mstore(add(block_, 0x20), 0)
            mstore(add(block_, 0x40), message)
            suffix := add(block_, 0x60)
            mstore(suffix, SUFFIX_OF_MESSAGES)
            mstore(add(suffix, 0x20), SUFFIX_END)
        }
        _hashToG2(work, suffix);
    }

    /// Hashes the key in its place, compressed to 48 bytes, as its proof of possession signs it.
    function hashKey(Workspace work) internal view {
        uint256 suffix;
        assembly ("memory-safe") {
            let upper := mload(add(work, 0x1c0))
            let lower := mload(add(work, 0x1e0))
            let greater := or(
                gt(upper, HALF_P_UPPER),
                and(eq(upper, HALF_P_UPPER), gt(lower, HALF_P_LOWER))
            )
            let block_ := add(work, 0x200)
            mstore(block_, 0)
            mstore(add(block_, 0x20), 0)
            // The flags stand above the 381 bits of x. An x that reaches them is no field element,
            // which the pairing finds out.
            let flagged := or(mload(add(work, 0x180)), or(shl(127, 1), shl(125, greater)))
            mstore(add(block_, 0x40), shl(128, flagged))
            mstore(add(block_, 0x50), mload(add(work, 0x1a0)))
            suffix := add(block_, 0x70)
            mstore(suffix, SUFFIX_OF_PROOFS)
            mstore(add(suffix, 0x20), SUFFIX_END)
        }
        _hashToG2(work, suffix);
    }

    /// Checks e(-G1, signature) · e(key, hashed message) = 1.
    /// @return wellFormed False if a point is not one, or not of its subgroup.
    /// @return equal Whether the signature is the key's on the message.
    function pair(Workspace work) internal view returns (bool wellFormed, bool equal) {
        assembly ("memory-safe") {
            // 102,900 gas
            wellFormed := staticcall(140000, 0x0f, work, 0x300, 0, 0x20)
            wellFormed := and(eq(returndatasize(), 0x20), wellFormed)
            equal := and(eq(mload(0), 1), wellFormed)
        }
    }

    /// expand_message_xmd with SHA-256 to 256 bytes, hash_to_field, two maps and their sum. The
    /// message stands, padded in front, from 0x200 to `suffix`, where 47 bytes of suffix follow.
    function _hashToG2(Workspace work, uint256 suffix) private view {
        bool ok;
        assembly ("memory-safe") {
            let start := add(work, 0x200)
            let uniform := add(work, 0x300)
            let counter := add(suffix, 2)
            let chain := sub(counter, 0x20)

            ok := staticcall(3000, 2, start, sub(add(suffix, 47), start), 0, 0x20)
            ok := and(eq(returndatasize(), 0x20), ok)
            // b_i = H((b_0 ^ b_(i-1)) | i | tag), 77 bytes: the counter stands on the suffix's zero byte.
            // Written out: a loop or a function costs half as much as the precompile, 96 gas.
            let first := mload(0)
            mstore(chain, first)
            mstore8(counter, 1)
            ok := and(staticcall(3000, 2, chain, 77, uniform, 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(uniform)))
            mstore8(counter, 2)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0x20), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(add(uniform, 0x20))))
            mstore8(counter, 3)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0x40), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(add(uniform, 0x40))))
            mstore8(counter, 4)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0x60), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(add(uniform, 0x60))))
            mstore8(counter, 5)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0x80), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(add(uniform, 0x80))))
            mstore8(counter, 6)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0xa0), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(add(uniform, 0xa0))))
            mstore8(counter, 7)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0xc0), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
            mstore(chain, xor(first, mload(add(uniform, 0xc0))))
            mstore8(counter, 8)
            ok := and(staticcall(3000, 2, chain, 77, add(uniform, 0xe0), 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
        }
        unchecked {
            uint256 uniform = Workspace.unwrap(work) + 0x300;
            reduce(uniform);
            reduce(uniform + 0x40);
            reduce(uniform + 0x80);
            reduce(uniform + 0xc0);
        }
        assembly ("memory-safe") {
            let start := add(work, 0x200)
            let uniform := add(work, 0x300)
            // 23,800 gas each; they clear the cofactor. 600 gas for the sum.
            ok := and(ok, staticcall(40000, 0x11, uniform, 0x80, start, 0x100))
            ok := and(eq(returndatasize(), 0x100), ok)
            ok := and(ok, staticcall(40000, 0x11, add(uniform, 0x80), 0x80, uniform, 0x100))
            ok := and(eq(returndatasize(), 0x100), ok)
            ok := and(ok, staticcall(3000, 0x0d, start, 0x200, start, 0x100))
            ok := and(eq(returndatasize(), 0x100), ok)
        }
        if (!ok) revert IOracle.PrecompileFailed(0x11);
    }

    /// Reduces the 64 bytes at `place` modulo p.
    function reduce(uint256 place) internal pure {
        assembly ("memory-safe") {
            let upper := mload(place)
            let lower := mload(add(place, 0x20))
            // The upper half of upper · floor(2**512 / p) is the quotient or one less: what is
            // cut off here and there is below two in all. An upper half is had from the
            // product modulo 2**256 - 1 less that modulo 2**256.
            let low := mul(upper, RECIPROCAL)
            let all := mulmod(upper, RECIPROCAL, not(0))
            let q := sub(sub(all, low), lt(all, low))

            low := mul(q, P_LOWER)
            all := mulmod(q, P_LOWER, not(0))
            upper := sub(
                sub(sub(upper, mul(q, P_UPPER)), sub(sub(all, low), lt(all, low))),
                lt(lower, low)
            )
            lower := sub(lower, low)

            let less := sub(sub(upper, P_UPPER), lt(lower, P_LOWER))
            if iszero(slt(less, 0)) {
                upper := less
                lower := sub(lower, P_LOWER)
            }
            mstore(place, upper)
            mstore(add(place, 0x20), lower)
        }
    }

    /// Returns whether 128 bytes of memory are zero.
    function _isZero(uint256 place) private pure returns (bool zero) {
        assembly ("memory-safe") {
            zero := iszero(
                or(
                    or(mload(place), mload(add(place, 0x20))),
                    or(mload(add(place, 0x40)), mload(add(place, 0x60)))
                )
            )
        }
    }
}
