"""A JupyterLab on a copy of the notebooks, and a Chromium: for `notebooks/drive.py` and the tests."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WAIT = 300_000  # milliseconds; the machine may be busy
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
LAB = "--no-browser --ip=127.0.0.1 --allow-root --expose-app-in-browser --IdentityProvider.token="
LAB += " --LabApp.news_url=None --LabApp.extension_manager=readonly --ServerApp.disable_check_xsrf=True"
LAB += " --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("ANROT_CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


@contextlib.contextmanager
def open_browser(path: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


@contextlib.contextmanager
def start_lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves copies of the notebooks in a folder, without a token, on this machine
    only. RuntimeError with its log if it does not start.
    """
    for path in HERE.glob("*.ipynb"):
        shutil.copy(path, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"ANROT_PRESET": "smoke", "ANROT_DATA": "embedded", "JUPYTER_CONFIG_DIR": str(folder / ".config")}
    settings["JUPYTERLAB_WORKSPACES_DIR"] = str(folder / ".workspaces")
    inherited = {k: v for k, v in os.environ.items() if k not in ("ANROT_HEADLESS", "ANROT_HOME")}
    environment = inherited | settings  # without a home elsewhere, for the notebooks print the records of the checkout
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", *LAB.split()]
    address, log = f"http://127.0.0.1:{port}", folder / "lab.log"
    with open(log, "wb") as file:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
        try:
            _wait_for(address, server, log)
            yield address
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(WAIT // 500):
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api", timeout=2):
            return
        time.sleep(0.5)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def wait_for_kernel(lab: str, notebook: str) -> None:
    """Until the notebook's kernel is connected and idle: cells that run before lose their output.

    Asked by session, because the kernel of a page that was closed before lives on.
    """
    for _ in range(WAIT // 500):
        with urllib.request.urlopen(f"{lab}/api/sessions", timeout=30) as answer:
            sessions = json.load(answer)
        kernels = [session["kernel"] for session in sessions if session["path"].endswith(notebook)]
        if kernels and all(k["execution_state"] == "idle" and k["connections"] > 0 for k in kernels):
            return
        time.sleep(0.5)
    raise RuntimeError(f"no kernel became idle: {sessions}")


def stop_kernels(lab: str) -> None:
    """End all kernels, so that the next notebook has the memory for itself."""
    with urllib.request.urlopen(f"{lab}/api/sessions", timeout=30) as answer:
        sessions = json.load(answer)
    for session in sessions:
        request = urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE")
        with urllib.request.urlopen(request, timeout=60):
            pass
