"""Maps of pictures and texts that belong to no data set: what ``saltext.load`` and the command share."""
