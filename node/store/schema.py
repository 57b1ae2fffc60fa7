"""The tables, as migrations from nothing.

`safety.db` is synced at every commit and opened by one connection alone. Blocks live beside the
safety state on purpose: a member that voted for a block must still have it when power comes back,
since everyone may have lost power at once and a certified block that nobody holds would stop the
network. In one file the vote and its block are one transaction and one fsync.

`archive.db` holds reports: other members serve the same ones, so it is not synced at every commit,
and the API reads it through a connection of its own.
"""

SAFETY_MIGRATIONS = (
    (
        "CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), instance TEXT NOT NULL)"
        " STRICT",
        "CREATE TABLE own_key (bls_key BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",
        "CREATE TABLE safety (domain BLOB PRIMARY KEY, state BLOB NOT NULL, digest BLOB NOT NULL)"
        " STRICT",
        "CREATE TABLE block (seq INTEGER PRIMARY KEY AUTOINCREMENT, domain BLOB NOT NULL,"
        " id BLOB NOT NULL, view INTEGER NOT NULL, block BLOB NOT NULL,"
        " final INTEGER NOT NULL DEFAULT 0, UNIQUE (domain, id)) STRICT",
        "CREATE INDEX block_by_view ON block (domain, view)",
        "CREATE TABLE head (domain BLOB PRIMARY KEY, id BLOB NOT NULL, view INTEGER NOT NULL,"
        " height INTEGER NOT NULL, state BLOB NOT NULL) STRICT",
        "CREATE TABLE evidence (seq INTEGER PRIMARY KEY AUTOINCREMENT, domain BLOB NOT NULL,"
        " kind TEXT NOT NULL, member INTEGER NOT NULL, view INTEGER NOT NULL, data BLOB NOT NULL,"
        " UNIQUE (domain, kind, member, view)) STRICT",
    ),
    (
        "CREATE TABLE successor (domain BLOB PRIMARY KEY, successor BLOB NOT NULL,"
        " digest BLOB NOT NULL) STRICT",
        "CREATE TABLE candidate (domain BLOB PRIMARY KEY, document BLOB NOT NULL,"
        " approved INTEGER NOT NULL) STRICT",
    ),
    (
        "CREATE TABLE gap (domain BLOB NOT NULL, above_view INTEGER NOT NULL,"
        " above_height INTEGER NOT NULL, view INTEGER NOT NULL, height INTEGER NOT NULL,"
        " above_id BLOB NOT NULL, above_state BLOB NOT NULL,"
        " PRIMARY KEY (domain, view)) STRICT, WITHOUT ROWID",
        "CREATE TABLE skipped (seq INTEGER PRIMARY KEY, domain BLOB NOT NULL,"
        " gap INTEGER NOT NULL, view INTEGER NOT NULL, block BLOB NOT NULL,"
        " UNIQUE (domain, gap, view)) STRICT",
    ),
    (
        # What stood there could not be shown to a contract.
        "DROP TABLE evidence",
        "CREATE TABLE evidence (seq INTEGER PRIMARY KEY AUTOINCREMENT, domain BLOB NOT NULL,"
        " kind TEXT NOT NULL, member INTEGER NOT NULL, view INTEGER NOT NULL,"
        " found_at_ms INTEGER NOT NULL, data BLOB NOT NULL,"
        " UNIQUE (domain, kind, member, view)) STRICT",
        "CREATE TABLE witnessed (seq INTEGER PRIMARY KEY AUTOINCREMENT, domain BLOB NOT NULL,"
        " data BLOB NOT NULL) STRICT",
        "CREATE INDEX witnessed_by_domain ON witnessed (domain, seq)",
    ),
    (
        "CREATE TABLE hold (one INTEGER PRIMARY KEY CHECK (one = 1), at_ms INTEGER NOT NULL,"
        " reason TEXT NOT NULL) STRICT",
    ),
)

ARCHIVE_MIGRATIONS = (
    (
        "CREATE TABLE report (seq INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER NOT NULL,"
        " view INTEGER NOT NULL, id BLOB NOT NULL, observed_at_ms INTEGER NOT NULL,"
        " final INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL, UNIQUE (epoch, view)) STRICT",
        "CREATE INDEX report_by_time ON report (observed_at_ms)",
    ),
)
