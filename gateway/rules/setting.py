"""The directives that are not about one rule: allow and block lists, networks, and what has no effect in a gateway."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, ip_network

from gateway.rules.draft import Draft, split_word
from gateway.rules.rule import Network, Networks

Directive = Callable[[Draft, str], None]

_LIST_NAME = re.compile(r"\(\s*([^()\s]+)\s*\)")
_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+){0,3}\.?")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_RENAMED = (("whitelist", "welcomelist"), ("blacklist", "blocklist"))


def name_of_today(word: str) -> str:
    """whitelist_from is welcomelist_from, and so on: both are written."""
    for before, now in _RENAMED:
        word = word.replace(before, now)
    return "bayes_stopword_languages" if word.startswith("bayes_stopword_") else word


# --- lists ----------------------------------------------------------------------------------------------------------


def _addresses(name: str) -> Directive:
    def enlist(draft: Draft, rest: str) -> None:
        _add_addresses(draft, name, rest)

    return enlist


def _add_addresses(draft: Draft, name: str, rest: str) -> None:
    if not rest:
        raise ValueError("write one address or more; * and ? stand for any characters")
    entries = draft.found.lists.addresses.setdefault(name, {})
    for address in rest.lower().split():
        entries.setdefault(address, ())


def _address_and(name: str, *, is_second_required: bool) -> Directive:
    """An address, and what has to hold besides: the relay's name or network, the signing domain."""

    def enlist(draft: Draft, rest: str) -> None:
        words = rest.lower().split()
        if not words or len(words) > 2 or (is_second_required and len(words) < 2):
            raise ValueError("write an address, then " + ("a relay" if is_second_required else "a signing domain"))
        entries = draft.found.lists.addresses.setdefault(name, {})
        entries[words[0]] = (*entries.get(words[0], ()), *(words[1:] or ("",)))

    return enlist


def _without(*names: str) -> Directive:
    def delist(draft: Draft, rest: str) -> None:
        if not rest:
            raise ValueError("write the addresses as they were listed")
        for address in rest.lower().split():
            for name in names:
                draft.found.lists.addresses.get(name, {}).pop(address, None)

    return delist


def _unlist_dkim(draft: Draft, rest: str) -> None:
    """unwelcomelist_from_dkim ADDRESS [DOMAIN]."""
    address, domain = split_word(rest.lower())
    for name in ("welcomelist_from_dkim", "def_welcomelist_from_dkim"):
        entries = draft.found.lists.addresses.get(name, {})
        left = tuple(one for one in entries.pop(address, ()) if one != domain)
        if left:
            entries[address] = left


def _named(rest: str) -> tuple[str, str]:
    match = _LIST_NAME.match(rest)
    if match is None or not rest[match.end() :].strip():
        raise ValueError("write the list's name in parentheses, then what belongs to it")
    return match[1], rest[match.end() :].strip()


def _enlist_addrlist(draft: Draft, rest: str) -> None:
    name, addresses = _named(rest)
    _add_addresses(draft, name_of_today(name), addresses)


def _enlist_uri_host(draft: Draft, rest: str) -> None:
    name, hosts = _named(rest)
    _add_hosts(draft, name, hosts)


def _hosts(name: str) -> Directive:
    def enlist(draft: Draft, rest: str) -> None:
        _add_hosts(draft, name, rest)

    return enlist


def _add_hosts(draft: Draft, name: str, rest: str) -> None:
    if not rest:
        raise ValueError("write one host or more")
    hosts = draft.found.lists.uri_hosts.setdefault(name, {})
    for host in rest.lower().split():
        hosts[host.removeprefix("!").strip(".")] = not host.startswith("!")


def _delist_uri_host(draft: Draft, rest: str) -> None:
    name, hosts = _named(rest) if rest.startswith("(") else ("", rest)
    lists = draft.found.lists.uri_hosts
    for one in [lists.get(name, {})] if name else list(lists.values()):
        for host in hosts.lower().split():
            one.pop(host.removeprefix("!").strip("."), None)


def _words(name: str) -> Directive:
    def enlist(draft: Draft, rest: str) -> None:
        draft.found.lists.words.setdefault(name, set()).update(rest.lower().split())

    return enlist


def _whole(name: str) -> Directive:
    """The line's whole text is one entry."""

    def enlist(draft: Draft, rest: str) -> None:
        if not rest:
            raise ValueError("the text is missing")
        draft.found.lists.words.setdefault(name, set()).add(rest.lower())

    return enlist


def _clear_words(name: str) -> Directive:
    def clear(draft: Draft, rest: str) -> None:
        draft.found.lists.words.pop(name, None)

    return clear


# --- networks -------------------------------------------------------------------------------------------------------


def parse_network(text: str) -> tuple[Network, bool]:
    """192.0.2.0/24, 192.0.2 (the rest is any), [2001:db8::]/32; False behind "!". Raises ValueError."""
    address = text.removeprefix("!").replace("[", "").replace("]", "")
    base, slash, length = address.partition("/")
    if _DIGITS.fullmatch(base):
        octets = base.strip(".").split(".")
        base = ".".join([*octets, *["0"] * (4 - len(octets))])
        length = length or str(8 * len(octets))
        slash = "/"
    try:
        return ip_network(f"{base.partition('%')[0]}{slash}{length}", strict=False), not text.startswith("!")
    except ValueError:
        raise ValueError(f"{text[:50]!r} is not a network") from None


def _networks(which: str) -> Directive:
    def add(draft: Draft, rest: str) -> None:
        if not rest:
            raise ValueError("write one network or more")
        added = tuple(parse_network(one) for one in rest.split())
        networks = draft.found.networks
        draft.found.networks = replace(networks, **{which: getattr(networks, which) + added})

    return add


def _clear_networks(which: str) -> Directive:
    def clear(draft: Draft, rest: str) -> None:
        draft.found.networks = replace(draft.found.networks, **{which: ()})

    return clear


def check_networks(draft: Draft) -> None:
    """Internal and MSA networks have to be trusted; those that are not are left out, as SpamAssassin does."""
    networks = draft.found.networks
    outer = networks.trusted or networks.internal
    if outer:
        inner = {"internal": networks.internal, "msa": networks.msa}
        kept = {which: tuple(one for one in entries if _is_within(one, outer)) for which, entries in inner.items()}
        for which, entries in inner.items():
            for network, _ in set(entries) - set(kept[which]):
                draft.problem(f"{which}_networks: {network} is left out: it is not among the trusted ones", "error")
        draft.found.networks = Networks(networks.trusted, **kept)


def _is_within(entry: tuple[Network, bool], outer: tuple[tuple[Network, bool], ...]) -> bool:
    network, is_in = entry
    return not is_in or any(is_outer and _covers(one, network) for one, is_outer in outer)


def _covers(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return not isinstance(inner, IPv4Network) and inner.subnet_of(outer)


# --- one value each -------------------------------------------------------------------------------------------------


def _number(name: str) -> Directive:
    def keep(draft: Draft, rest: str) -> None:
        if not _NUMBER.fullmatch(rest):
            raise ValueError(f"{name}: {rest[:40]!r} is not a number")
        draft.found.settings[name] = rest

    return keep


def _text(name: str) -> Directive:
    def keep(draft: Draft, rest: str) -> None:
        if not rest:
            raise ValueError(f"{name}: the value is missing")
        draft.found.settings[name] = rest

    return keep


def _required_score(draft: Draft, rest: str) -> None:
    _number("required_score")(draft, rest)
    draft.once("required_score", "required_score: Darban's thresholds are tag_at, quarantine_at and reject_at")


_ADDRESS_LISTS = """welcomelist_from blocklist_from welcomelist_to blocklist_to more_spam_to all_spam_to
    welcomelist_auth def_welcomelist_auth welcomelist_allows_relays welcomelist_from_spf def_welcomelist_from_spf"""

DIRECTIVES: Mapping[str, Directive] = {
    **{name: _addresses(name) for name in _ADDRESS_LISTS.split()},
    **{
        name: _address_and(name, is_second_required=name.endswith("rcvd"))
        for name in """welcomelist_from_rcvd def_welcomelist_from_rcvd welcomelist_from_dkim
        def_welcomelist_from_dkim""".split()
    },
    "unwelcomelist_from": _without("welcomelist_from"),
    "unblocklist_from": _without("blocklist_from"),
    "unwelcomelist_auth": _without("welcomelist_auth", "def_welcomelist_auth"),
    "unwelcomelist_from_rcvd": _without("welcomelist_from_rcvd", "def_welcomelist_from_rcvd"),
    "unwelcomelist_from_spf": _without("welcomelist_from_spf", "def_welcomelist_from_spf"),
    "unwelcomelist_from_dkim": _unlist_dkim,
    "enlist_addrlist": _enlist_addrlist,
    "enlist_uri_host": _enlist_uri_host,
    "delist_uri_host": _delist_uri_host,
    "blocklist_uri_host": _hosts("BLOCK"),
    "welcomelist_uri_host": _hosts("WELCOME"),
    "welcomelist_subject": _whole("welcomelist_subject"),
    "blocklist_subject": _whole("blocklist_subject"),
    "welcomelist_bounce_relays": _words("welcomelist_bounce_relays"),
    "freemail_domains": _words("freemail_domains"),
    "freemail_welcomelist": _words("freemail_welcomelist"),
    "ok_locales": _words("ok_locales"),
    "originating_ip_headers": _words("originating_ip_headers"),
    "clear_originating_ip_headers": _clear_words("originating_ip_headers"),
    "util_rb_tld": _words("util_rb_tld"),
    "clear_util_rb": _clear_words("util_rb_tld"),
    **{f"{which}_networks": _networks(which) for which in ("trusted", "internal", "msa")},
    **{f"clear_{which}_networks": _clear_networks(which) for which in ("trusted", "internal", "msa")},
    "required_score": _required_score,
    "required_hits": _required_score,
    **{name: _number(name) for name in "freemail_max_body_emails freemail_max_body_freemails".split()},
    **{name: _number(name) for name in ("freemail_skip_when_over_max", "freemail_add_describe_email")},
    "freemail_skip_bulk_envfrom": _number("freemail_skip_bulk_envfrom"),
    "version_tag": _text("version_tag"),
}

# --- understood, and without effect here: one note for each word ---------------------------------------------------

_BECAUSE = {
    "the gateway writes its own header fields, and no report into the message": """add_header remove_header
        clear_headers rewrite_header subjprefix report report_safe report_safe_copy_headers report_wrap_width
        report_charset report_contact report_hostname report_template clear_report_template unsafe_report
        clear_unsafe_report_template fold_headers spamcop_from_address spamcop_to_address spamcop_max_report_size
        spamcop_relayhost""",
    "the classifier is trained with `darban train`, and keeps its own model": """use_learner use_bayes use_bayes_rules
        bayes_auto_learn bayes_auto_learn_threshold_nonspam bayes_auto_learn_threshold_spam bayes_auto_learn_on_error
        bayes_token_sources bayes_ignore_header bayes_ignore_from bayes_ignore_to bayes_min_ham_num bayes_min_spam_num
        bayes_learn_during_report bayes_sql_override_username bayes_use_hapaxes bayes_journal_max_size
        bayes_expiry_max_db_size bayes_auto_expire bayes_token_ttl bayes_seen_ttl bayes_learn_to_journal bayes_path
        bayes_file_mode bayes_store_module bayes_sql_dsn bayes_sql_username bayes_sql_password
        bayes_sql_username_authorized bayes_max_token_length bayes_stopword_languages bayes_stopword_default
        bayes_redis_password bayes_redis_database""",
    "the DNS is set up in darban.toml, [dns]": """dns_available dns_server clear_dns_servers dns_local_ports_permit
        dns_local_ports_avoid dns_local_ports_none dns_test_interval dns_options dns_query_restriction
        clear_dns_query_restriction clear_dns_query_restrictions spf_timeout dkim_timeout rbl_timeout""",
    "DNS lists are not asked": """skip_rbl_checks skip_uribl_checks dns_block_rule dns_block_time rbl_headers
        uridnsbl_skip_domain clear_uridnsbl_skip_domain uridnsbl_max_domains uridnsbl_skip_mailto uridnsbl_timeout
        hashbl_ignore hashbl_email_regex hashbl_email_welcomelist hashbl_email_domain_alias hashbl_acl_freemail""",
    "public suffixes come from the Public Suffix List": "util_rb_2tld util_rb_3tld",
    "the SMTP envelope is known at first hand": """envelope_sender_header always_trust_envelope_sender
        ignore_received_spf_header use_newest_received_spf_header do_not_use_mail_spf do_not_use_mail_spf_query""",
    "limits of time and memory are the gateway's own": """time_limit body_part_scan_size rawbody_part_scan_size
        resource_limit_cpu resource_limit_mem""",
    "text is always decoded to Unicode": "normalize_charset",
    "there are no preferences of single users in rule files": """allow_user_rules user_scores_dsn
        user_scores_sql_username user_scores_sql_password user_scores_sql_custom_query user_scores_ldap_username
        user_scores_ldap_password user_scores_fallback_to_global""",
    "it is about SpamAssassin's own files and processes": """lock_method mbox_format_from_regex geodb_module
        geodb_options geodb_search_path country_db_type country_db_path uri_country_db_path uri_country_db_isp_path
        reuse run_reuse_tests_only ignore_always_matching_regexps""",
    "ADSP is historic, and DMARC is asked instead": "adsp_override",
    "keys below 1024 bits are never accepted": "dkim_minimum_key_bits",
    "URLs are looked for in the body only": "parse_dkim_uris",
    "DMARC reports are not sent": "dmarc_save_reports",
}
WITHOUT_EFFECT: Mapping[str, str] = {word: reason for reason, words in _BECAUSE.items() for word in words.split()}

# --- settings of plugins whose rules are not run --------------------------------------------------------------------

_OF_PLUGIN = {
    "ASN": """asn_lookup asn_lookup_ipv6 asn_prefer_geodb asn_prefix asn_use_dns asn_use_geodb clear_asn_lookups""",
    "AWL and TxRep": """auto_welcomelist_db_modules auto_welcomelist_distinguish_signed auto_welcomelist_factor
        auto_welcomelist_factory auto_welcomelist_file_mode auto_welcomelist_ipv4_mask_len
        auto_welcomelist_ipv6_mask_len auto_welcomelist_path use_auto_welcomelist user_awl_dsn
        user_awl_sql_override_username user_awl_sql_password user_awl_sql_table user_awl_sql_username txrep_autolearn
        txrep_dilution_factor txrep_expiry_days txrep_factor txrep_factory txrep_ipv4_mask_len txrep_ipv6_mask_len
        txrep_learn_bonus txrep_learn_penalty txrep_report_details txrep_spf txrep_track_messages
        txrep_user2global_ratio txrep_weight_domain txrep_weight_email txrep_weight_email_ip txrep_weight_helo
        txrep_weight_ip txrep_welcomelist_out use_txrep""",
    "AuthRes": "authres_ignored_authserv authres_networks authres_trusted_authserv",
    "DCC": """dcc_body_max dcc_dccifd_path dcc_fuz1_max dcc_fuz2_max dcc_home dcc_learn_score dcc_options dcc_path
        dcc_rep_percent dcc_timeout dccifd_options use_dcc use_dcc_rep""",
    "DecodeShortURLs": """clear_url_shortener max_short_url_redirections max_short_urls url_shortener
        url_shortener_cache_autoclean url_shortener_cache_dsn url_shortener_cache_password url_shortener_cache_ttl
        url_shortener_cache_type url_shortener_cache_username url_shortener_get url_shortener_loginfo
        url_shortener_timeout url_shortener_user_agent""",
    "ExtractText": "extracttext_maxparts extracttext_timeout extracttext_external extracttext_use",
    "FromNameSpoof": """fns_add_addrlist fns_check fns_extrachars fns_ignore_dkim fns_ignore_headers
        fns_remove_addrlist""",
    "OLEVBMacro": """olemacro_download_marker olemacro_extended_scan olemacro_exts olemacro_macro_exts
        olemacro_max_file olemacro_num_mime olemacro_num_zip olemacro_prefer_contentdisposition olemacro_skip_ctypes
        olemacro_skip_exts olemacro_zip_depth olemacro_zips""",
    "PhishTag": "trigger_config trigger_ratio trigger_target",
    "Phishing": """phishing_openphish_feed phishing_phishstats_feed phishing_phishstats_minscore
        phishing_phishtank_feed phishing_uri_noparam""",
    "Pyzor": """pyzor_count_min pyzor_fork pyzor_max pyzor_options pyzor_path pyzor_perl pyzor_server_file
        pyzor_timeout pyzor_welcomelist_factor pyzor_welcomelist_min use_pyzor""",
    "Razor2": "razor_config razor_fork razor_timeout use_razor2",
    "Shortcircuit": """shortcircuit shortcircuit_ham_score shortcircuit_max_spam_score shortcircuit_min_ham_score
        shortcircuit_spam_score""",
    "TextCat": """inactive_languages ok_languages textcat_acceptable_score textcat_max_languages textcat_max_ngrams
        textcat_optimal_ngrams""",
    "URILocalBL": "uri_block_cc uri_block_cidr uri_block_cont uri_block_exclude uri_block_isp",
    "FreeMail": "freemail_import_welcomelist_auth freemail_import_def_welcomelist_auth",
}
OF_PLUGIN: Mapping[str, str] = {word: plugin for plugin, words in _OF_PLUGIN.items() for word in words.split()}
