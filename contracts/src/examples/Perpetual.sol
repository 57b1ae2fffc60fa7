// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Update} from "../IOracle.sol";
import {IERC20, Tokens} from "../libraries/Tokens.sol";
import {Settlement} from "../Settlement.sol";

/// @title A perpetual market of one feed, to show how prices are used
/// @notice Traders hold one position each, long or short, against a pool that one backer fills. Small
/// trades update, price and settle in one transaction; what is beyond the small trades of a minute
/// is asked for first, and settled at the first final report after a delay (`Settlement`).
///
/// The price is always taken against the trader: it buys at price + confidence and sells at price -
/// confidence, margins are judged by what closing would bring, every division rounds against it. So a
/// report that it could pick, from those young enough, must move by more than twice the confidence to
/// be worth picking, and the small trades of a minute bound what all such picks can bring.
/// Within a block all small trades and liquidations are at one price, the first that was used.
///
/// There is no funding: the price is the index itself, and traders do not face each other, so nothing
/// needs to be drawn together. There are no shares in the pool: to price them fairly by open profits and
/// losses would be a market of its own.
///
///   feed     open            close                      liquidate
///   live     yes             yes                        yes
///   degraded no              yes, at its confidence     yes, at its confidence
///   carried  no              yes, at its confidence     no: an old price takes nobody's position
///   halted, unavailable, stale or too uncertain: nothing; margin can always be added, what is free
///   be withdrawn
///
/// A feed may die: be removed, or its committee miss the handover to this chain. Then positions end at what
/// they were entered for, a week after somebody doubted the feed and nobody could `refresh` it.
///
/// Invariants, each tested under its number:
///
///  P1 *solvent*    What is held is at least all balances, margins, orders' deposits and the pool.
///  P2 *reserved*   The pool is at least the sum of what all positions and orders could win: profit ends
///                  at a multiple of the first margin, which is set aside in the pool beforehand.
///                  Losses beyond the margin win the pool nothing, and cost nobody else anything.
///  P3 *no gift*    Opening and closing at one report never wins, by rounding neither.
///  P4 *one price*  All small trades and liquidations of a block are at the same answer.
///  P5 *fair*       A position is liquidated only if closing it would leave less than the maintenance
///                  margin. Whoever liquidates its own position gets no more than by closing it.
///  P6 *way out*    No collateral is stuck for ever: orders end at their deadline, and positions of a
///                  feed that gives no price for a week can be unwound. While anyone can bring a
///                  price, none can.
///
/// Token: an ERC-20, also one that keeps a fee; not one whose balances change by themselves.
contract Perpetual is Settlement {
    using Tokens for IERC20;

    struct Rules {
        IERC20 collateral;
        uint8 collateralDecimals;
        /// Who fills the pool and gets what traders lose.
        address backer;
        /// The oldest report that small trades and liquidations take.
        uint32 maxAgeSeconds;
        /// Of the notional, parts per million.
        uint32 initialMarginPpm;
        uint32 maintenanceMarginPpm;
        uint32 liquidationFeePpm;
        /// Profit ends at so many times the first margin.
        uint32 profitCap;
        /// Notional of all small trades of a minute.
        uint256 smallPerMinute;
        uint256 minMargin;
        /// What an order leaves to whoever settles it.
        uint256 settlementFee;
    }

    struct Position {
        /// In base, scaled by 10**8; negative if short.
        int128 size;
        uint128 margin;
        /// What it was bought or sold for, in collateral.
        uint128 entry;
        /// What of the pool is set aside for its profit.
        uint128 reserve;
    }

    struct Order {
        address account;
        /// 0 to close.
        int128 size;
        uint128 margin;
        uint128 limitPrice;
    }

    /// What one report says, as small trades of a block take it.
    struct Mark {
        uint64 blockNumber;
        uint8 status;
        uint64 price;
        /// Absolute, rounded up.
        uint64 confidence;
    }

    enum Refusal {
        None,
        BeyondLimit,
        MarginTooSmall,
        NoPosition
    }

    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);
    event Opened(address indexed account, int128 size, uint256 margin, uint256 entry);
    event Closed(address indexed account, int256 profit, uint256 paid);
    event Liquidated(address indexed account, address indexed by, uint256 fee);
    /// @notice A position lost more than its margin; the pool wins the margin only.
    event Shortfall(address indexed account, uint256 amount);
    /// @notice An order ended without effect; its margin is free again.
    event Refunded(uint256 indexed id, Refusal refusal);
    /// @notice The feed gives no price: unless it does within a week, positions can be unwound.
    event Doubted(uint256 deadAt);

    error Refused(Refusal refusal);
    error NotLive(uint256 status);
    error Occupied(uint256 pendingOrder);
    error NotBacker(address caller);
    error BalanceTooSmall(uint256 balance, uint256 amount);
    /// The pool cannot set aside what the position could win.
    error PoolTooSmall(uint256 free, uint256 reserve);
    /// The small trades of this minute are used up: ask for a settlement.
    error NotSmall(uint256 notional, uint256 left);
    error NotLiquidatable(int256 equity, uint256 maintenance);
    error Reentered();
    /// The feed gives a price, or may still do so until `deadAt` (Unix seconds, 0 if nobody doubted).
    error NotDead(uint256 deadAt);

    uint256 private constant PPM = 1_000_000;
    uint256 private constant SIZE_DECIMALS = 8;
    uint256 private constant MINUTE = 60;
    uint256 private constant WEEK = 7 days;
    uint8 private constant LIVE = 1;
    uint8 private constant DEGRADED = 3;
    /// Far from every overflow.
    uint256 private constant AMOUNT_MAX = type(uint96).max;

    IERC20 public immutable collateral;
    address public immutable backer;
    uint32 public immutable maxAgeSeconds;
    uint32 public immutable initialMarginPpm;
    uint32 public immutable maintenanceMarginPpm;
    uint32 public immutable liquidationFeePpm;
    uint32 public immutable profitCap;
    uint256 public immutable smallPerMinute;
    uint256 public immutable minMargin;
    uint256 public immutable settlementFee;
    /// Divides size times price to give collateral.
    uint256 private immutable _scale;

    /// @notice What an account may withdraw or use as margin.
    mapping(address => uint256) public balanceOf;
    mapping(address => Position) public positionOf;
    /// @notice The order of an account that waits, 0 if none does.
    mapping(address => uint256) public pendingOf;
    mapping(uint256 => Order) public orders;
    /// @notice What the backer has at risk, and how much of it is set aside for open positions.
    uint256 public pool;
    uint256 public reserved;
    /// @notice From when on positions can be unwound, Unix seconds; 0 while nobody doubts the feed.
    uint256 public deadAt;
    Mark private _mark;
    uint256 private _minute;
    uint256 private _usedInMinute;
    bool private _locked;

    modifier locked() {
        if (_locked) revert Reentered();
        _locked = true;
        _;
        _locked = false;
    }

    /// An account does one thing at a time, or it could make an order fail when it knows its price.
    modifier unoccupied() {
        uint256 pending = pendingOf[msg.sender];
        if (pending != 0) revert Occupied(pending);
        _;
    }

    constructor(Settlement.Terms memory terms, Rules memory rules) Settlement(terms) {
        (,, uint8 decimals,,,,) = terms.oracle.feed(terms.feed);
        uint256 places = SIZE_DECIMALS + decimals;
        _within("collateralDecimals", rules.collateralDecimals, 0, places);
        _within("initialMarginPpm", rules.initialMarginPpm, 1, PPM);
        _within("maintenanceMarginPpm", rules.maintenanceMarginPpm, 1, rules.initialMarginPpm - 1);
        // Otherwise liquidation would come to cost more than it leaves.
        _within("liquidationFeePpm", rules.liquidationFeePpm, 0, rules.maintenanceMarginPpm);
        _within("profitCap", rules.profitCap, 1, 1000);
        collateral = rules.collateral;
        backer = rules.backer;
        maxAgeSeconds = rules.maxAgeSeconds;
        initialMarginPpm = rules.initialMarginPpm;
        maintenanceMarginPpm = rules.maintenanceMarginPpm;
        liquidationFeePpm = rules.liquidationFeePpm;
        profitCap = rules.profitCap;
        smallPerMinute = rules.smallPerMinute;
        minMargin = rules.minMargin;
        settlementFee = rules.settlementFee;
        _scale = 10 ** (places - rules.collateralDecimals);
    }

    // Collateral.

    /// @notice Adds to the caller's balance what of an amount arrives.
    function deposit(uint256 amount) external locked {
        uint256 arrived = collateral.collect(amount);
        balanceOf[msg.sender] += arrived;
        emit Deposited(msg.sender, arrived);
    }

    /// @notice Pays from the caller's balance.
    function withdraw(uint256 amount) external locked {
        _spend(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
        collateral.pay(msg.sender, amount);
    }

    /// @notice Moves the backer's balance into the pool.
    function fund(uint256 amount) external {
        if (msg.sender != backer) revert NotBacker(msg.sender);
        _spend(msg.sender, amount);
        pool += amount;
    }

    /// @notice Moves what is not set aside back to the backer's balance.
    function defund(uint256 amount) external {
        if (msg.sender != backer) revert NotBacker(msg.sender);
        uint256 free = pool - reserved;
        if (amount > free) revert BalanceTooSmall(free, amount);
        pool -= amount;
        balanceOf[msg.sender] += amount;
    }

    /// @notice Adds to the margin of the caller's position; it may not win more by that.
    function addMargin(uint128 amount) external {
        Position storage position = positionOf[msg.sender];
        if (position.size == 0) revert Refused(Refusal.NoPosition);
        _spend(msg.sender, amount);
        position.margin += amount;
    }

    // Small trades: one transaction.

    /// @notice Opens a position at the newest report, which may be brought along.
    /// @param size In base, scaled by 10**8; negative to go short.
    /// @param limitPrice The worst price taken, confidence included, in the feed's decimals.
    function open(int128 size, uint128 margin, uint128 limitPrice, Update[] calldata updates)
        external
        unoccupied
    {
        Mark memory mark = _marked(updates);
        if (mark.status != LIVE) revert NotLive(mark.status);
        _reserve(msg.sender, size, margin);
        (uint256 entry, Refusal refusal) = _judge(size, margin, limitPrice, mark);
        if (refusal != Refusal.None) revert Refused(refusal);
        _countSmall(entry);
        _enter(msg.sender, size, margin, entry);
    }

    /// @notice Closes the caller's position at the newest report, which may be brought along.
    function close(uint128 limitPrice, Update[] calldata updates) external unoccupied {
        Position memory position = positionOf[msg.sender];
        if (position.size == 0) revert Refused(Refusal.NoPosition);
        Mark memory mark = _marked(updates);
        if (_isBeyond(-position.size, limitPrice, mark)) revert Refused(Refusal.BeyondLimit);
        _countSmall(_value(-position.size, mark));
        balanceOf[msg.sender] += _leave(msg.sender, position, mark);
    }

    /// @notice Closes a position that no longer has its maintenance margin; anyone may, of any size.
    /// @return fee What the caller gets, out of what is left of the margin.
    function liquidate(address account, Update[] calldata updates) external returns (uint256 fee) {
        Position memory position = positionOf[account];
        if (position.size == 0) revert Refused(Refusal.NoPosition);
        Mark memory mark = _marked(updates);
        if (mark.status != LIVE && mark.status != DEGRADED) revert NotLive(mark.status);
        uint256 notional = _value(-position.size, mark);
        int256 equity = int256(uint256(position.margin)) + _profit(position, mark);
        uint256 maintenance = _shareUp(notional, maintenanceMarginPpm);
        if (equity >= int256(maintenance)) revert NotLiquidatable(equity, maintenance);
        uint256 paid = _leave(account, position, mark);
        fee = notional * liquidationFeePpm / PPM;
        // None out of nothing: an insolvent position is for the backer to liquidate, who gets its margin.
        if (fee > paid) fee = paid;
        balanceOf[account] += paid - fee;
        balanceOf[msg.sender] += fee;
        emit Liquidated(account, msg.sender, fee);
    }

    // A feed that died.

    /// @notice States that the feed gives no price; anyone may, while that is so.
    function doubt() external {
        if (!_isSilent() || deadAt != 0) revert NotDead(deadAt);
        deadAt = block.timestamp + WEEK;
        emit Doubted(deadAt);
    }

    /// @notice Shows that the feed gives a price, as every trade does.
    function refresh(Update[] calldata updates) external {
        _marked(updates);
    }

    /// @notice Ends a position without profit or loss, if the feed is dead; anyone may.
    function unwind(address account) external {
        if (deadAt == 0 || block.timestamp < deadAt || !_isSilent()) revert NotDead(deadAt);
        Position memory position = positionOf[account];
        if (position.size == 0) revert Refused(Refusal.NoPosition);
        delete positionOf[account];
        reserved -= position.reserve;
        balanceOf[account] += position.margin;
        emit Closed(account, 0, position.margin);
    }

    function _isSilent() private view returns (bool) {
        (uint8 reason,,,,) = oracle.tryRead(feed, maxAgeSeconds, maxConfidencePpm);
        return reason != 0;
    }

    // Large trades: two steps.

    /// @notice Asks to open a position of any size; the margin is bound until the order ends.
    function requestOpen(int128 size, uint128 margin, uint128 limitPrice)
        external
        unoccupied
        returns (uint256 id)
    {
        _reserve(msg.sender, size, margin);
        return _order(Order(msg.sender, size, margin, limitPrice));
    }

    /// @notice Asks to close the caller's position, of any size.
    function requestClose(uint128 limitPrice) external unoccupied returns (uint256 id) {
        if (positionOf[msg.sender].size == 0) revert Refused(Refusal.NoPosition);
        return _order(Order(msg.sender, 0, 0, limitPrice));
    }

    /// @inheritdoc Settlement
    function _onSettled(uint256 id, uint256 price, uint256 confidencePpm, uint64) internal override {
        Order memory order = _take(id);
        balanceOf[msg.sender] += settlementFee;
        if (deadAt != 0) deadAt = 0;
        Mark memory mark = Mark(0, LIVE, uint64(price), _absolute(price, confidencePpm));
        if (order.size != 0) {
            (uint256 entry, Refusal refusal) =
                _judge(order.size, order.margin, order.limitPrice, mark);
            if (refusal == Refusal.None) _enter(order.account, order.size, order.margin, entry);
            else _refund(id, order, refusal);
            return;
        }
        Position memory position = positionOf[order.account];
        // It may have been liquidated meanwhile.
        if (position.size == 0) _refund(id, order, Refusal.NoPosition);
        else if (_isBeyond(-position.size, order.limitPrice, mark)) {
            _refund(id, order, Refusal.BeyondLimit);
        } else {
            balanceOf[order.account] += _leave(order.account, position, mark);
        }
    }

    /// @inheritdoc Settlement
    function _onCancelled(uint256 id, Outcome outcome) internal override {
        Order memory order = _take(id);
        balanceOf[outcome == Outcome.Expired ? order.account : msg.sender] += settlementFee;
        _refund(id, order, Refusal.None);
    }

    function _order(Order memory order) private returns (uint256 id) {
        _spend(order.account, settlementFee);
        id = _request();
        orders[id] = order;
        pendingOf[order.account] = id;
    }

    function _take(uint256 id) private returns (Order memory order) {
        order = orders[id];
        delete orders[id];
        delete pendingOf[order.account];
    }

    function _refund(uint256 id, Order memory order, Refusal refusal) private {
        balanceOf[order.account] += order.margin;
        reserved -= uint256(order.margin) * profitCap;
        emit Refunded(id, refusal);
    }

    // Positions.

    /// Takes the margin from the balance, and sets aside what it may win.
    function _reserve(address account, int128 size, uint128 margin) private {
        bool fine = size != 0 && size != type(int128).min && margin >= minMargin
            && margin <= AMOUNT_MAX / profitCap;
        if (!fine || positionOf[account].size != 0) revert Refused(Refusal.MarginTooSmall);
        _spend(account, margin);
        uint256 reserve = uint256(margin) * profitCap;
        uint256 free = pool - reserved;
        if (reserve > free) revert PoolTooSmall(free, reserve);
        reserved += reserve;
    }

    /// Returns what a position is entered at, or why it is not.
    function _judge(int128 size, uint128 margin, uint128 limitPrice, Mark memory mark)
        private
        view
        returns (uint256 entry, Refusal refusal)
    {
        if (_isBeyond(size, limitPrice, mark)) return (0, Refusal.BeyondLimit);
        entry = _value(size, mark);
        if (entry > AMOUNT_MAX) return (0, Refusal.MarginTooSmall);
        int256 equity = int256(uint256(margin))
            + _profit(Position(size, margin, uint128(entry), 0), mark);
        if (equity < int256(_shareUp(entry, initialMarginPpm))) {
            return (0, Refusal.MarginTooSmall);
        }
    }

    function _enter(address account, int128 size, uint128 margin, uint256 entry) private {
        uint128 reserve = uint128(uint256(margin) * profitCap);
        positionOf[account] = Position(size, margin, uint128(entry), reserve);
        emit Opened(account, size, margin, entry);
    }

    /// Ends a position; returns what it leaves.
    function _leave(address account, Position memory position, Mark memory mark)
        private
        returns (uint256 paid)
    {
        delete positionOf[account];
        reserved -= position.reserve;
        int256 profit = _profit(position, mark);
        if (profit >= 0) {
            pool -= uint256(profit);
            paid = position.margin + uint256(profit);
        } else {
            uint256 loss = uint256(-profit);
            if (loss > position.margin) {
                emit Shortfall(account, loss - position.margin);
                loss = position.margin;
            }
            pool += loss;
            paid = position.margin - loss;
        }
        emit Closed(account, profit, paid);
    }

    // Arithmetic.

    /// Returns what closing would win, at most what is set aside, or lose, without end.
    function _profit(Position memory position, Mark memory mark) private view returns (int256) {
        int256 exit = int256(_value(-position.size, mark));
        int256 entry = int256(uint256(position.entry));
        int256 profit = position.size > 0 ? exit - entry : entry - exit;
        int256 most = int256(uint256(position.reserve));
        return profit > most ? most : profit;
    }

    /// Returns what a trade pays (size above 0, rounded up) or brings (below 0, rounded down).
    function _value(int128 size, Mark memory mark) private view returns (uint256) {
        uint256 price = _priceOf(size, mark);
        if (size < 0) return uint256(-int256(size)) * price / _scale;
        return (uint256(int256(size)) * price + _scale - 1) / _scale;
    }

    /// Returns the price of a trade, with the confidence against the trader.
    function _priceOf(int128 size, Mark memory mark) private pure returns (uint256) {
        return size > 0 ? mark.price + mark.confidence : mark.price - mark.confidence;
    }

    function _isBeyond(int128 size, uint128 limitPrice, Mark memory mark)
        private
        pure
        returns (bool)
    {
        uint256 price = _priceOf(size, mark);
        return size > 0 ? price > limitPrice : price < limitPrice;
    }

    /// Returns the confidence in the price's units, rounded up; it is below the price.
    function _absolute(uint256 price, uint256 confidencePpm) private pure returns (uint64) {
        return uint64((price * confidencePpm + PPM - 1) / PPM);
    }

    function _shareUp(uint256 amount, uint256 ppm) private pure returns (uint256) {
        return (amount * ppm + PPM - 1) / PPM;
    }

    /// Returns the answer that all small trades of this block take, and stores the updates.
    function _marked(Update[] calldata updates) private returns (Mark memory mark) {
        mark = _mark;
        if (mark.blockNumber == block.number) return mark;
        uint16[] memory feeds = new uint16[](1);
        feeds[0] = feed;
        oracle.use(updates, feeds, maxAgeSeconds, maxConfidencePpm);
        // The same answer, since this transaction used it; `use` has judged it.
        (uint256 price, uint256 confidencePpm, uint8 status,) = oracle.latest(feed);
        mark = Mark(uint64(block.number), status, uint64(price), _absolute(price, confidencePpm));
        _mark = mark;
        if (deadAt != 0) deadAt = 0;
    }

    function _countSmall(uint256 notional) private {
        uint256 minute = block.timestamp / MINUTE;
        uint256 used = minute == _minute ? _usedInMinute : 0;
        uint256 left = smallPerMinute - used;
        if (notional > left) revert NotSmall(notional, left);
        (_minute, _usedInMinute) = (minute, used + notional);
    }

    function _spend(address account, uint256 amount) private {
        uint256 balance = balanceOf[account];
        if (amount > balance) revert BalanceTooSmall(balance, amount);
        balanceOf[account] = balance - amount;
    }
}
