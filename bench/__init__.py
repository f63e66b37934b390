"""What one call costs: Farebox, nginx and no gateway at all, under the same load in the same run."""
