"""``farebox serve --workers N``: several processes on one port and one ledger."""

import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import Final

import structlog
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from proxy.app.application import Application
from proxy.app.listening import environment, listen, server_config
from proxy.observe.logs import Logs
from proxy.settings import Settings, load_settings

_METRICS_FOLDER: Final = "_FAREBOX_METRICS_FOLDER"  # from the parent process to its workers
_log = structlog.get_logger("farebox.workers")


def serve_workers(settings: Settings, config_path: Path | None) -> int:
    """Serve until told to stop; the exit code. Raises FareboxError where the address is taken."""
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="farebox-metrics-"))
        os.environ.update(environment(settings))
        os.environ["FAREBOX_CONFIG"] = str(config_path or "")
        os.environ[_METRICS_FOLDER] = folder
        # One socket for each: where several processes accept from the same, the first to wake up
        # takes nearly all, and the others' processors stay idle.
        count = settings.server.workers
        listeners = [
            opened.enter_context(listen(settings.server, shared=True)) for _ in range(count)
        ]
        config = server_config("proxy.app.workers:create_worker", settings, workers=count)
        opened.callback(Logs(settings.logging.format, settings.logging.level).close)
        workers = _Workers(config, listeners)
        workers.run()
        return workers.exit_code


class _Workers(Multiprocess):
    """uvicorn's supervisor, for workers that each have a socket of their own.

    The parent keeps the sockets: who connects while a worker is being replaced waits for the next.
    """

    exit_code = 0

    def init_processes(self) -> None:
        """Start all."""
        self.processes = [self._started(listener) for listener in self.sockets]

    def keep_subprocess_alive(self) -> None:
        """Replace who died; where one could not even start, all stop.

        None is asked whether it hangs: one that is only slow to start would be killed for it.
        """
        if self.should_exit.is_set():
            return
        for place, process in enumerate(self.processes):
            if process.process.is_alive():
                continue
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.exit_code = 1
                self.should_exit.set()
                return
            _log.error("worker_died", process=process.pid, exit_code=process.exitcode)
            self.processes[place] = self._started(self.sockets[place])

    def handle_hup(self) -> None:
        """Each worker reads the configuration anew, and keeps its own where that is wrong."""
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                os.kill(process.pid, signal.SIGHUP)

    def handle_ttin(self) -> None:
        """Their number is that of the sockets."""

    handle_ttou = handle_ttin

    def _started(self, listener: socket.socket) -> Process:
        process = Process(self.config, [listener])
        process.start()
        return process


def create_worker() -> Application:
    """The application of one worker, from what the parent process left in the environment."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    variables = dict(os.environ)
    path = Path(variables["FAREBOX_CONFIG"]) if variables.get("FAREBOX_CONFIG") else None
    return Application(
        load_settings(path, variables),
        config_path=path,
        metrics_folder=Path(variables[_METRICS_FOLDER]),
        environment=variables,
        owns_process=True,
    )


def _end_with_parent() -> None:
    """A worker whose parent was killed would hold the port for ever: nobody else stops it."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
