"""CPU device for ggmlrpc."""
