"""`tikv-client` in a process of its own: it may crash when its interpreter ends (facts.md 4.2).

Takes one call a line on standard input, `[method, arguments]` with bytes as `{"hex": "..."}`,
and answers `{"ok": ...}` or `{"error": text}`. Its first argument is the PD endpoints.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def packed(value: Any) -> Any:
    """As JSON can carry it."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {"pairs": [[packed(key), packed(held)] for key, held in value.items()]}
    if isinstance(value, list | tuple):
        return [packed(each) for each in value]
    return value


def unpacked(value: Any) -> Any:
    """What `packed` packed; tuples come back as lists."""
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict):
        return {unpacked(key): unpacked(held) for key, held in value["pairs"]}
    return [unpacked(each) for each in value] if isinstance(value, list) else value


def called(objects: dict[str, Any], name: str, arguments: list[Any]) -> Any:
    """One call: of the client, or `t1.get` of what an earlier `begin` gave as `t1`."""
    import tikv_client

    if name in ("RawClient", "TransactionClient"):
        objects["client"] = getattr(tikv_client, name).connect(*arguments)
        return None
    owner, _, method = name.rpartition(".")
    value = getattr(objects[owner or "client"], method)(*arguments)
    if method == "begin":
        objects[f"t{len(objects)}"] = value
        return f"t{len(objects) - 1}"
    return value


def main() -> None:
    """Serve calls until there are no more; then end without the interpreter's farewell."""
    objects: dict[str, Any] = {}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            said = {"ok": packed(called(objects, name, unpacked(arguments)))}
        except Exception as error:  # noqa: BLE001  (it raises nothing more telling)
            said = {"error": str(error)}
        print(json.dumps(said), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
