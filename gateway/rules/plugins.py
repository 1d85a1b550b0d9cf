"""SpamAssassin's plugins, as far as rule files ask for them with ifplugin, has() and can(), or set what is theirs.

A plugin that stands in RUN is "loaded": its rules run here, or each one is listed with the reason why it does not.
The others are not loaded, so that the files' own `else` lines hold; `loadplugin` of one is reported.
"""

from __future__ import annotations

_PREFIX = "Mail::SpamAssassin::Plugin::"
_RENAMED = {"WhiteListSubject": "WelcomeListSubject", "Dmarc": "DMARC"}

# what Debian's *.pre files load
RUN = frozenset(
    _PREFIX + name
    for name in """Check HeaderEval BodyEval HTMLEval MIMEEval RelayEval URIEval WLBLEval VBounce ImageInfo FreeMail SPF
    DKIM DMARC Bayes MIMEHeader ReplaceTags WelcomeListSubject HTTPSMismatch URIDetail AutoLearnThreshold SpamCop
    DNSEval URIDNSBL AskDNS HashBL Pyzor Razor2""".split()
)

# whose rules ask a server: each of their rules is listed as not supported
NETWORK = frozenset(_PREFIX + name for name in "DNSEval URIDNSBL AskDNS HashBL Pyzor Razor2 DCC ASN".split())

_CONF = "Mail::SpamAssassin::Conf::"
FEATURES = frozenset(
    [
        _CONF + name
        for name in """feature_originating_ip_headers feature_dns_local_ports_permit_avoid
        feature_bayes_auto_learn_on_error feature_uri_host_listed feature_yesno_takes_args feature_bug6558_free
        feature_edns feature_dns_query_restriction feature_registryboundaries feature_geodb feature_dns_block_rule
        feature_compile_regexp feature_meta_rules_matching feature_subjprefix feature_bayes_stopwords feature_get_host
        feature_blocklist_welcomelist feature_welcomelist_blocklist feature_header_address_parser
        feature_local_tests_only feature_header_first_last feature_header_match_many feature_capture_rules
        has_tflags_nosubject has_tflags_nolog perl_min_version_5010000""".split()
    ]
    + [
        _PREFIX + name
        for name in """BodyEval::has_check_body_length BodyEval::has_plaintext_body_sig_ratio DKIM::has_arc
        MIMEEval::has_check_for_ascii_text_illegal MIMEEval::has_check_abundant_unicode_ratio
        MIMEEval::has_check_qp_ratio MIMEHeader::has_all_header MIMEHeader::has_tflags_range
        MIMEHeader::has_tflags_concat MIMEHeader::has_tflags_multiple MIMEHeader::has_capture_rules
        SPF::has_check_for_spf_errors SPF::has_check_spf_skipped_noenvfrom URIDetail::has_host_key
        URIDNSBL::has_tflags_domains_only URIDNSBL::has_subtest_for_ranges URIDNSBL::has_uridnsbl_for_a
        URIDNSBL::has_uridnsbl_a_ns URIDNSBL::has_tflags_notrim URIDNSBL::has_uridnsbl_skip_mailto
        DNSEval::has_tflags_domains_only DNSEval::has_tflags_ips_only AskDNS::has_tag_header
        HashBL::has_hashbl_bodyre HashBL::has_hashbl_bodyre_num HashBL::has_hashbl_emails HashBL::has_hashbl_uris
        HashBL::has_hashbl_ignore HashBL::has_hashbl_email_regex HashBL::has_hashbl_email_welcomelist
        HashBL::has_hashbl_email_whitelist HashBL::has_hashbl_tag HashBL::has_hashbl_sha256
        HashBL::has_hashbl_attachments HashBL::has_hashbl_email_domain HashBL::has_hashbl_email_domain_alias
        Pyzor::has_fork Pyzor::has_perl Razor2::has_fork""".split()
    ]
)


def full_name(name: str) -> str:
    """The plugin's name of today, with its package."""
    short = name.removeprefix(_PREFIX)
    return _PREFIX + _RENAMED.get(short, short) if "::" not in short else name


def short_name(name: str) -> str:
    """For messages."""
    return full_name(name).removeprefix(_PREFIX)
