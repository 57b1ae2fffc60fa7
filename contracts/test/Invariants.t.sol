// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../src/IOracle.sol";
import {Feeder} from "./Feeder.sol";
import {Model} from "./Model.sol";
import {Spec} from "./Spec.sol";
import {FuzzSelector, check, vm} from "./Vm.sol";

/// Sequences of calls, each judged by the feeder, with what must hold after each.
contract InvariantsTest {
    Feeder private _feeder;

    function setUp() external {
        _feeder = new Feeder();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_feeder);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](12);
        selectors[0] = Feeder.push.selector;
        selectors[1] = Feeder.push.selector;
        selectors[2] = Feeder.post.selector;
        selectors[3] = Feeder.post.selector;
        selectors[4] = Feeder.prove.selector;
        selectors[5] = Feeder.prove.selector;
        selectors[6] = Feeder.update.selector;
        selectors[7] = Feeder.useTwice.selector;
        selectors[8] = Feeder.read.selector;
        selectors[9] = Feeder.handover.selector;
        selectors[10] = Feeder.wait.selector;
        selectors[11] = Feeder.wait.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(_feeder), selectors);
    }

    /// O1, O2, O3, O6, O11: what the Oracle holds is what the model holds, and a quorum signed it.
    function invariant_every_answer_was_certified_and_is_the_newest() external view {
        IOracle oracle = _feeder.oracle();
        Model model = _feeder.model();
        check(oracle.feedCount() == model.feeds(), "feeds");
        check(oracle.epoch() == model.epoch(), "O11: epoch");
        check(oracle.postedAt() == model.postedAt(), "postedAt");
        (uint64 epoch, uint64 view_, uint64 pushedAt) = oracle.stored();
        check(epoch == model.epoch() && view_ == model.pushedView(), "stored");
        check(pushedAt == model.pushedAt(), "stored");
        for (uint16 feed; feed < model.feeds(); ++feed) {
            (uint256 price, uint256 confidence, uint8 status, uint256 time) = oracle.latest(feed);
            (Spec.Answer memory answer, uint64 observedAt) = model.newest(feed);
            check(time == observedAt, "O3: another time than the newest");
            check(price == answer.price && status == answer.status, "O2: another answer");
            check(confidence == answer.confidencePpm, "O2: another confidence");
            if (time == 0 || status == 0) continue;
            check(
                _feeder.certified(keccak256(abi.encode(uint256(feed), uint64(time), answer))),
                "O1: nobody certified this"
            );
        }
        _checkPosted(oracle, model);
    }

    /// A feeder of which everything is refused would test nothing: each way in is taken.
    function test_every_way_is_taken() external {
        for (uint256 seed; seed < 60; ++seed) {
            _feeder.push(seed);
            _feeder.post(seed + 1000);
            _feeder.prove(seed);
            _feeder.update(seed + 2000);
            _feeder.wait(seed);
            _feeder.read(uint16(seed), type(uint32).max, type(uint32).max, 3);
            if (seed % 20 == 0) _feeder.handover(seed);
        }
        string[6] memory kinds = ["push", "post", "prove", "update", "read", "handover"];
        for (uint256 i; i < kinds.length; ++i) {
            check(_feeder.accepted(bytes32(bytes(kinds[i]))) > 0, kinds[i]);
        }
        // Last, because it settles prices for this whole transaction.
        for (uint256 seed = 5000; _feeder.accepted("use") == 0; ++seed) _feeder.useTwice(seed);
    }

    /// O11: sequences come to each fault of a handover now and then; here all of them are met.
    function test_every_fault_of_a_handover_is_refused() external {
        for (uint256 fault; fault < 12; ++fault) {
            uint256 seed;
            // The feeder takes every fourth seed.
            while (_feeder.faultOfHandover(seed) != fault) seed += 4;
            _feeder.handover(seed);
        }
        check(_feeder.accepted("handover") > 0, "none accepted");
    }

    /// O11: roots of a closed epoch are gone, those of this one are as posted.
    function _checkPosted(IOracle oracle, Model model) private view {
        for (uint64 i; i < 17; ++i) {
            Model.Posted memory entry = model.posted(i);
            (uint16 words, bytes32 prefix) = oracle.posted(entry.observedAt);
            check(words == entry.words, "posted");
            check((uint256(prefix) ^ uint256(entry.root)) >> 64 == 0, "posted root");
            (words,) = oracle.posted(entry.observedAt + 17);
            check(words == 0, "posted at another time");
        }
    }
}
