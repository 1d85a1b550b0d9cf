"""The doors: each turns its protocol into an Envelope and bytes, and an Outcome into its protocol's answer."""
