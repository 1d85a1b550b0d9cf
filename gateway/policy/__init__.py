"""What is done about a verdict: thresholds per recipient, and the one reply that DATA allows. Pure."""
