"""What an id read under a key can be, if it is none that a worker wrote. Imports nothing.

Apart from `history`, for null servers run where there is only a part of this package.
"""

__all__ = ["ABSENT", "FOREIGN"]

ABSENT = 0  # the store said that the key has no value
FOREIGN = -1  # what was read is no value that this program writes under the key
