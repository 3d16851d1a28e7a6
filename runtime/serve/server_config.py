"""Where `edge serve` listens, who may come in, and how much each may take."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from runtime._option import check_options, option
from runtime.errors import ConfigError

TOKEN_VARIABLE = "EDGE_SERVE_TOKEN"
MIN_TOKEN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The web server; a change needs a restart."""

    host: str = option(
        "127.0.0.1", "address to listen on; an address other than localhost needs a token"
    )
    port: int = option(8080, "port to listen on; 0 = any free port", least=0, most=65535)
    token_file: str | None = option(
        None, f"file with the token that clients must show; or ${TOKEN_VARIABLE}", metavar="FILE"
    )
    insecure: bool = option(False, "allow another address without a token")
    tls_cert: str | None = option(None, "certificate (chain) for https, PEM", metavar="FILE")
    tls_key: str | None = option(None, "private key for --tls-cert, PEM", metavar="FILE")
    allowed_hosts: tuple[str, ...] = option(
        (), "further host names of this machine that clients may use"
    )
    max_connections: int = option(256, "largest number of open connections", least=8, most=10_000)
    max_streams: int = option(
        32, "largest number of clients that stream events or pictures", least=1, most=1000
    )
    preview_fps: float = option(
        5.0,
        "largest number of pictures per second for each camera that is watched",
        above=0,
        most=60,
    )
    preview_width: int = option(640, "largest width of these pictures, px", least=64, most=4096)

    def __post_init__(self) -> None:
        check_options(self)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConfigError("--tls-cert and --tls-key belong together; one of them is missing")
        if self.token and len(self.token) < MIN_TOKEN:
            raise ConfigError(
                f"the token has {len(self.token)} characters, expected {MIN_TOKEN} or more; make "
                "one: openssl rand -hex 32"
            )
        if not self.loopback and not self.token and not self.insecure:
            raise ConfigError(
                f"--host {self.host} lets others in: give --token-file FILE (make one: openssl "
                "rand -hex 32 > FILE), or say --insecure"
            )
        self._check_certificate()

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def token(self) -> str | None:
        """Return the token, or None where none is needed.

        Raises:
            ConfigError: Its file cannot be read or is empty.
        """
        if self.token_file is None:
            return os.environ.get(TOKEN_VARIABLE) or None
        try:
            token = Path(self.token_file).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no ASCII text"
            raise ConfigError(f"--token-file {self.token_file} cannot be read: {reason}") from error
        if not token:
            raise ConfigError(f"--token-file {self.token_file} is empty")
        return token

    def _check_certificate(self) -> None:
        if not self.tls_cert or not self.tls_key:
            return
        try:
            # An encrypted key would be asked for at a terminal that is not there.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.tls_cert, self.tls_key, password=lambda: b""
            )
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(
                f"--tls-cert {self.tls_cert} and --tls-key {self.tls_key} cannot be used: {reason}"
            ) from error
