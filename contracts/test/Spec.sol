// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// The formats once more, beside those in the kit's `TestReports`, in plain Solidity and straight from
/// consensus/README.md and aggregation/README.md, so that the tests do not ask the contract what is right.
library Spec {
    struct Answer {
        uint256 price;
        uint256 confidencePpm;
        uint8 status;
    }

    function answerAt(uint256 word, uint256 feed) internal pure returns (Answer memory answer) {
        uint256 bits = (word / 2 ** (64 * (3 - feed % 4))) % 2 ** 64;
        answer.price = bits / 2 ** 16;
        answer.status = uint8(bits % 16);
        uint256 confidence = (bits / 16) % 4096;
        answer.confidencePpm =
            confidence == 4095 ? type(uint256).max : (confidence / 16) * 2 ** (confidence % 16);
    }

    function quorum(uint256 n) internal pure returns (uint256) {
        uint256 f = (n - 1) / 3;
        return (n + f) / 2 + 1;
    }

    function countBits(uint256 bits) internal pure returns (uint256 count) {
        for (uint256 i; i < 256; ++i) {
            if ((bits >> i) % 2 == 1) ++count;
        }
    }

    // Digests.

    function network(bytes32 nameHash, bytes32 configurationHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x0e), nameHash, configurationHash));
    }

    function domain(bytes32 network_, uint64 epoch, bytes32 configurationHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(uint8(0x02), network_, epoch, configurationHash));
    }

    function handover(
        bytes32 d,
        uint64 nextEpoch,
        bytes32 nextDomain,
        bytes32 decidingId,
        uint64 decidedAt
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(uint8(0x12), d, nextEpoch, nextDomain, decidingId, decidedAt)
        );
    }
}
