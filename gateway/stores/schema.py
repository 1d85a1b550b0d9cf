"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    func,
)

metadata = MetaData()

held = Table(
    "held_message",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("queue_id", String(32), nullable=False, index=True),
    Column("content_hash", String(64), nullable=False, index=True),
    Column("reverse_path", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("helo", Text, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("score", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("verdict_json", Text, nullable=False),
    Column("is_8bitmime", Boolean, nullable=False),
    Column("is_smtputf8", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_at", Float, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("kind", String(16), nullable=False, server_default="spam"),  # spam, phishing, malware: how long it is kept
    Column("blob", String(64), nullable=False),  # the file: the content's hash, or a name that only its key can make
    Column("storage_key", String(32), nullable=False, server_default=""),  # "": stored as it is
    Column("state_by", String(128), nullable=False, server_default=""),
    Column("hits", Text, nullable=False, server_default=""),  # names, separated by spaces
    Column("campaign", String(16), nullable=False, server_default=""),
    Column("attachments", Integer, nullable=False, server_default="0"),
    Index("held_message_blob", "blob"),
    # the list's orders; what else it is filtered by stands in them, so that other rows are not read
    Index("held_message_newest", "state", "received_at", "id", "domain", "kind", "score", "campaign"),
    Index("held_message_highest", "state", "score", "id", "domain", "kind", "received_at", "campaign"),
    Index("held_message_domain", "domain", "state", "received_at", "id", "kind", "score", "campaign"),
    Index("held_message_campaign", "campaign", "state", "received_at", "id", "domain", "kind", "score"),
    Index("held_message_changed", "state_at"),
    Index("held_message_sizes", "domain", "blob", "state", "size_bytes"),  # in the order they are added up in
)

Index("held_message_mailbox", func.lower(held.c.recipient))
Index("held_message_recipient", func.lower(held.c.recipient), held.c.received_at)

blob = Table(  # contents, where [storage] blobs = "database"
    "blob",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("written_at", Float, nullable=False),
)

condemned = Table(
    "condemned_blob",
    metadata,
    Column("blob", String(64), primary_key=True),  # its last row is deleted: the file goes next
)

storage_key = Table(
    "storage_key",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("domain", String(255), nullable=False),
    Column("period", String(7), nullable=False),  # YYYY-MM
    Column("wrapped", LargeBinary, nullable=True),  # by the master key; null: destroyed, and what it locked with it
    Column("created_at", Float, nullable=False),
    Column("destroyed_at", Float, nullable=True),
    Index("storage_key_place", "domain", "period"),
)

# What a held message is searched by, folded (mail/search.py). Its index of trigrams is the virtual table held_search of
# SQLite (FTS5), kept by triggers, or a GIN index of PostgreSQL where pg_trgm may be installed: migration 0008.
held_text = Table(
    "held_text",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("held_id", String(32), ForeignKey("held_message.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("sender", Text, nullable=False),  # author and reverse-path
    Column("recipient", Text, nullable=False),
    Column("words", Text, nullable=False),  # subject, queue_id, message-id
    Column("hits", Text, nullable=False),  # names, a space around each
)

held_note = Table(
    "held_note",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("held_id", String(32), ForeignKey("held_message.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("account", String(128), nullable=False),
    Column("text", Text, nullable=False),
)

saved_filter = Table(
    "saved_filter",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", String(128), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("query", Text, nullable=False),
    Column("is_shared", Boolean, nullable=False),
)

bulk_job = Table(
    "bulk_job",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", String(128), nullable=False, index=True),
    Column("act", String(16), nullable=False),
    Column("about", Text, nullable=False),
    Column("learns", Boolean, nullable=False),
    Column("at", Float, nullable=False),
    Column("state", String(16), nullable=False, index=True),  # running, stopped, done
    Column("stopped_for", String(16), nullable=False, server_default=""),
)

bulk_item = Table(
    "bulk_item",
    metadata,
    Column("job", String(32), ForeignKey("bulk_job.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("held_id", String(32), nullable=False),
    Column("state", String(16), nullable=False),  # types.ItemState
    Column("at", Float, nullable=False),
    Column("said", Text, nullable=False, server_default=""),
    Column("runner", String(255), nullable=False, server_default=""),
    Index("bulk_item_state", "job", "state", "number"),
)

message_log = Table(
    "message_log",
    metadata,
    # the time of the row, and what tells rows of one millisecond apart (stores/message_log.py): it orders the log
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("queue_id", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("helo", Text, nullable=False),
    Column("reverse_path", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    Column("reply", Text, nullable=False),
    Column("score", Float, nullable=False),
    Column("hits", Text, nullable=False),  # separated by spaces
    Column("reason", Text, nullable=False),
    Column("next_hop_reply", Text, nullable=False),
    # what is looked for, besides
    Column("recipient_domain", Text, nullable=False),
    Column("reverse_path_domain", Text, nullable=False),
    Column("author_address", Text),  # lower case; null where it is the reverse-path
    Column("author_domain", Text),  # null where it is the reverse-path's
    Column("next_hop_id", Text),  # lower case; null where the next hop's reply has none
)
# its indexes: migration 0006, whose names stores/log_search.py knows

account = Table(
    "account",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("password_hash", Text, nullable=False),  # "": no password signs in
    Column("role", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("domains", Text, nullable=False, server_default=""),  # separated by spaces
    Column("addresses", Text, nullable=False, server_default=""),  # separated by line ends
    Column("origin", String(8), nullable=False, server_default="local"),  # local, oidc, ldap, link
    Column("is_disabled", Boolean, nullable=False, server_default=false()),
    Column("code_secret", Text, nullable=False, server_default=""),  # of one-time codes, base32; "": none asked for
    Column("code_step", Integer, nullable=False, server_default="0"),  # of the code taken last: none is taken twice
    Column("signed_in_at", Float, nullable=True),
)

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("account", String(128), ForeignKey("account.name", ondelete="CASCADE"), primary_key=True),
    Column("hash", String(64), primary_key=True),
)

token = Table(
    "token",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),  # ports.TokenKind
    Column("account", String(128), ForeignKey("account.name", ondelete="CASCADE"), nullable=True),
    Column("expires_at", Float, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),
    Column("created_at", Float, nullable=False, server_default="0"),
    Column("used_at", Float, nullable=False, server_default="0"),
    Column("client_ip", String(64), nullable=False, server_default=""),
    Column("agent", Text, nullable=False, server_default=""),
    Index("token_account", "account", "kind"),
)

sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    Column("name", String(128), primary_key=True),  # name:... or address:...
    Column("failures", Integer, nullable=False),
    Column("last_at", Float, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1 on, without gaps
    Column("at", Float, nullable=False),
    Column("account", String(128), nullable=False),
    Column("act", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("domain", String(255), nullable=False),
    Column("detail", Text, nullable=False),
    Column("client", String(64), nullable=False),
    Column("proofs", Text, nullable=False),  # separated by spaces
    Column("former", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_domain_number", "domain", "number"),
    Index("audit_subject", "subject"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row: who appends holds it
    Column("number", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

audit_signature = Table(
    "audit_signature",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("key", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)

counter = Table(
    "counter",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("value", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)

dmarc_policy = Table(
    "dmarc_policy",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since the epoch, UTC
    Column("domain", String(255), primary_key=True),
    Column("published", Text, nullable=False),  # the record seen last
    Column("at", Float, nullable=False),
)

dmarc_row = Table(
    "dmarc_row",
    metadata,
    Column("id", String(32), primary_key=True),  # hash of all the others but the count
    Column("day", Integer, nullable=False),
    Column("domain", String(255), nullable=False),
    Column("source_ip", String(64), nullable=False),
    Column("header_from", Text, nullable=False),
    Column("envelope_from", Text, nullable=False),
    Column("envelope_to", Text, nullable=False),
    Column("disposition", String(16), nullable=False),
    Column("is_dkim_aligned", Boolean, nullable=False),
    Column("is_spf_aligned", Boolean, nullable=False),
    Column("overrides", Text, nullable=False),  # separated by spaces
    Column("dkim", Text, nullable=False),  # JSON: [[domain, selector, result], ...]
    Column("spf_domain", Text, nullable=False),
    Column("spf_result", String(16), nullable=False),
    Column("count", Integer, nullable=False),
    Index("dmarc_row_day_domain", "day", "domain"),
)

dmarc_sent = Table(
    "dmarc_sent",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("domain", String(255), primary_key=True),
    Column("address", String(320), primary_key=True),
    Column("report_id", Text, nullable=False),
    Column("state", String(16), nullable=False),  # sending, sent, refused, failed
    Column("at", Float, nullable=False),
    Column("note", Text, nullable=False),  # the relay's words
)

lesson = Table(
    "lesson",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", Float, nullable=False),
    Column("day", Integer, nullable=False),  # days since the epoch, UTC
    Column("trainer", String(320), nullable=False),
    Column("is_spam", Boolean, nullable=False),
    Column("via", String(16), nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("features_version", Integer, nullable=False),
    Column("indices", LargeBinary, nullable=False),
    Column("weight", Float, nullable=False),
    Column("revoked_at", Float, nullable=True),
    Column("revoked_by", String(320), nullable=False, server_default=""),
    Index("lesson_order", "at", "id"),
    Index("lesson_trainer_day", "trainer", "day"),
    Index("lesson_content", "content_hash", "trainer"),
)

lesson_revision = Table(
    "lesson_revision",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # one row
    Column("revision", Integer, nullable=False),
)

sender = Table(
    "sender",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("act", String(8), nullable=False),  # allow, block
    Column("pattern", String(320), nullable=False),
    Column("recipient", String(320), nullable=False),  # an address, a domain; "": everybody
    Column("recipient_domain", String(255), nullable=False),
    Column("network", String(64), nullable=False),
    Column("expires_at", Float, nullable=True),
    Column("by", String(320), nullable=False),
    Column("at", Float, nullable=False),
    Column("note", Text, nullable=False),
    Column("held_id", String(32), nullable=False),
    Column("hits", Integer, nullable=False),
    Column("last_hit_at", Float, nullable=True),
    Column("removed_at", Float, nullable=True),
    Column("revision", Integer, nullable=False),
    Index("sender_key", "pattern", "recipient", "act", "network", unique=True),
    Index("sender_changed", "revision"),
    Index("sender_recipient", "recipient"),
    Index("sender_domain", "recipient_domain"),
)

sender_revision = Table(
    "sender_revision",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # one row
    Column("revision", Integer, nullable=False),
)

webhook_outbox = Table(
    "webhook_outbox",
    metadata,
    Column("id", String(64), primary_key=True),  # the event's
    Column("webhook", String(64), primary_key=True),  # its name
    Column("type", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),  # as it is signed; empty once it was taken
    Column("state", String(8), nullable=False),  # waiting, taken, dead
    Column("born_at", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),  # when it is due; of one that waits no more, since when
    Column("told", Text, nullable=False),  # what came of the last try
    Index("webhook_outbox_due", "webhook", "state", "next_at"),
)

webhook_cursor = Table(
    "webhook_cursor",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("number", Integer, nullable=False),  # of the audit log's entry that was told last
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("account", String(128), ForeignKey("account.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(64), nullable=False),
    Column("acts", Text, nullable=False),  # policy/access.py, separated by spaces
    Column("domains", Text, nullable=False),  # separated by spaces; "": the account's
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float, nullable=False),
    Column("used_from", String(64), nullable=False),
)

api_answer = Table(
    "api_answer",
    metadata,
    Column("key", String(64), primary_key=True),  # hash of account and Idempotency-Key
    Column("request", String(64), nullable=False),  # hash of method, path and body
    Column("status", Integer, nullable=False),  # 0: it is being answered
    Column("body", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
)


digest = Table(
    "digest",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("mailbox", Text, nullable=False),
    Column("reader", Text, nullable=False),
    Column("at", Float, nullable=False),  # for which time of the plan
    Column("language", String(8), nullable=False),
    Column("calendar", String(16), nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # sending, sent, refused, failed, unknown
    Column("state_at", Float, nullable=False),
    Column("note", Text, nullable=False, server_default=""),  # the next hop's words
    Index("digest_state", "state", "state_at"),
)

digest_item = Table(
    "digest_item",
    metadata,
    Column("digest_id", String(32), ForeignKey("digest.id", ondelete="CASCADE"), primary_key=True),
    Column("held_id", String(32), primary_key=True),
    Index("digest_item_held", "held_id"),
)

digest_key = Table(
    "digest_key",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("secret", LargeBinary, nullable=False),
    Column("made_at", Float, nullable=False),
)

digest_stop = Table(
    "digest_stop",
    metadata,
    Column("mailbox", String(320), primary_key=True),
    Column("reader", String(320), primary_key=True),
    Column("at", Float, nullable=False),
)
