"""TLS for a server: a context made from files, and what a connection's client has shown."""

from __future__ import annotations

import os
import re
import ssl
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Path = str | os.PathLike[str]
    #: A distinguished name as `ssl.SSLSocket.getpeercert` gives it.
    Name = tuple[tuple[tuple[str, str], ...], ...]

#: What a client is asked for, by the word for it.
CLIENT_CERTS = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

#: What OpenSSL calls an attribute of a name in short, by what it calls it at length.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}
#: Variables of single attributes have other names than the whole has them by, in mod_ssl.
_VARIABLE = {"emailAddress": "Email", "GN": "G", "SN": "S", "title": "T", "initials": "I"}

_CERTIFICATE = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

#: What is escaped in a name by a backslash (RFC 2253 section 2.4).
_SPECIAL = re.compile(r'[,+"\\<>;]|^[ #]| \Z')
_UNPRINTABLE = re.compile(r"[^ -~]")

#: What stands around a reason of OpenSSL's.
_SOURCE = re.compile(r"^\[[^]]*\] | \(_ssl\.c:[0-9]+\)$")


class TLSError(OSError, ValueError):
    """A file or a setting that TLS cannot be done with; the message is one line for users."""


def make_context(
    certfile: Path,
    keyfile: Path | None = None,
    *,
    password: str | bytes | None = None,
    ca_certs: Path | None = None,
    client_certs: str = "none",
) -> ssl.SSLContext:
    """Return a context for a server: TLS 1.2 and newer, HTTP/1.1.

    Args:
        certfile: a PEM file of the server's certificate, and those between it and the root.
        keyfile: a PEM file of its private key; by default the key is in `certfile`.
        password: the key's; it is never asked for on the terminal.
        ca_certs: a PEM file, or a folder as ``openssl rehash`` makes it, of the certificates
            that a client's is to be signed by.
        client_certs: ``required`` has a handshake fail without a certificate; ``optional``
            with one that is not good.

    Raises:
        TLSError: a file cannot be read or used; `client_certs` is another word, or it and
            `ca_certs` are not given together.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.sni_callback = _remember_name
    _load_certificate(context, certfile, keyfile, password)
    _ask_clients(context, client_certs, ca_certs)
    return context


def describe_client(sock: Any) -> dict[str, str]:
    """Return variables for the environ of a TLS connection whose handshake is done.

    They are named as Apache's mod_ssl does: ``SSL_PROTOCOL``, ``SSL_CIPHER`` and, where the
    client named the host (to a context of `make_context`), ``SSL_TLS_SNI``. Where it was
    asked for a certificate, ``SSL_CLIENT_VERIFY`` is ``SUCCESS``, or ``NONE`` for a client
    without one; further ``SSL_CLIENT_*`` describe it. Names are written as RFC 2253 has
    them, their attributes alone (``SSL_CLIENT_S_DN_CN``) as UTF-8 in the way of PEP 3333.

    Raises:
        OSError, ValueError: the connection has gone, or its certificate cannot be read.

    """
    cipher = sock.cipher()
    found = {
        "SSL_PROTOCOL": sock.version(),
        "SSL_CIPHER": cipher and cipher[0],
        "SSL_TLS_SNI": getattr(sock, "_sni", None),
    }
    variables = {name: value for name, value in found.items() if value}
    if sock.context.verify_mode != ssl.CERT_NONE:
        variables.update(_describe_certificate(sock))
    return variables


def forget_error(sock: Any) -> None:
    """Have OpenSSL forget why a connection has failed, where `ssl` does not.

    PyPy's leaves that with the thread, whose next connection that has to wait would be
    told so, and closed for it.
    """
    if sys.implementation.name == "pypy":
        # To make a connection begins with it; nothing else asks OpenSSL for it alone.
        sock.context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)


# A context.


def _remember_name(sock: Any, name: str | None, context: ssl.SSLContext) -> None:
    """Keep the name of the host that a client wants, if it can be one; nobody else does."""
    sock._sni = name if name and name.isascii() and name.isprintable() else None


def _load_certificate(
    context: ssl.SSLContext, certfile: Path, keyfile: Path | None, password: str | bytes | None
) -> None:
    _check(certfile, "certificate", _CERTIFICATE)
    holder = certfile if keyfile is None else keyfile
    if keyfile is not None:
        _check(keyfile, "key", _KEY)
    elif not _KEY.search(_read(certfile, "certificate")):
        raise TLSError(f"no private key in {_quote(certfile)}: the key file has to be named, too")
    was_asked = False

    def tell_password() -> str | bytes:
        nonlocal was_asked
        was_asked = True
        if password is None:
            raise TLSError(f"the key in {_quote(holder)} is encrypted: its password is needed")
        return password

    try:
        context.load_cert_chain(certfile, holder, tell_password)
    except TLSError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a password that is too long
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            text = f"the key in {_quote(holder)} is not that of the certificate"
            raise TLSError(f"{text} in {_quote(certfile)}") from error
        if was_asked:
            raise TLSError(f"wrong password for the key in {_quote(holder)}") from error
        _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certfile, "certificate")
        text = f"certificate in {_quote(certfile)} or key in {_quote(holder)} cannot be used"
        raise TLSError(f"{text}: {_reason(error)}") from error


def _ask_clients(context: ssl.SSLContext, client_certs: str, ca_certs: Path | None) -> None:
    if client_certs not in CLIENT_CERTS:
        raise TLSError(f"client_certs is one of {', '.join(CLIENT_CERTS)}, not {client_certs!r}")
    if (client_certs == "none") != (ca_certs is None):
        missing = "ca_certs" if ca_certs is None else "client_certs"
        given = "client_certs" if ca_certs is None else "ca_certs"
        raise TLSError(f"{given} without {missing}: to check clients, both are needed")
    if ca_certs is not None:
        if not os.path.isdir(ca_certs):
            _check(ca_certs, "CA", _CERTIFICATE)
        _load_authorities(context, ca_certs, "CA")
    context.verify_mode = CLIENT_CERTS[client_certs]


def _load_authorities(context: ssl.SSLContext, path: Path, what: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        raise TLSError(f"bad {what} file {_quote(path)}: {_reason(error)}") from error


def _check(path: Path, what: str, mark: re.Pattern[bytes]) -> None:
    """Raise the error of a file that cannot be read, or has nothing of what it should."""
    if not mark.search(_read(path, what)):
        thing = "private key" if what == "key" else "certificate"
        raise TLSError(f"no {thing} in the {what} file {_quote(path)} (PEM is expected)")


def _read(path: Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise TLSError(f"{what} file not found: {_quote(path)}") from error
    except (OSError, ValueError) as error:  # ValueError: a null character
        text = getattr(error, "strerror", None) or error
        raise TLSError(f"cannot read the {what} file {_quote(path)}: {text}") from error


def _reason(error: OSError | ValueError) -> str:
    """Return what OpenSSL says, without where in its source it says so."""
    return _SOURCE.sub("", getattr(error, "strerror", None) or str(error))


def _quote(path: Path) -> str:
    return repr(os.fspath(path))


# A client.


def _describe_certificate(sock: Any) -> Iterator[tuple[str, str]]:
    """Yield the variables of a client's certificate, which was found good."""
    certificate = sock.getpeercert()
    if not certificate:
        yield "SSL_CLIENT_VERIFY", "NONE"
        return
    yield "SSL_CLIENT_VERIFY", "SUCCESS"
    yield "SSL_CLIENT_M_VERSION", str(certificate["version"])
    yield "SSL_CLIENT_M_SERIAL", certificate["serialNumber"]
    yield "SSL_CLIENT_V_START", certificate["notBefore"]
    yield "SSL_CLIENT_V_END", certificate["notAfter"]
    for letter, part in (("S", "subject"), ("I", "issuer")):
        name = certificate.get(part, ())
        yield f"SSL_CLIENT_{letter}_DN", _format(name)
        yield from _attributes(f"SSL_CLIENT_{letter}_DN", name)
    yield "SSL_CLIENT_CERT", ssl.DER_cert_to_PEM_cert(sock.getpeercert(True))


def _format(name: Name) -> str:
    """Write a name: the last first, escaped so that it is ASCII (RFC 2253), as OpenSSL does."""
    parts = (
        "+".join(f"{_SHORT.get(kind, kind)}={_escape(value)}" for kind, value in reversed(part))
        for part in reversed(name)
    )
    return ",".join(parts)


def _escape(value: str) -> str:
    value = _SPECIAL.sub(lambda found: "\\" + found[0], value)
    return _UNPRINTABLE.sub(
        lambda found: "".join(f"\\{byte:02X}" for byte in found[0].encode("utf-8")), value
    )


def _attributes(prefix: str, name: Name) -> Iterator[tuple[str, str]]:
    """Yield each attribute of a name, a further one of its kind with a number."""
    counts: dict[str, int] = {}
    for kind, value in (pair for part in name for pair in part):
        short = _SHORT.get(kind, kind)
        variable = f"{prefix}_{_VARIABLE.get(short, short)}"
        count = counts[variable] = counts.get(variable, -1) + 1
        text = value.encode("utf-8").decode("iso-8859-1")
        yield (f"{variable}_{count}" if count else variable), text
