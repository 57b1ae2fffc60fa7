"""Logs: stable form, no secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from node.log import REDACTED, configure_logging, public_part, redact


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class LooksLikeAKey:
    def __str__(self) -> str:
        return "SECRET"

    __repr__ = __str__


def test_a_json_line_holds_event_level_time_and_fields() -> None:
    out = io.StringIO()
    configure_logging("json", "info", out)
    log = structlog.get_logger()
    log.debug("not_shown")
    log.info("round_certified", view=7, feeds=["BTC/USD"], id=b"\x01\x02")
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "round_certified",
        "level": "info",
        "view": 7,
        "feeds": ["BTC/USD"],
        "id": "0102",
    }


@pytest.mark.parametrize(
    "key",
    [
        "password", "Passphrase", "bls_secret_key", "private_key", "seed", "identity_seed",
        "mnemonic", "Authorization", "api_key", "apiKey", "auth_token", "sk",
    ],
)  # fmt: skip
def test_fields_that_sound_secret_are_not_logged(key: str) -> None:
    event = redact(None, "info", {key: "SECRET", "deeper": [{key: "SECRET"}]})
    assert "SECRET" not in str(event)
    assert event[key] == REDACTED


@pytest.mark.parametrize("key", ["bls_password_file", "member", "task", "price", "asked", "risk"])
def test_other_fields_are(key: str) -> None:
    assert redact(None, "info", {key: "shown"}) == {key: "shown"}


def test_urls_lose_what_may_be_an_access_key() -> None:
    text = "POST https://user:SECRET@rpc.example:8545/v3/SECRET?k=SECRET failed"
    event = redact(None, "info", {"error": text, "exc": ValueError(text), "list": (text,)})
    assert "SECRET" not in str(event)
    assert "https://rpc.example:8545/…" in str(event["error"])
    assert public_part("ws://127.0.0.1:5") == "ws://127.0.0.1:5"
    assert public_part("http://[::1]:99/") == "http://[::1]:99"
    assert public_part("http://[bad") == REDACTED


def test_unknown_objects_do_not_print_themselves() -> None:
    event = redact(None, "info", {"key": LooksLikeAKey(), "more": {"deep": [LooksLikeAKey()]}})
    assert "SECRET" not in str(event)


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_come_without_local_variables_and_access_keys(form: str) -> None:
    out = io.StringIO()
    configure_logging("json" if form == "json" else "text", "debug", out)
    password = "SECRET"
    try:
        raise ValueError("https://rpc.example/SECRET")
    except ValueError:
        structlog.get_logger().exception("push_failed", password=password)
    assert "Traceback" in out.getvalue()
    assert "SECRET" not in out.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_libraries_log_in_the_same_form_from_warnings_on(form: str) -> None:
    out = io.StringIO()
    configure_logging("json" if form == "json" else "text", "debug", out)
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("went to %s", "https://rpc.example/SECRET")
    assert "chatter" not in out.getvalue()
    assert "SECRET" not in out.getvalue()
    assert "went to https://rpc.example/" in out.getvalue()
