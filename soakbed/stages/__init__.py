"""One stage of the flow per module: a record in, a record out."""
