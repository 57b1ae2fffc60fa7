// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title BLS signatures made by a contract, for tests alone: a secret key on a chain is no secret
/// @notice Minimal-pubkey-size BLS12-381, ciphersuites BLS_SIG_ and BLS_POP_ of the draft
/// irtf-cfrg-bls-signature, on the precompiles of EIP-2537. Plain Solidity, for any settings.
library TestSigning {
    /// The order of the groups.
    uint256 internal constant ORDER =
        0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    // The tags of messages and of proofs of possession, each with its length behind it.
    bytes private constant TAG_MESSAGE = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b";
    bytes private constant TAG_PROOF = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b";

    bytes private constant PRIME =
        hex"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    // The greatest y that does not set the sign bit of a compressed point: (p - 1) / 2.
    uint256 private constant HALF_UPPER = 0x0d0088f51cbff34d258dd3db21a5d66b;
    uint256 private constant HALF_LOWER =
        0xb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555;

    /// The chain has no such precompile, or refuses what it is given: choose prague or later.
    error PrecompileFailed(uint256 precompile);

    /// Returns the public key of a secret one.
    function publicKey(uint256 secret) internal view returns (uint256[4] memory) {
        bytes memory input = abi.encode(
            0x17f1d3a73197d7942695638c4fa9ac0f,
            0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb,
            0x08b3f481e3aaa0f1a09e30ed741d8ae4,
            0xfcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1,
            secret
        );
        return abi.decode(_call(0x0c, input, 128), (uint256[4]));
    }

    /// Returns a signature on a digest. Under the sum of keys it is the aggregate of their own.
    function sign(uint256 secret, bytes32 digest) internal view returns (uint256[6] memory) {
        return _multiply(_hashToG2(abi.encodePacked(digest), TAG_MESSAGE), secret);
    }

    /// Returns the proof that a key is its holder's own.
    function prove(uint256 secret, uint256[4] memory key)
        internal
        view
        returns (uint256[6] memory)
    {
        bool greater = key[2] > HALF_UPPER || (key[2] == HALF_UPPER && key[3] > HALF_LOWER);
        uint256 upper = key[0] | 1 << 127 | (greater ? 1 << 125 : 0);
        bytes memory compressed = abi.encodePacked(uint128(upper), key[1]);
        return _multiply(_hashToG2(compressed, TAG_PROOF), secret);
    }

    /// hash_to_curve of RFC 9380: expand_message_xmd to 256 bytes, two field elements, their sum.
    function _hashToG2(bytes memory message, bytes memory tag)
        private
        view
        returns (bytes memory point)
    {
        bytes32 first = sha256(
            abi.encodePacked(bytes32(0), bytes32(0), message, uint16(256), uint8(0), tag)
        );
        bytes32[8] memory uniform;
        bytes32 chain;
        for (uint256 i; i < 8; ++i) {
            chain = sha256(abi.encodePacked(first ^ chain, uint8(i + 1), tag));
            uniform[i] = chain;
        }
        bytes memory u0 = abi.encodePacked(_reduce(uniform[0], uniform[1]), _reduce(uniform[2], uniform[3]));
        bytes memory u1 = abi.encodePacked(_reduce(uniform[4], uniform[5]), _reduce(uniform[6], uniform[7]));
        return _call(0x0d, abi.encodePacked(_call(0x11, u0, 256), _call(0x11, u1, 256)), 256);
    }

    /// Returns 64 bytes modulo the field's prime, padded to 64.
    function _reduce(bytes32 upper, bytes32 lower) private view returns (bytes memory) {
        bytes memory input = abi.encodePacked(
            uint256(64), uint256(1), uint256(64), upper, lower, uint8(1), bytes16(0), PRIME
        );
        return _call(0x05, input, 64);
    }

    function _multiply(bytes memory point, uint256 secret)
        private
        view
        returns (uint256[6] memory packed)
    {
        bytes memory product = _call(0x0e, abi.encodePacked(point, secret), 256);
        uint256[8] memory halves = abi.decode(product, (uint256[8]));
        // Four numbers of 48 bytes, without what pads them.
        bytes memory dense = abi.encodePacked(
            abi.encodePacked(uint128(halves[0]), halves[1], uint128(halves[2]), halves[3]),
            abi.encodePacked(uint128(halves[4]), halves[5], uint128(halves[6]), halves[7])
        );
        packed = abi.decode(dense, (uint256[6]));
    }

    function _call(uint256 precompile, bytes memory input, uint256 size)
        private
        view
        returns (bytes memory output)
    {
        bool done;
        (done, output) = address(uint160(precompile)).staticcall(input);
        if (!done || output.length != size) revert PrecompileFailed(precompile);
    }
}
