// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// A report's place and signers in one word, from the top:
///
///   epoch 32 | view 32 | observed-at 64 (Unix ms) | signers 128 (bit i is set if member i signed)
type Place is uint256;

/// What a quorum certified, less what the words or a proof give: the header's feed root.
struct Certificate {
    /// The aggregate signature on the header's id: a G2 point, x.c0 | x.c1 | y.c0 | y.c1, each 48
    /// bytes big-endian.
    uint256[6] signature;
    /// What ties the header to its parent, its state and its payload.
    bytes32 link;
    Place place;
}

/// One feed's answer, shown to be in a report by a proof of its word.
struct Claim {
    /// Position in the feed table; its word is word feed / 4.
    uint16 feed;
    /// How many words the report has: a quarter of its epoch's feeds, rounded up.
    uint16 words;
    /// The word that holds the answer: four answers, the first uppermost.
    uint256 word;
    /// The siblings from the leaf to the root; their number follows from index and count.
    bytes32[] path;
}

/// A report and the answers of it that are wanted.
struct Update {
    Certificate certificate;
    /// At least one; all under one feed root.
    Claim[] claims;
}

/// What a contract sees of one report; its id is what members sign, see consensus/README.md.
struct Header {
    /// The leader's turn in which the report was certified, counted from 1 in each epoch.
    uint64 view_;
    /// When the answers were observed, Unix milliseconds.
    uint64 observedAt;
    /// Merkle root over the report's words. Zero in the blocks of an epoch that is being closed.
    bytes32 feedRoot;
    /// What ties the header to its parent, its state and its payload.
    bytes32 link;
}

/// A block below a known parent, with what its link is the hash of.
struct Block {
    uint64 view_;
    uint64 observedAt;
    bytes32 feedRoot;
    uint64 height;
    bytes32 stateDigest;
    bytes32 payloadDigest;
}

/// Shows that a report is final: it and its descendants down to two of consecutive views, of which
/// the second is certified.
struct FinalProof {
    uint64 epoch;
    /// The parent of the report. If that is the epoch's genesis: view 0, the genesis id as link, and
    /// as time what the contract knows of it, whatever stands here.
    Header parent;
    /// The report, its child, and so on; at least two.
    Block[] blocks;
    /// Who signed the last block, bit i for member i.
    uint256 signers;
    /// As in a certificate, on the id of the last block.
    uint256[6] signature;
}

/// A member of a committee, as the configuration's hash has it.
struct Member {
    /// A G1 point in the layout of EIP-2537: x and y, each padded to 64 bytes.
    uint256[4] blsKey;
    bytes32 ed25519Key;
    address operator;
}

/// A member with what proves that the keys are its own.
struct Registration {
    Member member;
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

/// Everything that the members of one epoch agreed on; its hash is inside all that they sign.
struct Configuration {
    Member[] members;
    FeedRecord[] feeds;
    Timing timing;
    /// When this epoch's reports cease to be taken, Unix milliseconds.
    uint64 validUntil;
}

/// The sitting committee's word on who follows it.
struct Handover {
    /// The final block that decided the next configuration.
    bytes32 decidingId;
    /// That block's time, Unix milliseconds; the next epoch begins with it.
    uint64 decidedAt;
    /// Who signed, bit i for member i of the sitting committee.
    uint256 signers;
    /// As in a certificate, on H(handover | D | next epoch | next D | decidingId | decidedAt).
    uint256[6] signature;
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
/// @notice Three ways to feed it, which mix freely: `push` stores all words of a report under one time;
/// `post` verifies a report once, and each `prove` then stores the answer that it needs; `update`
/// and `use` verify and store in one call. A read serves the newest of what the three stored.
///
/// Life: deploy with two hashes, `register` the members, `open` the first epoch, and at each end of
/// an epoch `handover`. Each may be called by anyone, in as many transactions as it takes.
///
/// Invariants, each tested under its number:
///
///  O1 *authority*  An answer is stored only from a report that was certified: an aggregate signature
///                  by at least q = (n + f) / 2 + 1 of the epoch's n members, f = (n - 1) / 3, on the
///                  header's id, which is recomputed from the contract's own D.
///  O2 *verbatim*   Stored answers are exactly those under the certified feed root. Root 0 is refused.
///  O3 *fresh*      The observation time of each feed strictly increases, so of one time no second answer
///                  is ever served, though two certified reports may share a time. What is not newer
///                  changes no answer, costs little and reverts nothing: no signature is looked at.
///  O4 *present*    What is taken was observed at most `maxFuture` after the block's time.
///  O5 *term*       No certificate is taken that was observed, or comes, after its epoch's valid-until.
///  O6 *fail closed* `read` and `use` return a price only if its status is live, degraded or carried, it
///                  is not zero, and it is as young and as certain as the caller demands.
///                  `tryRead` never reverts and returns reason 0 exactly when `read` returns.
///  O7 *no key rules* There is no owner and no upgrade: every function may be called by anyone, and what
///                  it changes follows from certificates, proofs and hashes alone.
///  O8 *own keys*   Each key of a committee is a point of G1's subgroup other than infinity, was proven
///                  by its holder for this network, operator and Ed25519 key, and no two members
///                  share a BLS key, an Ed25519 key or an operator. True of every epoch: no
///                  certificate replaces these proofs.
///  O9 *bounded*    A call with malformed points costs at most 250,000 gas for a report of one word.
///  O10 *precompiles* No precompile's result is used unless its call succeeded and returned the
///                  exact size (of the nine alike calls of SHA-256, the first and the last), so a chain
///                  without EIP-2537 can neither open nor be fed.
///  O11 *succession* An epoch follows another only by a quorum of the sitting committee on the deciding
///                  block and the next D, within the sitting epoch's term; a closed epoch's
///                  reports are never stored, nor are roots that it left behind.
///  O12 *append only* A feed keeps its index, pair and decimals for ever; feeds are only added.
///  O13 *one price* After the first `use` of a feed in a transaction every `use`, `read`, `tryRead`
///                  and `latest` of it in that transaction returns the same answer, whatever is stored
///                  meanwhile.
///  O14 *first final* `firstAfter` returns an answer only of the one final report that was observed after
///                  the moment and whose predecessor was not.
///
/// Prices are integers scaled by 10**decimals of their feed. Times are Unix milliseconds.
interface IOracle {
    /// @notice All words of a report were stored. Epoch and view name the report; its words stand in the
    /// call, and in what `latest` returns.
    event Pushed(Place place);
    /// @notice A report was verified: its answers can now be proven.
    event Posted(Place place, bytes32 id, bytes32 feedRoot);
    /// @notice Answers of a report were stored by `update` or `use`.
    event Updated(Place place, bytes32 id, bytes32 feedRoot);
    /// @notice A member proved its keys; `member` is the hash of its record.
    event Registered(bytes32 indexed member, address operator);
    /// @notice An epoch began. Of the first, the deciding block and its time are 0.
    event Opened(
        uint64 indexed epoch,
        bytes32 domain,
        bytes32 configurationHash,
        bytes32 decidingId,
        uint64 decidedAt
    );

    // What `push`, `post`, `update`, `use` and `handover` refuse.

    /// The report was observed later than this chain may take at present, Unix ms.
    error FromTheFuture(uint256 observedAt, uint256 latestAllowed);
    /// The epoch's configuration is valid until `validUntil` only, Unix ms.
    error Expired(uint256 validUntil, uint256 time);
    /// The report is of an epoch that has not begun here: hand over first.
    error EpochAhead(uint256 epoch, uint256 current);
    /// The report has no words.
    error NoFeedRoot();
    /// An update with nothing to store.
    error NoClaims();
    /// The claims of an update are not of one report.
    error RootsDiffer(bytes32 first, bytes32 other);
    /// The path has another length than this word of so many needs.
    error PathLength(uint256 length, uint256 index, uint256 words);
    /// The bitmap has a bit that stands for no member.
    error UnknownSigner(uint256 signers, uint256 members);
    /// The epoch has no such member.
    error UnknownMember(uint256 member, uint256 members);
    /// Fewer members signed than a certificate needs.
    error BelowQuorum(uint256 signers, uint256 quorum);
    /// The sum of the signers' keys is the point at infinity.
    error InfinityAggregateKey();
    /// The signature is not a point of G2's subgroup, or the pairing ran out of its gas.
    error MalformedSignature();
    /// The signature is not of these signers on this digest: it is at infinity, or of other words, another
    /// place, link, network or configuration, or other signers.
    error BadSignature(bytes32 id);
    /// A precompile did not answer as it must; the chain may lack EIP-2537.
    error PrecompileFailed(uint256 precompile);
    /// The epoch was not opened here.
    error CommitteeMissing(uint256 epoch);

    // What `prove` refuses.

    /// No report of this time is posted, or one was in its place since.
    error NotPosted(uint256 observedAt);
    /// The claim's path does not lead to the posted root.
    error NotInReport(bytes32 rootOfClaim);

    // What `firstAfter` and `finalAnswer` refuse.

    /// A block above is not of the view after the one below it, or there is no block above.
    error NotFinal(uint256 blocks);
    /// The report is not the first after the moment.
    error NotFirstAfter(uint256 time, uint256 previousAt, uint256 observedAt);

    // What deployment, `register`, `open` and `handover` refuse.

    /// A committee has from 1 to 128 members.
    error CommitteeSize(uint256 members);
    /// A feed table has from 1 to 383 feeds, and never fewer than before.
    error FeedTableSize(uint256 feeds, uint256 least);
    /// A number is out of its range.
    error OutOfRange(string what, uint256 value, uint256 minimum, uint256 maximum);
    /// Two members share a key or an operator.
    error Duplicate(string what, uint256 first, uint256 second);
    /// The member's key is the point at infinity.
    error InfinityKey(uint256 member);
    /// The proof of possession does not verify, or key or proof are not points of their subgroups.
    error BadProofOfPossession(uint256 member);
    /// The registration does not verify for this network, operator and Ed25519 key.
    error BadRegistration(uint256 member);
    /// The member is in the committee but proved nothing here yet: `register` it first.
    error NotRegistered(uint256 member);
    /// The first epoch is open; others open by `handover`.
    error AlreadyOpen();
    /// The configuration is not the one whose hash the contract was deployed with.
    error AnotherConfiguration(bytes32 hash, bytes32 expected);
    /// A feed's pair or decimals would change.
    error FeedChanged(uint256 feed);
    /// The chain did not store a blob of the configuration.
    error BlobNotStored();

    // Why `read` and `use` give no price, in the order of `Reason`.

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

    /// @notice Stores all words of a report certified by a quorum of the committee.
    /// @dev Anyone may call: authority comes from the certificate alone.
    /// @param certificate The report's certificate; its feed root is computed from the words.
    /// @param words All words of the report in table order, four answers each.
    /// @return stored False, before any signature is checked, if the last push is as new or the
    /// report is of a closed epoch.
    function push(Certificate calldata certificate, uint256[] calldata words)
        external
        returns (bool stored);

    /// @notice Verifies a report once, so that its answers can be proven; changes no answer.
    /// @param feedRoot The Merkle root over the report's words.
    /// @return stored False, before any signature is checked, if something as new was pushed, posted
    /// or updated, or the report is of a closed epoch.
    function post(Certificate calldata certificate, bytes32 feedRoot) external returns (bool stored);

    /// @notice Stores one feed's answer, and its neighbour's, from a posted report.
    /// @dev Feeds 2k and 2k + 1 are neighbours: they share a slot with a time of its own. A posted report can
    /// be proven from until another is posted whose time is the same modulo 17, at regular intervals the
    /// seventeenth after it; its epoch ends; or a report of the same time is pushed, after which there
    /// is nothing to prove. Emits nothing: what could be proven stands in `Posted`.
    /// @param word The word that holds the answer: word feed / 4 of the report.
    /// @param path The siblings from the leaf to the root.
    /// @param feed Position in the feed table.
    /// @param observedAt When the posted report was observed, Unix ms: no two posted ones share a time.
    /// @return stored False if what the slot holds is as new, or a report of that time was pushed. A read
    /// serves what is newer: what was pushed, or what the slot holds.
    function prove(uint256 word, bytes32[] calldata path, uint16 feed, uint64 observedAt)
        external
        returns (bool stored);

    /// @notice Verifies reports and stores the claimed answers, and their neighbours'.
    /// @dev A report of a closed epoch, or of which every claimed answer is already as new, is skipped before any
    /// signature is checked; anything else that is wrong with any of them reverts.
    /// @return stored How many claims were stored.
    function update(Update[] calldata updates) external returns (uint256 stored);

    /// @notice Does `update`, then returns prices that are fit for use, or reverts with the reason.
    /// @dev The way to settle atomically. The first `use` of a feed settles its answer for the rest of the
    /// transaction (O13), so no sequence of calls in it gets to see a second price.
    /// @param feeds The feeds whose prices are wanted, claimed in the updates or stored before.
    /// @param maxAgeSeconds As in `read`.
    /// @param maxConfidencePpm As in `read`.
    /// @return prices One for each of `feeds`, scaled by 10**decimals of the feed, never zero.
    /// @return observedAtMs When each was observed, Unix milliseconds.
    function use(
        Update[] calldata updates,
        uint16[] calldata feeds,
        uint32 maxAgeSeconds,
        uint32 maxConfidencePpm
    ) external returns (uint256[] memory prices, uint256[] memory observedAtMs);

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

    /// @notice Returns the newest stored answer as it is: unfit for use without a look at status and
    /// age.
    function latest(uint16 feed)
        external
        view
        returns (uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs);

    /// @notice Returns a feed's answer in the first final report that was observed after a moment.
    /// @dev For settlement: whoever brings the proof has no choice of the report. Takes certificates of the
    /// current and of closed epochs, until `evidenceWindow` after the epoch's valid-until.
    /// @param time The moment, Unix milliseconds.
    /// @param proof The report, its parent, and what shows that it is final.
    /// @param claim The answer, under the report's feed root.
    /// @return previousAt When the final report before it was observed, Unix ms; 0 if there is none.
    /// @return observedAt When it was observed, Unix ms.
    /// @return price As in `latest`, as are the others: whoever settles judges the status.
    /// @return confidencePpm All ones if unknown.
    /// @return status As in `latest`.
    function firstAfter(uint64 time, FinalProof calldata proof, Claim calldata claim)
        external
        view
        returns (
            uint64 previousAt,
            uint64 observedAt,
            uint256 price,
            uint256 confidencePpm,
            uint8 status
        );

    /// @notice Returns a feed's answer in a final report, whichever it is, as `firstAfter` does.
    function finalAnswer(FinalProof calldata proof, Claim calldata claim)
        external
        view
        returns (
            uint64 previousAt,
            uint64 observedAt,
            uint256 price,
            uint256 confidencePpm,
            uint8 status
        );

    /// @notice Checks and remembers members' proofs, for this contract and for good.
    /// @dev About 345,000 gas for each. Those already registered cost little and are not checked again.
    function register(Registration[] calldata registrations) external;

    /// @notice Returns whether a member's proofs were checked here.
    function isRegistered(Member calldata member) external view returns (bool);

    /// @notice Opens the first epoch with the configuration that the contract was deployed for.
    function open(Configuration calldata configuration) external;

    /// @notice Opens the next epoch with the configuration that the sitting committee handed over to.
    /// @return opened False, before any signature is checked, if that epoch is open already.
    function handover(uint64 nextEpoch, Configuration calldata configuration, Handover calldata terms)
        external
        returns (bool opened);

    /// @notice Returns the place of the last push; view and time are 0 before the epoch's first.
    function stored() external view returns (uint64 epoch_, uint64 view_, uint64 observedAt);

    /// @notice Returns the time of the newest report that was posted or updated from, 0 if none was.
    function postedAt() external view returns (uint64);

    /// @notice Returns a posted report from which answers can be proven.
    /// @param observedAt When it was observed, Unix ms.
    /// @return words How many words it has; 0 if no such report is held.
    /// @return rootPrefix The first 192 bits of its feed root; the rest is zero.
    function posted(uint64 observedAt) external view returns (uint16 words, bytes32 rootPrefix);

    /// @notice Returns the network's identity: its name and its genesis configuration, hashed.
    function network() external view returns (bytes32);

    /// @notice Returns D, which is inside everything that the epoch's members sign.
    function domain() external view returns (bytes32);

    /// @notice Returns the current epoch.
    function epoch() external view returns (uint64);

    /// @notice Returns the hash of the epoch's configuration.
    function configurationHash() external view returns (bytes32);

    /// @notice Returns the current epoch's number of members, its quorum and its valid-until (Unix ms).
    function committee() external view returns (uint256 members, uint256 quorum, uint256 validUntil);

    /// @notice Describes any epoch that was opened here; reverts with CommitteeMissing for others.
    /// @return domain_ D of that epoch.
    /// @return configurationHash_ The hash of its configuration.
    /// @return decidingId The block of the epoch before that decided it; 0 for the first.
    /// @return decidedAt That block's time, Unix ms; 0 for the first.
    /// @return members How many members it has.
    /// @return validUntil When its reports cease to be taken, Unix ms.
    function epochAt(uint64 epoch_)
        external
        view
        returns (
            bytes32 domain_,
            bytes32 configurationHash_,
            bytes32 decidingId,
            uint64 decidedAt,
            uint256 members,
            uint64 validUntil
        );

    /// @notice Returns a member of any epoch that was opened here.
    /// @return operator Its account.
    /// @return negatedKey Its BLS key, negated: a G1 point in the layout of EIP-2537.
    function memberAt(uint64 epoch_, uint256 member)
        external
        view
        returns (address operator, uint256[4] memory negatedKey);

    /// @notice Returns whether exactly these members of an epoch signed a digest, however few they are.
    /// @dev For evidence. False for a malformed signature too; reverts if there are no signers, or
    /// bits that stand for no member.
    /// @param signers Bit i for member i.
    /// @param signature As in a certificate.
    function isSigned(
        uint64 epoch_,
        bytes32 digest,
        uint256 signers,
        uint256[6] calldata signature
    ) external view returns (bool);

    /// @notice Returns how far a report may be ahead of the block's time, milliseconds.
    function maxFuture() external view returns (uint256);

    /// @notice Returns how long after its valid-until an epoch's certificates prove history, milliseconds.
    /// Stakes must stay bound for at least as long.
    function evidenceWindow() external view returns (uint256);

    /// @notice Returns the number of feeds.
    function feedCount() external view returns (uint256);

    /// @notice Describes a feed.
    /// @return base What is priced.
    /// @return quote In what it is priced.
    /// @return decimals Prices are scaled by 10**decimals.
    /// @return deviationPpm A report is pushed when the price moved by this much, parts per million.
    /// @return heartbeatMs A report is pushed at least this often, milliseconds.
    /// @return tier Risk tier, 1 the safest.
    /// @return status That of the newest stored answer, as in `latest`.
    function feed(uint16 index)
        external
        view
        returns (
            string memory base,
            string memory quote,
            uint8 decimals,
            uint32 deviationPpm,
            uint32 heartbeatMs,
            uint8 tier,
            uint8 status
        );
}
