"""Who sent it: iprev, SPF, DKIM, DMARC, one file a protocol, given a resolver. No I/O of their own; never raising."""
