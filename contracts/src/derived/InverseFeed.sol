// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {DerivedFeed, Description, Leg, Reading} from "./DerivedFeed.sol";

/// @title A feed read the other way: USD/BTC out of BTC/USD
contract InverseFeed is DerivedFeed {
    IFeedReader public immutable reader;
    uint16 public immutable readFeed;

    uint256 private immutable _dividend;

    /// @param leg The feed whose base becomes the quote.
    /// @param decimals_ The decimals of the inverse, at most 18.
    constructor(Leg memory leg, uint8 decimals_) DerivedFeed(decimals_) {
        reader = leg.reader;
        readFeed = leg.feed;
        Description memory d = _described(leg.reader, leg.feed);
        _dividend = 10 ** (uint256(decimals_) + d.decimals);
    }

    function _answer(uint32 maxAgeSeconds) internal view override returns (Reading memory r) {
        r = _read(reader, readFeed, maxAgeSeconds);
        uint256 x = r.confidencePpm;
        // 1 / (1 - x) - 1 = x / (1 - x).
        uint256 width = x < PER_MILLION ? _divUp(x * PER_MILLION, PER_MILLION - x) : UNKNOWN;
        _setDown(r, r.price == 0 ? 0 : _dividend / r.price, width);
    }

    function _describe() internal view override returns (Description memory d) {
        d = _described(reader, readFeed);
        (d.base, d.quote) = (d.quote, d.base);
    }
}
