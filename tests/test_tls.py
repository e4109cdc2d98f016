"""What TLS is served with: contexts from files, and what is told of a client. Real handshakes."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Authority, Pair, openssl
from libraries import Keeper
from support import PATIENCE, QuietHandler, receive_all, running
from wsgiref_fast._tls import TLSError, describe_client, make_context
from wsgiref_fast.server import Server
from wsgiref_fast.simple_server import WSGIServer, make_server

LEFT_OUT = "" if CAN_BE_MADE else "no certificate can be made without openssl"
__test__ = not LEFT_OUT

#: A name with what has to be escaped, two values of a kind, and parts of two values.
SUBJECT = "/DC=org/O=A, B+OU=x\\+y/OU=Second/CN=J\u00fcrgen \u20ac/emailAddress=j@example.org"


@pytest.fixture(scope="session")
def client_pair(authority: Authority) -> Pair:
    return authority.issue("client", SUBJECT, client=True)


@contextmanager
def shaken_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "127.0.0.1"
) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Do a handshake; yield the server's side and the client's. The server's error is raised."""
    inner, outer = socket.socketpair()
    inner.settimeout(PATIENCE)
    outer.settimeout(PATIENCE)
    errors: list[OSError] = []

    def knock(connection: ssl.SSLSocket) -> None:
        try:
            connection.do_handshake()
        except OSError as error:
            errors.append(error)

    with (
        server.wrap_socket(inner, server_side=True, do_handshake_on_connect=False) as ours,
        client.wrap_socket(outer, server_hostname=name, do_handshake_on_connect=False) as theirs,
    ):
        thread = threading.Thread(target=knock, args=(theirs,))
        thread.start()
        try:
            ours.do_handshake()
        finally:
            if sys.exc_info()[0] is not None:
                inner.close()
                ours.close()
            thread.join(PATIENCE)
        assert not errors
        yield ours, theirs


def describe(server: ssl.SSLContext, client: ssl.SSLContext, **options: Any) -> dict[str, str]:
    with shaken_hands(server, client, **options) as (ours, _):
        return describe_client(ours)


# Contexts


def test_a_context_speaks_what_is_safe_and_http_1_1(
    authority: Authority, server_pair: Pair
) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    client = authority.client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    with shaken_hands(context, client) as (ours, theirs):
        assert ours.selected_alpn_protocol() == theirs.selected_alpn_protocol() == "http/1.1"
        assert ours.compression() is None
        theirs.sendall(b"hello")
        assert ours.recv(5) == b"hello"


def test_a_client_of_no_common_protocol_is_served_yet(
    authority: Authority, server_pair: Pair
) -> None:
    client = authority.client_context()
    client.set_alpn_protocols(["acme"])
    with shaken_hands(make_context(server_pair.certificate, server_pair.key), client) as (ours, _):
        assert ours.selected_alpn_protocol() is None


def test_the_key_may_be_in_the_certificates_file(
    authority: Authority, server_pair: Pair, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(server_pair.key.read_bytes() + server_pair.certificate.read_bytes())
    assert describe(make_context(str(both)), authority.client_context())["SSL_CIPHER"]


@pytest.fixture(scope="session")
def locked_key(server_pair: Pair) -> Path:
    path = server_pair.key.with_name("locked.key")
    openssl("pkcs8", "-topk8", "-in", server_pair.key, "-out", path, "-passout", "pass:open sesame")
    return path


@pytest.mark.parametrize("password", ["open sesame", b"open sesame"])
def test_an_encrypted_key_is_opened_by_its_password(
    password: str | bytes, authority: Authority, server_pair: Pair, locked_key: Path
) -> None:
    context = make_context(server_pair.certificate, locked_key, password=password)
    assert describe(context, authority.client_context())["SSL_PROTOCOL"] == "TLSv1.3"


class Files:
    """Files that something is wrong with, by what it is."""

    def __init__(self, home: Path, authority: Authority, good: Pair, locked: Path) -> None:
        self.good, self.key, self.locked = good.certificate, good.key, locked
        self.missing, self.folder = home / "missing.pem", home
        self.text = home / "text.pem"
        self.text.write_text("nothing\n")
        self.garbage = home / "garbage.pem"
        lines = good.certificate.read_text().splitlines()
        self.garbage.write_text("\n".join([lines[0], lines[1][::-1], *lines[2:]]) + "\n")
        self.bad_key = home / "bad.key"
        self.bad_key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        self.other_key = authority.issue("other", "/CN=other").key


@pytest.fixture
def files(tmp_path: Path, authority: Authority, server_pair: Pair, locked_key: Path) -> Files:
    return Files(tmp_path, authority, server_pair, locked_key)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: make_context(f.missing), "certificate file not found: '{f.missing}'"),
        (lambda f: make_context(f.good, f.missing), "key file not found: '{f.missing}'"),
        (lambda f: make_context(f.folder), "cannot read the certificate file '{f.folder}': "),
        (lambda f: make_context(f.good / "x"), "cannot read the certificate file '{f.good}/x': "),
        (lambda f: make_context("a\0b"), "cannot read the certificate file 'a\\x00b': "),
        (
            lambda f: make_context(f.text, f.key),
            "no certificate in the certificate file '{f.text}' (PEM is expected)",
        ),
        (
            lambda f: make_context(f.good, f.text),
            "no private key in the key file '{f.text}' (PEM is expected)",
        ),
        (
            lambda f: make_context(f.good),
            "no private key in '{f.good}': the key file has to be named, too",
        ),
        (lambda f: make_context(f.garbage, f.key), "bad certificate file '{f.garbage}': "),
        (
            lambda f: make_context(f.good, f.bad_key),
            "certificate in '{f.good}' or key in '{f.bad_key}' cannot be used: ",
        ),
        (
            lambda f: make_context(f.good, f.other_key),
            "the key in '{f.other_key}' is not that of the certificate in '{f.good}'",
        ),
        (
            lambda f: make_context(f.good, f.locked),
            "the key in '{f.locked}' is encrypted: its password is needed",
        ),
        (
            lambda f: make_context(f.good, f.locked, password="guess"),
            "wrong password for the key in '{f.locked}'",
        ),
        (
            lambda f: make_context(f.good, f.locked, password=""),
            "wrong password for the key in '{f.locked}'",
        ),
        (
            lambda f: make_context(f.good, f.locked, password="x" * 5000),
            "wrong password for the key in '{f.locked}'",
        ),
        (
            lambda f: make_context(f.good, f.key, client_certs="always"),
            "client_certs is one of none, optional, required, not 'always'",
        ),
        (
            lambda f: make_context(f.good, f.key, client_certs="required"),
            "client_certs without ca_certs: to check clients, both are needed",
        ),
        (
            lambda f: make_context(f.good, f.key, ca_certs=f.good),
            "ca_certs without client_certs: to check clients, both are needed",
        ),
        (
            lambda f: make_context(f.good, f.key, ca_certs=f.missing, client_certs="optional"),
            "CA file not found: '{f.missing}'",
        ),
        (
            lambda f: make_context(f.good, f.key, ca_certs=f.text, client_certs="optional"),
            "no certificate in the CA file '{f.text}' (PEM is expected)",
        ),
        (
            lambda f: make_context(f.good, f.key, ca_certs=f.garbage, client_certs="required"),
            "bad CA file '{f.garbage}': ",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    make: Callable[[Files], ssl.SSLContext], message: str, files: Files
) -> None:
    with pytest.raises(TLSError) as caught:
        make(files)
    text, expected = str(caught.value), message.format(f=files)
    assert text.startswith(expected) if message.endswith(": ") else text == expected
    assert "\n" not in text
    assert "[" not in text  # around the part of OpenSSL that says it
    assert "_ssl" not in text
    assert isinstance(caught.value, (OSError, ValueError))


LOCKED = """
import sys
from wsgiref_fast._tls import TLSError, make_context
try:
    make_context(sys.argv[1], sys.argv[2])
except TLSError as error:
    print(error)
"""

if hasattr(os, "openpty"):

    def test_nobody_is_asked_for_a_password_on_the_terminal(
        server_pair: Pair, locked_key: Path
    ) -> None:
        ours, theirs = os.openpty()
        try:
            done = subprocess.run(
                [sys.executable, "-c", LOCKED, str(server_pair.certificate), str(locked_key)],
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                start_new_session=True,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert "password is needed" in done.stdout
        assert done.stderr == ""


# What is told of a client


def test_without_a_question_for_a_certificate_the_connection_alone_is_described(
    authority: Authority, server_pair: Pair, client_pair: Pair
) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    client = authority.client_context(client_pair)
    with shaken_hands(context, client) as (ours, theirs):
        cipher = theirs.cipher()
        assert cipher is not None
        assert describe_client(ours) == {"SSL_PROTOCOL": "TLSv1.3", "SSL_CIPHER": cipher[0]}


def test_the_host_that_a_client_names_is_told(authority: Authority, server_pair: Pair) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    variables = describe(context, authority.client_context(), name="localhost")
    assert variables["SSL_TLS_SNI"] == "localhost"


@pytest.mark.parametrize("sent", [b"a\nb", b"\x7f"])
def test_what_is_no_name_of_a_host_is_not_told(
    sent: bytes, authority: Authority, server_pair: Pair
) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client_context()
    client.check_hostname = False
    asking = client.wrap_bio(to_client, to_server, server_hostname="x" * len(sent))
    with pytest.raises(ssl.SSLWantReadError):
        asking.do_handshake()
    # With the lengths before it: a key that it sends may have an x, too.
    before = bytes([0, len(sent) + 3, 0, 0, len(sent)])
    hello = to_server.read().replace(before + b"x" * len(sent), before + sent)
    assert sent in hello
    to_server.write(hello)
    answering = context.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        answering.do_handshake()
    assert vars(answering)["_sni"] is None


def test_a_context_that_somebody_else_has_made_will_do(
    authority: Authority, server_pair: Pair
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_pair.certificate, server_pair.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    variables = describe(context, authority.client_context())
    assert set(variables) == {"SSL_PROTOCOL", "SSL_CIPHER"}
    assert variables["SSL_PROTOCOL"] == "TLSv1.2"


@pytest.fixture(params=["optional", "required"])
def asking(request: pytest.FixtureRequest, authority: Authority, server_pair: Pair) -> Any:
    return make_context(
        server_pair.certificate,
        server_pair.key,
        ca_certs=authority.root.certificate,
        client_certs=request.param,
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_clients_certificate_is_described(
    asking: ssl.SSLContext, authority: Authority, client_pair: Pair, version: ssl.TLSVersion
) -> None:
    client = authority.client_context(client_pair)
    client.maximum_version = version
    variables = describe(asking, client)
    path = client_pair.certificate

    def asked(*options: str) -> str:
        printed = openssl("x509", "-in", path, "-noout", *options)
        return printed.strip().partition("=")[2]

    assert variables["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert variables["SSL_CLIENT_S_DN"] == asked("-subject", "-nameopt", "RFC2253")
    assert variables["SSL_CLIENT_I_DN"] == asked("-issuer", "-nameopt", "RFC2253")
    assert variables["SSL_CLIENT_I_DN"] == "CN=Root,O=Tests"
    assert variables["SSL_CLIENT_M_SERIAL"] == asked("-serial")
    assert variables["SSL_CLIENT_M_VERSION"] == "3"
    assert variables["SSL_CLIENT_V_START"] == asked("-startdate")
    assert variables["SSL_CLIENT_V_END"] == asked("-enddate")
    assert variables["SSL_CLIENT_CERT"] == openssl("x509", "-in", path)
    assert all(type(value) is str for value in variables.values())


def test_each_attribute_of_a_name_is_told(
    asking: ssl.SSLContext, authority: Authority, client_pair: Pair
) -> None:
    variables = describe(asking, authority.client_context(client_pair))
    prefix = "SSL_CLIENT_S_DN_"
    names = {key[len(prefix) :]: value for key, value in variables.items() if prefix in key}
    common_name = names.pop("CN")
    assert names == {
        "DC": "org",
        "O": "A, B",
        "OU": "x+y",
        "OU_1": "Second",
        "Email": "j@example.org",
    }
    assert common_name.encode("iso-8859-1").decode("utf-8") == "J\u00fcrgen \u20ac"
    assert variables["SSL_CLIENT_I_DN_CN"] == "Root"


@pytest.mark.parametrize(
    "value",
    [
        "#1",
        " lead",
        "trail ",
        " ",
        'a,b+c"d\\e<f>g;h',
        "line\nbreak",
        "\u00e4\u20ac\U0001f600",
        "a#b c",
    ],
)
def test_names_are_escaped_as_openssl_does(
    value: str, asking: ssl.SSLContext, authority: Authority
) -> None:
    subject = "/O=x/CN=" + "".join("\\" + c if c in "/+\\" else c for c in value)
    pair = authority.issue("odd", subject, client=True)
    variables = describe(asking, authority.client_context(pair))
    printed = openssl("x509", "-in", pair.certificate, "-noout", "-subject", "-nameopt", "RFC2253")
    assert "subject=" + variables["SSL_CLIENT_S_DN"] == printed.removesuffix("\n")


def test_a_resumed_session_is_described_as_its_first_connection(
    asking: ssl.SSLContext, authority: Authority, client_pair: Pair
) -> None:
    client = authority.client_context(client_pair)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with shaken_hands(asking, client) as (ours, theirs):
        first, session = describe_client(ours), theirs.session
    inner, outer = socket.socketpair()
    with asking.wrap_socket(inner, server_side=True, do_handshake_on_connect=False) as ours:
        thread = threading.Thread(target=ours.do_handshake)
        thread.start()
        with client.wrap_socket(outer, server_hostname="127.0.0.1", session=session) as theirs:
            thread.join(PATIENCE)
            assert theirs.session_reused
            assert describe_client(ours) == first


def test_a_client_without_a_certificate_is_told_of_where_that_is_allowed(
    authority: Authority, server_pair: Pair
) -> None:
    ca_certs = authority.root.certificate
    files = server_pair.certificate, server_pair.key
    context = make_context(*files, ca_certs=ca_certs, client_certs="optional")
    variables = describe(context, authority.client_context())
    assert variables["SSL_CLIENT_VERIFY"] == "NONE"
    assert not [
        name for name in variables if name.startswith("SSL_CLIENT_") and "VERIFY" not in name
    ]
    context = make_context(*files, ca_certs=ca_certs, client_certs="required")
    with pytest.raises(ssl.SSLError):
        describe(context, authority.client_context())


def test_a_certificate_of_somebody_else_is_never_described(
    asking: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger").issue("client", "/CN=admin", client=True)
    with pytest.raises(ssl.SSLError):
        describe(asking, authority.client_context(stranger))


def test_a_servers_certificate_is_none_of_a_client(
    asking: ssl.SSLContext, authority: Authority, server_pair: Pair
) -> None:
    with pytest.raises(ssl.SSLError):
        describe(asking, authority.client_context(server_pair))


def test_a_folder_of_authorities_will_do(
    authority: Authority, server_pair: Pair, client_pair: Pair, tmp_path: Path
) -> None:
    number = openssl("x509", "-in", authority.root.certificate, "-noout", "-hash").strip()
    (tmp_path / f"{number}.0").write_bytes(authority.root.certificate.read_bytes())
    files = server_pair.certificate, server_pair.key
    context = make_context(*files, ca_certs=tmp_path, client_certs="required")
    client = authority.client_context(client_pair)
    assert describe(context, client)["SSL_CLIENT_VERIFY"] == "SUCCESS"


# What no client can claim


FORGED = (
    b"GET / HTTP/1.0\r\nSSL-Client-Verify: SUCCESS\r\nSSL_CLIENT_S_DN: CN=admin\r\n"
    b"Ssl-Protocol: none\r\nHttp-Ssl-Client-Cert: mine\r\n\r\n"
)


class Lenient(QuietHandler):
    """A request handler that takes names with an underscore."""

    underscore_headers = True


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    ("server_class", "handler_class"),
    [(WSGIServer, QuietHandler), (WSGIServer, Lenient), (Server, QuietHandler)],
)
def test_no_header_becomes_a_variable_of_tls(
    server_class: type[WSGIServer],
    handler_class: type[QuietHandler],
    is_encrypted: bool,
    authority: Authority,
    server_pair: Pair,
    implementation: str,
) -> None:
    app = Keeper(b"kept")
    server: Any = make_server("127.0.0.1", 0, app, server_class, handler_class)
    context = make_context(server_pair.certificate, server_pair.key)
    if is_encrypted:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    connection: Any = socket.create_connection(server.server_address, PATIENCE)
    with running(server), connection:
        if is_encrypted:
            client = authority.client_context()
            connection = client.wrap_socket(connection, server_hostname="127.0.0.1")
        with connection:
            connection.sendall(FORGED)
            assert receive_all(connection).endswith(b"kept")
    environ = app.environ
    assert environ["HTTP_SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert environ["HTTP_HTTP_SSL_CLIENT_CERT"] == "mine"
    assert environ.get("SSL_PROTOCOL") != "none"
    assert not [name for name in environ if name.startswith("SSL_CLIENT")]
