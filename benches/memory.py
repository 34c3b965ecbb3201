#!/usr/bin/env python3
"""How much memory do 8 workers of the Django example need, ours and gunicorn's?

    benches/memory.py VENV WORKER_BIN

VENV has the example's requirements, the package forebay and gunicorn. What counts is the PSS of all
processes of a server (proc_pid_smaps_rollup(5)), page cache left out, after so many requests that
every worker has had some.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKERS = 8
REQUESTS = 400
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "django"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    venv, worker_bin = (Path(argument).absolute() for argument in sys.argv[1:])
    python = venv / "bin" / "python3"
    gunicorn = [python, "-m", "gunicorn", "-w", str(WORKERS), "archive.wsgi"]
    ours = [worker_bin, "--python", python, "-w", str(WORKERS), "archive.wsgi"]
    with tempfile.TemporaryDirectory() as directory:
        site = Path(directory) / "site"
        shutil.copytree(EXAMPLE, site)
        for command in ("migrate", "collectstatic"):
            manage = [python, "manage.py", command, "--no-input", "-v", "0"]
            subprocess.run(manage, cwd=site, check=True)
        figures = {
            "worker-bin": measure(ours, site),
            "gunicorn": measure(gunicorn, site),
            "gunicorn --preload": measure([*gunicorn, "--preload"], site),
        }
    print(f"| {WORKERS} workers | PSS, MiB | processes | worker-bin ÷ it |\n|---|---|---|---|")
    for name, (pss, processes) in figures.items():
        ratio = figures["worker-bin"][0] / pss
        print(f"| {name} | {pss / 1024:.1f} | {processes} | {ratio:.2f} |")


def measure(command, site):
    """KiB, and how many processes."""
    port = free_port()
    server = subprocess.Popen(
        [*command, "--bind", f"127.0.0.1:{port}"], cwd=site, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(server, port)
        for _ in range(REQUESTS):
            ask(port)
        processes = session(server.pid)
        if len(processes) <= WORKERS:
            sys.exit(f"{command[0]}: {len(processes)} processes instead of more than {WORKERS}")
        return sum(map(pss, processes)), len(processes)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def ask(port):
    """Each on its own connection, so that all workers get some."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/log-in")
    response = client.getresponse()
    content = response.read()
    if response.status != 200 or b"csrfmiddlewaretoken" not in content:
        sys.exit(f"{response.status} instead of the form: {content[:200]!r}")
    client.close()


def wait_for(server, port):
    end = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                sys.exit(f"it does not start: {server.args}")
            time.sleep(0.05)


def session(leader):
    """The processes that the server has started, and itself."""
    def is_member(pid):
        try:
            return os.getsid(pid) == leader
        except ProcessLookupError:
            return False
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_member(pid)]


def pss(pid):
    """KiB of one process: what it shares is divided by how many share it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
