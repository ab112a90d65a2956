"""What every room uses: errors, checks, paths, random streams, statistics, devices, progress."""
