// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Block, FeedRecord, Header, Member, Timing} from "src/IOracle.sol";
import {BLS12381} from "src/libraries/BLS12381.sol";
import {Blobs} from "src/libraries/Blobs.sol";
import {Committees, Terms} from "src/libraries/Committees.sol";
import {Digests} from "src/libraries/Digests.sol";
import {Answer, Words} from "src/libraries/Words.sol";
import {Hasher} from "test/Hasher.sol";

/// Opens the libraries to tests, so that both sides run the same vectors.
contract Harness is Hasher {
    function domain(bytes32 network, uint64 epoch, bytes32 configuration_) external pure returns (bytes32) {
        return Digests.domain(network, epoch, configuration_);
    }

    function headerId(bytes32 domain_, Header calldata header) external pure returns (bytes32) {
        BLS12381.reserve();
        return Digests.headerId(
            domain_, header.view_, header.observedAt, header.feedRoot, header.link
        );
    }

    function keyList(Member[] calldata members) external pure returns (bytes32) {
        return Digests.keyList(members);
    }

    function feedTable(FeedRecord[] calldata feeds) external pure returns (bytes32) {
        return Digests.feedTable(feeds);
    }

    function timing(Timing calldata t) external pure returns (bytes32) {
        return Digests.timing(t);
    }

    function configuration(bytes32 keyList_, bytes32 feedTable_, bytes32 timing_, uint64 validUntil)
        external
        pure
        returns (bytes32)
    {
        return Digests.configuration(keyList_, feedTable_, timing_, validUntil);
    }

    function networkId(bytes32 nameHash, bytes32 configuration_) external pure returns (bytes32) {
        return Digests.network(nameHash, configuration_);
    }

    function registration(bytes32 network, address operator, bytes32 ed25519Key)
        external
        pure
        returns (bytes32)
    {
        return Digests.registration(network, operator, ed25519Key);
    }

    function root(uint256[] calldata words) external pure returns (bytes32) {
        return Words.root(words);
    }

    function answer(uint256 word, uint256 feed)
        external
        pure
        returns (uint256 price, uint256 confidencePpm, uint8 status)
    {
        Answer a = Words.answerAt(word, feed);
        return (a.price(), a.confidencePpm(), uint8(a.status()));
    }

    function quorum(uint256 n) external pure returns (uint256) {
        return Committees.quorum(n);
    }

    function blobAt(uint256 value) external view returns (address) {
        return Blobs.accountOf(value);
    }

    function storeBlob(bytes memory data) external returns (address) {
        return Blobs.store(data);
    }

    function loadCommittee(uint256 epoch) external view returns (uint256 members) {
        BLS12381.reserve();
        (,, Terms terms) = Committees.load(epoch);
        return terms.members();
    }

    function rootOf(uint256 index, uint256 count, uint256 word, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return Words.rootOf(index, count, word, path);
    }

    function link(bytes32 parentId, uint64 parentView, Block calldata block_)
        external
        pure
        returns (bytes32)
    {
        return Digests.link(parentId, parentView, block_);
    }

    function handover(
        bytes32 domain_,
        uint64 nextEpoch,
        bytes32 nextDomain,
        bytes32 decidingId,
        uint64 decidedAt
    ) external pure returns (bytes32) {
        return Digests.handover(domain_, nextEpoch, nextDomain, decidingId, decidedAt);
    }

    function reduce(uint256 upper, uint256 lower) external pure returns (uint256[2] memory value) {
        (value[0], value[1]) = (upper, lower);
        uint256 place;
        assembly ("memory-safe") {
            place := value
        }
        BLS12381.reduce(place);
    }
}
