// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// What a contract sees of one report; its id is what members sign, see consensus/README.md.
struct Header {
    /// The leader's turn in which the report was certified, counted from 1 in each epoch.
    uint64 view_;
    /// When the answers were observed, Unix milliseconds.
    uint64 observedAt;
    /// Merkle root over the report's words. Zero, a closed epoch's, is never taken.
    bytes32 feedRoot;
    /// What ties the header to its parent, its state and its payload; opaque here.
    bytes32 link;
}

/// A quorum's aggregate signature on one header.
struct Certificate {
    /// Bit i is set if member i signed.
    uint256 bitmap;
    /// A G2 point, x.c0 | x.c1 | y.c0 | y.c1, each 48 bytes big-endian.
    uint256[6] signature;
}

/// One member of the committee, with what proves that the keys are its own.
struct Member {
    /// A G1 point in the layout of EIP-2537: x and y, each padded to 64 bytes.
    uint256[4] blsKey;
    bytes32 ed25519Key;
    address operator;
    /// Signature of the BLS key on its own 48 compressed bytes, under the tag of proofs.
    uint256[6] proofOfPossession;
    /// Signature of the BLS key on H(registration | network | operator | Ed25519 key).
    uint256[6] registration;
}

/// One record of the feed table.
struct FeedRecord {
    /// base 12 bytes | quote 12 bytes | decimals 1 | risk tier 1 | zero.
    bytes32 identity;
    /// deviation in parts per million, 4 bytes | heartbeat in milliseconds, 4 bytes | zero.
    bytes32 thresholds;
    /// Hash of every other number of the feed and of its sources.
    bytes32 parameters;
}

/// The timing parameters of an epoch, all in milliseconds.
struct Timing {
    uint64 roundInterval;
    uint64 baseTimeout;
    uint64 grace;
    uint64 maxLag;
    uint64 maxSkew;
    uint64 carry;
}

/// Everything that a network's first committee agreed on, and this chain's tolerance.
struct Genesis {
    /// keccak-256 of the network's name.
    bytes32 nameHash;
    Member[] members;
    FeedRecord[] feeds;
    Timing timing;
    /// When this epoch's reports cease to be taken, Unix milliseconds.
    uint64 validUntil;
    /// How far a report may be ahead of this chain's block time, milliseconds.
    uint64 maxFuture;
}

/// Why a safe read gives no price; the order of the checks.
enum Reason {
    None,
    UnknownFeed,
    Unavailable,
    Halted,
    Stale,
    Uncertain
}

/// @title Prices that a quorum of a committee agreed on, verified by the chain itself
/// @notice Invariants, each tested under its number:
///
///  O1 *authority*  Words change only in `push`, and only with a certificate: an aggregate signature
///                  by at least q = (n + f) / 2 + 1 of the epoch's n members, f = (n - 1) / 3, on
///                  the header's id, which is recomputed from the contract's own D.
///  O2 *verbatim*   The stored words are exactly those whose Merkle root the certified header holds.
///  O3 *fresh*      The stored observation time strictly increases. A report that is not newer
///                  changes nothing and returns false before any signature is looked at.
///  O4 *present*    What is stored was observed at most `maxFuture` after the block's time.
///  O5 *term*       Nothing is stored that was observed or comes later than the epoch's valid-until.
///  O6 *fail closed* `read` returns a price only if its status is live, degraded or carried, the price
///                  is not zero, and it is as young and as certain as the caller demands.
///                  `tryRead` never reverts and returns reason 0 exactly when `read` returns.
///  O7 *no key rules* There is no owner and no upgrade; beside the constructor only `push` writes.
///  O8 *own keys*   Each key of the committee is a point of G1's subgroup other than infinity, was
///                  proven by its holder for this network, operator and Ed25519 key, and no two
///                  members share a BLS key, an Ed25519 key or an operator.
///  O9 *bounded*    A call with malformed points costs at most 250,000 gas for a one-word report.
///  O10 *precompiles* No precompile's result is used unless its call succeeded and returned the
///                  exact size, so a chain without EIP-2537 can neither deploy nor push.
///
/// Prices are integers scaled by 10**decimals of their feed. Times are Unix milliseconds.
interface IOracle {
    /// @notice A newer report was stored.
    event Pushed(
        uint64 indexed epoch,
        uint64 indexed view_,
        uint64 observedAt,
        bytes32 id,
        bytes32 feedRoot,
        uint256[] words
    );

    // What `push` refuses.

    /// The report was observed later than this chain may take at present, Unix ms.
    error FromTheFuture(uint256 observedAt, uint256 latestAllowed);
    /// The epoch's configuration is valid until `validUntil` only, Unix ms.
    error Expired(uint256 validUntil, uint256 time);
    /// The header has no feed root: it is of a closed epoch.
    error NoFeedRoot();
    /// The words are not those of the header.
    error WordsMismatch(bytes32 feedRoot, bytes32 rootOfWords);
    /// The bitmap has a bit that stands for no member.
    error UnknownSigner(uint256 bitmap, uint256 members);
    /// Fewer members signed than a certificate needs.
    error BelowQuorum(uint256 signers, uint256 quorum);
    /// The signature is the point at infinity.
    error InfinitySignature();
    /// The sum of the signers' keys is the point at infinity.
    error InfinityAggregateKey();
    /// The signature is not a point of G2's subgroup, or the pairing ran out of its gas.
    error MalformedSignature();
    /// The signature is not of these signers on this id under this contract's D.
    error BadSignature(bytes32 id);
    /// A precompile did not answer as it must; the chain may lack EIP-2537.
    error PrecompileFailed(uint256 precompile);
    /// The stored committee is missing or has another size than its members demand.
    error CommitteeMissing(uint256 epoch);

    // What the constructor refuses.

    /// A committee has from 1 to 128 members.
    error CommitteeSize(uint256 members);
    /// A feed table has from 1 to 383 feeds.
    error FeedTableSize(uint256 feeds);
    /// A number of the configuration is out of its range.
    error OutOfRange(string what, uint256 value, uint256 maximum);
    /// Two members share a key or an operator.
    error Duplicate(string what, uint256 first, uint256 second);
    /// The member's key is the point at infinity.
    error InfinityKey(uint256 member);
    /// The proof of possession does not verify, or key or proof are not points of their subgroups.
    error BadProofOfPossession(uint256 member);
    /// The registration does not verify for this network, operator and Ed25519 key.
    error BadRegistration(uint256 member);
    /// The chain did not store a blob of the configuration.
    error BlobNotStored();

    // Why `read` gives no price, in the order of `Reason`.

    /// The feed table has no such feed.
    error UnknownFeed(uint256 feed, uint256 feeds);
    /// The feed has no price: no report yet, or the committee could not agree on one.
    error Unavailable(uint256 feed, uint256 status);
    /// The feed's breaker has tripped.
    error Halted(uint256 feed);
    /// The answer is older than the caller takes, milliseconds.
    error Stale(uint256 feed, uint256 age, uint256 maxAge);
    /// The answer is less certain than the caller takes, parts per million of the price.
    error Uncertain(uint256 feed, uint256 confidencePpm, uint256 maxConfidencePpm);

    /// @notice Stores the words of a report certified by a quorum of the committee.
    /// @dev Anyone may call: authority comes from the certificate alone.
    /// @param header What was certified.
    /// @param words All words of the report in table order, four answers each.
    /// @param certificate Signers and their aggregate signature on the header's id.
    /// @return stored False, before any signature is checked, if what is stored is as new.
    function push(Header calldata header, uint256[] calldata words, Certificate calldata certificate)
        external
        returns (bool stored);

    /// @notice Returns a price that is fit for use, or reverts with the reason why there is none.
    /// @param feed Position in the feed table.
    /// @param maxAgeSeconds The oldest answer taken, by observation time; a carried answer counts as
    /// older by the epoch's carry.
    /// @param maxConfidencePpm The widest confidence taken, parts per million of the price.
    /// @return price Scaled by 10**decimals of the feed, never zero.
    /// @return observedAtMs When it was observed, Unix milliseconds.
    function read(uint16 feed, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256 price, uint256 observedAtMs);

    /// @notice Returns what `read` would, with the reason instead of a revert.
    /// @return reason 0 if the answer is fit for use, else a `Reason`.
    /// @return price The stored price, whatever the reason; 0 for an unknown feed.
    /// @return confidencePpm All ones if unknown or beyond what the encoding holds.
    /// @return status 0 unavailable, 1 live, 2 carried, 3 degraded, 4 halted.
    /// @return observedAtMs When it was observed, Unix milliseconds.
    function tryRead(uint16 feed, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint8 reason, uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs);

    /// @notice Returns the stored answer as it is: unfit for use without a look at status and age.
    function latest(uint16 feed)
        external
        view
        returns (uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs);

    /// @notice Returns the place of what is stored; view and time are 0 before the first report.
    function stored() external view returns (uint64 epoch_, uint64 view_, uint64 observedAt);

    /// @notice Returns the network's identity: its name and its genesis configuration, hashed.
    function network() external view returns (bytes32);

    /// @notice Returns D, which is inside everything that the epoch's members sign.
    function domain() external view returns (bytes32);

    /// @notice Returns the current epoch.
    function epoch() external view returns (uint64);

    /// @notice Returns the hash of the epoch's configuration.
    function configurationHash() external view returns (bytes32);

    /// @notice Returns the epoch's number of members, its quorum and its valid-until (Unix ms).
    function committee() external view returns (uint256 members, uint256 quorum, uint256 validUntil);

    /// @notice Returns how far a report may be ahead of the block's time, milliseconds.
    function maxFuture() external view returns (uint256);

    /// @notice Returns the number of feeds.
    function feedCount() external view returns (uint256);

    /// @notice Describes a feed.
    /// @return base What is priced.
    /// @return quote In what it is priced.
    /// @return decimals Prices are scaled by 10**decimals.
    /// @return deviationPpm A report is pushed when the price moved by this much, parts per million.
    /// @return heartbeatMs A report is pushed at least this often, milliseconds.
    /// @return tier Risk tier, 1 the safest.
    function feed(uint16 index)
        external
        view
        returns (
            string memory base,
            string memory quote,
            uint8 decimals,
            uint32 deviationPpm,
            uint32 heartbeatMs,
            uint8 tier
        );
}
