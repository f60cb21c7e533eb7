"""Downloads that end: silence has a limit, and nothing leads from https, or from the host that was asked, to http."""

from urllib.parse import urljoin, urlsplit

import pooch


class LeadsElsewhere(OSError):
    """A redirect to an address that is neither https nor where the question went."""


def downloader(progressbar: bool = True) -> pooch.HTTPDownloader:
    """What pooch shall fetch a file with: 30 seconds without a byte are an exception of requests', ReadTimeout."""
    return pooch.HTTPDownloader(progressbar=progressbar, hooks={"response": _follow_safely})


def _follow_safely(answer, **_) -> None:
    asked, target = urlsplit(answer.url), urlsplit(urljoin(answer.url, answer.headers.get("location", "")))
    if answer.is_redirect and target.scheme != "https" and target[:2] != asked[:2]:
        raise LeadsElsewhere(f"{asked.netloc} leads to {target.scheme}://{target.netloc}")
