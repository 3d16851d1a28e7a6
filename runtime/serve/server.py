"""Run the web server and the service together, from the first byte to the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import uvicorn

from runtime.errors import ConfigError, EdgeError
from runtime.serve.app import Application
from runtime.serve.config import ConfigFaultsError, ServeConfig
from runtime.serve.connections import Connections, WebSocketConnection
from runtime.serve.gate import Gate
from runtime.serve.memory import tame
from runtime.serve.metrics import Metrics
from runtime.serve.server_config import ServerConfig
from runtime.serve.service import Service
from runtime.serve.systemd import notify, watchdog_s

logger = logging.getLogger(__name__)

MAX_HEADERS = 16_384
MAX_WEBSOCKET_MESSAGE = 4096
TICK_S = 1.0
STOP_S = 1.5  # for cameras and sinks; connections have a second before


class _Uvicorn(uvicorn.Server):
    """A server whose signals are somebody else's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """`edge serve` once its configuration is read."""

    def __init__(
        self, config: ServeConfig, reread: Callable[[], ServeConfig] | None = None
    ) -> None:
        """Take the port, load the model; nothing is served yet.

        Args:
            config: What to serve.
            reread: Gives the configuration anew, for SIGHUP; None where there is no file.

        Raises:
            ConfigError: The port is taken, or something does not fit the model.
            EdgeError: The model or a sink cannot be used.
        """
        tame()
        self._reread = reread
        self._socket = _listen(config.server)
        try:
            metrics = Metrics()
            self.service = Service(config, metrics.observe)
        except BaseException:
            self._socket.close()
            raise
        connections = Connections(config.server.max_connections)
        gate = Gate(config.server.token)
        metrics.attach(self.service, connections, gate)
        app = Application(self.service, config.server, connections, gate, metrics)
        self._connections = connections
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app.asgi(),
                http=connections.protocol(),
                ws=WebSocketConnection,
                ws_max_size=MAX_WEBSOCKET_MESSAGE,
                ws_per_message_deflate=False,
                h11_max_incomplete_event_size=MAX_HEADERS,
                ssl_certfile=config.server.tls_cert,
                ssl_keyfile=config.server.tls_key,
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
            )
        )
        # It warns of each malformed request, which anybody can send without end.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._signal: int | None = None
        self._reloading = threading.Lock()
        scheme = "https" if config.server.tls_cert else "http"
        host, port = self._socket.getsockname()[:2]
        self.address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self) -> int:
        """Serve until SIGTERM or Ctrl-C.

        Returns:
            The signal that ended it, or 0.
        """
        asyncio.run(self._main())
        return self._signal or 0

    def stop(self) -> None:
        """Ask for the end, from any thread."""
        self.service.ask_to_stop()  # streams end now, and not when their clients go
        self._uvicorn.should_exit = True

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._end_by, number)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
        self.service.start()
        tick = asyncio.create_task(self._tick())
        try:
            await self._uvicorn.serve(sockets=[self._socket])
        finally:
            tick.cancel()
            notify(stopping=1)
            whole = await asyncio.to_thread(self.service.stop, STOP_S)
            if not whole:
                self._leave()

    def _leave(self) -> None:
        """End at once: a thread is in a driver that does not return, which Python would await."""
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if self._signal != signal.SIGINT else 130)

    def _end_by(self, number: int) -> None:
        # The second one does not wait for clients.
        self._uvicorn.force_exit = self._signal is not None
        self._signal = number
        self.stop()

    async def _tick(self) -> None:
        """Tell clients how cameras are, end slow connections, tell systemd that all is well."""
        interval_s, ready, silent_s = watchdog_s(), False, 0.0
        while True:
            await asyncio.sleep(TICK_S if ready else 0.02)
            if not ready and self._uvicorn.started:
                ready = True
                notify(ready=1, status=f"serving {len(self.service.cameras)} cameras")
                logger.info("serving %s", self.address)
            if not ready:
                continue
            self._connections.sweep()
            if self.service.hub.wanted("cameras", ""):
                self.service.hub.cameras(self.service.status())
            silent_s += TICK_S
            if interval_s is not None and silent_s + TICK_S > interval_s / 2:
                fault = self.service.fault()
                if fault is None:
                    notify(watchdog=1)
                    silent_s = 0.0
                else:
                    logger.error("no sign of life for the watchdog: %s", fault)

    def _reload(self) -> None:
        threading.Thread(target=self._reload_now, name="reload", daemon=True).start()

    def _reload_now(self) -> None:
        """Read the configuration again; one with faults changes nothing."""
        with self._reloading:
            if self._reread is None:
                logger.warning("SIGHUP: there is no --config to read again")
                return
            notify(reloading=1)
            try:
                done = self.service.reload(self._reread())
                logger.info("configuration read again: %s", "; ".join(done) or "nothing changed")
            except ConfigFaultsError as error:
                for fault in error.faults:
                    logger.error("%s", fault)
                logger.error("the configuration has faults; all goes on as before")
            except EdgeError as error:
                logger.error("%s; all goes on as before", error)
            notify(ready=1, status=f"serving {len(self.service.cameras)} cameras")


def _listen(config: ServerConfig) -> socket.socket:
    """Take the port before anything else is begun."""
    try:
        found = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {config.host} is no address of this machine: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {config.port} of {config.host} cannot be had: {error.strerror}; give another "
            "--port, or 0 for a free one"
        ) from error
    return listener
