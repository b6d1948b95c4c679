"""The time between requests to a site."""

import email.utils
import time
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

BUSY_WAIT = 60  # seconds, after an answer "too many requests" that names no time
LONGEST_WAIT = 600  # seconds, whatever time a site names


class Pace:
    """The time between requests to a site: `seconds` from one to the next, and as long as the site asks for."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.free_at = 0.0

    def govern(self, session: Any) -> None:
        """Let a requests.Session keep this pace, with redirections and repeated attempts."""
        if "send" in vars(session):  # shared with the job before
            return
        send = session.send

        def paced(request, **how):
            time.sleep(max(0.0, self.free_at - time.monotonic()))
            self.free_at = time.monotonic() + self.seconds
            response = send(request, **how)
            self._obey(response)
            return response

        session.send = paced

    def _obey(self, response: Any) -> None:
        if response.status_code not in (429, 503):
            return
        seconds = retry_after(response.headers.get("Retry-After"))
        if seconds is None and response.status_code == 429:
            seconds = BUSY_WAIT
        if seconds:
            seconds = min(seconds, LONGEST_WAIT)
            tqdm.write(f"{urlsplit(response.url).hostname}: busy, waiting {seconds:.0f} s")
            self.free_at = max(self.free_at, time.monotonic() + seconds)


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks to wait (RFC 9110, section 10.2.3), None without one."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
