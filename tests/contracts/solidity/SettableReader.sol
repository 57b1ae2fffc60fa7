// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "src/IFeedReader.sol";
import {IOracle, Reason} from "src/IOracle.sol";

/// What is read like an Oracle and says what a test tells it, beyond what an Oracle's answers can hold.
contract SettableReader is IFeedReader {
    struct Feed {
        string base;
        string quote;
        uint8 decimals;
        uint8 status;
        uint256 price;
        uint256 confidencePpm;
        uint256 observedAtMs;
    }

    Feed[] private _feeds;

    function add(string calldata base, string calldata quote, uint8 decimals) external {
        _feeds.push(Feed(base, quote, decimals, 0, 0, type(uint256).max, 0));
    }

    function set(
        uint16 index,
        uint256 price,
        uint256 confidencePpm,
        uint8 status,
        uint256 observedAtMs
    ) external {
        Feed storage f = _feeds[index];
        (f.price, f.confidencePpm, f.status, f.observedAtMs) =
            (price, confidencePpm, status, observedAtMs);
    }

    function read(uint16 index, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256, uint256)
    {
        (uint8 reason, uint256 price,, uint8 status, uint256 observedAtMs) =
            tryRead(index, maxAgeSeconds, maxConfidencePpm);
        if (reason != 0) revert IOracle.Unavailable(index, status);
        return (price, observedAtMs);
    }

    function tryRead(uint16 index, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        public
        view
        returns (uint8, uint256, uint256, uint8, uint256)
    {
        if (index >= _feeds.length) return (uint8(Reason.UnknownFeed), 0, type(uint256).max, 0, 0);
        Feed memory f = _feeds[index];
        Reason reason = Reason.None;
        if (f.status == 4) reason = Reason.Halted;
        else if (f.status == 0 || f.price == 0) reason = Reason.Unavailable;
        else if (block.timestamp * 1000 > f.observedAtMs + uint256(maxAgeSeconds) * 1000) {
            reason = Reason.Stale;
        } else if (f.confidencePpm > maxConfidencePpm) reason = Reason.Uncertain;
        return (uint8(reason), f.price, f.confidencePpm, f.status, f.observedAtMs);
    }

    function latest(uint16 index) external view returns (uint256, uint256, uint8, uint256) {
        Feed memory f = _feeds[index];
        return (f.price, f.confidencePpm, f.status, f.observedAtMs);
    }

    function feed(uint16 index)
        external
        view
        returns (string memory, string memory, uint8, uint32, uint32, uint8, uint8)
    {
        Feed memory f = _feeds[index];
        return (f.base, f.quote, f.decimals, 1_000 + index, 30_000 + index, 1, f.status);
    }
}
