"""What can be known to be wrong with a configuration before a process is started, or a running one reloaded."""

from __future__ import annotations

from gateway.app.compose import domain_policies, make_imap_server, make_redis, make_sealer, read_token, webhook_targets
from gateway.app.pipeline import make_resolver
from gateway.config.settings import Settings


def check_settings(settings: Settings) -> None:
    """What can be known to be wrong before a process is started. Raises ConfigError."""
    from gateway.config.dns_lists import dns_lists
    from gateway.config.load import read_master_keys
    from gateway.listeners.smtp import tls_context
    from gateway.net.next_hop import NextHops
    from gateway.sign_in import make_directory, make_issuer

    next_hops = NextHops(settings.hostname)
    for policy in domain_policies(settings):
        for urls in (policy.next_hop, *(next_hop for _, next_hop in policy.routes)):
            next_hops.get(urls)
    make_resolver(settings)
    dns_lists(settings.dns_list)
    tls_context(settings.smtp)
    make_sealer(settings)
    make_redis(settings)
    webhook_targets(settings)
    if settings.storage.encryption_key:
        read_master_keys(settings.storage.encryption_key)
    for one in settings.learning.imap:
        make_imap_server(one)
    make_directory(settings)
    make_issuer(settings)
    for table, option in (("http", "token_file"), ("http", "learn_token_file")):
        read_token(settings, table, option)


def check_reload(running: Settings, fresh: Settings) -> None:
    """What only a restart can change. Raises ConfigError."""
    from gateway.errors import ConfigError

    same = ("user", "group", "umask")
    if any(getattr(running.process, name) != getattr(fresh.process, name) for name in same):
        raise ConfigError("[process] user, group and umask: a change needs a restart")
    if running.storage != fresh.storage:
        raise ConfigError("[storage]: a change needs a restart")
