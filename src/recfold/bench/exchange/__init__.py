"""Exchange between ranks against peers: bytes a sample, counted."""
