"""How numbers were made window by window, as objects: slow and plain, and what the arrays of
`soakbed.stats` are held against.
"""
