// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {Words} from "../src/libraries/Words.sol";
import {IHasher} from "./IHasher.sol";
import {deployed} from "./Signers.sol";
import {Spec} from "./Spec.sol";
import {check, vm} from "./Vm.sol";

/// The vectors that the Python packages run, by the contracts' libraries and by this EVM.
contract VectorsTest {
    string private constant FOLDER = "../tests/vectors/";

    function root(uint256[] calldata words) external pure returns (bytes32) {
        return Words.root(words);
    }

    function rootOf(uint256 index, uint256 count, uint256 word, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return Words.rootOf(index, count, word, path);
    }

    /// RFC 9380: the fields' elements of its messages come to its points.
    function test_maps_of_the_rfc() external view {
        string memory json = vm.readFile(string.concat(FOLDER, "curve.json"));
        uint256 i;
        for (; _has(json, ".maps", i); ++i) {
            string memory at_ = _key(".maps", i);
            bytes memory points;
            for (uint256 j; j < 2; ++j) {
                bytes memory u =
                    vm.parseJsonBytes(json, _key(string.concat(at_, ".u"), j));
                points = abi.encodePacked(points, _called(0x11, u));
            }
            check(
                keccak256(_called(0x0d, points))
                    == keccak256(vm.parseJsonBytes(json, string.concat(at_, ".point"))),
                "RFC 9380"
            );
        }
        check(i == 2, "maps");
    }

    /// The library's hash to curve, whole, under the tag of messages.
    function test_messages_are_hashed_to_their_points() external {
        IHasher hasher = IHasher(deployed(vm.getCode("Hasher.sol:Hasher")));
        string memory json = vm.readFile(string.concat(FOLDER, "curve.json"));
        uint256 i;
        for (; _has(json, ".hashes", i); ++i) {
            string memory at_ = _key(".hashes", i);
            bytes32 digest = vm.parseJsonBytes32(json, string.concat(at_, ".digest"));
            bytes memory expected = vm.parseJsonBytes(json, string.concat(at_, ".point"));
            check(keccak256(abi.encode(hasher.message(digest))) == keccak256(expected), "hash");
        }
        check(i == 4, "hashes");
    }

    /// EIP-2537, as far as the library calls it.
    function test_precompiles_answer_as_they_must() external view {
        string memory json = vm.readFile(string.concat(FOLDER, "curve.json"));
        uint256 i;
        for (; _has(json, ".calls", i); ++i) {
            string memory at_ = _key(".calls", i);
            bytes memory output = _called(
                vm.parseJsonUint(json, string.concat(at_, ".address")),
                vm.parseJsonBytes(json, string.concat(at_, ".input"))
            );
            bytes memory expected = vm.parseJsonBytes(json, string.concat(at_, ".output"));
            check(keccak256(output) == keccak256(expected), at_);
        }
        check(i == 8, "calls");
        for (i = 0; _has(json, ".failures", i); ++i) {
            string memory at_ = _key(".failures", i);
            uint256 number = vm.parseJsonUint(json, string.concat(at_, ".address"));
            (bool done,) = address(uint160(number)).staticcall{gas: 200_000}(
                vm.parseJsonBytes(json, string.concat(at_, ".input"))
            );
            check(!done, at_);
        }
        check(i == 5, "failures");
    }

    function test_trees() external view {
        string memory json = vm.readFile(string.concat(FOLDER, "aggregation.json"));
        uint256 i;
        for (; _has(json, ".trees", i); ++i) {
            string memory at_ = _key(".trees", i);
            bytes32[] memory given = vm.parseJsonBytes32Array(json, string.concat(at_, ".words"));
            uint256[] memory words = new uint256[](given.length);
            for (uint256 j; j < given.length; ++j) words[j] = uint256(given[j]);
            bytes32 top = vm.parseJsonBytes32(json, string.concat(at_, ".root"));
            check(this.root(words) == top && TestReports.root(words) == top, "root");
            for (uint256 j; j < words.length; ++j) {
                bytes32[] memory path = TestReports.path(words, j);
                string memory proofs = _key(string.concat(at_, ".proofs"), j);
                for (uint256 k; k < path.length; ++k) {
                    check(vm.parseJsonBytes32(json, _key(proofs, k)) == path[k], "path");
                }
                check(!_has(json, proofs, path.length), "path length");
                check(this.rootOf(j, words.length, words[j], path) == top, "rootOf");
            }
        }
        check(i > 5, "trees");
    }

    /// What the tests sign is what the consensus signs: the specification against its vectors.
    function test_digests() external view {
        string memory json = vm.readFile(string.concat(FOLDER, "consensus.json"));
        bytes memory p = _preimage(json, "header");
        bytes32 d = _word(p, 1);
        uint64 view_ = uint64(bytes8(_word(p, 33)));
        uint64 observedAt = uint64(bytes8(_word(p, 41)));
        check(
            TestReports.headerId(d, view_, observedAt, _word(p, 49), _word(p, 81)) == _digest(json, "header"),
            "header"
        );
        check(d == _digest(json, "domain"), "D is in the header");
        p = _preimage(json, "domain");
        check(
            Spec.domain(_word(p, 1), uint64(bytes8(_word(p, 33))), _word(p, 41))
                == _digest(json, "domain"),
            "domain"
        );
        p = _preimage(json, "network");
        check(Spec.network(_word(p, 1), _word(p, 33)) == _digest(json, "network"), "network");
        p = _preimage(json, "handover");
        check(
            Spec.handover(
                _word(p, 1),
                uint64(bytes8(_word(p, 33))),
                _word(p, 41),
                _word(p, 73),
                uint64(bytes8(_word(p, 105)))
            ) == _digest(json, "handover"),
            "handover"
        );
        p = _preimage(json, "link");
        check(
            TestReports.linkOf(
                _word(p, 1),
                uint64(bytes8(_word(p, 33))),
                uint64(bytes8(_word(p, 41))),
                _word(p, 49),
                _word(p, 81)
            ) == _digest(json, "link"),
            "link"
        );
        p = _preimage(json, "registration");
        check(
            TestReports.registration(_word(p, 1), address(uint160(uint256(_word(p, 33)))), _word(p, 65))
                == _digest(json, "registration"),
            "registration"
        );
    }

    function _preimage(string memory json, string memory name) private pure returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(".digests.", name, ".preimage"));
    }

    function _digest(string memory json, string memory name) private pure returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(".digests.", name, ".digest"));
    }

    function _word(bytes memory data, uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), offset))
        }
    }

    function _called(uint256 precompile, bytes memory input) private view returns (bytes memory) {
        (bool done, bytes memory output) = address(uint160(precompile)).staticcall(input);
        check(done, "a precompile failed");
        return output;
    }

    function _has(string memory json, string memory list, uint256 i) private view returns (bool) {
        return vm.keyExistsJson(json, _key(list, i));
    }

    function _key(string memory list, uint256 i) private pure returns (string memory) {
        bytes memory digits = i > 99
            ? abi.encodePacked(uint8(48 + i / 100), uint8(48 + i / 10 % 10), uint8(48 + i % 10))
            : i > 9 ? abi.encodePacked(uint8(48 + i / 10), uint8(48 + i % 10)) : abi.encodePacked(uint8(48 + i));
        return string.concat(list, "[", string(digits), "]");
    }
}
