"""The code behind each disposition: relay (accept, tag) and hold (quarantine). Refusing is a reply: policy."""
