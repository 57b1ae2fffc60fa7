"""What a node keeps on disk, see `schema` for the two files and why there are two."""

from node.store.admission import safety_for_start
from node.store.archive import ArchiveReader, StoredReport
from node.store.archivist import Archivist
from node.store.errors import (
    ForeignStore,
    NewMemberRefused,
    SafetyMissing,
    SafetyOutdated,
    SafetyRegression,
    StoreDamaged,
    StoreError,
    StoreExists,
    StoreFailed,
    StoreHeld,
    StoreLocked,
    StoreMissing,
    StoreTooNew,
)
from node.store.store import Gap, Head, Hold, Retention, Store, StoredEvidence

__all__ = [
    "ArchiveReader",
    "Archivist",
    "ForeignStore",
    "Gap",
    "Head",
    "Hold",
    "NewMemberRefused",
    "Retention",
    "SafetyMissing",
    "SafetyOutdated",
    "SafetyRegression",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreExists",
    "StoreFailed",
    "StoreHeld",
    "StoreLocked",
    "StoreMissing",
    "StoreTooNew",
    "StoredEvidence",
    "StoredReport",
    "safety_for_start",
]
