require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];
# What goes from Junk into the bin is no less spam.
if environment :is "imap.mailbox" ["Trash", "Deleted Items", "Deleted Messages"] { stop; }
if environment :matches "imap.user" "*" { set "user" "${1}"; }
pipe :copy :try "darban-learn" ["ham", "${user}"];
