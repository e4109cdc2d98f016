"""Those blocks of README and docs that need a framework, or gunicorn, in its environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from documentation import environments_of, pages, play, read_steps
from support import find_port

from . import harness
from .conftest import Environments
from .harness import CURL, NGINX, OPENSSL, needs

pytestmark = [needs(CURL, "curl"), needs(OPENSSL, "openssl")]

CASES = [(page, name) for page in pages() for name in sorted(environments_of(page))]


@pytest.mark.parametrize(("page", "name"), CASES)
def test_the_blocks_of_a_page_run(
    page: str, name: str, environments: Environments, tmp_path: Path
) -> None:
    assert play(page, name, tmp_path, environments(name)) > 0


def test_there_are_blocks_for_each_framework_and_for_gunicorn() -> None:
    assert {name for _, name in CASES} == {"bottle", "django", "flask", "gunicorn"}


SCGI_APP = """
from scgi import Server
from wsgiref_fast.validate import validator

def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    assert environ["wsgi.input"].read(1) == b""  # nginx leaves the connection open
    text = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']} "
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode() + body]

with Server(("127.0.0.1", PORT), validator(app)) as server:
    server.serve_forever()
"""
NGINX_CONF = """
USER daemon off; pid FOLDER/pid; error_log stderr; worker_processes 1;
events {}
http {
    access_log off; client_body_temp_path FOLDER/body; scgi_temp_path FOLDER/scgi;
    proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi; uwsgi_temp_path FOLDER/uwsgi;
    server {
        listen 127.0.0.1:OUTSIDE;
        location / { include /etc/nginx/scgi_params; scgi_pass 127.0.0.1:INSIDE; }
    }
}
"""


@needs(NGINX, "nginx")
def test_the_gateway_of_the_guide_serves_nginx(environments: Environments, tmp_path: Path) -> None:
    assert NGINX is not None
    inside, outside = find_port(), find_port()
    steps = read_steps("docs/guides/gateway.md")
    (scgi,) = (step.text for step in steps if step.title == "scgi.py")
    (tmp_path / "scgi.py").write_text(scgi)
    (tmp_path / "served.py").write_text(SCGI_APP.replace("PORT", str(inside)))
    proxy = tmp_path / "nginx"
    proxy.mkdir()
    text = NGINX_CONF.replace("FOLDER", str(proxy)).replace("OUTSIDE", str(outside))
    text = text.replace("USER", "user root;" if os.geteuid() == 0 else "")
    (proxy / "nginx.conf").write_text(text.replace("INSIDE", str(inside)))
    server = [str(environments("bare")), "served.py"]
    command = [NGINX, "-p", str(proxy), "-c", str(proxy / "nginx.conf")]
    with harness.running(server, tmp_path, ends_by=signal.SIGTERM, status=-signal.SIGTERM) as one:
        one.wait_until_listening(inside)
        with harness.running(command, proxy, ends_by=signal.SIGTERM) as other:
            other.wait_until_listening(outside)
            for number in range(3):
                answer = harness.fetch(outside, f"/a%20b?n={number}", "POST", b"x" * 100000)
                assert answer.status == 200
                assert answer.body == f"POST /a b?n={number} ".encode() + b"x" * 100000
            assert harness.fetch(outside, "/").body == b"GET /? "
