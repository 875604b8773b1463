"""SJTU-TIS, its synthetic stand-in and other data: reading, checking, splitting, decoding once, and serving batches."""
