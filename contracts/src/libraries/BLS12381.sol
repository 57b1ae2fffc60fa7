// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../IOracle.sol";

/// @title BLS signatures over BLS12-381 by the precompiles of EIP-2537
/// @notice Keys in G1, signatures in G2, ciphersuites BLS_SIG_/BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_.
/// One signature at a time is verified in a fixed place of memory, which `reserve` sets aside:
///
///   0x080 -G1 | 0x100 signature (G2) | 0x200 key (G1) | 0x280 hashed message (G2) | 0x380 scratch
///
/// The first 0x300 bytes are the input of the pairing precompile as it stands. A place that is known
/// to the compiler saves about 600 gas a signature.
/// @dev Each precompile's gas is capped, because a malformed point burns all that it is given, and
/// both the call's flag and the size of what it returned are checked, because a call to a missing
/// precompile succeeds. The arguments of a Yul expression are evaluated from the right, so
/// `and(eq(returndatasize(), n), staticcall(...))` looks at the size after the call.
library BLS12381 {
    /// 256 bytes for who needs them before a message is hashed.
    uint256 internal constant SCRATCH = 0x380;
    /// Where the key stands. Its 128 bytes are followed by as many that may be used.
    uint256 internal constant KEY = 0x200;

    /// Where the negated generator of G1 stands.
    uint256 internal constant START = 0x80;
    /// Where a hashed message stands, 256 bytes.
    uint256 internal constant MESSAGE = 0x280;

    uint256 private constant UNIFORM = 0x380;
    uint256 private constant END = 0x480;

    // What is hashed ends, and its suffix begins, at the same place for messages (96 bytes with
    // what pads them) and keys (112 bytes). The counter is the suffix's third byte.
    uint256 private constant OF_MESSAGE = 0x290;
    uint256 private constant OF_KEY = 0x280;
    uint256 private constant SUFFIX = 0x2f0;
    uint256 private constant COUNTER = 0x2f2;
    uint256 private constant CHAIN = 0x2d2;

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

    /// Sets the place in memory aside. Must come before anything else takes memory; a structure or an
    /// array of fixed size among a function's results takes it before the body runs.
    function reserve() internal pure {
        bool first;
        assembly ("memory-safe") {
            first := eq(mload(0x40), START)
            mstore(0x40, END)
        }
        // So it is unless this call was preceded by another, or the compiler spilt its stack.
        assert(first);
        assembly ("memory-safe") {
            mstore(0x80, 0x17f1d3a73197d7942695638c4fa9ac0f)
            mstore(0xa0, 0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb)
            mstore(0xc0, 0x114d1d6855d545a8aa7d76c8cf2e21f2)
            mstore(0xe0, 0x67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca)
        }
    }

    /// Puts a key in its place; returns false if it is the point at infinity.
    function putKey(uint256[4] calldata key) internal pure returns (bool) {
        assembly ("memory-safe") {
            calldatacopy(KEY, key, 0x80)
        }
        return keyIsFinite();
    }

    /// Returns whether the key in its place is a point other than infinity.
    function keyIsFinite() internal pure returns (bool finite) {
        assembly ("memory-safe") {
            finite := iszero(
                iszero(or(or(mload(0x200), mload(0x220)), or(mload(0x240), mload(0x260))))
            )
        }
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
    function hashMessage(bytes32 message) internal view {
        assembly ("memory-safe") {
            mstore(0x290, 0)
            mstore(0x2b0, 0)
            mstore(0x2d0, message)
            mstore(SUFFIX, SUFFIX_OF_MESSAGES)
            mstore(0x310, SUFFIX_END)
        }
        _hashToG2(OF_MESSAGE);
    }

    /// Hashes the key in its place, compressed to 48 bytes, as its proof of possession signs it.
    function hashKey() internal view {
        assembly ("memory-safe") {
            let upper := mload(0x240)
            let lower := mload(0x260)
            let greater := or(
                gt(upper, HALF_P_UPPER),
                and(eq(upper, HALF_P_UPPER), gt(lower, HALF_P_LOWER))
            )
            mstore(0x280, 0)
            mstore(0x2a0, 0)
            // The flags stand above the 381 bits of x. An x that reaches them is no field element,
            // which the pairing finds out.
            let flagged := or(mload(0x200), or(shl(127, 1), shl(125, greater)))
            mstore(0x2c0, shl(128, flagged))
            mstore(0x2d0, mload(0x220))
            mstore(SUFFIX, SUFFIX_OF_PROOFS)
            mstore(0x310, SUFFIX_END)
        }
        _hashToG2(OF_KEY);
    }

    /// Checks e(-G1, signature) · e(key, hashed message) = 1.
    /// @dev The signature at infinity needs no refusal: under a finite key it is on no message.
    /// @return wellFormed False if a point is not one, or not of its subgroup.
    /// @return equal Whether the signature is the key's on the message.
    function pair(uint256[6] calldata signature)
        internal
        view
        returns (bool wellFormed, bool equal)
    {
        assembly ("memory-safe") {
            mstore(0x100, shr(128, calldataload(signature)))
            mstore(0x120, calldataload(add(signature, 16)))
            mstore(0x140, shr(128, calldataload(add(signature, 48))))
            mstore(0x160, calldataload(add(signature, 64)))
            mstore(0x180, shr(128, calldataload(add(signature, 96))))
            mstore(0x1a0, calldataload(add(signature, 112)))
            mstore(0x1c0, shr(128, calldataload(add(signature, 144))))
            mstore(0x1e0, calldataload(add(signature, 160)))
            // 102,900 gas: a malformed point costs 27,000 more, and as much dearer may the precompile become.
            wellFormed := staticcall(130000, 0x0f, START, 0x300, 0, 0x20)
            wellFormed := and(eq(returndatasize(), 0x20), wellFormed)
            equal := and(eq(mload(0), 1), wellFormed)
        }
    }

    /// expand_message_xmd with SHA-256 to 256 bytes, hash_to_field, two maps and their sum. The
    /// message stands, padded in front, from `start` to the suffix.
    function _hashToG2(uint256 start) private view {
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(3000, 2, start, sub(0x31f, start), 0, 0x20)
            ok := and(eq(returndatasize(), 0x20), ok)
            // b_i = H((b_0 ^ b_(i-1)) | i | tag), 77 bytes: the counter stands on the suffix's zero byte.
            // All nine are calls of one precompile: the sizes of the first and the last answer are looked
            // at. Written out: a loop or a function costs half as much as the precompile, 96 gas.
            let first := mload(0)
            mstore(CHAIN, first)
            mstore8(COUNTER, 1)
            ok := and(staticcall(3000, 2, CHAIN, 77, UNIFORM, 0x20), ok)
            mstore(CHAIN, xor(first, mload(UNIFORM)))
            mstore8(COUNTER, 2)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x3a0, 0x20), ok)
            mstore(CHAIN, xor(first, mload(0x3a0)))
            mstore8(COUNTER, 3)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x3c0, 0x20), ok)
            mstore(CHAIN, xor(first, mload(0x3c0)))
            mstore8(COUNTER, 4)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x3e0, 0x20), ok)
            mstore(CHAIN, xor(first, mload(0x3e0)))
            mstore8(COUNTER, 5)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x400, 0x20), ok)
            mstore(CHAIN, xor(first, mload(0x400)))
            mstore8(COUNTER, 6)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x420, 0x20), ok)
            mstore(CHAIN, xor(first, mload(0x420)))
            mstore8(COUNTER, 7)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x440, 0x20), ok)
            mstore(CHAIN, xor(first, mload(0x440)))
            mstore8(COUNTER, 8)
            ok := and(staticcall(3000, 2, CHAIN, 77, 0x460, 0x20), ok)
            ok := and(eq(returndatasize(), 0x20), ok)
        }
        reduce(UNIFORM);
        reduce(0x3c0);
        reduce(0x400);
        reduce(0x440);
        assembly ("memory-safe") {
            // 23,800 gas each; they clear the cofactor. 600 gas for the sum.
            ok := and(ok, staticcall(40000, 0x11, UNIFORM, 0x80, MESSAGE, 0x100))
            ok := and(eq(returndatasize(), 0x100), ok)
            ok := and(ok, staticcall(40000, 0x11, 0x400, 0x80, UNIFORM, 0x100))
            ok := and(eq(returndatasize(), 0x100), ok)
            ok := and(ok, staticcall(3000, 0x0d, MESSAGE, 0x200, MESSAGE, 0x100))
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
}
