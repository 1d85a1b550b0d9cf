"""The configuration: one TOML file -> frozen Settings."""
