// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {FullMath} from "../libraries/FullMath.sol";
import {FeedAdapter, Limits, OutOfRange} from "./FeedAdapter.sol";

/// @title A feed as ERC-7726 quotes: amounts for amounts, no decimals to get wrong
/// @notice One feed and the two addresses that its base and its quote have, in both directions. Amounts are in
/// the smallest unit of each: `decimals()` of a token; 18 for ether and for currencies by their ISO 4217 code,
/// 8 for bitcoin (the standard gives these addresses, and leaves their decimals open).
contract QuoteAdapter is FeedAdapter {
    /// Another pair of addresses than this adapter's.
    error OracleUnsupportedPair(address base, address quote);
    /// The feed has no answer that is live or degraded and within the limits.
    error OracleUntrustedData(address base, address quote);
    /// The address stands for another asset than the feed's.
    error AnotherAsset(address asset, string symbol);
    /// Neither a token nor one of the standard's addresses.
    error NoDecimals(address asset);

    uint256 private constant TOKEN_DECIMALS_MAX = 36;
    uint256 private constant ISO_4217_MAX = 999;
    /// Symbols and codes of ISO 4217, of the currencies that can be checked to be what the feed means.
    bytes private constant CURRENCIES =
        "AUD036BRL986CAD124CHF756CNY156EUR978GBP826HKD344INR356JPY392KRW410MXN484SGD702TRY949USD840";
    /// ERC-7528.
    address private constant ETHER = 0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE;
    address private constant BITCOIN = 0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB;

    /// The asset that the feed prices.
    address public immutable base;
    /// The asset in which it is priced.
    address public immutable quote;

    // quote units = base units * price * _quoteFactor / _baseFactor; one of the two is 1.
    uint256 private immutable _quoteFactor;
    uint256 private immutable _baseFactor;

    constructor(
        IFeedReader reader_,
        uint16 feed_,
        string memory pair,
        Limits memory limits,
        address base_,
        address quote_
    ) FeedAdapter(reader_, feed_, pair, limits) {
        (string memory baseSymbol, string memory quoteSymbol,,,,,) = reader_.feed(feed_);
        uint256 down = _feedDecimals + _decimalsOf(base_, baseSymbol);
        uint256 up = _decimalsOf(quote_, quoteSymbol);
        if (base_ == quote_) revert OracleUnsupportedPair(base_, quote_);
        base = base_;
        quote = quote_;
        _quoteFactor = up > down ? 10 ** (up - down) : 1;
        _baseFactor = down > up ? 10 ** (down - up) : 1;
    }

    /// @notice Returns what an amount of one asset is worth in the other, rounded down to its smallest unit.
    function getQuote(uint256 baseAmount, address base_, address quote_)
        external
        view
        returns (uint256 quoteAmount)
    {
        bool forward = base_ == base && quote_ == quote;
        if (!forward && (base_ != quote || quote_ != base)) {
            revert OracleUnsupportedPair(base_, quote_);
        }
        (bool fit, uint256 price,,) = _tryFit();
        if (!fit) revert OracleUntrustedData(base_, quote_);
        uint256 up = price * _quoteFactor;
        return forward
            ? FullMath.mulDivDown(baseAmount, up, _baseFactor)
            : FullMath.mulDivDown(baseAmount, _baseFactor, up);
    }

    /// Returns the decimals of an asset, and reverts if its address is known to stand for another.
    function _decimalsOf(address asset, string memory symbol) private view returns (uint256 decimals_) {
        if (asset == ETHER) return _known(asset, symbol, "ETH", 18);
        if (asset == BITCOIN) return _known(asset, symbol, "BTC", 8);
        if (asset != address(0) && uint160(asset) <= ISO_4217_MAX) {
            return _known(asset, symbol, _currencyOf(uint160(asset)), 18);
        }
        (bool done, bytes memory output) = asset.staticcall(abi.encodeWithSignature("decimals()"));
        if (!done || output.length != 32) revert NoDecimals(asset);
        decimals_ = abi.decode(output, (uint256));
        if (decimals_ > TOKEN_DECIMALS_MAX) {
            revert OutOfRange("decimals", decimals_, 0, TOKEN_DECIMALS_MAX);
        }
    }

    function _known(address asset, string memory symbol, string memory expected, uint256 decimals_)
        private
        pure
        returns (uint256)
    {
        if (keccak256(bytes(symbol)) != keccak256(bytes(expected))) {
            revert AnotherAsset(asset, symbol);
        }
        return decimals_;
    }

    /// Returns the symbol of a currency, or nothing if the code is not in the list.
    function _currencyOf(uint256 code) private pure returns (string memory) {
        bytes memory list = CURRENCIES;
        for (uint256 i; i < list.length; i += 6) {
            uint256 digits = uint256(uint8(list[i + 3])) * 100 + uint256(uint8(list[i + 4])) * 10
                + uint8(list[i + 5]);
            if (digits - 111 * 48 == code) {
                return string(abi.encodePacked(list[i], list[i + 1], list[i + 2]));
            }
        }
        return "";
    }
}
