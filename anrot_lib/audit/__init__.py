"""What the published code does, restated, to be compared with what it says."""
