"""The HTTP proxies that the environment names."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from config.loading import ConfigError


def proxy_of(server: SplitResult) -> str | None:
    """The URL of the proxy before ``server``, by ``http_proxy`` or ``https_proxy``, else by
    ``all_proxy``; None where there is none or ``no_proxy`` names the server.

    Raises ConfigError for one that cannot be used.
    """
    proxies = _proxies()
    name = server.scheme if server.scheme in proxies else "all"
    if name not in proxies or proxy_bypass(server.hostname or ""):
        return None
    if flaw := _flaw(proxies[name]):
        raise ConfigError([f"{name}_proxy: {flaw} (no_proxy={server.hostname} goes past it)"])
    return proxies[name]


def are_usable() -> bool:
    """Whether requests can be sent through each of the proxies."""
    return not any(map(_flaw, _proxies().values()))


def _proxies() -> dict[str, str]:
    """Their URLs by the scheme of what is behind them; without a scheme HTTP's, as curl has it."""
    given = {name: getproxies().get(name) for name in ("http", "https", "all")}
    return {
        name: proxy if "://" in proxy else f"http://{proxy}"
        for name, proxy in given.items()
        if proxy
    }


def _flaw(proxy: str) -> str | None:
    """Why it cannot be used. The URL itself may hold a password and is not shown."""
    try:
        url = urlsplit(proxy)
        # A number that is no port is found out here.
        _ = url.port
    except ValueError:
        return "is no URL"
    if url.scheme != "http":
        return f"must be an HTTP proxy (http://HOST:PORT), not one of {url.scheme}://"
    return None if url.hostname else "names no host"
