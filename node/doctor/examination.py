"""All that `didyma doctor` looks at, in the order in which an operator would mend it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass

from feeds.catalogue import load_catalogue
from feeds.venues import VENUES
from node import epoch_file, network_file
from node.config import Config
from node.config_check import check_files, ends_of
from node.doctor import machine, world
from node.doctor.clock import clock
from node.doctor.finding import Finding, failed, ok, skipped, warning
from node.errors import OperatorError
from node.keys.account_key import account_address_of
from node.network_file import NetworkFile

REMEDY = "mend that file; `didyma config check` says more"
SKEW_MS_MAX = 500
"""What the default timing bears; used where no committee file says otherwise."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What the looks need of a configuration and of the files that it names."""

    config: Config
    network: NetworkFile | None
    feeds_in: dict[int, int]
    """The number of feeds in each epoch that a file tells of."""
    account: bytes | None
    running: bool
    """Whether the node runs already: then its ports are in use, and by it."""


def read_patient(config: Config, running: bool) -> Patient:
    """Read what is there; what is not is found by `files`."""
    network, account, feeds_in = None, None, {}
    with suppress(OperatorError):
        network = network_file.load(config.node.network_file)
        feeds_in[0] = network.table.count
        if config.node.epoch_file is not None:
            joins = epoch_file.load(config.node.epoch_file)
            feeds_in[joins.epoch] = joins.table.count
    with suppress(OperatorError):
        account = account_address_of(config.keys.account) if config.keys.account else None
    return Patient(config, network, feeds_in, account, running)


async def examine(patient: Patient) -> AsyncIterator[Finding]:
    """Look at everything and yield what was found; takes some ten seconds."""
    config = patient.config
    yield machine.versions()
    for finding in (
        *files(config),
        *machine.data_directory(config),
        *machine.ports(config, patient.running),
    ):
        yield finding
    looking = [
        asyncio.create_task(one)
        for one in (
            _clock(patient),
            world.members(config, config.node.member),
            _chains(patient),
            _exchanges(patient),
        )
    ]
    try:
        for task in looking:
            for finding in await task:
                yield finding
    finally:
        for task in looking:
            task.cancel()


def files(config: Config) -> Iterator[Finding]:
    """Look at the committee file and the keys: present, private, opened by their passwords."""
    problems = check_files(config)
    for problem in problems:
        told = problem.message
        what = told if problem.where in told else f"{problem.where}: {told}"
        yield failed(problem.key or "files", what, problem.remedy or REMEDY)
    if not problems:
        yield ok("files", "keys, passwords and committee files fit each other")
    for told in ends_of(config, time.time_ns() // 1_000_000):
        yield warning("validity", told, "propose the next configuration: `didyma committee create`")
    if config.node.member is None:
        yield ok("member", "none is configured: the node follows and signs nothing")


async def _clock(patient: Patient) -> list[Finding]:
    config, network = patient.config, patient.network
    urls = [
        endpoint.rest_url
        for venue in VENUES
        if (endpoint := config.feeds.endpoints.get(venue) or VENUES[venue].endpoint).rest_url
    ]
    skew_ms_max = network.timing.max_skew_ms if network else SKEW_MS_MAX
    return [await clock([url for url in urls if url], skew_ms_max)]


async def _chains(patient: Patient) -> list[Finding]:
    if not patient.config.chains:
        return [skipped("chains", "none is configured: nothing is published by this node")]
    network = patient.network.network if patient.network else None
    found = await asyncio.gather(
        *(
            world.chain(section, network, patient.feeds_in, patient.account)
            for section in patient.config.chains
        )
    )
    return [finding for findings in found for finding in findings]


async def _exchanges(patient: Patient) -> list[Finding]:
    table = patient.network.table if patient.network else load_catalogue()
    try:
        findings = await world.exchanges(table, patient.config)
    except ValueError as error:
        return [failed("exchanges", str(error), "use the version of didyma that the others use")]
    return [*findings, *world.few_exchanges(findings)]
