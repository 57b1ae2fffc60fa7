// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {Claim, IOracle, Update} from "../src/IOracle.sol";
import {OracleTest, Report} from "./OracleTest.sol";
import {Signers} from "./Signers.sol";
import {check, vm} from "./Vm.sol";

/// O3 where it is hardest: certified reports of one time. Blocks of different views with the same
/// parent may have them, and an epoch's last reports and the next one's first.
contract SiblingsTest is OracleTest {
    uint16 private constant FEEDS = 6;

    IOracle private _oracle;
    Signers private _signers;
    /// Two times with three reports each.
    Report[] private _reports;
    uint256[FEEDS] private _seenAt;
    bytes32[FEEDS] private _seen;

    function setUp() external {
        vm.warp(START);
        _signers = new Signers(4, 1, FEEDS, nowMs() + DAY, 30_000);
        _oracle = deploy(_signers);
        bytes32 domain = domainOf(_signers, _signers, 0);
        for (uint64 i; i < 6; ++i) {
            Report memory r;
            (r.view_, r.observedAt, r.signers) = (i + 1, nowMs() + i / 3, 7);
            r.words = new uint256[](2);
            for (uint256 feed; feed < FEEDS; ++feed) {
                r.words[feed / 4] |= (10 * (i + 1) + feed) << 16 << 64 * (3 - feed % 4);
            }
            _reports.push(signed(r, _signers, domain));
        }
    }

    /// In whatever order they come, and by whatever way, each time of a feed has one answer.
    function testFuzz_of_one_time_there_is_one_answer(uint256 seed) external {
        for (uint256 i; i < 14; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            _do(random % 4, _reports[(random >> 8) % 6], uint16((random >> 16) % FEEDS));
            _look();
        }
    }

    /// Each is enough to go wrong by itself.
    function test_a_push_after_a_proof_of_its_time() external {
        _do(1, _reports[0], 0);
        _do(2, _reports[0], 0);
        _do(0, _reports[1], 0);
        _holds(0, 10);
        _holds(1, 11);
        // Of the others nothing was known.
        _holds(2, 22);
    }

    function test_a_push_after_an_update_of_its_time() external {
        _do(3, _reports[0], 4);
        _do(0, _reports[1], 0);
        _holds(4, 14);
        _holds(3, 23);
    }

    function test_a_proof_after_a_push_of_its_time() external {
        _do(1, _reports[0], 0);
        _do(0, _reports[1], 0);
        (uint16 words,) = _oracle.posted(_reports[0].observedAt);
        check(words == 0, "can be proven from");
        check(!_prove(_reports[0], 0), "proven");
        _holds(0, 20);
    }

    function test_a_proof_after_a_push_of_its_time_and_a_newer_post() external {
        _do(1, _reports[0], 0);
        _do(1, _reports[3], 0);
        _do(0, _reports[1], 0);
        check(!_prove(_reports[0], 2), "proven");
        _holds(2, 22);
        check(_prove(_reports[3], 2), "not proven");
        _holds(2, 42);
    }

    function test_an_update_after_a_proof_of_its_time() external {
        _do(1, _reports[0], 0);
        _do(2, _reports[0], 0);
        _do(3, _reports[1], 1);
        _holds(1, 11);
        _do(3, _reports[1], 2);
        _holds(2, 22);
        check(!_prove(_reports[0], 2), "proven");
    }

    /// 0 push, 1 post, 2 prove, 3 update.
    function _do(uint256 what, Report memory r, uint16 feed) private {
        if (what == 0) _oracle.push(certificateOf(r), r.words);
        if (what == 1) _oracle.post(certificateOf(r), r.feedRoot);
        if (what == 2) _prove(r, feed);
        if (what == 3) {
            Update[] memory updates = new Update[](1);
            updates[0].certificate = certificateOf(r);
            updates[0].claims = new Claim[](1);
            updates[0].claims[0] = Claim(feed, 2, r.words[feed / 4], TestReports.path(r.words, feed / 4));
            _oracle.update(updates);
        }
    }

    /// Of the reports of that time the one that was posted leads to the root; others change nothing.
    function _prove(Report memory r, uint16 feed) private returns (bool) {
        (bool done, bytes memory output) = address(_oracle).call(
            abi.encodeCall(
                IOracle.prove, (r.words[feed / 4], TestReports.path(r.words, feed / 4), feed, r.observedAt)
            )
        );
        return done && abi.decode(output, (bool));
    }

    function _holds(uint16 feed, uint256 price) private view {
        (uint256 stored,,,) = _oracle.latest(feed);
        check(stored == price, "O3: another answer of one time");
    }

    function _look() private {
        for (uint16 feed; feed < FEEDS; ++feed) {
            (uint256 price, uint256 confidence, uint8 status, uint256 time) = _oracle.latest(feed);
            bytes32 answer = keccak256(abi.encode(price, confidence, status));
            check(time >= _seenAt[feed], "O3: time fell");
            if (time == _seenAt[feed] && time != 0) {
                check(answer == _seen[feed], "O3: another answer of one time");
            }
            (_seenAt[feed], _seen[feed]) = (time, answer);
        }
    }
}
