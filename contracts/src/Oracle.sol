// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Certificate,
    Claim,
    Configuration,
    FinalProof,
    Handover,
    IOracle,
    Member,
    Place,
    Reason,
    Registration,
    Update
} from "./IOracle.sol";
import {BLS12381} from "./libraries/BLS12381.sol";
import {Catalogues} from "./libraries/Catalogues.sol";
import {Committees, Terms} from "./libraries/Committees.sol";
import {Digests} from "./libraries/Digests.sol";
import {Finality} from "./libraries/Finality.sol";
import {Head, Heads} from "./libraries/Head.sol";
import {Places} from "./libraries/Places.sol";
import {Registry} from "./libraries/Registry.sol";
import {Answer, Answers, Pair, Pairs, Words} from "./libraries/Words.sol";

/// @title Prices that a quorum of a committee agreed on
/// @dev Documentation and invariants stand in the interface.
contract Oracle is IOracle {
    using Places for Place;

    /// More than an hour ahead is a mistake on any chain.
    uint256 private constant MAX_FUTURE_MAX = 3_600_000;
    /// Ten years.
    uint256 private constant EVIDENCE_WINDOW_MAX = 315_576_000_000;
    uint256 private constant NONE = uint256(Reason.None);
    /// A prime, so that reports at regular intervals take all places in turn.
    uint256 private constant ROOTS = 17;

    /// @inheritdoc IOracle
    bytes32 public immutable network;
    /// @inheritdoc IOracle
    uint256 public immutable maxFuture;
    /// @inheritdoc IOracle
    uint256 public immutable evidenceWindow;
    bytes32 private immutable _genesisConfiguration;

    Head private _head;
    /// Posted reports by time modulo 17: root's first 192 bits | observedAt 48 | words 16. Root and words
    /// are zero once a report of the same time was pushed.
    uint256[ROOTS] private _roots;
    /// What was proven or updated, by feed / 2. Not in a mapping: a slot's place costs no hash.
    /// There is one for each feed of 16 bits, which is why access to it checks no bounds.
    Pair[32768] private _pairs;
    /// The last push, as certified, by feed / 4, likewise; not written while there is but one feed.
    uint256[16384] private _words;
    /// By the hash of the member's record.
    mapping(bytes32 => bool) private _registered;

    /// Signatures are verified in a fixed place of memory, which is set aside before all else.
    modifier verifying() {
        BLS12381.reserve();
        _;
    }

    /// @param nameHash keccak-256 of the network's name.
    /// @param configurationHash_ The hash of the genesis configuration, which `open` then takes.
    /// @param maxFuture_ How far a report may be ahead of this chain's block time, milliseconds.
    /// @param evidenceWindow_ See `evidenceWindow`.
    constructor(
        bytes32 nameHash,
        bytes32 configurationHash_,
        uint256 maxFuture_,
        uint256 evidenceWindow_
    ) {
        _inRange("maxFuture", maxFuture_, 0, MAX_FUTURE_MAX);
        _inRange("evidenceWindow", evidenceWindow_, 0, EVIDENCE_WINDOW_MAX);
        network = Digests.network(nameHash, configurationHash_);
        _genesisConfiguration = configurationHash_;
        maxFuture = maxFuture_;
        evidenceWindow = evidenceWindow_;
    }

    // Feeding.

    /// @inheritdoc IOracle
    function push(Certificate calldata certificate, uint256[] calldata words)
        external
        returns (bool)
    {
        Head head = _head;
        Place place = certificate.place;
        uint256 observedAt = place.observedAt();
        if (observedAt <= head.observedAt()) return false;
        if (place.epoch() != head.epoch() && !_isCurrent(head, place)) return false;
        // As `verifying` does, without the call that a modifier costs.
        BLS12381.reserve();
        _verify(place, certificate, Words.root(words));

        Head next = head.withPush(place, Words.first(words));
        if (head.isPosted(observedAt)) {
            next = next.withBeside(head);
            _endProofs(observedAt);
        }
        _head = next;
        if (head.feeds() > 1) {
            assembly ("memory-safe") {
                let end := add(_words.slot, words.length)
                let word := words.offset
                for { let slot := _words.slot } lt(slot, end) { slot := add(slot, 1) } {
                    sstore(slot, calldataload(word))
                    word := add(word, 0x20)
                }
            }
        }
        emit Pushed(place);
        return true;
    }

    /// @inheritdoc IOracle
    function post(Certificate calldata certificate, bytes32 feedRoot) external verifying returns (bool) {
        Head head = _head;
        Place place = certificate.place;
        uint256 observedAt = place.observedAt();
        if (observedAt <= head.observedAt() || observedAt <= head.postedAt()) return false;
        if (!_isCurrent(head, place)) return false;
        bytes32 id = _verify(place, certificate, feedRoot);

        _head = head.withPosted(observedAt);
        uint256 words = (head.feeds() + 3) >> 2;
        _roots[observedAt % ROOTS] = (uint256(feedRoot) >> 64) << 64 | observedAt << 16 | words;
        emit Posted(place, id, feedRoot);
        return true;
    }

    /// @inheritdoc IOracle
    function prove(uint256 word, bytes32[] calldata path, uint16 feed_, uint64 observedAt)
        external
        returns (bool)
    {
        uint256 entry = _postedAt(observedAt);
        if (uint48(entry >> 16) != observedAt) revert NotPosted(observedAt);
        uint256 count = uint16(entry);
        if (count == 0 || _pairOf(feed_).observedAt() >= observedAt) return false;
        bytes32 root = Words.rootOf(feed_ >> 2, count, word, path);
        if ((uint256(root) ^ entry) >> 64 != 0) revert NotInReport(root);
        _storePair(feed_, Pairs.from(word, feed_, observedAt));
        return true;
    }

    /// @inheritdoc IOracle
    function update(Update[] calldata updates) external verifying returns (uint256) {
        return _update(updates);
    }

    /// @inheritdoc IOracle
    function use(
        Update[] calldata updates,
        uint16[] calldata feeds,
        uint32 maxAgeSeconds,
        uint32 maxConfidencePpm
    ) external verifying returns (uint256[] memory prices, uint256[] memory observedAtMs) {
        _update(updates);
        Head head = _head;
        prices = new uint256[](feeds.length);
        observedAtMs = new uint256[](feeds.length);
        for (uint256 i; i < feeds.length; ++i) {
            (Answer answer, uint256 observedAt) = _newest(head, feeds[i]);
            _settle(feeds[i], answer, observedAt);
            _check(head, feeds[i], answer, observedAt, maxAgeSeconds, maxConfidencePpm);
            (prices[i], observedAtMs[i]) = (answer.price(), observedAt);
        }
    }

    // Reading.

    /// @inheritdoc IOracle
    function read(uint16 feed_, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256, uint256)
    {
        Head head = _head;
        (Answer answer, uint256 observedAt) = _newest(head, feed_);
        _check(head, feed_, answer, observedAt, maxAgeSeconds, maxConfidencePpm);
        return (answer.price(), observedAt);
    }

    /// @inheritdoc IOracle
    function tryRead(uint16 feed_, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint8, uint256, uint256, uint8, uint256)
    {
        Head head = _head;
        (Answer answer, uint256 observedAt) = _newest(head, feed_);
        uint256 confidencePpm = answer.confidencePpm();
        uint256 reason = _judge(
            head, feed_, answer, confidencePpm, observedAt, maxAgeSeconds, maxConfidencePpm
        );
        return (
            uint8(reason), answer.price(), confidencePpm, uint8(answer.status()), observedAt
        );
    }

    /// @inheritdoc IOracle
    function latest(uint16 feed_) external view returns (uint256, uint256, uint8, uint256) {
        Head head = _head;
        _known(head, feed_);
        (Answer answer, uint256 observedAt) = _newest(head, feed_);
        return (answer.price(), answer.confidencePpm(), uint8(answer.status()), observedAt);
    }

    // History.

    /// @inheritdoc IOracle
    function firstAfter(uint64 time, FinalProof calldata proof, Claim calldata claim)
        external
        view
        verifying
        returns (uint64, uint64, uint256, uint256, uint8)
    {
        (uint64 previousAt, uint64 observedAt, Answer answer) = _final(proof, claim);
        if (previousAt > time || observedAt <= time) {
            revert NotFirstAfter(time, previousAt, observedAt);
        }
        return (previousAt, observedAt, answer.price(), answer.confidencePpm(), uint8(answer.status()));
    }

    /// @inheritdoc IOracle
    function finalAnswer(FinalProof calldata proof, Claim calldata claim)
        external
        view
        verifying
        returns (uint64, uint64, uint256, uint256, uint8)
    {
        (uint64 previousAt, uint64 observedAt, Answer answer) = _final(proof, claim);
        return (previousAt, observedAt, answer.price(), answer.confidencePpm(), uint8(answer.status()));
    }

    // Epochs.

    /// @inheritdoc IOracle
    function register(Registration[] calldata registrations) external verifying {
        Registry.register(_registered, registrations, network);
    }

    /// @inheritdoc IOracle
    function isRegistered(Member calldata member) external view returns (bool) {
        return _registered[Digests.member(member)];
    }

    /// @inheritdoc IOracle
    function open(Configuration calldata configuration) external {
        if (_head.feeds() != 0) revert AlreadyOpen();
        bytes32 hash = Digests.configuration(configuration);
        if (hash != _genesisConfiguration) revert AnotherConfiguration(hash, _genesisConfiguration);
        _open(0, configuration, hash, Digests.domain(network, 0, hash), 0, 0);
    }

    /// @inheritdoc IOracle
    function handover(uint64 nextEpoch, Configuration calldata configuration, Handover calldata terms)
        external verifying
        returns (bool)
    {
        Head head = _head;
        uint256 current = head.epoch();
        if (nextEpoch <= current) return false;
        if (nextEpoch != current + 1) revert EpochAhead(nextEpoch, current);
        bytes32 hash = Digests.configuration(configuration);
        bytes32 nextDomain = Digests.domain(network, nextEpoch, hash);
        _verifyHandover(current, configuration.validUntil, nextDomain, terms);
        if (configuration.feeds.length < head.feeds()) {
            revert FeedTableSize(configuration.feeds.length, head.feeds());
        }
        Catalogues.checkKept(current, head.feeds(), configuration.feeds);
        for (uint256 i; i < ROOTS; ++i) _roots[i] = 0;
        _open(
            nextEpoch, configuration, hash, nextDomain, terms.decidingId, terms.decidedAt
        );
        return true;
    }

    /// @inheritdoc IOracle
    function stored() external view returns (uint64, uint64, uint64) {
        Head head = _head;
        return (uint64(head.epoch()), uint64(head.viewNumber()), uint64(head.observedAt()));
    }

    /// @inheritdoc IOracle
    function postedAt() external view returns (uint64) {
        return uint64(_head.postedAt());
    }

    /// @inheritdoc IOracle
    function posted(uint64 observedAt) external view returns (uint16, bytes32) {
        uint256 entry = _postedAt(observedAt);
        if (uint48(entry >> 16) != observedAt) return (0, 0);
        return (uint16(entry), bytes32((entry >> 64) << 64));
    }

    /// @inheritdoc IOracle
    function domain() external view verifying returns (bytes32 domain_) {
        (, domain_,) = Committees.load(_head.epoch());
    }

    /// @inheritdoc IOracle
    function epoch() external view returns (uint64) {
        return uint64(_head.epoch());
    }

    /// @inheritdoc IOracle
    function configurationHash() external view returns (bytes32) {
        return Catalogues.configurationHash(_head.epoch());
    }

    /// @inheritdoc IOracle
    function committee() external view verifying returns (uint256, uint256, uint256) {
        (,, Terms terms) = Committees.load(_head.epoch());
        return (terms.members(), Committees.quorum(terms.members()), terms.validUntil());
    }

    /// @inheritdoc IOracle
    function epochAt(uint64 epoch_)
        external verifying
        view
        returns (bytes32, bytes32, bytes32, uint64, uint256, uint64)
    {
        (address blob, bytes32 domain_, Terms terms) = Committees.load(epoch_);
        return (
            domain_,
            Catalogues.configurationHash(epoch_),
            Committees.decidingId(blob),
            terms.decidedAt(),
            terms.members(),
            uint64(terms.validUntil())
        );
    }

    /// @inheritdoc IOracle
    function memberAt(uint64 epoch_, uint256 member)
        external
        view
        returns (address, uint256[4] memory)
    {
        return Committees.memberAt(epoch_, member);
    }

    /// @inheritdoc IOracle
    function isSigned(
        uint64 epoch_,
        bytes32 digest,
        uint256 signers,
        uint256[6] calldata signature
    ) external view verifying returns (bool) {
        (address blob,, Terms terms) = Committees.load(epoch_);
        return Committees.isSigned(blob, terms, digest, signers, signature);
    }

    /// @inheritdoc IOracle
    function feedCount() external view returns (uint256) {
        return _head.feeds();
    }

    /// @inheritdoc IOracle
    function feed(uint16 index)
        external
        view
        returns (string memory, string memory, uint8, uint32, uint32, uint8, uint8)
    {
        Head head = _head;
        _known(head, index);
        (bytes32 identity, bytes32 thresholds) = Catalogues.recordOf(head.epoch(), index);
        (Answer answer,) = _newest(head, index);
        return (
            Catalogues.nameOf(bytes12(identity)),
            Catalogues.nameOf(bytes12(identity << 96)),
            uint8(identity[24]),
            uint32(bytes4(thresholds)),
            uint32(bytes4(thresholds << 32)),
            uint8(identity[25]),
            uint8(answer.status())
        );
    }

    // Storing.

    /// Returns whether a report is of the current epoch, false if of a closed one.
    function _isCurrent(Head head, Place place) private pure returns (bool) {
        if (place.epoch() == head.epoch()) return true;
        if (place.epoch() < head.epoch()) return false;
        revert EpochAhead(place.epoch(), head.epoch());
    }

    /// Reverts unless the current committee certified a report that may be taken now.
    function _verify(Place place, Certificate calldata certificate, bytes32 feedRoot)
        private
        view
        returns (bytes32 id)
    {
        if (feedRoot == 0) revert NoFeedRoot();
        (address blob, bytes32 domain_, Terms terms) =
            Committees.load(place.epoch());
        _checkTime(place.observedAt(), terms.validUntil());
        id = Digests.headerId(
            domain_, place.viewNumber(), place.observedAt(), feedRoot, certificate.link
        );
        Committees.verify(blob, terms, id, place.signers(), certificate.signature);
    }

    /// Reverts unless the sitting committee handed over to the next D, in time.
    function _verifyHandover(
        uint256 current,
        uint64 nextValidUntil,
        bytes32 nextDomain,
        Handover calldata handover_
    ) private view {
        (address blob, bytes32 domain_, Terms terms) = Committees.load(current);
        _checkTime(handover_.decidedAt, terms.validUntil());
        _inRange("validUntil", nextValidUntil, terms.validUntil() + 1, Heads.TIME_MAX);
        bytes32 digest = Digests.handover(
            domain_, uint64(current + 1), nextDomain, handover_.decidingId, handover_.decidedAt
        );
        Committees.verify(blob, terms, digest, handover_.signers, handover_.signature);
    }

    /// Reverts unless something of this time may be taken now.
    function _checkTime(uint256 observedAt, uint256 validUntil) private view {
        unchecked {
            uint256 now_ = block.timestamp * 1000;
            uint256 latestAllowed = now_ + maxFuture;
            if (observedAt > latestAllowed) revert FromTheFuture(observedAt, latestAllowed);
            // The block's time too: keys may leak once their stakes are free, and sign into the past.
            if (observedAt > validUntil) revert Expired(validUntil, observedAt);
            if (now_ > validUntil) revert Expired(validUntil, now_);
        }
    }

    /// Ends the proofs from a posted report that is as new as what is pushed: it may be another one. The
    /// time of each feed's answer must not come to stand for two answers (O3).
    function _endProofs(uint256 observedAt) private {
        uint256 place = observedAt % ROOTS;
        if (uint48(_roots[place] >> 16) == observedAt) _roots[place] = observedAt << 16;
    }

    /// Verifies and stores what is newer; returns how many claims were.
    function _update(Update[] calldata updates) private returns (uint256 stored_) {
        for (uint256 i; i < updates.length; ++i) {
            Certificate calldata certificate = updates[i].certificate;
            Claim[] calldata claims = updates[i].claims;
            Head head = _head;
            Place place = certificate.place;
            uint256 observedAt = place.observedAt();
            if (claims.length == 0) revert NoClaims();
            if (!_isCurrent(head, place) || observedAt <= head.observedAt()) continue;
            if (!_anyOlder(claims, observedAt)) continue;

            bytes32 root = _rootOf(claims[0]);
            for (uint256 j = 1; j < claims.length; ++j) {
                bytes32 other = _rootOf(claims[j]);
                if (other != root) revert RootsDiffer(root, other);
            }
            bytes32 id = _verify(place, certificate, root);
            uint256 beside;
            for (uint256 j; j < claims.length; ++j) {
                uint256 feed_ = claims[j].feed;
                if (_pairOf(feed_).observedAt() >= observedAt) continue;
                _storePair(feed_, Pairs.from(claims[j].word, feed_, observedAt));
                beside |= Heads.besideOf(feed_);
                ++stored_;
            }
            _head = head.withUpdate(observedAt, beside);
            emit Updated(place, id, root);
        }
    }

    function _anyOlder(Claim[] calldata claims, uint256 observedAt) private view returns (bool) {
        for (uint256 i; i < claims.length; ++i) {
            if (_pairOf(claims[i].feed).observedAt() < observedAt) return true;
        }
        return false;
    }

    /// Returns what stands in the place of a report posted of this time, or of another one.
    function _postedAt(uint256 observedAt) private view returns (uint256 entry) {
        assembly ("memory-safe") {
            entry := sload(add(_roots.slot, mod(observedAt, ROOTS)))
        }
    }

    /// Returns what is stored of a feed of 16 bits beside the last push.
    function _pairOf(uint256 feed_) private view returns (Pair pair) {
        assembly ("memory-safe") {
            pair := sload(add(_pairs.slot, shr(1, feed_)))
        }
    }

    function _storePair(uint256 feed_, Pair pair) private {
        assembly ("memory-safe") {
            sstore(add(_pairs.slot, shr(1, feed_)), pair)
        }
    }

    /// Returns the word of the last push that holds the answer of a feed of 16 bits.
    function _wordOf(uint256 feed_) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(add(_words.slot, shr(2, feed_)))
        }
    }

    function _rootOf(Claim calldata claim) private pure returns (bytes32) {
        return Words.rootOf(claim.feed >> 2, claim.words, claim.word, claim.path);
    }

    /// Stores an epoch that was shown to be the next.
    function _open(
        uint64 epoch_,
        Configuration calldata configuration,
        bytes32 hash,
        bytes32 domain_,
        bytes32 decidingId,
        uint64 decidedAt
    ) private {
        uint256 n = configuration.members.length;
        uint256 feeds = configuration.feeds.length;
        if (n == 0 || n > Committees.MEMBERS_MAX) revert CommitteeSize(n);
        if (feeds == 0 || feeds > Catalogues.FEEDS_MAX) revert FeedTableSize(feeds, 1);
        _inRange("carry", configuration.timing.carry, 0, Heads.CARRY_MAX);
        _inRange("validUntil", configuration.validUntil, 0, Heads.TIME_MAX);
        Registry.check(_registered, configuration.members);
        // The order of the blobs gives them their ordinals.
        Committees.store(
            configuration.members, domain_, configuration.validUntil, decidingId, decidedAt
        );
        Catalogues.store(configuration.feeds, hash);
        _head = _head.withEpoch(epoch_, configuration.timing.carry, feeds);
        emit Opened(epoch_, domain_, hash, decidingId, decidedAt);
    }

    // Judging.

    /// Returns a feed's newest answer and its time, or what the transaction settled on.
    function _newest(Head head, uint256 feed_)
        private
        view
        returns (Answer answer, uint256 observedAt)
    {
        uint256 settled;
        assembly ("memory-safe") {
            settled := tload(feed_)
        }
        if (settled != 0) return (Answer.wrap(uint64(settled)), uint48(settled >> 64));
        observedAt = head.observedAt();
        if (Head.unwrap(head) & Heads.besideOf(feed_) != 0) {
            Pair pair = _pairOf(feed_);
            // Of two answers of one time the pair's was there first: none is proven or updated after a push
            // of its time.
            if (pair.observedAt() >= observedAt) return (pair.answerOf(feed_), pair.observedAt());
        }
        if (feed_ == 0) return (head.firstAnswer(), observedAt);
        return (Words.answerAt(_wordOf(feed_), feed_), observedAt);
    }

    /// Makes an answer the feed's only one for the rest of the transaction.
    function _settle(uint256 feed_, Answer answer, uint256 observedAt) private {
        uint256 settled = 1 << 255 | observedAt << 64 | Answer.unwrap(answer);
        assembly ("memory-safe") {
            tstore(feed_, settled)
        }
    }

    /// Reverts with the reason unless an answer is fit for use.
    function _check(
        Head head,
        uint256 feed_,
        Answer answer,
        uint256 observedAt,
        uint256 maxAgeSeconds,
        uint256 maxConfidencePpm
    ) private view {
        uint256 confidencePpm = answer.confidencePpm();
        uint256 reason = _judge(
            head, feed_, answer, confidencePpm, observedAt, maxAgeSeconds, maxConfidencePpm
        );
        if (reason == NONE) return;
        if (reason == uint256(Reason.UnknownFeed)) revert UnknownFeed(feed_, head.feeds());
        if (reason == uint256(Reason.Unavailable)) revert Unavailable(feed_, answer.status());
        if (reason == uint256(Reason.Halted)) revert Halted(feed_);
        if (reason == uint256(Reason.Stale)) {
            revert Stale(feed_, _age(head, answer, observedAt), maxAgeSeconds * 1000);
        }
        revert Uncertain(feed_, confidencePpm, maxConfidencePpm);
    }

    /// Returns why an answer is not fit for use, a `Reason`.
    function _judge(
        Head head,
        uint256 feed_,
        Answer answer,
        uint256 confidencePpm,
        uint256 observedAt,
        uint256 maxAgeSeconds,
        uint256 maxConfidencePpm
    ) private view returns (uint256) {
        unchecked {
            if (feed_ >= head.feeds()) return uint256(Reason.UnknownFeed);
            // Live, carried and degraded follow each other. A status that this contract does not know gives
            // no price either.
            uint256 status = answer.status();
            if (status - Answers.LIVE > Answers.DEGRADED - Answers.LIVE || answer.price() == 0) {
                return uint256(status == Answers.HALTED ? Reason.Halted : Reason.Unavailable);
            }
            if (_age(head, answer, observedAt) > maxAgeSeconds * 1000) return uint256(Reason.Stale);
            if (confidencePpm > maxConfidencePpm) return uint256(Reason.Uncertain);
            return NONE;
        }
    }

    /// Returns the answer's age in milliseconds; a carried one counts as older by the carry.
    function _age(Head head, Answer answer, uint256 observedAt) private view returns (uint256 age) {
        unchecked {
            uint256 now_ = block.timestamp * 1000;
            // Observation may be ahead of the block's time by up to `maxFuture`.
            if (observedAt < now_) age = now_ - observedAt;
            if (answer.status() == Answers.CARRIED) age += head.carry();
        }
    }

    /// Returns what a proof of finality says; reverts unless it holds.
    function _final(FinalProof calldata proof, Claim calldata claim)
        private
        view
        returns (uint64 previousAt, uint64 observedAt, Answer answer)
    {
        uint64 decidedAt = _verifyFinal(proof);
        bytes32 root = _rootOf(claim);
        if (root != proof.blocks[0].feedRoot) revert NotInReport(root);
        previousAt = proof.parent.view_ == 0 ? decidedAt : proof.parent.observedAt;
        observedAt = proof.blocks[0].observedAt;
        answer = Words.answerAt(claim.word, claim.feed);
    }

    /// Reverts unless the certificate of a proof's last block holds and still counts as history.
    /// @return decidedAt When the block that decided the proof's epoch was observed.
    function _verifyFinal(FinalProof calldata proof) private view returns (uint64 decidedAt) {
        (address blob, bytes32 domain_, Terms terms) =
            Committees.load(proof.epoch);
        unchecked {
            uint256 now_ = block.timestamp * 1000;
            uint256 end = terms.validUntil() + evidenceWindow;
            // Later the keys may have leaked, and with them any history could be signed.
            if (now_ > end) revert Expired(end, now_);
        }
        bytes32 id = Finality.lastId(domain_, proof);
        Committees.verify(blob, terms, id, proof.signers, proof.signature);
        return terms.decidedAt();
    }

    function _known(Head head, uint256 feed_) private pure {
        if (feed_ >= head.feeds()) revert UnknownFeed(feed_, head.feeds());
    }

    function _inRange(string memory what, uint256 value, uint256 minimum, uint256 maximum)
        private
        pure
    {
        if (value < minimum || value > maximum) revert OutOfRange(what, value, minimum, maximum);
    }
}
