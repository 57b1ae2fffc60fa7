// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {DerivedFeed, Description, Leg, Reading} from "./DerivedFeed.sol";

/// @title The rate between two assets, out of two feeds whose units chain
/// @notice What is computed follows from the units alone: A/B with B/C gives their product A/C, A/C with B/C
/// gives their quotient A/B. Units that do not chain are refused at deployment, so no factor can be forgotten.
contract CrossRate is DerivedFeed {
    /// The second feed neither prices what the first is priced in, nor is priced in the same, or the rate
    /// would be of a thing to itself.
    error UnitsDoNotChain(string firstBase, string firstQuote, string secondBase, string secondQuote);

    IFeedReader public immutable firstReader;
    uint16 public immutable firstFeed;
    IFeedReader public immutable secondReader;
    uint16 public immutable secondFeed;
    /// Whether the rate is the quotient of the two, else it is their product.
    bool public immutable isQuotient;

    // rate = first [* or /] second * _up / _down.
    uint256 private immutable _up;
    uint256 private immutable _down;

    /// @param first The feed that has the base of the rate.
    /// @param second The feed that leads to its quote.
    /// @param decimals_ The decimals of the rate, at most 18.
    constructor(Leg memory first, Leg memory second, uint8 decimals_) DerivedFeed(decimals_) {
        firstReader = first.reader;
        firstFeed = first.feed;
        secondReader = second.reader;
        secondFeed = second.feed;
        Description memory a = _described(first.reader, first.feed);
        Description memory b = _described(second.reader, second.feed);
        bool product = _same(a.quote, b.base) && !_same(a.base, b.quote);
        bool quotient = _same(a.quote, b.quote) && !_same(a.base, b.base);
        // Both only if the second is of a thing in itself.
        if (product == quotient) revert UnitsDoNotChain(a.base, a.quote, b.base, b.quote);
        isQuotient = quotient;
        uint256 up = uint256(decimals_) + (quotient ? b.decimals : 0);
        uint256 down = uint256(a.decimals) + (quotient ? 0 : b.decimals);
        _up = up > down ? 10 ** (up - down) : 1;
        _down = down > up ? 10 ** (down - up) : 1;
    }

    function _answer(uint32 maxAgeSeconds) internal view override returns (Reading memory r) {
        Reading memory a = _read(firstReader, firstFeed, maxAgeSeconds);
        Reading memory b = _read(secondReader, secondFeed, maxAgeSeconds);
        r.reason = _first(a.reason, b.reason);
        r.status = _worse(a.status, b.status);
        r.observedAtMs = a.observedAtMs < b.observedAtMs ? a.observedAtMs : b.observedAtMs;
        (uint256 x, uint256 y) = (a.confidencePpm, b.confidencePpm);
        bool known = x <= CONFIDENCE_MAX && y <= CONFIDENCE_MAX;
        unchecked {
            // Prices are below 2**96 and the powers of ten below 2**120, so nothing overflows.
            if (isQuotient) {
                uint256 rate = b.price == 0 ? 0 : a.price * _up / (b.price * _down);
                // (1 + x) / (1 - y) - 1 = (x + y) / (1 - y): the divisor may be less.
                known = known && y < PER_MILLION;
                _setDown(r, rate, known ? _divUp((x + y) * PER_MILLION, PER_MILLION - y) : UNKNOWN);
            } else {
                // (1 + x) (1 + y) - 1 = x + y + x y.
                uint256 width = known ? x + y + _divUp(x * y, PER_MILLION) : UNKNOWN;
                _setDown(r, _productDown(a.price, b.price), width);
            }
        }
    }

    function _productDown(uint256 a, uint256 b) private view returns (uint256) {
        unchecked {
            // Two prices below 2**96; decimals of 18 make the factor at most 10**18, below 2**60.
            return a * b * _up / _down;
        }
    }

    function _describe() internal view override returns (Description memory d) {
        Description memory a = _described(firstReader, firstFeed);
        Description memory b = _described(secondReader, secondFeed);
        d.base = a.base;
        d.quote = isQuotient ? b.base : b.quote;
        d.deviationPpm = _sum(a.deviationPpm, b.deviationPpm);
        d.heartbeatMs = a.heartbeatMs > b.heartbeatMs ? a.heartbeatMs : b.heartbeatMs;
        d.tier = a.tier > b.tier ? a.tier : b.tier;
        d.status = _worse(a.status, b.status);
    }

    function _sum(uint32 a, uint32 b) private pure returns (uint32) {
        uint256 sum = uint256(a) + b;
        return sum > type(uint32).max ? type(uint32).max : uint32(sum);
    }

    function _same(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }
}
