"""Brings certified reports onto chains: one asyncio task per chain, no trio."""

from node.publisher.publisher import Publisher
from node.publisher.settings import ChainSettings
from node.publisher.status import ChainStatus
from node.publisher.succession import Succession, succession_of
from node.publisher.terms import EpochTerms

__all__ = ["ChainSettings", "ChainStatus", "EpochTerms", "Publisher", "Succession", "succession_of"]
