// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {Claim, IOracle, Reason} from "../src/IOracle.sol";
import {Report} from "./OracleTest.sol";
import {Spec} from "./Spec.sol";

// What a call must do: return, or revert with this error. `Any` leaves the choice of error open.
bytes4 constant RETURNS = 0x00000000;
bytes4 constant ANY_ERROR = 0xffffffff;

/// The Oracle once more, as simple as can be: nothing packed, nothing saved, no signatures. It is told
/// whether the committee really signed, and says what the contract must do.
contract Model {
    struct Stored {
        uint64 observedAt;
        uint256 word;
    }

    struct Posted {
        bool present;
        uint64 observedAt;
        bytes32 root;
        uint256 words;
    }

    uint64 private constant MAX_FUTURE = 15_000;

    uint64 public epoch;
    uint64 public validUntil;
    uint256 public members;
    uint256 public feeds;
    uint64 public carry;
    uint64 public pushedAt;
    uint64 public pushedView;
    uint64 public postedAt;
    uint256[] private _words;
    mapping(uint256 pair => Stored) private _pairs;
    /// By time modulo 17.
    Posted[17] private _posted;

    function open(uint64 epoch_, uint64 validUntil_, uint256 members_, uint256 feeds_, uint64 carry_)
        external
    {
        (epoch, validUntil, members, feeds, carry) =
            (epoch_, validUntil_, members_, feeds_, carry_);
        pushedView = 0;
        delete _posted;
    }

    function words() public view returns (uint256) {
        return (feeds + 3) / 4;
    }

    /// Says what a certificate must meet, if its time is new.
    function refusal(Report memory r, bool genuine) public view returns (bytes4) {
        uint256 nowMs = block.timestamp * 1000;
        if (r.feedRoot == 0) return IOracle.NoFeedRoot.selector;
        if (r.observedAt > nowMs + MAX_FUTURE) return IOracle.FromTheFuture.selector;
        if (r.observedAt > validUntil || nowMs > validUntil) return IOracle.Expired.selector;
        if (r.signers >= 2 ** members) return IOracle.UnknownSigner.selector;
        if (Spec.countBits(r.signers) < Spec.quorum(members)) return IOracle.BelowQuorum.selector;
        return genuine ? RETURNS : ANY_ERROR;
    }

    /// @return expected What it must revert with, or `RETURNS`.
    /// @return stored What it must return.
    function push(Report memory r, bool genuine) external returns (bytes4 expected, bool stored) {
        if (r.observedAt <= pushedAt || r.epoch < epoch) return (RETURNS, false);
        if (r.epoch > epoch) return (IOracle.EpochAhead.selector, false);
        r.feedRoot = TestReports.root(r.words);
        expected = refusal(r, genuine);
        if (expected != RETURNS) return (expected, false);
        (pushedAt, pushedView, _words) = (r.observedAt, r.view_, r.words);
        Posted storage entry = _posted[pushedAt % 17];
        if (entry.observedAt == pushedAt) (entry.root, entry.words) = (0, 0);
        return (RETURNS, true);
    }

    function post(Report memory r, bool genuine) external returns (bytes4 expected, bool stored) {
        if (r.observedAt <= pushedAt || r.observedAt <= postedAt || r.epoch < epoch) {
            return (RETURNS, false);
        }
        if (r.epoch > epoch) return (IOracle.EpochAhead.selector, false);
        expected = refusal(r, genuine);
        if (expected != RETURNS) return (expected, false);
        postedAt = r.observedAt;
        _posted[r.observedAt % 17] = Posted(true, r.observedAt, r.feedRoot, words());
        return (RETURNS, true);
    }

    function posted(uint256 place) external view returns (Posted memory) {
        return _posted[place];
    }

    /// @param honest Whether word and path are those of the posted report.
    function prove(uint64 observedAt, uint16 feed, uint256 word, bool honest)
        external
        returns (bytes4 expected, bool stored)
    {
        Posted memory entry = _posted[observedAt % 17];
        if (entry.observedAt != observedAt) return (IOracle.NotPosted.selector, false);
        if (entry.words == 0) return (RETURNS, false);
        if (_pairs[feed / 2].observedAt >= entry.observedAt) return (RETURNS, false);
        if (!honest) return (ANY_ERROR, false);
        _pairs[feed / 2] = Stored(entry.observedAt, word);
        return (RETURNS, true);
    }

    /// @param honest Whether all claims are of one report.
    function update(Report memory r, Claim[] memory claims, bool genuine, bool honest)
        external
        returns (bytes4 expected, uint256 stored)
    {
        if (claims.length == 0) return (IOracle.NoClaims.selector, 0);
        if (r.epoch > epoch) return (IOracle.EpochAhead.selector, 0);
        if (r.epoch < epoch || r.observedAt <= pushedAt) return (RETURNS, 0);
        bool older;
        for (uint256 i; i < claims.length; ++i) {
            if (_pairs[claims[i].feed / 2].observedAt < r.observedAt) older = true;
        }
        if (!older) return (RETURNS, 0);
        if (!honest) return (ANY_ERROR, 0);
        expected = refusal(r, genuine);
        if (expected != RETURNS) return (expected, 0);
        if (postedAt < r.observedAt) postedAt = r.observedAt;
        for (uint256 i; i < claims.length; ++i) {
            Stored storage pair = _pairs[claims[i].feed / 2];
            if (pair.observedAt >= r.observedAt) continue;
            (pair.observedAt, pair.word) = (r.observedAt, claims[i].word);
            ++stored;
        }
    }

    /// Returns a feed's newest answer and its time.
    function newest(uint256 feed) public view returns (Spec.Answer memory answer, uint64 observedAt) {
        Stored memory pair = _pairs[feed / 2];
        if (pair.observedAt >= pushedAt) return (Spec.answerAt(pair.word, feed), pair.observedAt);
        uint256 word = feed / 4 < _words.length ? _words[feed / 4] : 0;
        return (Spec.answerAt(word, feed), pushedAt);
    }

    /// Says whether the newest answer is fit for use.
    function judge(uint256 feed, uint256 maxAgeSeconds, uint256 maxConfidencePpm)
        external
        view
        returns (Reason)
    {
        if (feed >= feeds) return Reason.UnknownFeed;
        (Spec.Answer memory answer, uint64 observedAt) = newest(feed);
        if (answer.status == 4) return Reason.Halted;
        bool known = answer.status == 1 || answer.status == 2 || answer.status == 3;
        if (!known || answer.price == 0) return Reason.Unavailable;
        uint256 nowMs = block.timestamp * 1000;
        uint256 age = observedAt < nowMs ? nowMs - observedAt : 0;
        if (answer.status == 2) age += carry;
        if (age > maxAgeSeconds * 1000) return Reason.Stale;
        if (answer.confidencePpm > maxConfidencePpm) return Reason.Uncertain;
        return Reason.None;
    }
}
