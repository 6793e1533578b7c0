"""Where this user's pip looks for packages, so that the weights come the same way.

A school's mirror, proxy, certificate or password is set up once, for pip. Nothing here keeps a
default address: without any setting, the library that looks for packages knows it.
"""

from __future__ import annotations

import ast
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nst_helpers.errors import WeightsError

# pip reads a command's own section after [global], and its environment variables last (pip
# documentation, "Configuration"). What is fetched here would be fetched by `pip download`.
_SECTIONS = ("global", "install", "download", ":env:")
_LINE = re.compile(r"^(?P<section>global|install|download|:env:)\.(?P<key>[\w-]+)=(?P<value>.*)$")
_ALIASES = {"pypi-url": "index-url", "default-timeout": "timeout"}
_DEFAULT_TIMEOUT = 15.0  # seconds, pip's own
_TRUE = {"1", "y", "yes", "t", "true", "on"}


@dataclass(frozen=True)
class PipSetup:
    """The settings of pip that say where packages come from.

    Attributes:
        index_url: the main index; None leaves the default.
        extra_index_urls: further indexes.
        find_links: folders, pages or files with links to packages.
        no_index: whether indexes are to be left alone.
        trusted_hosts: hosts whose certificate is not checked.
        proxy: address of a proxy, or None.
        cert: file or folder of certificate authorities, or None.
        client_cert: file with this client's certificate, or None.
        timeout: seconds to wait for an answer.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None
    cert: str | None = None
    client_cert: str | None = None
    timeout: float = _DEFAULT_TIMEOUT

    def ssl_context(self) -> ssl.SSLContext | bool:
        """Return how servers are verified; True is the default.

        Raises:
            WeightsError: a certificate file that is set cannot be read.
        """
        # Next to its own setting, pip follows these two variables (documentation of Requests).
        authorities = (
            self.cert
            or os.environ.get("REQUESTS_CA_BUNDLE")
            or os.environ.get("CURL_CA_BUNDLE")
            or None
        )
        if not authorities and not self.client_cert:
            return True
        try:
            is_folder = bool(authorities) and Path(authorities).is_dir()
            context = ssl.create_default_context(
                cafile=None if is_folder else authorities,
                capath=authorities if is_folder else None,
            )
            if self.client_cert:
                context.load_cert_chain(self.client_cert)
        except OSError as error:
            raise WeightsError(
                f"pip is set up with the certificate {self.client_cert or authorities}, which "
                f"cannot be used ({error.strerror or type(error).__name__}); correct pip's "
                f"setting 'cert' or 'client-cert'."
            ) from None
        return context

    def without_secrets(self, text: str) -> str:
        """Return ``text`` with user names and passwords of addresses replaced by asterisks."""
        hidden = re.sub(r"//\S*@", "//***@", text)
        addresses = (self.index_url, *self.extra_index_urls, *self.find_links, self.proxy)
        for address in filter(None, addresses):
            for secret in _secrets(address):
                hidden = hidden.replace(secret, "***")
        return hidden


def pip_setup() -> PipSetup:
    """Return where pip is set up to look, by asking pip itself.

    Where pip is not installed its environment variables are read instead.
    """
    settings = _settings(_configuration_lines())
    index_url = settings.get("index-url", "").strip() or None
    proxy = settings.get("proxy", "").strip() or None
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"  # pip also takes user:password@host:port
    return PipSetup(
        index_url=index_url,
        extra_index_urls=tuple(settings.get("extra-index-url", "").split()),
        find_links=tuple(map(os.path.expanduser, settings.get("find-links", "").split())),
        no_index=settings.get("no-index", "").strip().lower() in _TRUE,
        trusted_hosts=tuple(settings.get("trusted-host", "").split()),
        proxy=proxy,
        cert=settings.get("cert", "").strip() or None,
        client_cert=settings.get("client-cert", "").strip() or None,
        timeout=_seconds(settings.get("timeout", "")),
    )


def _configuration_lines() -> list[str]:
    listed = _pip("config", "list")
    if listed is not None:
        return listed.splitlines()
    return [
        f":env:.{name.removeprefix('PIP_')}={value!r}"
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    ]


def _pip(*arguments: str) -> str | None:
    """Return what a pip command prints; None where there is no working pip."""
    if not sys.executable:
        return None
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "pip", *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout if finished.returncode == 0 else None


def _settings(lines: Iterable[str]) -> dict[str, str]:
    """Return the value in force for each setting; an empty one counts as not set, as in pip."""
    found: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], str] = {}
    for line in lines:
        match = _LINE.match(line)
        if not match:
            continue
        try:
            value = str(ast.literal_eval(match["value"]))
        except (ValueError, SyntaxError):
            continue
        key = match["key"].lower().replace("_", "-")
        place = (match["section"], _ALIASES.get(key, key))
        found.setdefault(place, []).append(value)
        names[place] = f"{match['section']}.{match['key']}"
    settings = {}
    for section in _SECTIONS:
        for place, values in found.items():
            if place[0] != section:
                continue
            value = values[-1]
            if len(set(values)) > 1:
                # Several files set it, and newer versions of pip list files by their names; only
                # pip knows which one counts.
                value = (_pip("config", "get", names[place]) or value).strip("\r\n")
            if value:
                settings[place[1]] = value
    return settings


def _seconds(text: str) -> float:
    try:
        return float(text) if float(text) > 0 else _DEFAULT_TIMEOUT
    except ValueError:
        return _DEFAULT_TIMEOUT


def _secrets(address: str) -> set[str]:
    """Return the password in an address, as written and as meant."""
    try:
        authority = urlsplit(address).netloc
    except ValueError:  # not an address at all
        return set()
    if "@" not in authority:
        return set()
    _, _, password = authority.rpartition("@")[0].partition(":")
    return {password, unquote(password)} - {""}
