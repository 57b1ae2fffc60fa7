// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {
    Certificate,
    Claim,
    Configuration,
    Handover,
    IOracle,
    Reason,
    Update
} from "../src/IOracle.sol";
import {ANY_ERROR, Model, RETURNS} from "./Model.sol";
import {OracleTest, Report} from "./OracleTest.sol";
import {Signers} from "./Signers.sol";
import {Spec} from "./Spec.sol";
import {check, vm} from "./Vm.sol";

/// Calls an Oracle in every way, with reports that are really signed and with faulty ones, and holds
/// each outcome against the model. Each of its functions is one transaction.
contract Feeder is OracleTest {
    IOracle public immutable oracle;
    Model public immutable model;
    Signers private immutable _genesis;

    Signers[] private _committees;
    uint64 private _next;
    /// Words of what was posted, by time modulo 17.
    mapping(uint256 place => uint256[]) private _postedWords;
    /// What quorums signed: feed, time and answer, hashed.
    mapping(bytes32 => bool) public certified;
    /// From which seed a report of a time was certified; others of that time may have been too.
    mapping(uint64 time => uint256) private _bodyAt;
    /// The times of reports that were certified.
    uint64[] private _times;
    /// What was last seen of a feed.
    mapping(uint256 feed => uint256) private _seenAt;
    mapping(uint256 feed => bytes32) private _seen;
    /// The feeds that the transaction has settled.
    uint256 private transient _used;
    /// How often something was accepted, by kind: a run that accepts nothing tests nothing.
    mapping(bytes32 kind => uint256) public accepted;

    constructor() {
        vm.warp(START);
        _genesis = new Signers(4, 1, 6, nowMs() + DAY, 30_000);
        _committees.push(_genesis);
        oracle = deploy(_genesis);
        model = new Model();
        model.open(0, _genesis.validUntil(), 4, 6, 30_000);
    }

    // What forge calls.

    /// O3: of each feed the time only grows, and nothing else changes its answer.
    modifier watched() {
        for (uint16 feed; feed < model.feeds(); ++feed) {
            (uint256 price, uint256 confidence, uint8 status, uint256 time) = oracle.latest(feed);
            bytes32 answer = keccak256(abi.encode(price, confidence, status));
            check(time >= _seenAt[feed], "O3: time fell");
            if (time == _seenAt[feed] && _seen[feed] != 0) {
                check(answer == _seen[feed], "O3: another answer of one time");
            }
            (_seenAt[feed], _seen[feed]) = (time, answer);
        }
        _;
    }

    function wait(uint256 seed) external watched {
        uint256 seconds_ = _random(seed, "wait") % 60;
        if (_random(seed, "long") % 32 == 0) seconds_ *= 600;
        vm.warp(block.timestamp + seconds_);
    }

    function push(uint256 seed) external watched {
        (Report memory r, bool genuine) = _report(seed);
        _push(r, genuine);
    }

    function post(uint256 seed) external watched {
        (Report memory r, bool genuine) = _report(seed);
        (bytes4 expected, bool stored) = model.post(r, genuine);
        bytes memory output = _call(abi.encodeCall(IOracle.post, (certificateOf(r), r.feedRoot)), expected);
        if (expected != RETURNS) return;
        check(abi.decode(output, (bool)) == stored, "post: stored");
        if (!stored) return;
        _postedWords[r.observedAt % 17] = r.words;
        ++accepted["post"];
    }

    function prove(uint256 seed) external watched {
        // Most often one that is there.
        uint256 place = _random(seed, "place") % 17;
        for (uint256 i; i < 17 && !model.posted(place).present; ++i) place = (place + 1) % 17;
        uint64 time = model.posted(place).observedAt;
        if (_random(seed, "absent") % 16 == 0) time += 1 + uint64(_random(seed, "time") % 34);
        uint16 feed = uint16(_random(seed, "feed") % model.feeds());
        uint256[] memory words = _postedWords[time % 17];
        if (words.length == 0) words = new uint256[](model.words());
        bool beyond = feed / 4 >= words.length;
        if (beyond) feed = 0;
        uint256 word = words[feed / 4];
        bytes32[] memory path = TestReports.path(words, feed / 4);
        bool honest = true;
        uint256 fault = _random(seed, "fault") % 8;
        if (fault == 0) (word, honest) = (word ^ 1 << _random(seed, "bit") % 256, false);
        if (fault == 1) (path, honest) = (_longer(path), false);
        if (fault == 2) (feed, honest) = (feed ^ 4, false);
        (bytes4 expected, bool stored) = model.prove(time, feed, word, honest);
        bytes memory output = _call(abi.encodeCall(IOracle.prove, (word, path, feed, time)), expected);
        if (expected != RETURNS) return;
        check(abi.decode(output, (bool)) == stored, "prove: stored");
        if (stored) ++accepted["prove"];
    }

    function update(uint256 seed) external watched {
        (Report memory r, bool genuine) = _report(seed);
        (Claim[] memory claims, bool honest) = _claims(r, seed);
        _update(r, claims, genuine, honest);
    }

    /// O13: whatever is stored between, one transaction sees one price.
    function useTwice(uint256 seed) external watched {
        uint16[] memory feeds = new uint16[](1);
        feeds[0] = uint16(_random(seed, "used") % model.feeds());
        if (_used >> feeds[0] & 1 == 1) return;
        (Report memory r, bool genuine) = _report(seed);
        (Claim[] memory claims, bool honest) = _claims(r, seed);
        uint256 price;
        uint256 time;
        {
            // The model has no way back, so it learns of an update only if the use succeeds.
            Update[] memory updates = new Update[](genuine && honest && claims.length > 0 ? 1 : 0);
            if (updates.length > 0) updates[0] = Update(certificateOf(r), claims);
            (bool done, bytes memory output) = address(oracle).call(
                abi.encodeCall(IOracle.use, (updates, feeds, type(uint32).max, type(uint32).max))
            );
            if (!done) return;
            _used |= 1 << feeds[0];
            if (updates.length > 0) {
                (bytes4 expected, uint256 stored) = model.update(r, claims, true, true);
                check(expected == RETURNS, "use: took what the model refuses");
                if (stored > 0) ++accepted["use"];
            }
            check(model.judge(feeds[0], type(uint32).max, type(uint32).max) == Reason.None, "O6: use");
            uint256[] memory prices;
            uint256[] memory times;
            (prices, times) = abi.decode(output, (uint256[], uint256[]));
            (price, time) = (prices[0], times[0]);
            (Spec.Answer memory answer, uint64 observedAt) = model.newest(feeds[0]);
            check(price == answer.price && time == observedAt, "use: another price");
        }

        (r, genuine) = _report(_random(seed, "second"));
        if (_random(seed, "way") % 2 == 0) {
            _push(r, genuine);
        } else {
            (claims, honest) = _claims(r, _random(seed, "second"));
            _update(r, claims, genuine, honest);
        }
        (uint256[] memory again, uint256[] memory timesAgain) =
            oracle.use(new Update[](0), feeds, type(uint32).max, type(uint32).max);
        check(again[0] == price && timesAgain[0] == time, "O13: use");
        (uint256 price2, uint256 readAt) = oracle.read(feeds[0], type(uint32).max, type(uint32).max);
        check(price2 == price && readAt == time, "O13: read");
        (uint8 reason, uint256 tried,,, uint256 triedAt) =
            oracle.tryRead(feeds[0], type(uint32).max, type(uint32).max);
        check(reason == 0 && tried == price && triedAt == time, "O13: tryRead");
        (uint256 newest,,, uint256 newestAt) = oracle.latest(feeds[0]);
        check(newest == price && newestAt == time, "O13: latest");
    }

    /// O6: `read` returns exactly what is fit for use, `tryRead` agrees and never reverts.
    function read(uint16 feed, uint32 age, uint32 confidence, uint256 seed) external watched {
        if (seed % 8 != 0) feed = uint16(feed % model.feeds());
        if (seed % 3 != 0) age = uint32(age % 300);
        if (seed % 5 == 0) {
            // To the very second.
            (, uint64 time) = model.newest(feed);
            if (nowMs() > time) age = uint32((nowMs() - time) / 1000);
        }
        if (seed % 2 == 0) confidence %= 1_000_000;
        Reason reason = model.judge(feed, age, confidence);
        (Spec.Answer memory answer, uint64 observedAt) = model.newest(feed);
        (uint8 given, uint256 price, uint256 confidencePpm, uint8 status, uint256 givenAt) =
            oracle.tryRead(feed, age, confidence);
        check(given == uint8(reason), "O6: reason");
        if (reason != Reason.UnknownFeed) {
            check(price == answer.price && status == answer.status, "O2: tryRead");
            check(confidencePpm == answer.confidencePpm && givenAt == observedAt, "O2: tryRead");
        }
        bytes memory output =
            _call(abi.encodeCall(IOracle.read, (feed, age, confidence)), _errorOf(reason));
        if (reason != Reason.None) return;
        (uint256 priceRead, uint256 at_) = abi.decode(output, (uint256, uint256));
        check(priceRead == answer.price && priceRead != 0 && at_ == observedAt, "O2: read");
        ++accepted["read"];
    }

    /// O11, O12: who follows the committee.
    function handover(uint256 seed) external watched {
        // Most transactions belong to an epoch's middle.
        if (seed % 4 != 0) return;
        Signers sitting = _committees[model.epoch()];
        uint256 fault = faultOfHandover(seed);
        uint256 n = 1 + _random(seed, "n") % 5;
        uint256 feeds = model.feeds() + _random(seed, "feeds") % 3;
        uint64 validUntil = sitting.validUntil() + DAY;
        if (fault == 0) feeds = model.feeds() - 1;
        if (fault == 1) validUntil = sitting.validUntil();
        // An operator may stay with its keys: then it is registered already.
        Signers next = new Signers(
            n,
            fault == 10
                ? _genesis.RENAMED()
                : _random(seed, "stays") % 3 == 0 ? 1 : _random(seed, "keys"),
            feeds,
            validUntil,
            60_000
        );
        bytes32 network = oracle.network();
        if (fault != 2) oracle.register(next.registrations(network));
        uint64 nextEpoch = model.epoch() + 1;
        if (fault == 3) nextEpoch += 1;
        bytes32 nextDomain = Spec.domain(network, nextEpoch, next.hash());
        Handover memory terms;
        terms.decidingId = keccak256(abi.encode(seed));
        terms.decidedAt = uint64(nowMs() - _random(seed, "decided") % 20_000);
        if (fault == 4) terms.decidedAt = nowMs() + MAX_FUTURE + 1;
        terms.signers = _quorumOf(sitting.n(), _random(seed, "signers"));
        if (fault == 5) terms.signers = _fewer(sitting.n(), _random(seed, "signers"));
        bytes32 digest = Spec.handover(
            domainOf(_genesis, sitting, model.epoch()),
            nextEpoch,
            nextDomain,
            terms.decidingId,
            terms.decidedAt
        );
        terms.signature = sitting.sign(terms.signers, digest);
        if (fault == 6) terms.decidedAt -= 1;
        if (fault == 7) terms.decidingId = 0;
        Configuration memory configuration = next.configuration();
        if (fault == 8) configuration.validUntil += 1;
        if (fault == 9) terms.signature = next.sign(2 ** n - 1, digest);
        bool expired = nowMs() > sitting.validUntil() || terms.decidedAt > sitting.validUntil();
        bool registered = fault != 2 || oracle.isRegistered(configuration.members[n - 1]);
        bool refused = (fault < 11 && fault != 2) || expired || !registered;
        bytes memory output = _call(
            abi.encodeCall(IOracle.handover, (nextEpoch, configuration, terms)),
            refused ? ANY_ERROR : RETURNS
        );
        if (refused) return;
        check(abi.decode(output, (bool)), "handover: opened");
        model.open(nextEpoch, validUntil, n, feeds, 60_000);
        _committees.push(next);
        for (uint256 i; i < 17; ++i) delete _postedWords[i];
        ++accepted["handover"];
        // O3 of handovers: once more does nothing.
        output = _call(abi.encodeCall(IOracle.handover, (nextEpoch, configuration, terms)), RETURNS);
        check(!abi.decode(output, (bool)), "handover: twice");
    }

    /// What is wrong with the handover of a seed: one of eleven things, or nothing.
    function faultOfHandover(uint256 seed) public pure returns (uint256) {
        return _random(seed, "fault") % 24;
    }

    // What it builds on.

    function _push(Report memory r, bool genuine) private {
        (bytes4 expected, bool stored) = model.push(r, genuine);
        bytes memory output = _call(abi.encodeCall(IOracle.push, (certificateOf(r), r.words)), expected);
        if (expected != RETURNS) return;
        check(abi.decode(output, (bool)) == stored, "push: stored");
        if (stored) ++accepted["push"];
    }

    function _update(Report memory r, Claim[] memory claims, bool genuine, bool honest) private {
        (bytes4 expected, uint256 stored) = model.update(r, claims, genuine, honest);
        Update[] memory updates = new Update[](1);
        updates[0] = Update(certificateOf(r), claims);
        bytes memory output = _call(abi.encodeCall(IOracle.update, (updates)), expected);
        if (expected != RETURNS) return;
        check(abi.decode(output, (uint256)) == stored, "update: stored");
        if (stored > 0) ++accepted["update"];
    }

    /// Calls the Oracle, which must return or revert as told.
    function _call(bytes memory input, bytes4 expected) private returns (bytes memory output) {
        bool done;
        (done, output) = address(oracle).call(input);
        if (expected == RETURNS) {
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(output, 0x20), mload(output))
                }
            }
        } else if (done) {
            check(false, "took what must be refused");
        } else if (expected != ANY_ERROR) {
            check(bytes4(output) == expected, "refused for another reason");
        } else {
            check(output.length >= 4 && bytes4(output) != 0x4e487b71, "a panic or no reason");
        }
    }

    /// Returns a report, and whether the committee that it names signed exactly this.
    function _report(uint256 seed) private returns (Report memory r, bool genuine) {
        genuine = true;
        uint64 current = model.epoch();
        r.epoch = current;
        uint256 which = _random(seed, "epoch") % 16;
        if (which == 0 && current > 0) r.epoch = uint64(_random(seed, "closed") % current);
        if (which == 1) r.epoch = current + 1;
        r.observedAt = _time(_random(seed, "time"));
        // Certified siblings may share a time: half of those that do are of the same report.
        bool same = _bodyAt[r.observedAt] != 0 && _random(seed, "sibling") % 2 == 0;
        uint256 body = same ? _bodyAt[r.observedAt] : seed;
        r.view_ = uint64(_random(body, "view") % 64 + 1);
        r.link = keccak256(abi.encode(body));
        r.words = new uint256[](model.words());
        for (uint256 i; i < model.feeds(); ++i) {
            uint256 answer = _answer(_random(body, "answer") ^ i << 200);
            r.words[i / 4] |= answer << 64 * (3 - i % 4);
        }
        if (_random(seed, "empty") % 64 == 0) r.words = new uint256[](0);

        Signers signers = _committees[r.epoch > current ? current : r.epoch];
        r.signers = _signers(signers.n(), _random(seed, "signers"));
        bytes32 domain = domainOf(_genesis, signers, r.epoch);
        uint256 fault = _random(seed, "fault") % 40;
        if (fault == 0) (domain, genuine) = (keccak256("another network"), false);
        r = signed(r, signers, domain);
        if (fault == 1) (r.observedAt, genuine) = (r.observedAt + 1, false);
        if (fault == 2) (r.view_, genuine) = (r.view_ + 1, false);
        if (fault == 3) (r.link, genuine) = (0, false);
        if (fault == 4) {
            uint256[6] memory infinity;
            (r.signature, genuine) = (infinity, false);
        }
        if (fault == 5) (r.signature[5], genuine) = (r.signature[5] ^ 1, false);
        if (fault == 6) {
            uint256 others = _quorumOf(signers.n(), _random(seed, "others"));
            if (others != r.signers) (r.signers, genuine) = (others, false);
        }
        if (fault == 7 && r.words.length > 0) {
            // O2: one bit of a word is another word. The root that was signed stays.
            r.words[0] ^= 1 << _random(seed, "bit") % 256;
            genuine = false;
            r.feedRoot = TestReports.root(r.words);
        }
        bool quorate = r.signers < 2 ** signers.n()
            && Spec.countBits(r.signers) >= Spec.quorum(signers.n());
        if (!genuine || !quorate || r.words.length == 0) return (r, genuine);
        _bodyAt[r.observedAt] = body;
        _times.push(r.observedAt);
        for (uint256 i; i < 4 * r.words.length; ++i) {
            Spec.Answer memory answer = Spec.answerAt(r.words[i / 4], i);
            certified[keccak256(abi.encode(i, r.observedAt, answer))] = true;
        }
    }

    /// Returns claims of a report, and whether they are.
    function _claims(Report memory r, uint256 seed)
        private
        view
        returns (Claim[] memory claims, bool honest)
    {
        honest = true;
        if (r.words.length == 0 || _random(seed, "none") % 32 == 0) return (claims, false);
        claims = new Claim[](1 + _random(seed, "claims") % 3);
        for (uint256 i; i < claims.length; ++i) {
            uint16 feed = uint16((_random(seed, "claimed") >> 16 * i) % model.feeds());
            claims[i] = Claim(
                feed, uint16(r.words.length), r.words[feed / 4], TestReports.path(r.words, feed / 4)
            );
        }
        Claim memory last = claims[claims.length - 1];
        uint256 fault = _random(seed, "claim fault") % 24;
        if (fault == 0) (last.word, honest) = (last.word ^ 1, false);
        if (fault == 1) (last.words, honest) = (last.words + 1, false);
        if (fault == 2) (last.path, honest) = (_longer(last.path), false);
        if (fault == 3) (last.feed, honest) = (last.feed ^ 4, false);
    }

    function _longer(bytes32[] memory path) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](path.length + 1);
        for (uint256 i; i < path.length; ++i) longer[i] = path[i];
    }

    function _time(uint256 random) private view returns (uint64) {
        uint256 way = random % 24;
        if (way == 0) return model.pushedAt();
        if (way == 1) return model.postedAt();
        if (way == 2) return nowMs() + MAX_FUTURE;
        if (way == 3) return nowMs() + MAX_FUTURE + 1;
        if (way == 4) return uint64(1 + random % nowMs());
        if (way == 5) return model.validUntil();
        if (way == 6) return model.pushedAt() + 1;
        if (way < 14 && _times.length > 0) {
            uint256 back = 1 + (random >> 32) % 6;
            return _times[back > _times.length ? 0 : _times.length - back];
        }
        return uint64(nowMs() - (random >> 32) % 30_000);
    }

    function _answer(uint256 random) private pure returns (uint256) {
        random = uint256(keccak256(abi.encode(random)));
        // Halted now and then, unknown ones too, else such as give a price.
        uint256 status = 1 + (random >> 8) % 3;
        if (random % 8 == 0) status = random % 16 == 0 ? 4 : (random >> 8) % 16;
        uint256 confidence = (random >> 16) % 16 == 0 ? 4095 : (random >> 32) % 4096;
        uint256 price = (random >> 48) % 32 == 0 ? 0 : (random >> 64) % 2 ** 48;
        return price << 16 | confidence << 4 | status;
    }

    function _signers(uint256 n, uint256 random) private pure returns (uint256) {
        uint256 way = random % 16;
        if (way == 0) return _fewer(n, random >> 8);
        if (way == 1) return _quorumOf(n, random >> 8) | 1 << (n + (random >> 200) % (128 - n));
        return _quorumOf(n, random >> 8);
    }

    /// Returns at least a quorum of n members.
    function _quorumOf(uint256 n, uint256 random) private pure returns (uint256 signers) {
        signers = 2 ** n - 1;
        uint256 absent = random % (n - Spec.quorum(n) + 1);
        for (uint256 i; i < absent; ++i) signers &= ~(1 << (random >> 8 * (i + 1)) % n);
    }

    /// Returns one less than a quorum.
    function _fewer(uint256 n, uint256 random) private pure returns (uint256 signers) {
        signers = 2 ** n - 1;
        for (uint256 i = random; Spec.countBits(signers) >= Spec.quorum(n); ++i) {
            signers &= ~(1 << i % n);
        }
    }

    function _errorOf(Reason reason) private pure returns (bytes4) {
        if (reason == Reason.None) return RETURNS;
        if (reason == Reason.UnknownFeed) return IOracle.UnknownFeed.selector;
        if (reason == Reason.Unavailable) return IOracle.Unavailable.selector;
        if (reason == Reason.Halted) return IOracle.Halted.selector;
        if (reason == Reason.Stale) return IOracle.Stale.selector;
        return IOracle.Uncertain.selector;
    }

    function _random(uint256 seed, string memory what) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, what)));
    }
}
