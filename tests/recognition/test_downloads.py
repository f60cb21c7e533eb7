"""Downloads end: in a file, or with an exception that says what happened, and never at an address that is not safe."""

import http.server
import threading

import pooch
import pytest
import requests

from blurnb.recognition import downloads


class Site(http.server.BaseHTTPRequestHandler):
    """`/file` is there, `/to?ADDRESS` leads to an address, `/silent` begins and says no more."""

    over = threading.Event()

    def do_GET(self):
        kind, _, target = self.path.partition("?")
        self.send_response(302 if kind == "/to" else 200)
        if kind == "/to":
            self.send_header("Location", target)
        self.send_header("Content-Length", "0" if kind == "/to" else "4")
        self.end_headers()
        if kind == "/silent":
            self.wfile.write(b"fi")
            self.over.wait(5)
        elif kind == "/file":
            self.wfile.write(b"file")

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Site.over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/file", "/to?/file", "/to?/to?/file"])
def test_a_file_is_fetched_also_from_where_its_host_has_put_it(site, tmp_path, path):
    downloads.downloader()(site + path, tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == b"file"


@pytest.mark.parametrize("target", ["http://example.org/file", "ftp://example.org/file", "file:///etc/hostname"])
def test_a_mirror_that_leads_elsewhere_without_encryption_is_not_followed(site, tmp_path, target):
    with pytest.raises(downloads.LeadsElsewhere, match="127.0.0.1"):
        downloads.downloader()(f"{site}/to?{target}", tmp_path / "file", None)


def test_encryption_is_never_given_up_and_a_redirect_into_it_is_followed():
    for asked, target, is_right in (
        ("https://a.org/x", "https://b.org/x", True),
        ("http://a.org/x", "https://a.org/x", True),
        ("http://a.org/x", "/y", True),
        ("https://a.org/x", "//b.org/x", True),
        ("https://a.org/x", "http://a.org/x", False),
        ("http://a.org/x", "http://b.org/x", False),
        ("http://a.org/x", "//b.org/x", False),
    ):
        answer = requests.Response()
        answer.url, answer.status_code, answer.headers = asked, 302, {"location": target}
        try:
            downloads._follow_safely(answer)
        except downloads.LeadsElsewhere:
            assert not is_right
        else:
            assert is_right


def test_silence_has_a_limit(site, tmp_path, monkeypatch):
    monkeypatch.setattr(pooch.downloaders, "DEFAULT_TIMEOUT", 0.2)
    with pytest.raises(requests.ConnectionError, match="timed out"):
        downloads.downloader()(f"{site}/silent", tmp_path / "file", None)
