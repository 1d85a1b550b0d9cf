require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];
# A mail program's rule that files what we tagged must not teach us.
if header :is "X-Spam-Flag" "YES" { stop; }
if environment :matches "imap.user" "*" { set "user" "${1}"; }
pipe :copy :try "darban-learn" ["spam", "${user}"];
