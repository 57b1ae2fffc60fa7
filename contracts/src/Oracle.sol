// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Certificate, Genesis, Header, IOracle, Reason} from "./IOracle.sol";
import {Catalogues} from "./libraries/Catalogues.sol";
import {Committees} from "./libraries/Committees.sol";
import {Digests} from "./libraries/Digests.sol";
import {Head, Heads} from "./libraries/Head.sol";
import {Answer, Answers, Words} from "./libraries/Words.sol";

/// @title Prices that a quorum of a committee agreed on
/// @dev Documentation and invariants stand in the interface.
contract Oracle is IOracle {
    /// More than an hour ahead is a mistake on any chain.
    uint256 private constant MAX_FUTURE_MAX = 3_600_000;

    /// @inheritdoc IOracle
    bytes32 public immutable network;
    /// @inheritdoc IOracle
    uint256 public immutable maxFuture;

    Head private _head;
    /// As certified; feed i stands in word i / 4. Not in a mapping: a slot's place costs no hash.
    uint256[16384] private _words;

    constructor(Genesis memory genesis) {
        uint256 n = genesis.members.length;
        uint256 feeds = genesis.feeds.length;
        if (n == 0 || n > Committees.MEMBERS_MAX) revert CommitteeSize(n);
        if (feeds == 0 || feeds > Catalogues.FEEDS_MAX) revert FeedTableSize(feeds);
        _atMost("carry", genesis.timing.carry, Heads.CARRY_MAX);
        _atMost("validUntil", genesis.validUntil, Heads.VALID_UNTIL_MAX);
        _atMost("maxFuture", genesis.maxFuture, MAX_FUTURE_MAX);

        bytes32 configuration = Digests.configuration(
            Digests.keyList(genesis.members),
            Digests.feedTable(genesis.feeds),
            Digests.timing(genesis.timing),
            genesis.validUntil
        );
        bytes32 network_ = Digests.network(genesis.nameHash, configuration);
        Committees.checkKeys(genesis.members);
        Committees.checkRegistrations(genesis.members, network_);
        // The order of the blobs gives them their ordinals.
        Committees.store(genesis.members, Digests.domain(network_, 0, configuration));
        Catalogues.store(genesis.feeds, configuration);

        network = network_;
        maxFuture = genesis.maxFuture;
        _head = Heads.ofEpoch(0, n, feeds, genesis.timing.carry, genesis.validUntil);
    }

    /// @inheritdoc IOracle
    function push(Header calldata header, uint256[] calldata words, Certificate calldata certificate)
        external
        returns (bool)
    {
        Head head = _head;
        if (header.observedAt <= head.observedAt()) return false;
        _checkTime(header.observedAt, head.validUntil());
        if (header.feedRoot == 0) revert NoFeedRoot();
        bytes32 root = Words.root(words);
        if (root != header.feedRoot) revert WordsMismatch(header.feedRoot, root);

        address blob = Committees.blobOf(head.epoch(), head.members());
        bytes32 id = Committees.verify(blob, head.members(), header, certificate);

        _head = head.withReport(header.view_, header.observedAt);
        unchecked {
            for (uint256 i; i < words.length; ++i) _words[i] = words[i];
        }
        emit Pushed(head.epoch(), header.view_, header.observedAt, id, header.feedRoot, words);
        return true;
    }

    /// @inheritdoc IOracle
    function read(uint16 feed_, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256, uint256)
    {
        Head head = _head;
        (Reason reason, Answer answer) = _judge(head, feed_, maxAgeSeconds, maxConfidencePpm);
        if (reason == Reason.None) return (answer.price(), head.observedAt());
        if (reason == Reason.UnknownFeed) revert UnknownFeed(feed_, head.feeds());
        if (reason == Reason.Unavailable) revert Unavailable(feed_, answer.status());
        if (reason == Reason.Halted) revert Halted(feed_);
        if (reason == Reason.Stale) {
            revert Stale(feed_, _age(head, answer), uint256(maxAgeSeconds) * 1000);
        }
        revert Uncertain(feed_, answer.confidencePpm(), maxConfidencePpm);
    }

    /// @inheritdoc IOracle
    function tryRead(uint16 feed_, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint8, uint256, uint256, uint8, uint256)
    {
        Head head = _head;
        (Reason reason, Answer answer) = _judge(head, feed_, maxAgeSeconds, maxConfidencePpm);
        return (
            uint8(reason),
            answer.price(),
            answer.confidencePpm(),
            answer.status(),
            head.observedAt()
        );
    }

    /// @inheritdoc IOracle
    function latest(uint16 feed_) external view returns (uint256, uint256, uint8, uint256) {
        Head head = _head;
        if (feed_ >= head.feeds()) revert UnknownFeed(feed_, head.feeds());
        Answer answer = _answer(feed_);
        return (answer.price(), answer.confidencePpm(), answer.status(), head.observedAt());
    }

    /// @inheritdoc IOracle
    function stored() external view returns (uint64, uint64, uint64) {
        Head head = _head;
        return (head.epoch(), head.viewNumber(), head.observedAt());
    }

    /// @inheritdoc IOracle
    function domain() external view returns (bytes32) {
        Head head = _head;
        return Committees.domainOf(Committees.blobOf(head.epoch(), head.members()));
    }

    /// @inheritdoc IOracle
    function epoch() external view returns (uint64) {
        return _head.epoch();
    }

    /// @inheritdoc IOracle
    function configurationHash() external view returns (bytes32) {
        return Catalogues.configurationHash(_head.epoch());
    }

    /// @inheritdoc IOracle
    function committee() external view returns (uint256, uint256, uint256) {
        Head head = _head;
        return (head.members(), Committees.quorum(head.members()), head.validUntil());
    }

    /// @inheritdoc IOracle
    function feedCount() external view returns (uint256) {
        return _head.feeds();
    }

    /// @inheritdoc IOracle
    function feed(uint16 index)
        external
        view
        returns (string memory, string memory, uint8, uint32, uint32, uint8)
    {
        Head head = _head;
        if (index >= head.feeds()) revert UnknownFeed(index, head.feeds());
        (bytes32 identity, bytes32 thresholds) = Catalogues.recordOf(head.epoch(), index);
        return (
            Catalogues.nameOf(bytes12(identity)),
            Catalogues.nameOf(bytes12(identity << 96)),
            uint8(identity[24]),
            uint32(bytes4(thresholds)),
            uint32(bytes4(thresholds << 32)),
            uint8(identity[25])
        );
    }

    /// Reverts unless a report of this time may be stored now.
    function _checkTime(uint256 observedAt, uint256 validUntil) private view {
        unchecked {
            uint256 now_ = block.timestamp * 1000;
            if (observedAt > now_ + maxFuture) revert FromTheFuture(observedAt, now_ + maxFuture);
            // The block's time too: keys may leak once their stakes are free, and sign into the past.
            uint256 later = observedAt > now_ ? observedAt : now_;
            if (later > validUntil) revert Expired(validUntil, later);
        }
    }

    /// Returns why an answer is not fit for use, or `None`, and the answer.
    function _judge(Head head, uint256 feed_, uint256 maxAgeSeconds, uint256 maxConfidencePpm)
        private
        view
        returns (Reason, Answer)
    {
        if (feed_ >= head.feeds()) return (Reason.UnknownFeed, Answer.wrap(0));
        Answer answer = _answer(feed_);
        uint8 status = answer.status();
        if (status == Answers.HALTED) return (Reason.Halted, answer);
        // A status that this contract does not know gives no price either.
        if (status == Answers.UNAVAILABLE || status > Answers.HALTED || answer.price() == 0) {
            return (Reason.Unavailable, answer);
        }
        if (_age(head, answer) > maxAgeSeconds * 1000) return (Reason.Stale, answer);
        if (answer.confidencePpm() > maxConfidencePpm) return (Reason.Uncertain, answer);
        return (Reason.None, answer);
    }

    /// Returns the answer's age in milliseconds; a carried one counts as older by the carry.
    function _age(Head head, Answer answer) private view returns (uint256 age) {
        unchecked {
            uint256 now_ = block.timestamp * 1000;
            uint256 observedAt = head.observedAt();
            // Observation may be ahead of the block's time by up to `maxFuture`.
            if (observedAt < now_) age = now_ - observedAt;
            if (answer.status() == Answers.CARRIED) age += head.carry();
        }
    }

    function _answer(uint256 feed_) private view returns (Answer) {
        return Words.answerAt(_words[feed_ >> 2], feed_);
    }

    function _atMost(string memory what, uint256 value, uint256 maximum) private pure {
        if (value > maximum) revert OutOfRange(what, value, maximum);
    }
}
