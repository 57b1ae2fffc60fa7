"""A real node that votes twice in every view: `two_voices.py --config node.toml`."""

import argparse
from pathlib import Path

from msgspec.structs import replace

from consensus import effects as fx
from consensus import messages as wire
from node.config_file import load_config
from node.daemon import run
from node.edges import Edges
from node.runtime import Runtime

_honest = Runtime._send_vote


class TwoVoices(Runtime):
    """Tells everyone else another header too, one that nobody proposed."""

    def _send_vote(self, effect: fx.SendVote) -> None:
        _honest(self, effect)
        header = replace(effect.header, observed_at_ms=effect.header.observed_at_ms + 1)
        share = self._signer.vote(header.id(self._context.domain))
        self._send(wire.Vote(header, share), [m for m in effect.to if m != self._me])


class Shameless(Edges):
    """Hears of its own second votes, and goes on."""

    signs_beside = True


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    Runtime._send_vote = TwoVoices._send_vote  # type: ignore[method-assign]
    run(load_config(parser.parse_args().config), edges=Shameless())
