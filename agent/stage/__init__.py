"""What a screen shows and why: programs, priorities, playlist sequencing. No I/O, no clock of its own."""
