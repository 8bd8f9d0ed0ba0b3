"""The demo's own pictures and films, drawn with Pillow: an invented shopping arcade, free of anybody's rights."""
