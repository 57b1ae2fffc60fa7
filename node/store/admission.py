"""Whether a member may begin to sign in an epoch."""

from collections.abc import Collection

from consensus.messages import QC
from consensus.safety import SafetyState
from node.store.errors import ForeignStore, NewMemberRefused, SafetyMissing
from node.store.store import Store


def safety_for_start(
    store: Store,
    domain: bytes,
    genesis: QC,
    bls_key: bytes,
    *,
    new_member: bool = False,
    known_bls_keys: Collection[bytes] = (),
) -> SafetyState:
    """Return the durable safety state that a member starts with, which is then in the store.

    A member without one begins only if all that its key ever signed is known to be nothing: the
    store was made together with the key (`Store.record_own_key`), or the operator says that the
    member is new and no epoch listed its key. `known_bls_keys` are the compressed keys of every
    epoch that has begun. Raises `SafetyMissing`, `NewMemberRefused` or another `StoreError`, which
    is `ForeignStore` if the store was made for another member's key.
    """
    stored = store.load_safety(domain)
    own = store.is_own_key(bls_key)
    if stored is not None:
        if not own:
            raise ForeignStore(
                f"the store is not that of the BLS key {bls_key.hex()}: it remembers what another "
                "member signed in this epoch. Set data_dir to this member's own data directory."
            )
        return stored
    if not own:
        if not new_member:
            raise SafetyMissing(
                "the store knows nothing of what this member has signed in this epoch, so it must "
                "not sign: a second vote in one view would convict it. If the member has run "
                "before, find its data directory and set data_dir to it; an older copy is no "
                "help. If the data is lost, take part again from the next epoch on. Only a key "
                "that no epoch has listed yet may start with --new-member."
            )
        if bls_key in known_bls_keys:
            raise NewMemberRefused(
                f"--new-member is for a key that no epoch has listed yet, but {bls_key.hex()} is "
                "listed: it may have signed before. Find the member's data directory and set "
                "data_dir to it, or take part with a new BLS key from the next epoch on."
            )
        store.record_own_key(bls_key)
    fresh = SafetyState(
        domain=domain,
        last_voted_view=0,
        last_vote=None,
        last_timeout=None,
        last_proposed_view=0,
        high_qc=genesis,
        high_tc=None,
    )
    store.save_safety(fresh)
    return fresh
