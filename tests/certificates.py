"""Keys and certificates for tests, made by the ``openssl`` command, and connections by them."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import PATIENCE, connected

#: Whether there is the command that makes them; without it, what needs one is left out.
CAN_BE_MADE = shutil.which("openssl") is not None


def openssl(*arguments: str | Path) -> str:
    """Run the command; return what it prints."""
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    return done.stdout.decode()


@dataclass
class Pair:
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path


class Authority:
    """One that signs certificates, with a root of its own."""

    def __init__(self, home: Path, name: str = "Root") -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.root = self._request("root", f"/O=Tests/CN={name}", "-x509", "-days", "2")

    def issue(self, name: str, subject: str, *, client: bool = False) -> Pair:
        """Make a certificate: a client's, or one of a server at 127.0.0.1 and localhost."""
        request = self._request(name, subject, "-multivalue-rdn")
        pair = Pair(self.home / f"{name}.pem", request.key)
        extensions = self.home / f"{name}.ext"
        usage, alternatives = "clientAuth", "email:someone@example.org"
        if not client:
            usage, alternatives = "serverAuth", "IP:127.0.0.1,DNS:localhost"
        lines = f"extendedKeyUsage={usage}\nsubjectAltName={alternatives}\n"
        extensions.write_text(lines)
        files = "-in", request.certificate, "-out", pair.certificate, "-extfile", extensions
        signer = "-CA", self.root.certificate, "-CAkey", self.root.key, "-CAcreateserial"
        openssl("x509", "-req", *files, *signer, "-days", "2")
        return pair

    def _request(self, name: str, subject: str, *options: str) -> Pair:
        suffix = "pem" if "-x509" in options else "csr"
        pair = Pair(self.home / f"{name}.{suffix}", self.home / f"{name}.key")
        command = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(pair.key), "-out", str(pair.certificate)]
        openssl(*command, "-utf8", "-subj", subject, *options)
        return pair

    def client_context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Return a context of a client that trusts this one, and shows its certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.root.certificate)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


class Contexts:
    """How the two sides of a connection do TLS, and who signs."""

    def __init__(self, authority: Authority, pair: Pair) -> None:
        self.authority = authority
        self.files = str(pair.certificate), str(pair.key)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(*self.files)
        self.client = authority.client_context()


def almost_shake_hands(
    context: ssl.SSLContext, connection: socket.socket
) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """Do a handshake but for sending the client's last bytes of it.

    Returns:
        The client, and its bytes: those that it reads, and those that are to be sent.

    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            client.do_handshake()
            return client, incoming, outgoing
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            incoming.write(connection.recv(65536))


@contextmanager
def encrypted(server: Any, contexts: Contexts) -> Iterator[ssl.SSLSocket]:
    """Open a connection to a server, and do the handshake."""
    with (
        connected(server) as connection,
        contexts.client.wrap_socket(connection, server_hostname="127.0.0.1") as both,
    ):
        yield both
