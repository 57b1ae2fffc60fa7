// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {
    Block,
    Certificate,
    Claim,
    Configuration,
    FeedRecord,
    FinalProof,
    Header,
    IOracle,
    Member,
    Place,
    Registration,
    Timing,
    Update
} from "../src/IOracle.sol";
import {OracleCode} from "./OracleCode.sol";
import {TestReports} from "./TestReports.sol";
import {TestSigning} from "./TestSigning.sol";

/// One feed of a test's Oracle: the pair, 12 bytes each at most, and the decimals of its prices.
struct Feed {
    string base;
    string quote;
    uint8 decimals;
}

/// A report and the certificate that a quorum of the test committee signed on it.
struct Report {
    Certificate certificate;
    uint256[] words;
}

/// @title The real Oracle with a committee whose keys a test holds
/// @notice Deploys the Oracle as it is shipped, with four members, and signs reports for any prices,
/// statuses and times. What a protocol meets here is what it meets on a chain: the same checks, the
/// same errors, the same gas. Never deploy it anywhere else: whoever calls it sets prices.
///
///     OracleKit kit = new OracleKit(new Feed[](0));   // BTC/USD, ETH/USD, SOL/USD, USDC/USD
///     kit.setPrice(0, 65_000e8);                      // agreed, signed and pushed
///     Market market = new Market(kit.oracle());
///
/// Needs an EVM with the precompiles of EIP-2537 (prague or later). A signature takes 0.4 million gas.
contract OracleKit {
    uint8 public constant UNAVAILABLE = 0;
    uint8 public constant LIVE = 1;
    uint8 public constant CARRIED = 2;
    uint8 public constant DEGRADED = 3;
    uint8 public constant HALTED = 4;

    /// A bit for each of the four members.
    uint256 public constant ALL = 15;
    /// The confidence of `setPrice`, parts per million.
    uint256 public constant CONFIDENCE_PPM = 500;
    /// How far a report may be ahead of the block's time, milliseconds.
    uint64 public constant MAX_FUTURE = 15_000;

    uint256 private constant MEMBERS = 4;
    uint64 private constant DAY = 86_400_000;
    bytes32 private constant NAME = keccak256("test kit");

    /// A pair's symbol has 1 to 12 bytes.
    error SymbolLength(string symbol);
    /// The Oracle could not be deployed: allow more gas.
    error DeploymentFailed();
    /// The kit has no such feed.
    error UnknownFeed(uint256 feed, uint256 feeds);

    /// The Oracle under test.
    IOracle public immutable oracle;
    /// D of its only epoch.
    bytes32 public immutable domain;

    uint256[] private _answers;
    uint64 private _view;
    uint64 private _observedAt;

    /// @param feeds What the Oracle prices; if empty, four usual pairs with 8 decimals.
    constructor(Feed[] memory feeds) {
        if (feeds.length == 0) feeds = _usualFeeds();
        Configuration memory configuration = _configuration(feeds);
        bytes memory code = abi.encodePacked(
            OracleCode.CREATION,
            abi.encode(
                NAME, TestReports.configurationHash(configuration), uint256(MAX_FUTURE), 30 * DAY
            )
        );
        address deployed;
        assembly ("memory-safe") {
            deployed := create(0, add(code, 0x20), mload(code))
        }
        if (deployed == address(0)) revert DeploymentFailed();
        oracle = IOracle(deployed);
        bytes32 network = IOracle(deployed).network();
        Registration[] memory registrations = new Registration[](MEMBERS);
        for (uint256 i; i < MEMBERS; ++i) {
            Member memory member = configuration.members[i];
            registrations[i] = Registration(
                member,
                TestSigning.prove(_secret(i), member.blsKey),
                TestSigning.sign(_secret(i), TestReports.registration(network, member.operator, member.ed25519Key))
            );
        }
        IOracle(deployed).register(registrations);
        IOracle(deployed).open(configuration);
        domain = IOracle(deployed).domain();
        for (uint256 i; i < feeds.length; ++i) _answers.push(TestReports.UNAVAILABLE);
    }

    // The short ways.

    /// @notice Has the committee agree on a live price now, and pushes the report.
    /// @param price Scaled by 10**decimals of the feed.
    function setPrice(uint16 feed, uint256 price) external {
        agree(feed, price, CONFIDENCE_PPM, LIVE);
        push(report());
    }

    /// @notice Has the committee agree on an answer now, and pushes the report.
    /// @param confidencePpm Parts per million of the price.
    /// @param status One of the constants above.
    function setAnswer(uint16 feed, uint256 price, uint256 confidencePpm, uint8 status) external {
        agree(feed, price, confidencePpm, status);
        push(report());
    }

    /// @notice Returns a signed report on a new answer of one feed, which is not pushed.
    /// @param observedAtMs When it was observed, Unix milliseconds.
    function report(
        uint16 feed,
        uint256 price,
        uint256 confidencePpm,
        uint8 status,
        uint64 observedAtMs
    ) external returns (Report memory) {
        agree(feed, price, confidencePpm, status);
        return reportBy(ALL, observedAtMs);
    }

    // Step by step.

    /// @notice Sets what the next reports say of a feed; the others keep their answers.
    function agree(uint16 feed, uint256 price, uint256 confidencePpm, uint8 status) public {
        if (feed >= _answers.length) revert UnknownFeed(feed, _answers.length);
        _answers[feed] = TestReports.encode(price, confidencePpm, status);
    }

    /// @notice Returns a report observed now, or 1 ms after the newest one if that is later.
    function report() public returns (Report memory) {
        uint64 now_ = nowMs();
        return reportBy(ALL, now_ > _observedAt ? now_ : _observedAt + 1);
    }

    /// @notice Returns a report signed by these members alone: three of the four are a quorum.
    /// @param signers Bit i for member i, at least one.
    /// @param observedAtMs When it was observed, Unix milliseconds; in the past, or ahead, as a test needs.
    function reportBy(uint256 signers, uint64 observedAtMs) public returns (Report memory made) {
        made.words = TestReports.pack(_answers);
        made.certificate.link = keccak256(abi.encode("test kit", ++_view));
        bytes32 root = TestReports.root(made.words);
        bytes32 id =
            TestReports.headerId(domain, _view, observedAtMs, root, made.certificate.link);
        made.certificate.signature = _sign(signers, id);
        made.certificate.place =
            Place.wrap(uint256(_view) << 192 | uint256(observedAtMs) << 128 | uint128(signers));
        if (observedAtMs > _observedAt) _observedAt = observedAtMs;
    }

    /// @notice Returns what `firstAfter` and `finalAnswer` take: what was agreed, in a final report.
    /// @param previousAtMs When the final report before it was observed: `firstAfter` takes moments from
    /// then on, and below `observedAtMs`.
    /// @param observedAtMs When it was observed, Unix milliseconds.
    function finalReport(uint16 feed, uint64 previousAtMs, uint64 observedAtMs)
        external
        returns (FinalProof memory proof, Claim memory answer)
    {
        Report memory unsigned;
        unsigned.words = TestReports.pack(_answers);
        answer = claim(unsigned, feed);
        bytes32 root = TestReports.root(unsigned.words);
        proof.parent = Header(++_view, previousAtMs, root, keccak256(abi.encode("test kit", _view)));
        bytes32 id = TestReports.headerId(domain, _view, previousAtMs, root, proof.parent.link);
        // The report and its child, of which the second is certified.
        proof.blocks = new Block[](2);
        for (uint64 i; i < 2; ++i) {
            Block memory block_ = Block(_view + 1, observedAtMs + i, root, _view + 1, 0, 0);
            bytes32 link = TestReports.linkOf(id, _view, block_.height, 0, 0);
            id = TestReports.headerId(domain, ++_view, observedAtMs + i, root, link);
            proof.blocks[i] = block_;
        }
        proof.signers = ALL;
        proof.signature = _sign(ALL, id);
        if (observedAtMs >= _observedAt) _observedAt = observedAtMs + 1;
    }

    /// @notice Pushes a report, as a transmitter would.
    /// @return stored As `IOracle.push` says.
    function push(Report memory signed) public returns (bool stored) {
        return oracle.push(signed.certificate, signed.words);
    }

    /// @notice Returns the calldata that pushes a report.
    function pushCalldata(Report memory signed) external pure returns (bytes memory) {
        return abi.encodeCall(IOracle.push, (signed.certificate, signed.words));
    }

    /// @notice Returns the calldata that post a report, to prove from it.
    function postCalldata(Report memory signed) external pure returns (bytes memory) {
        return abi.encodeCall(
            IOracle.post, (signed.certificate, TestReports.root(signed.words))
        );
    }

    /// @notice Returns what `update` and `use` take, for the answer of one feed.
    function updates(Report memory signed, uint16 feed) external pure returns (Update[] memory) {
        uint16[] memory feeds = new uint16[](1);
        feeds[0] = feed;
        return updates(signed, feeds);
    }

    /// @notice Returns what `update` and `use` take, for the answers of these feeds.
    function updates(Report memory signed, uint16[] memory feeds)
        public
        pure
        returns (Update[] memory made)
    {
        made = new Update[](1);
        made[0].certificate = signed.certificate;
        made[0].claims = new Claim[](feeds.length);
        for (uint256 i; i < feeds.length; ++i) made[0].claims[i] = claim(signed, feeds[i]);
    }

    /// @notice Returns the proof of one feed's answer: its parts are what `prove` takes.
    function claim(Report memory signed, uint16 feed) public pure returns (Claim memory) {
        uint256 word = feed / 4;
        if (word >= signed.words.length) revert UnknownFeed(feed, 4 * signed.words.length);
        return Claim(
            feed,
            uint16(signed.words.length),
            signed.words[word],
            TestReports.path(signed.words, word)
        );
    }

    /// @notice Returns the block's time in Unix milliseconds.
    function nowMs() public view returns (uint64) {
        return uint64(block.timestamp * 1000);
    }

    function _sign(uint256 signers, bytes32 digest) private view returns (uint256[6] memory) {
        uint256 sum;
        for (uint256 i; i < MEMBERS; ++i) {
            if (signers >> i & 1 == 1) sum = addmod(sum, _secret(i), TestSigning.ORDER);
        }
        return TestSigning.sign(sum, digest);
    }

    function _secret(uint256 member) private pure returns (uint256) {
        return uint256(keccak256(abi.encode("test key", member))) % (TestSigning.ORDER - 1) + 1;
    }

    function _usualFeeds() private pure returns (Feed[] memory feeds) {
        feeds = new Feed[](4);
        feeds[0] = Feed("BTC", "USD", 8);
        feeds[1] = Feed("ETH", "USD", 8);
        feeds[2] = Feed("SOL", "USD", 8);
        feeds[3] = Feed("USDC", "USD", 8);
    }

    function _configuration(Feed[] memory feeds) private view returns (Configuration memory c) {
        c.members = new Member[](MEMBERS);
        for (uint256 i; i < MEMBERS; ++i) {
            c.members[i] = Member(
                TestSigning.publicKey(_secret(i)),
                keccak256(abi.encode("test identity", i)),
                address(uint160(uint256(keccak256(abi.encode("test operator", i)))))
            );
        }
        c.feeds = new FeedRecord[](feeds.length);
        for (uint256 i; i < feeds.length; ++i) {
            bytes12 base = _symbol(feeds[i].base);
            bytes12 quote = _symbol(feeds[i].quote);
            // Risk tier 1, pushed every 60 s or 0.1 %.
            c.feeds[i].identity = bytes32(abi.encodePacked(base, quote, feeds[i].decimals, uint8(1)));
            c.feeds[i].thresholds = bytes32(abi.encodePacked(uint32(1_000), uint32(60_000)));
            c.feeds[i].parameters = keccak256(abi.encode("test feed", i));
        }
        c.timing = Timing(250, 1_000, 50, 2_000, 500, 3_000);
        // Tests warp far: ten years.
        c.validUntil = nowMs() + 3_650 * DAY;
    }

    function _symbol(string memory symbol) private pure returns (bytes12) {
        uint256 length = bytes(symbol).length;
        if (length == 0 || length > 12) revert SymbolLength(symbol);
        return bytes12(bytes(symbol));
    }
}
