"""The grammar: character classes, limits and sets of names, each with its source.

Tables that both twins of a kernel need are built from here and written nowhere else.
"""

#: Control characters that no header name may hold (RFC 9110 section 5.1: a name is a token).
NAME_CONTROLS = frozenset(map(chr, (*range(0x20), 0x7F)))

#: Control characters that no header value or status may hold: all but HTAB
#: (RFC 9110 section 5.5).
VALUE_CONTROLS = NAME_CONTROLS - {"\t"}

#: The bytes of a request's field name. Wider than a token: it is what the standard
#: library's own parser takes as one (printable ASCII but the colon).
FIELD_NAME_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord(":"))

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

#: Digits of a Content-Length or a chunk size: enough for any file there is.
MAX_LENGTH_DIGITS = 18

#: Bytes of a chunk-size line, extensions included, and of a whole trailer section.
MAX_CHUNK_LINE = 4096
MAX_TRAILERS = 16384
