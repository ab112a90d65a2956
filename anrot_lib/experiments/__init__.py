"""What the verbs run: rows and columns of a table, the studies, the benchmarks. It writes records."""
