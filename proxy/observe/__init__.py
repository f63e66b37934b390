"""What happened, for people and machines: metrics and logs subscribe to one frozen event."""
