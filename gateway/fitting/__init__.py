"""Fitting the scores of rules and findings to labelled mail (`darban train scores`). Needs the `train` extra."""
