// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {Claim, FinalProof, IOracle, Place, Reason, Update} from "../IOracle.sol";
import {Certificates} from "../libraries/Certificates.sol";
import {Places} from "../libraries/Places.sol";
import {Reads} from "../libraries/Reads.sol";
import {Answer, Answers, Words} from "../libraries/Words.sol";
import {Limits, OutOfRange, Unfit} from "./FeedAdapter.sol";

/// A price as Pyth's `PythStructs.Price` has it: price ± conf, times 10**expo.
struct Price {
    int64 price;
    uint64 conf;
    int32 expo;
    uint256 publishTime;
}

/// As `PythStructs.PriceFeed`.
struct PriceFeed {
    bytes32 id;
    Price price;
    /// No such average is agreed: price 0, and a confidence that no check lets pass.
    Price emaPrice;
}

/// As `PythStructs.TwapPriceFeed`.
struct TwapPriceFeed {
    bytes32 id;
    uint64 startTime;
    uint64 endTime;
    Price twap;
    uint32 downSlotsRatio;
}

/// @title All feeds of an Oracle as Pyth's contracts show theirs (`IPyth`)
/// @notice The id of a feed is the first 240 bits of the Oracle's `network()`, then the feed's index in 16 bits:
/// never to be mistaken for a feed of another network, or for one of Pyth. `priceIdOf` finds it by the pair.
/// Prices are passed on as everywhere: live or degraded, within this adapter's limits, `getPriceUnsafe` too.
///
/// An update is `abi.encode(Update)`, of `IOracle`. For `parsePriceFeedUpdatesUnique` it is
/// `abi.encode(FinalProof, Claim)`. Nothing costs a fee.
contract PythAdapter {
    using Places for Place;

    // As Pyth names them.
    error InvalidArgument();
    error InvalidUpdateData();
    error NoFreshUpdate();
    error PriceFeedNotFound();
    error PriceFeedNotFoundWithinRange();
    error StalePrice();

    /// There is no fee, so what was sent would be lost.
    error NoFee(uint256 value);
    /// No average of earlier prices is agreed: nothing stands for it.
    error NoAverage();

    uint256 private constant PER_MILLION = 1_000_000;
    /// So many feeds' decimals stand in this contract's code; those of later ones are asked of the Oracle.
    uint256 private constant KNOWN_FEEDS = 128;

    /// Whose feeds they are.
    IOracle public immutable oracle;
    /// The oldest answer passed on, by observation time.
    uint32 public immutable maxAgeSeconds;
    /// The least certain answer passed on, parts per million of the price.
    uint32 public immutable maxConfidencePpm;

    uint256 private immutable _network;
    uint256 private immutable _known;
    // A byte for each feed, the first uppermost.
    uint256 private immutable _decimals0;
    uint256 private immutable _decimals1;
    uint256 private immutable _decimals2;
    uint256 private immutable _decimals3;

    constructor(IOracle oracle_, Limits memory limits) {
        if (limits.maxAgeSeconds == 0) {
            revert OutOfRange("maxAgeSeconds", 0, 1, type(uint32).max);
        }
        oracle = oracle_;
        maxAgeSeconds = limits.maxAgeSeconds;
        maxConfidencePpm = limits.maxConfidencePpm;
        _network = uint256(oracle_.network()) >> 16;
        uint256 count = oracle_.feedCount();
        if (count > KNOWN_FEEDS) count = KNOWN_FEEDS;
        uint256[4] memory decimals;
        for (uint256 i; i < count; ++i) {
            (,, uint8 scale,,,,) = oracle_.feed(uint16(i));
            decimals[i >> 5] |= uint256(scale) << (8 * (31 - (i & 31)));
        }
        _known = count;
        (_decimals0, _decimals1) = (decimals[0], decimals[1]);
        (_decimals2, _decimals3) = (decimals[2], decimals[3]);
    }

    // Reading.

    /// @notice Returns the newest price, at most `maxAgeSeconds` of this adapter old.
    function getPriceUnsafe(bytes32 id) external view returns (Price memory) {
        return _priceOf(id, maxAgeSeconds);
    }

    /// @notice Returns the newest price, at most `age` seconds old, and never older than the adapter's limit.
    function getPriceNoOlderThan(bytes32 id, uint256 age) external view returns (Price memory) {
        return _priceOf(id, age < maxAgeSeconds ? uint32(age) : maxAgeSeconds);
    }

    /// @notice Reverts: no such average is agreed.
    function getEmaPriceUnsafe(bytes32) external pure returns (Price memory) {
        revert NoAverage();
    }

    /// @notice Reverts: no such average is agreed.
    function getEmaPriceNoOlderThan(bytes32, uint256) external pure returns (Price memory) {
        revert NoAverage();
    }

    /// @notice Returns the adapter's limit of age, seconds.
    function getValidTimePeriod() external view returns (uint256) {
        return maxAgeSeconds;
    }

    /// @notice Returns whether the Oracle has this feed.
    function priceFeedExists(bytes32 id) external view returns (bool) {
        return uint256(id) >> 16 == _network && uint16(uint256(id)) < oracle.feedCount();
    }

    /// @notice Returns the id of a pair, as in ("BTC", "USD"); reverts if the Oracle has none. For use off
    /// chain: it looks through the table.
    function priceIdOf(string calldata base, string calldata quote) external view returns (bytes32) {
        uint256 count = oracle.feedCount();
        for (uint256 i; i < count; ++i) {
            (string memory b, string memory q,,,,,) = oracle.feed(uint16(i));
            if (
                keccak256(bytes(b)) == keccak256(bytes(base))
                    && keccak256(bytes(q)) == keccak256(bytes(quote))
            ) return _idOf(uint16(i));
        }
        revert PriceFeedNotFound();
    }

    /// @notice Returns the pair that an id stands for; reverts if there is none.
    function pairOf(bytes32 id) external view returns (string memory base, string memory quote) {
        (base, quote,,,,,) = oracle.feed(_feedOf(id));
    }

    // Updating.

    /// @notice Returns 0.
    function getUpdateFee(bytes[] calldata) external pure returns (uint256) {
        return 0;
    }

    /// @notice Returns 0.
    function getTwapUpdateFee(bytes[] calldata) external pure returns (uint256) {
        return 0;
    }

    /// @notice Stores what is newer of the updates, as `IOracle.update` does; reverts if one is wrong.
    function updatePriceFeeds(bytes[] calldata updateData) external payable {
        _refuseFee();
        _update(updateData);
    }

    /// @notice Does so if a feed's price was published before its time in `publishTimes`, else reverts
    /// with NoFreshUpdate.
    function updatePriceFeedsIfNecessary(
        bytes[] calldata updateData,
        bytes32[] calldata priceIds,
        uint64[] calldata publishTimes
    ) external payable {
        _refuseFee();
        if (priceIds.length != publishTimes.length) revert InvalidArgument();
        for (uint256 i; i < priceIds.length; ++i) {
            (,,, uint256 observedAtMs) = oracle.latest(_feedOf(priceIds[i]));
            if (_seconds(observedAtMs) < publishTimes[i]) return _update(updateData);
        }
        revert NoFreshUpdate();
    }

    // Parsing: prices out of updates, whatever is stored.

    /// @notice Returns a price of each id out of the updates, published in the given time, both ends counted.
    /// @dev Reports of the Oracle's current epoch only, as those of a closed one could have been signed later.
    function parsePriceFeedUpdates(
        bytes[] calldata updateData,
        bytes32[] calldata priceIds,
        uint64 minPublishTime,
        uint64 maxPublishTime
    ) external payable returns (PriceFeed[] memory priceFeeds) {
        _refuseFee();
        (priceFeeds,) = _parse(updateData, priceIds, minPublishTime, maxPublishTime);
    }

    /// @notice Returns the first price of each id that was published in the given time: in the one *final* report
    /// that is not before its begin while the report before it is.
    /// @dev One proof for each id, in the same order. Whoever calls has no choice of the report.
    function parsePriceFeedUpdatesUnique(
        bytes[] calldata updateData,
        bytes32[] calldata priceIds,
        uint64 minPublishTime,
        uint64 maxPublishTime
    ) external payable returns (PriceFeed[] memory priceFeeds) {
        _refuseFee();
        (priceFeeds,) = _parseUnique(updateData, priceIds, minPublishTime, maxPublishTime);
    }

    /// @notice Does what the two above do, and stores the updates if asked to.
    /// @param checkUniqueness As `parsePriceFeedUpdatesUnique`; its proofs cannot be stored.
    /// @param checkUpdateDataIsMinimal Whether to revert if there are more updates than ids.
    /// @return priceFeeds As above.
    /// @return slots The view of each price's report.
    function parsePriceFeedUpdatesWithConfig(
        bytes[] calldata updateData,
        bytes32[] calldata priceIds,
        uint64 minAllowedPublishTime,
        uint64 maxAllowedPublishTime,
        bool checkUniqueness,
        bool checkUpdateDataIsMinimal,
        bool storeUpdatesIfFresh
    ) external payable returns (PriceFeed[] memory priceFeeds, uint64[] memory slots) {
        _refuseFee();
        if (checkUpdateDataIsMinimal && updateData.length > priceIds.length) {
            revert InvalidArgument();
        }
        if (checkUniqueness) {
            if (storeUpdatesIfFresh) revert InvalidArgument();
            return _parseUnique(updateData, priceIds, minAllowedPublishTime, maxAllowedPublishTime);
        }
        if (storeUpdatesIfFresh) _update(updateData);
        return _parse(updateData, priceIds, minAllowedPublishTime, maxAllowedPublishTime);
    }

    /// @notice Reverts: no such average is agreed.
    function parseTwapPriceFeedUpdates(bytes[] calldata, bytes32[] calldata)
        external
        payable
        returns (TwapPriceFeed[] memory)
    {
        revert NoAverage();
    }

    function _priceOf(bytes32 id, uint32 maxAge) private view returns (Price memory) {
        uint16 feed = _feedOf(id);
        (
            uint256 reason,
            uint256 price,
            uint256 confidencePpm,
            uint256 status,
            uint256 observedAtMs
        ) = Reads.tryRead(IFeedReader(address(oracle)), feed, maxAge, maxConfidencePpm);
        if (reason != uint256(Reason.None)) {
            if (reason == uint256(Reason.UnknownFeed)) revert PriceFeedNotFound();
            if (reason == uint256(Reason.Stale)) revert StalePrice();
            revert Unfit(feed, Reason(reason), uint8(status), observedAtMs);
        }
        return _passedOn(feed, price, confidencePpm, status, observedAtMs);
    }

    /// Returns a price that is not zero if its status and confidence let it pass, else reverts.
    function _passedOn(
        uint16 feed,
        uint256 price,
        uint256 confidencePpm,
        uint256 status,
        uint256 observedAtMs
    ) private view returns (Price memory) {
        if (status != Answers.LIVE && status != Answers.DEGRADED) {
            revert Unfit(feed, Reason.None, uint8(status), observedAtMs);
        }
        unchecked {
            // An answer's price takes 48 bits, its confidence fewer than 24.
            return Price({
                price: int64(uint64(price)),
                conf: uint64((price * confidencePpm + PER_MILLION - 1) / PER_MILLION),
                expo: -int32(uint32(_decimalsOf(feed))),
                publishTime: _seconds(observedAtMs)
            });
        }
    }

    function _update(bytes[] calldata updateData) private {
        Update[] memory updates = new Update[](updateData.length);
        for (uint256 i; i < updateData.length; ++i) updates[i] = _updateIn(updateData[i]);
        oracle.update(updates);
    }

    function _parse(
        bytes[] calldata updateData,
        bytes32[] calldata priceIds,
        uint64 minPublishTime,
        uint64 maxPublishTime
    ) private view returns (PriceFeed[] memory priceFeeds, uint64[] memory slots) {
        for (uint256 i; i < updateData.length; ++i) {
            Certificates.check(oracle, _updateIn(updateData[i]));
        }
        priceFeeds = new PriceFeed[](priceIds.length);
        slots = new uint64[](priceIds.length);
        for (uint256 i; i < priceIds.length; ++i) {
            uint16 feed = _feedOf(priceIds[i]);
            (Place place, Answer answer) = _find(updateData, feed, minPublishTime, maxPublishTime);
            priceFeeds[i] = _parsed(
                feed,
                answer.price(),
                answer.confidencePpm(),
                uint8(answer.status()),
                place.observedAt()
            );
            slots[i] = uint64(place.viewNumber());
        }
    }

    /// Returns the first claim of a feed that is in time.
    function _find(
        bytes[] calldata updateData,
        uint16 feed,
        uint64 minPublishTime,
        uint64 maxPublishTime
    ) private view returns (Place, Answer) {
        for (uint256 i; i < updateData.length; ++i) {
            Update calldata update = _updateIn(updateData[i]);
            Place place = update.certificate.place;
            uint256 publishTime = _seconds(place.observedAt());
            if (publishTime < minPublishTime || publishTime > maxPublishTime) continue;
            for (uint256 j; j < update.claims.length; ++j) {
                Claim calldata claim = update.claims[j];
                if (claim.feed == feed) return (place, Words.answerAt(claim.word, feed));
            }
        }
        revert PriceFeedNotFoundWithinRange();
    }

    function _parseUnique(
        bytes[] calldata updateData,
        bytes32[] calldata priceIds,
        uint64 minPublishTime,
        uint64 maxPublishTime
    ) private view returns (PriceFeed[] memory priceFeeds, uint64[] memory slots) {
        if (minPublishTime == 0 || minPublishTime > type(uint48).max) revert InvalidArgument();
        if (updateData.length != priceIds.length) revert InvalidArgument();
        priceFeeds = new PriceFeed[](priceIds.length);
        slots = new uint64[](priceIds.length);
        for (uint256 i; i < priceIds.length; ++i) {
            uint16 feed = _feedOf(priceIds[i]);
            (FinalProof calldata proof, Claim calldata claim) = _finalIn(updateData[i]);
            if (claim.feed != feed) revert PriceFeedNotFoundWithinRange();
            // In whole seconds: published before means observed before the second begins.
            (, uint64 observedAt, uint256 price, uint256 confidencePpm, uint8 status) =
                oracle.firstAfter(minPublishTime * 1000 - 1, proof, claim);
            if (_seconds(observedAt) > maxPublishTime) revert PriceFeedNotFoundWithinRange();
            priceFeeds[i] = _parsed(feed, price, confidencePpm, status, observedAt);
            slots[i] = proof.blocks[0].view_;
        }
    }

    /// Returns the price as it stands in a report, if it may be passed on, whatever its age.
    function _parsed(
        uint16 feed,
        uint256 price,
        uint256 confidencePpm,
        uint8 status,
        uint256 observedAtMs
    ) private view returns (PriceFeed memory parsed) {
        if (price == 0) revert Unfit(feed, Reason.Unavailable, status, observedAtMs);
        if (confidencePpm > maxConfidencePpm) {
            revert Unfit(feed, Reason.Uncertain, status, observedAtMs);
        }
        parsed.id = _idOf(feed);
        parsed.price = _passedOn(feed, price, confidencePpm, status, observedAtMs);
        parsed.emaPrice.conf = type(uint64).max;
        parsed.emaPrice.expo = parsed.price.expo;
    }

    /// Returns the update that an element holds; what it points to beyond its end reads as other calldata, which
    /// no certificate covers.
    function _updateIn(bytes calldata data) private pure returns (Update calldata update) {
        if (data.length < 32) revert InvalidUpdateData();
        uint256 offset = uint256(bytes32(data));
        if (offset > data.length - 32) revert InvalidUpdateData();
        assembly ("memory-safe") {
            update := add(data.offset, offset)
        }
    }

    /// Returns the proof and the claim that an element holds; see `_updateIn`.
    function _finalIn(bytes calldata data)
        private
        pure
        returns (FinalProof calldata proof, Claim calldata claim)
    {
        if (data.length < 64) revert InvalidUpdateData();
        uint256 toProof = uint256(bytes32(data));
        uint256 toClaim = uint256(bytes32(data[32:]));
        if (toProof > data.length - 32 || toClaim > data.length - 32) revert InvalidUpdateData();
        assembly ("memory-safe") {
            proof := add(data.offset, toProof)
            claim := add(data.offset, toClaim)
        }
    }

    function _refuseFee() private view {
        if (msg.value != 0) revert NoFee(msg.value);
    }

    function _idOf(uint16 feed) private view returns (bytes32) {
        return bytes32(_network << 16 | feed);
    }

    function _feedOf(bytes32 id) private view returns (uint16) {
        if (uint256(id) >> 16 != _network) revert PriceFeedNotFound();
        return uint16(uint256(id));
    }

    function _decimalsOf(uint16 feed) private view returns (uint8 decimals) {
        if (feed >= _known) {
            (,, decimals,,,,) = oracle.feed(feed);
            return decimals;
        }
        unchecked {
            uint256 table = feed < 64
                ? (feed < 32 ? _decimals0 : _decimals1)
                : (feed < 96 ? _decimals2 : _decimals3);
            return uint8(table >> (8 * (31 - (feed & 31))));
        }
    }

    /// Returns an observation time in Unix seconds, never later than the block's.
    function _seconds(uint256 observedAtMs) private view returns (uint256) {
        unchecked {
            uint256 observedAt = observedAtMs / 1000;
            return observedAt < block.timestamp ? observedAt : block.timestamp;
        }
    }
}
