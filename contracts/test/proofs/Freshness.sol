// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Certificate, IOracle, Place} from "../../src/IOracle.sol";
import {Oracle} from "../../src/Oracle.sol";

/// What halmos asks of its symbolic machine.
interface Symbolic {
    function enableSymbolicStorage(address account) external;
}

interface Storage {
    function load(address account, bytes32 slot) external view returns (bytes32);
}

/// What halmos proves of the Oracle as it is compiled, from any state that storage can be in.
contract FreshnessProof {
    Symbolic private constant SYMBOLIC =
        Symbolic(address(uint160(uint256(keccak256("svm cheat code")))));
    Storage private constant VM = Storage(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 private constant PAIRS = 18;

    Oracle private _oracle;

    function setUp() external {
        _oracle = new Oracle(bytes32(uint256(1)), bytes32(uint256(2)), 15_000, 0);
        SYMBOLIC.enableSymbolicStorage(address(_oracle));
    }

    /// O3: a push that is not newer returns false and writes nothing at all.
    function check_a_push_that_is_not_newer_changes_nothing(
        uint256[6] calldata signature,
        bytes32 link,
        uint256 place,
        uint256[] calldata words,
        bytes32 slot
    ) external {
        (,, uint64 observedAt) = _oracle.stored();
        if (uint64(place >> 128) > observedAt) return;
        bytes32 before = VM.load(address(_oracle), slot);
        bool stored = _oracle.push(Certificate(signature, link, Place.wrap(place)), words);
        assert(!stored);
        assert(VM.load(address(_oracle), slot) == before);
    }

    /// O3: what is proven is newer than what the slot held, and is the answers that were claimed: the
    /// upper half of a word for feed 0, the lower for feed 2. One word is a tree without a path.
    function check_what_is_proven_is_newer_0(uint256 word, bytes32[] calldata path, uint64 time)
        external
    {
        _proven(word, path, 0, time);
    }

    function check_what_is_proven_is_newer_2(uint256 word, bytes32[] calldata path, uint64 time)
        external
    {
        _proven(word, path, 2, time);
    }

    /// O3: of what was pushed and what was proven the newer is served, and of one time what was proven,
    /// which was there first: a push changes no answer of its own time.
    function check_the_newer_is_served() external view {
        uint16 feed = 382;
        (uint256 price,,, uint256 time) = _oracle.latest(feed);
        uint256 head = uint256(VM.load(address(_oracle), 0));
        uint256 pair = uint256(VM.load(address(_oracle), bytes32(PAIRS + uint256(feed >> 1))));
        bool beside = head >> (64 + ((feed >> 1) & 7)) & 1 != 0;
        if (beside && pair >> 208 >= head >> 208) {
            assert(time == pair >> 208);
            // The feed is even: the upper answer of two.
            assert(price == uint48(pair >> 80));
        } else {
            assert(time == head >> 208);
        }
    }

    function _proven(uint256 word, bytes32[] calldata path, uint16 feed, uint64 time) private {
        bytes32 slot = bytes32(PAIRS + uint256(feed >> 1));
        uint256 before = uint256(VM.load(address(_oracle), slot));
        (uint16 words,) = _oracle.posted(time);
        bool stored = _oracle.prove(word, path, feed, time);
        uint256 after_ = uint256(VM.load(address(_oracle), slot));
        if (stored) {
            assert(words != 0);
            assert(after_ >> 208 > before >> 208);
            assert(after_ >> 208 == time);
            assert(uint128(after_) == (feed & 2 == 0 ? word >> 128 : uint128(word)));
        } else {
            assert(after_ == before);
            assert(words == 0 || time <= before >> 208);
        }
    }
}
