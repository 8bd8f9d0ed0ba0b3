"""One room per server protocol."""
