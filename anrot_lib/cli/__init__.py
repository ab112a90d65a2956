"""The command line: options, which need no torch, and one function for each verb."""
