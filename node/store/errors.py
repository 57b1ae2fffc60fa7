"""What can go wrong with the data directory, and what the operator should do about it."""

from node.errors import MemberHeld, OperatorError


class StoreError(OperatorError):
    """The data directory cannot be used; the text says what to do."""


class StoreMissing(StoreError):
    """There is no store where one should be."""


class StoreExists(StoreError):
    """A store stands where a new one was to be made; nothing is ever overwritten."""


class StoreLocked(StoreError):
    """Another process uses the data directory."""


class StoreDamaged(StoreError):
    """Something stored does not read back as it was written."""


class StoreTooNew(StoreError):
    """A later version of the program wrote the store."""


class SafetyMissing(StoreError):
    """A member has no safety state: what it signed before is unknown, so it must not sign."""


class SafetyOutdated(StoreError):
    """The safety state is an older copy: the journal beside it holds later signatures."""


class ForeignStore(StoreError):
    """The store is another member's."""


class NewMemberRefused(StoreError):
    """The operator called a member new whose key an epoch has listed already."""


class StoreHeld(StoreError, MemberHeld):
    """The member may sign elsewhere, so this store must not be used until its operator says so."""


class StoreFailed(StoreError):
    """A write did not succeed: the node must stop, since it cannot know what is durable."""


class SafetyRegression(StoreFailed):
    """A safety state that forgets a signature was to be saved: a fault of ours, refused."""
