"""Nothing in a test or a notebook's kernel reaches another machine; Jupyter's own loopback sockets stay."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest
from kernel_run import NO_NETWORK, CellRaised, execute
from lesson_source import KERNEL
from loopback_only import NetworkBlocked

ELSEWHERE = "192.0.2.1"  # an address kept for documentation: nobody has it


@pytest.mark.parametrize("call", ["connect", "connect_ex", "sendto", "create_connection", "getaddrinfo", "urlopen"])
def test_this_process_cannot_leave_the_machine(call):
    raises = pytest.raises(OSError, match="blocked")
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, raises as caught:
        match call:
            case "connect" | "connect_ex":
                getattr(tcp, call)((ELSEWHERE, 80))
            case "sendto":
                udp.sendto(b"?", (ELSEWHERE, 53))
            case "create_connection":
                socket.create_connection((ELSEWHERE, 80), timeout=1)
            case "getaddrinfo":
                socket.getaddrinfo("example.org", 80)
            case "urlopen":
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://example.org", timeout=1)
    reason = getattr(caught.value, "reason", caught.value)  # urllib wraps it
    assert isinstance(reason, NetworkBlocked)


def test_loopback_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
            client.sendall(b"x")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1) == b"x"


def test_a_kernel_cannot_leave_the_machine(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("import socket; print('in')"),
            nbformat.v4.new_code_cell(f"socket.create_connection(('{ELSEWHERE}', 80), timeout=1)"),
        ]
    )
    with pytest.raises(CellRaised, match="NetworkBlocked: the network is blocked") as caught:
        execute(notebook, KERNEL, tmp_path)
    assert caught.value.index == 1 and notebook.cells[0].outputs[0].text == "in\n"


def test_another_start_up_module_still_runs(tmp_path):
    Path(tmp_path, "sitecustomize.py").write_text("import builtins\nbuiltins.another_one_ran = True\n")
    path = os.pathsep.join([str(NO_NETWORK), str(tmp_path)])
    code = "import socket; assert another_one_ran; assert socket._course_loopback_only"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)
