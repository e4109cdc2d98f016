"""What the benchmarks feed to each implementation: requests, headers and applications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _request(line: str, fields: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("iso-8859-1") + body


#: The least that a client sends.
MINIMAL = _request("GET / HTTP/1.1", ["Host: localhost:8000"])

#: A page asked for by a browser: 12 header fields.
BROWSER = _request(
    "GET /shop/items?page=2&sort=price HTTP/1.1",
    [
        "Host: localhost:8000",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Referer: http://localhost:8000/shop/",
        "Connection: keep-alive",
        "Upgrade-Insecure-Requests: 1",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Site: same-origin",
        "Cookie: session=4f1c2a9be07d41d3; theme=dark",
    ],
)

#: A call of an API: names in lower case, some of which no list of common ones has.
API = _request(
    "GET /v1/accounts/17/orders?limit=50 HTTP/1.1",
    [
        "host: api.example.org",
        "user-agent: client/3.2 (linux; python)",
        "accept: application/json",
        "accept-encoding: gzip, deflate",
        "authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxNyJ9.c2lnbmF0dXJl",
        "x-request-id: 0b8e4b52-9d8a-4a7c-8d54-0d1c6a3c5a11",
        "x-client-version: 3.2.0",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)

#: A browser's request that carries 4 KiB of cookies.
COOKIES = _request(
    "GET /account HTTP/1.1",
    [
        "Host: www.example.org",
        "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:128.0) Gecko/20100101",
        "Accept: text/html",
        "Accept-Language: en",
        "Accept-Encoding: gzip",
        "Cookie: " + "; ".join(f"preference_{i:02}=value-{i * 7919:024x}" for i in range(90)),
    ],
)

#: A form of 10 KiB.
POST = _request(
    "POST /upload HTTP/1.1",
    [
        "Host: localhost:8000",
        "User-Agent: curl/8.9.1",
        "Accept: */*",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 10240",
    ],
    b"x" * 10240,
)

#: A request that came by many proxies: three fields, each 16 times.
DUPLICATES = _request(
    "GET /feed HTTP/1.1",
    [
        "Host: www.example.org",
        "User-Agent: reader/1.9",
        *(f"X-Forwarded-For: 10.0.{i}.1, 10.1.{i}.1" for i in range(16)),
        *(f"Via: 1.1 proxy-{i:02}.example.net" for i in range(16)),
        *(f"Accept: text/x-{i:02};q=0.{i:02}" for i in range(16)),
    ],
)

#: About as dear as the standard library's limits let a request be that is still served: a
#: target of 63 KiB, all of it escaped, and the most fields, none of a name that is known.
DEAR = _request(
    f"GET /{'%C3%A9' * 10_700} HTTP/1.1",
    ["Host: localhost:8000", *(f"X-{i:02}{'-Unknown' * 24}: {'é ' * 200}" for i in range(97))],
)

#: A field more than the standard library's limit allows: that is found out after all others.
TOO_MANY = _request(
    "GET / HTTP/1.1", ["Host: localhost:8000", *(f"X-Field-{i:03}: {i}" for i in range(100))]
)

REQUESTS = {
    "minimal": MINIMAL,
    "browser": BROWSER,
    "api client": API,
    "4 KiB of cookies": COOKIES,
    "many duplicates": DUPLICATES,
    "hostile, served": DEAR,
    "hostile, refused": TOO_MANY,
    "POST of 10 KiB": POST,
}

#: How the answers to those begin that are refused.
REFUSALS = {"hostile, refused": b"HTTP/1.0 431 Too many headers\r\n"}

#: What only the head is looked at of.
HEADS = {name: request for name, request in REQUESTS.items() if request is not POST}

#: Headers of a response as a framework sends them.
RESPONSE_HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Length", "13"),
    ("Cache-Control", "max-age=0, private, must-revalidate"),
    ("ETag", '"c27adf2ce4f0f2a2e1d8d8a6a9e2f3b1"'),
    ("Last-Modified", "Tue, 12 Aug 2025 10:31:07 GMT"),
    ("Vary", "Accept-Encoding, Cookie"),
    ("X-Frame-Options", "DENY"),
    ("Set-Cookie", "session=4f1c2a9be07d41d3; HttpOnly; Path=/; SameSite=Lax"),
]


def page_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Read what body there is, and answer with one block."""
    length = environ.get("CONTENT_LENGTH")
    received = len(environ["wsgi.input"].read(int(length))) if length else 0
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Hello, world! %d bytes\n" % received]
