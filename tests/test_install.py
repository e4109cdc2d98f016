"""install() and uninstall(), each case in a process of its own: they change all of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import PATIENCE

SUBMODULES = ("handlers", "headers", "simple_server", "types", "util", "validate")

#: For all programs: the originals, and what install() and uninstall() may change of them.
PREFACE = f"""
import sys, warnings
import wsgiref_fast
SUBMODULES = {SUBMODULES!r}

def import_all(package):
    from importlib import import_module
    return {{name: import_module(package + "." + name) for name in SUBMODULES}}

def own_values(modules):
    for module in modules.values():
        for name, value in sorted(vars(module).items()):
            home = str(getattr(value, "__module__", "")).partition(".")[0]
            if home in ("wsgiref", "wsgiref_fast"):
                yield name, value

def snapshot(package, ours):
    modules = {{n: m for n, m in sys.modules.items() if n.partition(".")[0] == "wsgiref"}}
    attributes = {{name: getattr(package, name) for name in SUBMODULES}}
    values = [(name, value, value.__module__, getattr(value, "__bases__", None))
              for name, value in own_values(ours)]
    return modules, attributes, values
"""

#: A request to an application, without a network.
REQUEST = """
import io
def request(app):
    from wsgiref.handlers import SimpleHandler
    from wsgiref.util import setup_testing_defaults
    environ, output = {}, io.BytesIO()
    setup_testing_defaults(environ)
    SimpleHandler(io.BytesIO(), output, io.StringIO(), environ).run(app)
    return output.getvalue()
"""


def clean_environ() -> dict[str, str]:
    ours = {"PYTHONPATH", "PYTHONWARNINGS"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def run(program: str, *options: str, path: Path | str = "") -> str:
    """Run a program to its end, a warning being an error; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", PREFACE + program],
        env={**clean_environ(), "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


# What imports give


def test_imports_of_wsgiref_give_this_package() -> None:
    run("""
wsgiref_fast.install()
import wsgiref, wsgiref.simple_server, wsgiref.util as by_name
from wsgiref import util
from wsgiref.handlers import BaseHandler
assert wsgiref is wsgiref_fast
assert wsgiref.simple_server is wsgiref_fast.simple_server
assert util is by_name is wsgiref_fast.util
assert BaseHandler is wsgiref_fast.handlers.BaseHandler
""")


def test_all_modules_and_attributes_are_replaced() -> None:
    run("""
import wsgiref
original = wsgiref
wsgiref_fast.install()
ours = import_all("wsgiref_fast")
assert sys.modules["wsgiref"] is wsgiref_fast
for name in SUBMODULES:
    assert sys.modules["wsgiref." + name] is ours[name]
    assert getattr(wsgiref_fast, name) is ours[name]
    assert getattr(original, name) is ours[name]  # held by who imported it earlier
""")


def test_a_module_that_is_not_there_stays_so() -> None:
    run("""
wsgiref_fast.install()
try:
    import wsgiref.nonsense
except ModuleNotFoundError as error:
    assert error.name == "wsgiref.nonsense"
else:
    raise AssertionError
""")


def test_a_server_answers_under_the_name_of_wsgiref() -> None:
    output = run("""
import http.client, threading
wsgiref_fast.install()
from wsgiref.simple_server import WSGIRequestHandler, demo_app, make_server
from wsgiref.validate import validator

class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass

with make_server("127.0.0.1", 0, validator(demo_app), handler_class=Quiet) as server:
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", "/x")
    with connection.getresponse() as response:
        print(response.readline().decode(), response.headers["Server"])
    connection.close()
    thread.join()
""")
    assert output.startswith("Hello world!\n WSGIServer")


def test_the_strict_validator_works_under_the_name_of_wsgiref() -> None:
    output = run(
        REQUEST
        + """
wsgiref_fast.install()
from wsgiref.validate import validator
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]
print(request(validator(app, strict=True)).endswith(b"Hello"))
"""
    )
    assert output == "True"


# The originals' classes


@pytest.mark.parametrize("module", ["handlers", "headers", "simple_server", "util", "validate"])
def test_classes_are_subclasses_of_their_originals(module: str) -> None:
    names = run(f"""
originals, ours = import_all("wsgiref"), import_all("wsgiref_fast")
wsgiref_fast.install()
original, module = originals[{module!r}], ours[{module!r}]
assert original is not module
for name, value in vars(original).items():
    if isinstance(value, type) and value.__module__ == original.__name__:
        mine = getattr(module, name)
        assert mine is not value
        assert issubclass(mine, value), name
        assert mine.__mro__[0] is mine and mine.__module__ == original.__name__, name
        print(name)
""")
    assert names


def test_an_object_is_an_instance_of_its_original_class() -> None:
    run("""
import io
originals, ours = import_all("wsgiref"), import_all("wsgiref_fast")
def make():
    yield ours["headers"].Headers([]), originals["headers"].Headers
    yield ours["util"].FileWrapper(io.BytesIO()), originals["util"].FileWrapper
    handler = ours["handlers"].SimpleHandler(io.BytesIO(), io.BytesIO(), io.StringIO(), {})
    yield handler, originals["handlers"].SimpleHandler
    yield handler, originals["handlers"].BaseHandler
    yield ours["validate"].InputWrapper(io.BytesIO()), originals["validate"].InputWrapper
    yield ours["validate"].WSGIWarning("x"), originals["validate"].WSGIWarning
    server = ours["simple_server"].WSGIServer(("127.0.0.1", 0), None, False)
    server.server_close()
    yield server, originals["simple_server"].WSGIServer

before = list(make())
assert not any(isinstance(value, original) for value, original in before)
wsgiref_fast.install()
for value, original in [*before, *make()]:
    assert isinstance(value, original), original
""")


def test_a_subclass_of_ours_made_before_stays_whole() -> None:
    run("""
from socketserver import ThreadingMixIn
from http.server import HTTPServer
originals = import_all("wsgiref")
from wsgiref_fast.simple_server import WSGIServer
class Server(ThreadingMixIn, WSGIServer): pass
wsgiref_fast.install()
original = originals["simple_server"].WSGIServer
assert issubclass(Server, original)
assert [c.__name__ for c in Server.__mro__][:3] == ["Server", "ThreadingMixIn", "WSGIServer"]
assert Server.__mro__.index(WSGIServer) < Server.__mro__.index(original)
assert Server.__mro__.index(original) < Server.__mro__.index(HTTPServer)
Server(("127.0.0.1", 0), None, False).server_close()
""")


def test_functions_bear_the_name_of_their_original_module() -> None:
    run("""
originals, ours = import_all("wsgiref"), import_all("wsgiref_fast")
wsgiref_fast.install()
for name, original in originals.items():
    for key, value in vars(original).items():
        if getattr(value, "__module__", None) == original.__name__ and hasattr(ours[name], key):
            mine = getattr(ours[name], key)
            if mine is not value:
                assert mine.__module__ == original.__name__, key
""")


# Who was earlier

EARLY = {
    "a class": "from wsgiref.headers import Headers",
    "a function": "from wsgiref.simple_server import make_server",
    "a submodule": "from wsgiref import util",
    "a submodule by another name": "import wsgiref.validate as lint",
    "a subclass": """
import wsgiref.handlers
class Handler(wsgiref.handlers.BaseHandler): pass
""",
}


@pytest.mark.parametrize("held", EARLY)
def test_a_module_that_took_something_earlier_is_named_in_a_warning(
    held: str, tmp_path: Path
) -> None:
    (tmp_path / "early_bird.py").write_text(EARLY[held], "utf-8")
    (tmp_path / "second_bird.py").write_text(EARLY[held], "utf-8")
    (tmp_path / "late_bird.py").write_text("import wsgiref", "utf-8")
    output = run(
        """
import early_bird, late_bird, second_bird
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wsgiref_fast.install()
(warning,) = caught
assert warning.category is RuntimeWarning
print(warning.message)
assert sys.modules["wsgiref"] is wsgiref_fast
""",
        path=tmp_path,
    )
    assert output.endswith(": early_bird, second_bird")


def test_a_warning_points_to_who_called_install(tmp_path: Path) -> None:
    (tmp_path / "early_bird.py").write_text(EARLY["a class"], "utf-8")
    (tmp_path / "caller.py").write_text("import wsgiref_fast\nwsgiref_fast.install()", "utf-8")
    output = run(
        """
import early_bird
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import caller
print(*(warning.filename for warning in caught))
""",
        path=tmp_path,
    )
    assert output == str(tmp_path / "caller.py")


def test_the_main_program_is_named_too() -> None:
    output = run("""
from wsgiref.util import FileWrapper
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wsgiref_fast.install()
print(*(warning.message for warning in caught))
""")
    assert output.endswith(": __main__")


def test_who_holds_the_package_alone_needs_no_warning(tmp_path: Path) -> None:
    (tmp_path / "early_bird.py").write_text("import wsgiref.simple_server", "utf-8")
    run(
        """
import early_bird
wsgiref_fast.install()
server = early_bird.wsgiref.simple_server
assert server is wsgiref_fast.simple_server
""",
        path=tmp_path,
    )


def test_the_search_disturbs_no_lazy_object(tmp_path: Path) -> None:
    lazy_module = """
class Lazy:  # as Django's settings: to ask for its class is to set it up
    @property
    def __class__(self): raise RuntimeError("not configured yet")
settings = Lazy()
"""
    (tmp_path / "lazy_module.py").write_text(lazy_module, "utf-8")
    run("import lazy_module, wsgiref; wsgiref_fast.install()", path=tmp_path)


def test_strict_refuses_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "early_bird.py").write_text(EARLY["a subclass"], "utf-8")
    output = run(
        """
import early_bird, wsgiref
import_all("wsgiref")
ours = import_all("wsgiref_fast")
before = snapshot(wsgiref, ours)
try:
    wsgiref_fast.install(strict=True)
except RuntimeError as error:
    print(error)
assert snapshot(wsgiref, ours) == before
assert wsgiref.util.__name__ == "wsgiref.util"
wsgiref_fast.uninstall()
assert snapshot(wsgiref, ours) == before
""",
        path=tmp_path,
    )
    assert output.endswith(": early_bird")


def test_strict_is_content_where_nobody_was_earlier() -> None:
    run("""
wsgiref_fast.install(strict=True)
import wsgiref
assert wsgiref is wsgiref_fast
""")


def test_strict_is_asked_for_by_name() -> None:
    run("""
try:
    wsgiref_fast.install(True)
except TypeError:
    pass
else:
    raise AssertionError
""")


# Again, and back


def test_a_second_call_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "early_bird.py").write_text(EARLY["a class"], "utf-8")
    run(
        """
import wsgiref as original
wsgiref_fast.install()
ours = import_all("wsgiref_fast")
before = snapshot(original, ours)
wsgiref_fast.install()
import early_bird  # takes what is ours: nothing to warn of
wsgiref_fast.install(strict=True)
assert snapshot(original, ours) == before
wsgiref_fast.uninstall()
import wsgiref
assert wsgiref is original
""",
        path=tmp_path,
    )


def test_uninstall_takes_everything_back() -> None:
    run("""
import wsgiref
originals, ours = import_all("wsgiref"), import_all("wsgiref_fast")
before = snapshot(wsgiref, ours)
wsgiref_fast.install()
assert snapshot(wsgiref, ours) != before
wsgiref_fast.uninstall()
assert snapshot(wsgiref, ours) == before
import wsgiref.util
assert wsgiref.util is originals["util"]
""")


def test_uninstall_without_install_does_nothing() -> None:
    run("""
wsgiref_fast.uninstall()
assert not [name for name in sys.modules if name.partition(".")[0] == "wsgiref"]
""")


def test_install_and_uninstall_can_be_repeated() -> None:
    run("""
import wsgiref as original
ours = import_all("wsgiref_fast")
states = []
for _ in range(3):
    wsgiref_fast.install()
    states.append(snapshot(original, ours))
    wsgiref_fast.uninstall()
assert states[0] == states[1] == states[2]
""")


def test_threads_that_install_at_once_install_once() -> None:
    run("""
import threading
import wsgiref as original
ours = import_all("wsgiref_fast")
import_all("wsgiref")
before = snapshot(original, ours)
wsgiref_fast.install()
installed = snapshot(original, ours)
wsgiref_fast.uninstall()
sys.setswitchinterval(1e-6)
def work():
    barrier.wait()
    wsgiref_fast.install()
    assert sys.modules["wsgiref"] is wsgiref_fast
for _ in range(20):
    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert snapshot(original, ours) == installed
    wsgiref_fast.uninstall()
    assert snapshot(original, ours) == before
""")


def test_what_cannot_be_installed_is_taken_back() -> None:
    output = run("""
import wsgiref as original
import_all("wsgiref")
ours = import_all("wsgiref_fast")
class Unlinkable(dict): pass  # no class can be put in the place of a built-in base
Unlinkable.__module__ = "wsgiref_fast.validate"
ours["validate"].InputWrapper = Unlinkable
before = snapshot(original, ours)
try:
    wsgiref_fast.install()
except TypeError as error:
    print(error)
assert snapshot(original, ours) == before
""")
    assert "__bases__" in output


# Pickles


def test_a_pickle_can_be_read_without_this_package(tmp_path: Path) -> None:
    run(f"""
import pickle
wsgiref_fast.install()
from wsgiref.headers import Headers
from wsgiref.simple_server import WSGIServer, demo_app
from wsgiref.validate import WSGIWarning
values = [Headers([("A", "1")]), Headers, WSGIServer, demo_app, WSGIWarning("doubtful")]
with open({str(tmp_path / "pickle")!r}, "wb") as file:
    pickle.dump(values, file)
""")
    program = f"""
import pickle, sys
with open({str(tmp_path / "pickle")!r}, "rb") as file:
    headers, *others, warning = pickle.load(file)
assert not [name for name in sys.modules if "wsgiref_fast" in name]
print(headers.items(), *(other.__module__ for other in others), warning)
"""
    # -S: where our package is cannot be found.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    expected = "[('A', '1')] wsgiref.headers wsgiref.simple_server wsgiref.simple_server doubtful"
    assert done.stdout.strip() == expected, done.stderr


def test_a_pickle_of_the_original_is_read_as_ours() -> None:
    run("""
import pickle
import wsgiref.headers
pickled = pickle.dumps(wsgiref.headers.Headers([("A", "1")]))
wsgiref_fast.install()
headers = pickle.loads(pickled)
assert type(headers) is wsgiref_fast.headers.Headers
assert headers.items() == [("A", "1")]
""")


# Monkeypatches


def test_a_replaced_error_handler_is_called() -> None:
    output = run(
        REQUEST
        + """
wsgiref_fast.install()
import wsgiref.handlers
wsgiref.handlers.BaseHandler.handle_error = lambda self: print("mine", sys.exc_info()[0].__name__)
def app(environ, start_response):
    raise KeyError
assert request(app) == b""
"""
    )
    assert output == "mine KeyError"


def test_a_replaced_set_of_hop_by_hop_headers_is_asked() -> None:
    output = run(
        REQUEST
        + """
wsgiref_fast.install()
import wsgiref.util
def app(environ, start_response):
    start_response("200 OK", [("Connection", "close")])
    return [b""]
print(request(app).startswith(b"HTTP/1.0 500"))
wsgiref.util._hoppish = {}.__contains__
print(b"Connection: close" in request(app))
"""
    )
    assert output.split() == ["True", "True"]


def test_a_patch_of_the_package_held_earlier_acts_too() -> None:
    output = run(
        REQUEST
        + """
import wsgiref.handlers
wsgiref_fast.install()
wsgiref.handlers.BaseHandler.error_body = b"Sorry."
def app(environ, start_response):
    raise KeyError
print(request(app).endswith(b"Sorry."))
"""
    )
    assert output == "True"


def test_a_version_that_is_set_on_the_class_is_sent() -> None:
    output = run("""
import socket, threading
wsgiref_fast.install()
from wsgiref import simple_server
simple_server.ServerHandler.http_version = "1.1"
simple_server.WSGIRequestHandler.log_message = lambda self, *args: None
with simple_server.make_server("127.0.0.1", 0, simple_server.demo_app) as server:
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        with connection.makefile("rb") as file:
            print(file.read().partition(b"\\r\\n")[0].decode())
    thread.join()
""")
    assert output == "HTTP/1.1 200 OK"
