import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner, Result

from node.cli import main

ANSWERS: dict[str, tuple[int, bytes]] = {
    "/v1/status": (
        200,
        b'{"member": "alice", "x": {"y": [1]}, '
        b'"peers": [{"member": "bob", "connected": true}, {"member": "\\u001b[2J"}]}',
    ),
    "/v1/reports/latest": (200, b'{"id": "0x12"}'),
    "/v1/reports/7": (200, b'{"id": "0x07"}'),
    "/v1/reports/8": (404, b'{"error": {"code": "x", "message": "no view 8", "remedy": "wait"}}'),
    "/v1/reports/9": (500, b"\xff\x1b[2J"),
    "/odd/v1/status": (200, b"<html>"),
    "/list/v1/status": (200, b"[]"),
    "/moved/v1/status": (302, b"{}"),
    "/big/v1/status": (200, b" " * (5 << 20)),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, content = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client leaves early when it is too much
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_status_answers_for_people_and_for_programs(url: str) -> None:
    text = invoke("status", "--url", url)
    assert text.exit_code == 0
    assert "alice" in text.stdout
    assert "bob     yes" in text.stdout
    assert "\x1b" not in text.stdout
    assert json.loads(invoke("status", "--url", url, "--json").stdout)["member"] == "alice"


def test_reports_are_fetched_by_view_and_newest(url: str) -> None:
    assert json.loads(invoke("reports", "latest", "--url", url).stdout) == {"id": "0x12"}
    assert json.loads(invoke("reports", "get", "7", "--url", url).stdout) == {"id": "0x07"}


def test_what_the_node_says_of_a_refusal_is_passed_on(url: str) -> None:
    result = invoke("reports", "get", "8", "--url", url)
    assert result.exit_code == 1
    assert "no view 8; wait" in result.stderr
    garbled = invoke("reports", "get", "9", "--url", url)
    assert garbled.exit_code == 1
    assert "\x1b" not in garbled.stderr


@pytest.mark.parametrize("path", ["/odd", "/list", "/big"])
def test_what_is_no_node_counts_as_unreachable(url: str, path: str) -> None:
    assert invoke("status", "--url", url + path).exit_code == 4


def test_a_redirect_is_not_followed(url: str) -> None:
    assert invoke("status", "--url", url + "/moved").exit_code == 1


def test_nobody_there_is_told_with_a_code_of_its_own(unused_port: int) -> None:
    result = invoke("status", "--url", f"http://127.0.0.1:{unused_port}", "--json")
    assert result.exit_code == 4
    assert "is the node running" in json.loads(result.stderr)["error"]["message"]


@pytest.fixture
def unused_port() -> Iterator[int]:
    import socket

    # Bound but not listening: nobody else gets the port, and connecting to it is refused.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("wrong", ["ftp://host", "127.0.0.1:1", "http://", "http://h:99999"])
def test_a_wrong_url_is_wrong_usage(wrong: str) -> None:
    assert invoke("status", "--url", wrong).exit_code == 2
