"""A website on loopback that says back all that it is told: the worst place for a value to go by right.

What this file does not do: end, since it is a daemon thread of the process that plants; or say anything back in a header. The
HTTP library quotes headers in its debug records, which the command line keeps off and the sweep turns on; ``tests/use`` looks
at headers.
"""

from __future__ import annotations

import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Echo(BaseHTTPRequestHandler):
    """Answers with the head and the body of the request."""

    def do_POST(self) -> None:
        """Say everything back."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        said = str(self.headers).encode() + body
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr, where canaries are looked for."""


@cache
def elsewhere() -> str:
    """Return the website's address; the first call starts it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
