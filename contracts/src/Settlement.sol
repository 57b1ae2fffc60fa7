// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Claim, FinalProof, IOracle} from "./IOracle.sol";

/// @title Settlement at a price that nobody could know or choose
/// @notice For contracts that inherit it. A request made at block time T is settled at the first final
/// report observed after T + delay: there is one such report, whoever brings its proof. What happens if
/// that report has no live and certain price, comes too late, or is not brought, is fixed here:
/// the request is cancelled. Nobody is ever asked.
///
/// Invariants, each tested under its number:
///
///  T1 *one report*  A request is settled by the answer of one report only, which follows from the time
///                   of the request.
///  T2 *unknown*     That report was observed after anything that could be known at the request: the
///                   delay is at least the Oracle's `maxFuture`.
///  T3 *no choice*   Whether a request is settled or cancelled follows from that report and, at the
///                   deadline, from the block's time. Until the deadline it cannot expire, after it
///                   it cannot be settled. Anyone may do either.
///  T4 *once*        Each request ends once.
///
/// Who asks must not gain by expiry: `_onExpired` should cost it nothing more and give it nothing, and
/// somebody else must have a reason to settle, such as a fee.
///
/// Times are Unix milliseconds.
abstract contract Settlement {
    enum Outcome {
        Settled,
        NotLive,
        Uncertain,
        TooLate,
        Expired
    }

    /// @notice A request waits for the first final report observed after `moment`.
    event Requested(uint256 indexed id, uint64 moment, uint64 deadline);
    /// @notice A request ended; `price` is 0 unless it was settled.
    event Ended(uint256 indexed id, Outcome outcome, uint256 price, uint64 observedAt);

    /// There is no such request, or it ended.
    error NoRequest(uint256 id);
    /// The claim is of another feed.
    error AnotherFeed(uint256 feed, uint256 expected);
    /// The time to settle is over: let it expire.
    error DeadlinePassed(uint256 deadline, uint256 time);
    /// It can still be settled.
    error NotYetExpired(uint256 deadline, uint256 time);
    /// A number is out of its range.
    error Unsound(string what, uint256 value, uint256 minimum, uint256 maximum);

    /// Ten minutes, and a day.
    uint64 private constant DELAY_MAX = 600_000;
    uint64 private constant PATIENCE_MAX = 86_400_000;

    struct Terms {
        IOracle oracle;
        uint16 feed;
        /// From the request's block time to the moment after which the report is observed.
        uint64 delay;
        /// How long after the moment the report may be observed, and the request be settled.
        uint64 patience;
        /// The widest confidence that settles, parts per million of the price.
        uint32 maxConfidencePpm;
    }

    IOracle public immutable oracle;
    uint16 public immutable feed;
    uint64 public immutable delay;
    uint64 public immutable patience;
    uint32 public immutable maxConfidencePpm;

    /// @notice When a request's report must be observed after; 0 if there is no such request.
    mapping(uint256 => uint64) public momentOf;
    uint256 private _requests;

    constructor(Terms memory terms) {
        _within("delay", terms.delay, terms.oracle.maxFuture(), DELAY_MAX);
        // A request must be settled while the Oracle takes the proof of its report.
        uint256 most = terms.oracle.evidenceWindow();
        _within("patience", terms.patience, 1, most < PATIENCE_MAX ? most : PATIENCE_MAX);
        _within("maxConfidencePpm", terms.maxConfidencePpm, 0, 999_999);
        oracle = terms.oracle;
        feed = terms.feed;
        delay = terms.delay;
        patience = terms.patience;
        maxConfidencePpm = terms.maxConfidencePpm;
    }

    /// @notice Ends a request by its report; anyone may.
    /// @param proof The first final report observed after the request's moment, and its parent.
    /// @param claim This contract's feed in it.
    function settle(uint256 id, FinalProof calldata proof, Claim calldata claim)
        external
        returns (Outcome outcome)
    {
        uint64 moment = _pending(id);
        uint256 deadline = uint256(moment) + patience;
        if (_timeMs() > deadline) revert DeadlinePassed(deadline, _timeMs());
        if (claim.feed != feed) revert AnotherFeed(claim.feed, feed);
        (, uint64 observedAt, uint256 price, uint256 confidencePpm, uint8 status) =
            oracle.firstAfter(moment, proof, claim);
        delete momentOf[id];

        if (observedAt > deadline) outcome = Outcome.TooLate;
        // 1 is live: a settlement cannot wait for a better report without a choice of it.
        else if (status != 1 || price == 0) outcome = Outcome.NotLive;
        else if (confidencePpm > maxConfidencePpm) outcome = Outcome.Uncertain;
        else outcome = Outcome.Settled;

        if (outcome == Outcome.Settled) {
            emit Ended(id, outcome, price, observedAt);
            _onSettled(id, price, confidencePpm, observedAt);
        } else {
            emit Ended(id, outcome, 0, observedAt);
            _onCancelled(id, outcome);
        }
    }

    /// @notice Cancels a request that nobody settled in time; anyone may.
    function expire(uint256 id) external {
        uint256 deadline = uint256(_pending(id)) + patience;
        if (_timeMs() <= deadline) revert NotYetExpired(deadline, _timeMs());
        delete momentOf[id];
        emit Ended(id, Outcome.Expired, 0, 0);
        _onCancelled(id, Outcome.Expired);
    }

    /// Asks for a settlement; returns its number, from 1 on.
    function _request() internal returns (uint256 id) {
        id = ++_requests;
        uint64 moment = uint64(_timeMs()) + delay;
        momentOf[id] = moment;
        emit Requested(id, moment, moment + patience);
    }

    /// Does what was asked for, at the report's price; must not revert by anything that one may choose.
    function _onSettled(uint256 id, uint256 price, uint256 confidencePpm, uint64 observedAt)
        internal
        virtual;

    /// Gives back what was asked with; must not revert by anything that one may choose.
    function _onCancelled(uint256 id, Outcome outcome) internal virtual;

    function _timeMs() internal view returns (uint256) {
        return block.timestamp * 1000;
    }

    function _pending(uint256 id) private view returns (uint64 moment) {
        moment = momentOf[id];
        if (moment == 0) revert NoRequest(id);
    }

    function _within(string memory what, uint256 value, uint256 minimum, uint256 maximum)
        internal
        pure
    {
        if (value < minimum || value > maximum) revert Unsound(what, value, minimum, maximum);
    }
}
