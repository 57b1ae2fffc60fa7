"""Runs the auditor as a process of its own; one that dies or says nothing finds nothing ok."""

import asyncio

import msgspec

from testnet.audit.verdict import Verdict, failed
from testnet.cluster import Cluster
from testnet.processes import module_command

_AUDIT_S_MAX = 300
_VERDICT_BYTES_MAX = 1 << 20


async def verdict_on(cluster: Cluster) -> Verdict:
    """Return the auditor's verdict on a testnet whose nodes have stopped and whose chain runs."""
    if cluster.rpc_url is None:
        return failed("the testnet never started")
    directory = str(cluster.options.directory)
    auditor = cluster.child(
        "audit", module_command("testnet.audit", directory, "--rpc", cluster.rpc_url)
    )
    await auditor.start(announces=True)
    try:
        async with asyncio.timeout(_AUDIT_S_MAX):
            said = await auditor.output(_VERDICT_BYTES_MAX)
            status = await auditor.ended()
    except TimeoutError:
        return failed(f"the auditor did not end within {_AUDIT_S_MAX} s")
    return verdict_in(said, status, auditor.last_words())


def verdict_in(said: bytes, status: int, last_words: str) -> Verdict:
    """Return what an auditor said if its exit status agrees, else that nothing can be said."""
    try:
        verdict = msgspec.json.decode(said, type=Verdict)
    except msgspec.DecodeError:
        return failed(f"the auditor ended with status {status}: {last_words}")
    if verdict.ok != (status == 0) or (verdict.ok and verdict.violations):
        return failed(f"the auditor contradicts its exit status {status}")
    return verdict
