"""Signed GETs over new connections, one after the other on several threads, until standard input ends; then one JSON line of what became of them.

Run inside a host by the Python of the release, so it may import only what a release has. Each thread's connection is a new one, so each request meets
whatever the workers are doing at that moment: a worker that is ending, starting, or not there.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from collections import Counter

import botocore.auth
import botocore.awsrequest
import botocore.credentials

#: A connection may have to wait for a worker that is being started; longer means that nobody will come.
TIMEOUT_S = 20.0


class Load:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.outcomes: Counter[str] = Counter()
        self.by_worker: Counter[str] = Counter()
        self.longest_s = 0.0
        self.is_over = False
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """Signed for the object, with botocore."""
        options = self.options
        request = botocore.awsrequest.AWSRequest("GET", f"http://{options.endpoint}{options.path}")
        credentials = botocore.credentials.Credentials(options.key, options.secret)
        botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def one(self) -> str:
        """What became of one request."""
        connection = http.client.HTTPConnection(self.options.endpoint, timeout=TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            return f"connect: {error!r}"
        try:
            connection.request("GET", self.options.path, headers=self.headers())
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"request: {error!r}"
        finally:
            connection.close()
        if answer.status != 200:
            return f"status {answer.status}: {body[:200]!r}"
        return "ok" if len(body) == self.options.size else f"short: {len(body)}"

    def run(self) -> None:
        """One thread's work."""
        while not self.is_over:
            began = time.monotonic()
            outcome = self.one()
            with self._lock:
                self.outcomes[outcome] += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began)
            time.sleep(self.options.pause)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", default="127.0.0.1:9000")
    parser.add_argument("--path", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.0)
    load = Load(parser.parse_args())
    threads = [threading.Thread(target=load.run) for _ in range(load.options.threads)]
    for thread in threads:
        thread.start()
    print("running", flush=True)
    sys.stdin.read()
    load.is_over = True
    for thread in threads:
        thread.join()
    print(json.dumps({"outcomes": load.outcomes, "longest_s": round(load.longest_s, 3)}), flush=True)


if __name__ == "__main__":
    main()
