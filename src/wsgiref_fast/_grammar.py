"""The grammar: character classes, limits and sets of names, each with its source.

Tables that both twins of a kernel need are built from here and written nowhere else.
"""

#: Control characters that no header name may hold (RFC 9110 section 5.1: a name is a token).
NAME_CONTROLS = frozenset(map(chr, (*range(0x20), 0x7F)))

#: Control characters that no header value or status may hold: all but HTAB
#: (RFC 9110 section 5.5).
VALUE_CONTROLS = NAME_CONTROLS - {"\t"}

#: Headers that concern one connection only and that an application may not send
#: (RFC 2616 section 13.5.1, with "trailers" as the original spells it; PEP 3333,
#: "Other HTTP Features").
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)

#: The longest request line, and the longest header line, in bytes (as `http.server`).
MAX_LINE = 65536

#: Lines of a request's header section, the empty one that ends it included
#: (as `http.client`).
MAX_HEADER_LINES = 100

#: Digits of a Content-Length: enough for any file there is.
MAX_LENGTH_DIGITS = 18

#: A chunk's size (RFC 9112 section 7.1): which digits, and how many of them.
HEX_DIGITS = b"0123456789abcdefABCDEF"
MAX_CHUNK_DIGITS = 16

#: Bytes of a chunk's first line, extensions included, and of a whole trailer section.
MAX_CHUNK_LINE = 4096
MAX_TRAILERS = 16384

#: Request headers that say what becomes of the connection, and where the body ends.
FRAMING_FIELDS = frozenset({"connection", "content-length", "expect", "transfer-encoding"})

#: Names of request headers that most clients send: their environ keys are made once.
COMMON_FIELDS = (
    "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization",
    "Cache-Control", "Connection", "Content-Length", "Content-Type", "Cookie", "DNT", "Date",
    "Expect", "Forwarded", "From", "Host", "If-Match", "If-Modified-Since", "If-None-Match",
    "If-Range", "If-Unmodified-Since", "Keep-Alive", "Origin", "Pragma", "Priority", "Range",
    "Referer", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-Fetch-Dest",
    "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-GPC", "TE",
    "Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "Via",
    "X-CSRFToken", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port",
    "X-Forwarded-Proto", "X-Real-IP", "X-Request-ID", "X-Requested-With",
)  # fmt: skip
